//! Weather of cities from openweathermap.org, on two paths that produce the same tables.
//!
//! Scheduled DAGs: `producer_weather_kafka` → topic → `kafka_to_raw_dag` → table `weather.openweather` in the bucket
//! `spark-raw-weather-data` → `stream_5min_dag` and `batch_hourly_dag` → objects in `spark-weather-silver-data` and the
//! Postgres tables `weather_rt` and `weather_bt`. Streams: topic → windows → `live.weather_rt` and `live.weather_bt`,
//! right after each commit.

mod ask;
mod cities;
mod live;
mod raw;
mod views;

pub use cities::Cities;
pub use live::streams;
pub use views::Days;

use ask::fetch_and_produce;
use orch::prelude::*;
use raw::{kafka_to_raw_once, trigger_stream_5min};
use views::{weather_5min_agg, weather_hourly_batch};

/// Differs from `weather`, the topic of the logging server, whose records have another format.
pub const TOPIC: &str = "openweather";
const PARTITIONS: i32 = 3;
/// Bucket of the raw table.
pub const RAW_BUCKET: &str = "spark-raw-weather-data";
pub const SILVER_BUCKET: &str = "spark-weather-silver-data";

pub fn dags() -> Vec<Dag> {
    let of = |id: &str| dag(id).tags(["weather", "openweather"]).owners(["airflow"]).max_active_runs(1);
    let every = |id: &str, schedule: &str| of(id).schedule(schedule).start("2024-01-01");
    vec![
        every("producer_weather_kafka", "*/5 * * * *")
            .alias("produce_weather_to_kafka")
            .describe("The current weather of cities, from OpenWeather into the topic `openweather`")
            .build(|d| {
                d.add(fetch_and_produce(d.params::<Cities>()));
            }),
        every("kafka_to_raw_dag", "*/5 * * * *")
            .alias("dag_kafka_to_raw")
            .describe("New records of the topic `openweather` into the raw table, then the 5-minute view of their days")
            .build(|d| {
                d.add(trigger_stream_5min(d.add(kafka_to_raw_once())));
            }),
        every("stream_5min_dag", "*/5 * * * *")
            .alias("dag_stream_5min")
            .describe(
                "Averages of 5 minutes by city, from the raw table into objects and the Postgres table `weather_rt`",
            )
            .build(|d| {
                d.add(weather_5min_agg(d.params::<Days>()));
            }),
        every("batch_hourly_dag", "@hourly")
            .alias("dag_batch_hourly")
            .describe(
                "Averages by hour and by day, from the raw table into objects and the Postgres table `weather_bt`",
            )
            .build(|d| {
                d.add(weather_hourly_batch(d.params::<Days>()));
            }),
        of("weather_master_pipeline")
            .describe(
                "New records of the topic `openweather` into the raw table, then all its averages, one after the other",
            )
            .build(|d| {
                let raw = d.add(kafka_to_raw_once());
                let minutes = d.add(weather_5min_agg(d.params::<Days>()).after(raw));
                d.add(weather_hourly_batch(d.params::<Days>()).after(minutes));
            }),
    ]
}
