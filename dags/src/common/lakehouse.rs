//! The lake and the buckets of a task, opened from its connections.
//!
//! Tasks of a process that have the same connections share one lake, with its catalog sessions and its table cache.

use crate::common::connections::{BUCKETS, LAKE};
use chrono::{DateTime, Utc};
use orch::prelude::fatal;
use orch::{Connection, Ctx, TaskResult};
use orch_lake::bucket::{Bucket, Buckets};
use orch_lake::{Lake, LakeError};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// Number of lakes that stay open. A process sees other connections only after a user changes them.
const MAX_OPEN: usize = 4;

#[derive(Debug, Clone)]
pub(crate) struct Lakehouse {
    pub(crate) lake: Lake,
    pub(crate) buckets: Buckets,
    /// Set once the catalog is found to be in the database of orch, where tasks can commit to it.
    home_checked: Arc<OnceCell<()>>,
}

/// Open lakes, newest first.
type OpenLakehouses = Vec<((Connection, Connection), Lakehouse)>;
static OPEN: LazyLock<Mutex<OpenLakehouses>> = LazyLock::new(Mutex::default);

impl Lakehouse {
    /// # Errors
    /// Returns a fatal error if a connection is missing or has the wrong type, or the catalog is not in the database of
    /// orch.
    pub(crate) async fn of(ctx: &Ctx) -> TaskResult<Lakehouse> {
        let lakehouse = Lakehouse::shared((ctx.connection(LAKE).await?, ctx.connection(BUCKETS).await?))?;
        lakehouse.home_checked.get_or_try_init(|| lakehouse.lake.check_home(ctx, LAKE)).await?;
        Ok(lakehouse)
    }

    fn shared(connections: (Connection, Connection)) -> TaskResult<Lakehouse> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, lakehouse)) = open.iter().find(|(opened_from, _)| *opened_from == connections) {
            return Ok(lakehouse.clone());
        }
        let lakehouse = Lakehouse::open(&connections.0, &connections.1)?;
        open.truncate(MAX_OPEN - 1);
        open.insert(0, (connections, lakehouse.clone()));
        Ok(lakehouse)
    }

    /// Sends no query: the catalog is contacted on first use.
    fn open(lake: &Connection, buckets: &Connection) -> TaskResult<Lakehouse> {
        let buckets = Buckets::of(buckets)?;
        let lake = Lake::of(lake, buckets.options())?;
        Ok(Lakehouse { lake, buckets, home_checked: Arc::default() })
    }

    /// Returns the current time of the database. The data interval of a backfill run is in the past.
    pub(crate) async fn now(&self) -> TaskResult<DateTime<Utc>> {
        Ok(self.lake.now().await?)
    }

    /// Returns a bucket, and creates it if it does not exist.
    pub(crate) async fn bucket(&self, name: &str) -> TaskResult<Bucket> {
        ensure_bucket(&self.buckets, name).await
    }
}

/// Returns a bucket for a task that uses no table, and creates it if it does not exist.
pub(crate) async fn bucket_of(ctx: &Ctx, name: &str) -> TaskResult<Bucket> {
    ensure_bucket(&Buckets::of(&ctx.connection(BUCKETS).await?)?, name).await
}

async fn ensure_bucket(buckets: &Buckets, name: &str) -> TaskResult<Bucket> {
    let bucket = buckets.bucket(name)?;
    bucket.ensure().await?;
    Ok(bucket)
}

/// Returns the lake of streams and servers, from the connections `lake` and `buckets`.
pub(crate) fn lake(connections: &[Connection]) -> TaskResult<Lake> {
    let [lake, buckets] = two(connections)?;
    Ok(Lakehouse::shared((lake.clone(), buckets.clone()))?.lake)
}

/// Returns the lake for queries, from the connections `lake` and `buckets`.
pub(crate) fn open_for_queries(connections: &[Connection]) -> TaskResult<orch_lake_sql::Opened> {
    let [lake, buckets] = two(connections)?;
    let warehouse = lake.extra_field("warehouse").and_then(|warehouse| warehouse.as_str()).unwrap_or_default();
    Ok(orch_lake_sql::Opened { lake: Lakehouse::open(lake, buckets)?.lake, place: warehouse.into() })
}

fn two(connections: &[Connection]) -> TaskResult<&[Connection; 2]> {
    connections.try_into().map_err(|_| anyhow::anyhow!("a lake needs two connections"))
}

/// Marks an error as fatal if a retry cannot succeed: the table does not exist, or an option or property is invalid.
pub(crate) fn without_retry(error: impl Into<anyhow::Error>) -> anyhow::Error {
    let error = error.into();
    match error.downcast_ref::<LakeError>() {
        Some(of_lake) if of_lake.is_fatal() || matches!(of_lake, LakeError::NoTable { .. }) => {
            fatal(of_lake.to_string())
        }
        _ => error,
    }
}
