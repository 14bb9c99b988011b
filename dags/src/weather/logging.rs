//! Weather that a server logs: its records → topic `weather` → table `default.weather`.
//!
//! A run each minute sends the readings of its minute, ten every five seconds: to the logging server if a connection to
//! one exists, otherwise directly into the topic.

mod server;

pub use server::server;

use crate::common::connections::LOGGING_SERVER;
use crate::common::dice::scramble;
use crate::common::topics::publish;
use chrono::{DateTime, Utc};
use form_urlencoded::Serializer;
use iceberg::spec::Transform;
use orch::prelude::*;
use orch_lake::contract::{Contract, Policy};
use orch_lake::source::http::Http;
use orch_lake::{TableSpec, columns};
use orch_streams::Stream;
use std::time::Duration;

pub const TOPIC: &str = "weather";
pub const PARTITIONS: i32 = 1;
const TIMEOUT: Duration = Duration::from_secs(20);
const CITIES: &str = "New York,Los Angeles,Chicago,Houston,Phoenix,San Francisco,Seattle,Denver,Boston,Miami";
const READINGS_PER_MINUTE: u64 = 120;

const TABLE: TableSpec = TableSpec::new(
    "default",
    "weather",
    &[],
    columns! { city: Option<String>, temperature: Option<String>, ts: Option<String> },
)
.partition(&[("ts", Transform::Identity)])
.chart(
    "select city, round(avg(cast(temperature as double)), 1) as temperature from default.weather group by city order by city",
);

/// Topic `weather` → `default.weather`, by the hour in `ts`.
pub fn stream() -> Stream {
    let (id, definition) = TABLE.id().and_then(|id| Ok((id, TABLE.definition()?))).expect("the table is valid");
    Stream::new("logging_weather")
        .describe("Readings that the logging server received, into the lake")
        .topic(TOPIC)
        .partitions(PARTITIONS)
        .json(TABLE.schema())
        .contract(Contract::of(TABLE.uri()).not_null(TABLE.column_names()).or(Policy::Quarantine))
        .append(id, definition)
        .commit_every(secs(10))
        .connector("iceberg-sink")
}

pub fn dags() -> Vec<Dag> {
    let client = dag("logging_client")
        .describe("The client of the logging server: it sends ten readings every five seconds for a minute")
        .schedule("* * * * *")
        .start("2024-01-01")
        .tags(["logging", "streams"])
        .owners(["airflow"])
        .max_active_runs(1)
        .build(|d| {
            d.add(log_weather());
        });
    vec![client]
}

/// Sends the readings of the minute, which are the same in every attempt. A server dates them by its own clock, and keeps the readings
/// of an attempt that failed.
#[task(retries = 2)]
async fn log_weather(ctx: Ctx) -> TaskResult<usize> {
    let at = ctx.logical_date().unwrap_or_else(|| ctx.run_after());
    let readings: Vec<Reading> = readings(at).collect();
    let server = ctx.connection(LOGGING_SERVER).await?;
    if ["http", "https"].contains(&server.conn_type.as_str()) {
        let http = Http::of(&server)?.within(TIMEOUT);
        for Reading { city, temperature, .. } in &readings {
            let pairs = [("city", city), ("temperature", temperature)];
            let query = Serializer::new(String::new()).extend_pairs(pairs).finish();
            http.bytes(&ctx, &format!("log?{query}")).await?;
        }
    } else {
        let records = readings.iter().map(NewRecord::json).collect::<TaskResult<Vec<_>>>()?;
        publish(&ctx, TOPIC, PARTITIONS, records).await?;
    }
    Ok(readings.len())
}

/// A record of the topic.
#[derive(Debug, PartialEq, Serialize)]
struct Reading {
    city: String,
    temperature: String,
    /// Start of the hour, in UTC.
    ts: String,
}

impl Reading {
    fn at(time: DateTime<Utc>, city: String, temperature: String) -> Reading {
        Reading { city, temperature, ts: time.format("%Y-%m-%d-%H").to_string() }
    }
}

fn readings(at: DateTime<Utc>) -> impl Iterator<Item = Reading> {
    let (minute, cities) = (at.timestamp().cast_unsigned() / 60, CITIES.split(',').collect::<Vec<_>>());
    (0..READINGS_PER_MINUTE).map(move |nth| {
        let random = scramble(minute * READINGS_PER_MINUTE + nth);
        let (city, hundredths) = (cities[(random >> 32) as usize % cities.len()], random % 12_001);
        Reading::at(at, city.into(), format!("{}.{:02}", hundredths / 100, hundredths % 100))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_always_has_the_same_readings() {
        let at = DateTime::from_timestamp(1_767_880_800, 0).unwrap();
        let one: Vec<_> = readings(at).collect();
        assert_eq!((one.len(), one[0].ts.as_str()), (120, "2026-01-08-14"));
        assert!(readings(at).eq(one) && !readings(at).eq(readings(at + chrono::TimeDelta::minutes(1))));
    }
}
