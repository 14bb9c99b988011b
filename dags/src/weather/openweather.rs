//! Weather of cities as openweathermap.org tells it, in two ways that give the same tables.
//!
//! As scheduled DAGs: `producer_weather_kafka` → topic → `kafka_to_raw_dag` → table `weather.openweather` in the bucket
//! `spark-raw-weather-data` → `stream_5min_dag` and `batch_hourly_dag` → objects in `spark-weather-silver-data` and the Postgres tables
//! `weather_rt` and `weather_bt`. As streams: topic → windows → `live.weather_rt` and `live.weather_bt`, right after each commit.

mod answer;
mod ask;
mod live;
mod raw;
mod sample;
mod views;

pub use live::streams;
pub use views::Days;

use ask::fetch_and_produce;
use orch::prelude::*;
use raw::{kafka_to_raw_once, trigger_stream_5min};
use views::{weather_5min_agg, weather_hourly_batch};

/// The document calls it `weather`, as another one calls the topic of the logging server: two shapes need two topics.
pub const TOPIC: &str = "openweather";
const PARTITIONS: i32 = 3;
/// Where the raw table lies.
pub const RAW_BUCKET: &str = "spark-raw-weather-data";
pub const SILVER_BUCKET: &str = "spark-weather-silver-data";

/// Whose weather is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cities {
    pub cities: Vec<String>,
}

impl Default for Cities {
    fn default() -> Self {
        Cities { cities: ["London", "New Delhi", "New York"].map(String::from).to_vec() }
    }
}

pub fn dags() -> Vec<Dag> {
    let every = |id: &str, schedule: &str, text: &str| {
        let of = dag(id).describe(text).schedule(schedule).start("2024-01-01");
        of.tags(["weather", "openweather"]).owners(["airflow"]).max_active_runs(1)
    };
    let producer = every(
        "producer_weather_kafka",
        "*/5 * * * *",
        "Asks OpenWeather for the weather of cities, and produces its answers to the topic `openweather`",
    )
    .build(|d| {
        d.add(fetch_and_produce(d.params::<Cities>()));
    });
    let raw = every(
        "kafka_to_raw_dag",
        "*/5 * * * *",
        "New records of the topic `openweather` into the raw table, each once; then the 5-minute view of their days",
    )
    .build(|d| {
        let read = d.add(kafka_to_raw_once());
        d.add(trigger_stream_5min(read));
    });
    let five = every(
        "stream_5min_dag",
        "*/5 * * * *",
        "Averages of 5 minutes by city, of whole days of the raw table: objects, and the Postgres table `weather_rt`",
    )
    .build(|d| {
        d.add(weather_5min_agg(d.params::<Days>()));
    });
    let hourly = every(
        "batch_hourly_dag",
        "@hourly",
        "Averages by hour and by day of the raw table: objects, and the Postgres table `weather_bt`",
    )
    .build(|d| {
        d.add(weather_hourly_batch(d.params::<Days>()));
    });
    vec![producer, raw, five, hourly]
}
