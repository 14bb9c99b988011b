//! Code that several pipelines share: connections, the lake and its upkeep, engines that run SQL, topics, and the
//! tables of New York.

pub mod catalog;
pub mod connections;
pub(crate) mod dice;
pub(crate) mod engine;
pub(crate) mod lakehouse;
pub mod merge;
pub mod model;
pub mod nyc;
pub(crate) mod rows;
pub(crate) mod spark_sql;
pub(crate) mod topics;
pub mod upkeep;

use chrono::{DateTime, Utc};
use orch::prelude::*;

/// Returns the end of the data interval of a run, or the time from which the run could start if it has no interval. A
/// run that is triggered for an earlier date produces the same rows as the scheduled run of that date.
pub(crate) fn data_end(ctx: &Ctx) -> DateTime<Utc> {
    ctx.data_interval_end().unwrap_or_else(|| ctx.run_after())
}
