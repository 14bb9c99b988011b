//! The taxi pipeline: a monthly file of trips → `nyc_taxi.trips` by year and month, and `nyc_taxi.daily_summary`.
//!
//! `tasks` has the four tasks, in their order. `source` downloads a file into the bucket, `raw` reads it, `clean` has
//! the rules for its rows, `load` publishes its trips and days, `control` records what was loaded. `schema` declares
//! the tables and their contracts.

pub mod changes;
pub mod clean;
pub mod control;
pub mod dags;
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

use forecast::dags::{demand_forecast, fare_prediction};
use orch::Dag;
use orch_streams::Stream;

pub fn dags() -> Vec<Dag> {
    vec![dags::nyc_taxi_iceberg_etl(), database::taxi_db_generator(), demand_forecast(), fare_prediction()]
}

pub fn streams() -> Vec<Stream> {
    changes::streams().into_iter().chain([database::capture()]).collect()
}

pub const NAMESPACE: &str = "nyc_taxi";
/// Bucket of the downloaded files, unchanged.
pub const RAW_BUCKET: &str = "raw-taxi-data";
