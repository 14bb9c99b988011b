//! The lake and the buckets that a task works on, opened from its connections.
//!
//! Opened once for all tasks of a process that have the same connections: they share its sessions at the catalog, and what
//! it knows of tables.

use crate::common::connections::{BUCKETS, LAKE};
use chrono::{DateTime, Utc};
use orch::prelude::fatal;
use orch::{Connection, Ctx, TaskResult};
use orch_lake::bucket::{Bucket, Buckets};
use orch_lake::{Lake, LakeError};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// A process sees other connections only after people change them: the last few are enough.
const KEPT: usize = 4;

#[derive(Debug, Clone)]
pub(crate) struct Lakehouse {
    pub(crate) lake: Lake,
    pub(crate) buckets: Buckets,
    /// Tasks can commit there. Asked once.
    at_home: Arc<OnceCell<()>>,
}

type OpenedLakehouses = Vec<((Connection, Connection), Lakehouse)>;
static OPEN: LazyLock<Mutex<OpenedLakehouses>> = LazyLock::new(Mutex::default);

impl Lakehouse {
    /// # Errors
    /// A fatal error when a connection is missing, is for something else, or leads to a catalog in another database than that
    /// of orch.
    pub(crate) async fn of(ctx: &Ctx) -> TaskResult<Lakehouse> {
        let place = Lakehouse::known((ctx.connection(LAKE).await?, ctx.connection(BUCKETS).await?))?;
        place.at_home.get_or_try_init(|| place.lake.check_home(ctx, LAKE)).await?;
        Ok(place)
    }

    fn known(from: (Connection, Connection)) -> TaskResult<Lakehouse> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, place)) = open.iter().find(|(known, _)| *known == from) {
            return Ok(place.clone());
        }
        let place = Lakehouse::open(&from.0, &from.1)?;
        open.truncate(KEPT - 1);
        open.insert(0, (from, place.clone()));
        Ok(place)
    }

    /// Nothing is asked yet.
    fn open(lake: &Connection, buckets: &Connection) -> TaskResult<Lakehouse> {
        let buckets = Buckets::of(buckets)?;
        let lake = Lake::of(lake, buckets.options())?;
        Ok(Lakehouse { lake, buckets, at_home: Arc::default() })
    }

    /// Not the time of the run: a backfill has an old one of its own.
    pub(crate) async fn now(&self) -> TaskResult<DateTime<Utc>> {
        Ok(self.lake.now().await?)
    }

    /// A bucket, made if it is not there.
    pub(crate) async fn bucket(&self, name: &str) -> TaskResult<Bucket> {
        made(&self.buckets, name).await
    }
}

/// The same for a task that works on no table: the lake may be anywhere.
pub(crate) async fn bucket_of(ctx: &Ctx, name: &str) -> TaskResult<Bucket> {
    made(&Buckets::of(&ctx.connection(BUCKETS).await?)?, name).await
}

async fn made(buckets: &Buckets, name: &str) -> TaskResult<Bucket> {
    let bucket = buckets.bucket(name)?;
    bucket.ensure().await?;
    Ok(bucket)
}

/// The lake for streams.
pub(crate) fn lake(connections: &[Connection]) -> TaskResult<Lake> {
    let [lake, buckets] = connections else { return Err(anyhow::anyhow!("a lake needs two connections")) };
    Ok(Lakehouse::known((lake.clone(), buckets.clone()))?.lake)
}

/// The lake for whoever only looks: of the connections of a lake and of buckets.
pub(crate) fn open_for_queries(connections: &[Connection]) -> TaskResult<orch_lake_sql::Opened> {
    let [lake, buckets] = connections else { return Err(anyhow::anyhow!("a lake needs two connections")) };
    let warehouse = lake.extra_field("warehouse").and_then(|warehouse| warehouse.as_str()).unwrap_or_default();
    Ok(orch_lake_sql::Opened { lake: Lakehouse::open(lake, buckets)?.lake, place: warehouse.into() })
}

/// No further try finds a table that is not there, or reads a property that cannot be read.
pub(crate) fn asked_wrongly(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<LakeError>() {
        Some(of_lake) if of_lake.is_fatal() || matches!(of_lake, LakeError::NoTable { .. }) => {
            fatal(of_lake.to_string())
        }
        _ => error,
    }
}
