//! The lake and the buckets that a task works on, opened from its connections.
//!
//! Opened once for all tasks of a process that have the same connections: they share its connections to the catalog, and
//! what it knows of tables.

use crate::connections::{BUCKETS, LAKE};
use orch::{Connection, Ctx, TaskResult, fatal};
use orch_lake::bucket::{Bucket, Buckets};
use orch_lake::{Lake, LakeConfig, LakeError};
use serde_json::Value;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Under which the tables are known in the catalog, unless the connection says another one.
const CATALOG: &str = "orch";
/// Tasks of a worker that speak to the catalog at once wait for each other; each does so for milliseconds.
const POOL: u32 = 8;
/// More than a process has places: a test with many, each in a database of its own.
const KEPT: usize = 4;

#[derive(Debug, Clone)]
pub struct Place {
    pub lake: Lake,
    pub buckets: Buckets,
}

type Kept = Vec<((Connection, Connection), Place)>;
static OPEN: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);

impl Place {
    /// # Errors
    /// A fatal error when a connection is missing, or is for something else.
    pub async fn of(ctx: &Ctx) -> TaskResult<Place> {
        let from = (ctx.connection(LAKE).await?, ctx.connection(BUCKETS).await?);
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, place)) = open.iter().find(|(known, _)| *known == from) {
            return Ok(place.clone());
        }
        let place = Place::open(&from.0, &from.1)?;
        open.truncate(KEPT - 1);
        open.insert(0, (from, place.clone()));
        Ok(place)
    }

    /// Nothing is asked yet.
    fn open(lake: &Connection, buckets: &Connection) -> TaskResult<Place> {
        let buckets = Buckets::of(buckets)?;
        let text = |name: &str| lake.extra_field(name).and_then(Value::as_str);
        let warehouse = text("warehouse").ok_or_else(|| {
            fatal(format!(
                "connection `{LAKE}` does not say where tables go\nhint: add `warehouse=file:///folder` or \
                `warehouse=s3://bucket/folder` to its extra"
            ))
        })?;
        let config = LakeConfig {
            catalog: pool(lake)?,
            name: text("catalog").unwrap_or(CATALOG).into(),
            warehouse: warehouse.into(),
            storage: buckets.options().clone(),
        };
        Ok(Place { lake: Lake::open(config)?, buckets })
    }

    /// A bucket, made if it is not there.
    pub async fn bucket(&self, name: &str) -> TaskResult<Bucket> {
        let bucket = self.buckets.bucket(name)?;
        bucket.ensure().await?;
        Ok(bucket)
    }
}

/// The lake for whoever only looks: of the connections of a lake and of buckets.
pub(crate) fn look(connections: &[Connection]) -> TaskResult<orch_lake_sql::Opened> {
    let [lake, buckets] = connections else { return Err(anyhow::anyhow!("a lake needs two connections")) };
    let warehouse = lake.extra_field("warehouse").and_then(|warehouse| warehouse.as_str()).unwrap_or_default();
    Ok(orch_lake_sql::Opened { lake: Place::open(lake, buckets)?.lake, place: warehouse.into() })
}
