//! The taxi pipeline: a file of trips each month → `nyc_taxi.trips` by year and month, and `nyc_taxi.daily_summary`.
//!
//! What a file may call its columns stands in `schema`; `typed` and `clean` make rows of the table of what it holds,
//! `daily` sums them up, `load` makes the changes of the tables that one file means; `tasks` does it, `control`
//! remembers what was done. `source` is a server, a folder, or the `sample` in their place.

pub mod changes;
pub mod clean;
pub mod contracts;
pub mod control;
pub mod dags;
pub mod daily;
pub mod database;
pub mod forecast;
pub mod load;
pub mod options;
pub mod raw;
pub mod sample;
pub mod schema;
pub mod serving;
pub mod source;
pub mod tasks;
pub mod typed;

use orch::Dag;
use orch_streams::Stream;

pub fn dags() -> Vec<Dag> {
    [dags::dags(), database::dags(), forecast::dags::dags()].into_iter().flatten().collect()
}

pub fn streams() -> Vec<Stream> {
    [changes::streams(), database::streams()].into_iter().flatten().collect()
}

/// The namespace of the tables.
pub const NAMESPACE: &str = "nyc_taxi";
/// Where files lie as they came.
pub const RAW_BUCKET: &str = "raw-taxi-data";

/// A table of the lake, as its page calls it.
pub fn table_uri(table: &str) -> String {
    format!("lake://{NAMESPACE}/{table}")
}
