//! The taxi pipeline: a file of trips each month → `nyc_taxi.trips` by year and month, and `nyc_taxi.daily_summary`.
//!
//! What a file may call its columns stands in `schema`; `typed` and `clean` make rows of the table of what it holds,
//! `daily` sums them up, `load` makes the changes of the tables that one file means; `tasks` does it, `control`
//! remembers what was done. `source` is a server, a folder, or the `sample` in their place.

pub mod clean;
pub mod contracts;
pub mod control;
pub mod daily;
pub mod load;
pub mod month;
pub mod options;
pub mod pipelines;
pub mod raw;
pub mod sample;
pub mod schema;
pub mod source;
pub mod tasks;
pub mod typed;

/// The namespace of the tables.
pub const NAMESPACE: &str = "nyc_taxi";
/// Where files lie as they came.
pub const RAW_BUCKET: &str = "raw-taxi-data";

/// A table of the lake, as its page calls it.
pub fn table_uri(table: &str) -> String {
    format!("lake://{NAMESPACE}/{table}")
}
