//! Weather of cities from weatherapi.com: `weather_producer` → topic `weather_raw_data` → stream `weather_events` →
//! table `weather_data_lake_iceberg.weather_events_by_location`, one row per city and reading.
//!
//! The API returns each reading for about fifteen minutes. The producer stores its last reading of each city and skips
//! it; records that still arrive twice (a retry with Kafka, a replay of the topic) become one row, because the table is
//! upserted by city and time.

mod ask;
mod cities;
mod rows;
mod silence;
mod told;

pub use cities::{Cities, Watched};

use super::hourly::contracts::POSSIBLE;
use ask::ask_weather;
use orch::prelude::*;
use orch::{Asset, asset};
use orch_lake::TableName;
use orch_lake::contract::{Contract, Policy};
use orch_streams::Stream;
use silence::cities_are_heard;

pub const TOPIC: &str = "weather_raw_data";
pub const PARTITIONS: i32 = 1;
/// The API publishes a new reading every 15 minutes.
const INTERVAL_MINUTES: u32 = 15;
/// Minutes without a reading before a city counts as silent: two readings in a row are missing.
const SILENT_MINUTES: u32 = 2 * INTERVAL_MINUTES;
const URI: &str = "lake://weather_data_lake_iceberg/weather_events_by_location";

pub fn table() -> TableName {
    TableName::new("weather_data_lake_iceberg", "weather_events_by_location").expect("it is a valid name")
}

fn contract() -> Contract {
    let required = Contract::of(URI).not_null(["city_name", "temperature_celsius"]).or(Policy::Quarantine);
    let [temperature, humidity, ..] = POSSIBLE;
    required.rules([temperature, humidity]).or(Policy::Quarantine)
}

/// Topic `weather_raw_data` → the table, by city.
pub fn stream() -> Stream {
    Stream::new("weather_events")
        .describe("What WeatherAPI told of cities, one row for each city and reading")
        .topic(TOPIC)
        .partitions(PARTITIONS)
        .json(rows::record())
        .ignore_unknown_fields()
        .transform(|responses| rows::flatten(&responses))
        .contract(contract())
        .upsert(table(), rows::definition(), &rows::KEY, None)
        .commit_every(secs(10))
}

fn watched() -> Asset {
    let name = table().to_string();
    asset(URI).named(&name).group("weather").fresh_within(mins(u64::from(SILENT_MINUTES)))
}

pub fn dags() -> Vec<Dag> {
    let producer = dag("weather_producer")
        .describe("Asks WeatherAPI for the weather of cities each minute, and tells what is new to the topic `weather_raw_data`")
        .schedule("* * * * *")
        .start("2024-01-01")
        .tags(["weather", "streams"])
        .owners(["airflow"])
        .max_active_runs(1)
        .build(|d| {
            d.add(ask_weather(d.params::<Cities>()));
        });
    let silence = dag("weather_silence")
        .describe("Fails when a city was not heard of for two intervals, and names it")
        .schedule("*/15 * * * *")
        .start("2024-01-01")
        .tags(["weather", "quality"])
        .max_active_runs(1)
        .build(|d| {
            d.add(cities_are_heard(d.params::<Watched>()).inlet(watched()));
        });
    vec![producer, silence]
}
