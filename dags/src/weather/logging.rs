//! Weather that a server logs: its records → topic `weather` → table `default.weather`.
//!
//! The client of the document sends ten readings every five seconds; here a run each minute sends those of its minute, to the
//! logging server where a connection leads to one, else into the topic.

mod server;

pub use server::server;

use crate::common::connections::LOGGING_SERVER;
use crate::common::dice::scramble;
use crate::common::topics::publish;
use arrow::datatypes::{DataType, Field, Schema};
use chrono::{DateTime, Utc};
use form_urlencoded::Serializer;
use iceberg::spec::{PrimitiveType, Transform};
use orch::prelude::*;
use orch_lake::contract::{Contract, Policy};
use orch_lake::source::http::Http;
use orch_lake::{TableDef, TableName};
use orch_streams::Stream;
use std::time::Duration;

pub const TOPIC: &str = "weather";
pub const PARTITIONS: i32 = 1;
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const CITIES: [&str; 10] = [
    "New York",
    "Los Angeles",
    "Chicago",
    "Houston",
    "Phoenix",
    "San Francisco",
    "Seattle",
    "Denver",
    "Boston",
    "Miami",
];
/// Ten every five seconds.
const A_MINUTE: u64 = 120;

pub fn table() -> TableName {
    TableName::new("default", "weather").expect("it is a name")
}

/// Topic `weather` → `default.weather`, by the hour in `ts`.
pub fn stream() -> Stream {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let contract =
        Contract::of("lake://default/weather").not_null(["city", "temperature", "ts"]).or(Policy::Quarantine);
    let definition = TableDef::new()
        .optional("city", PrimitiveType::String)
        .optional("temperature", PrimitiveType::String)
        .optional("ts", PrimitiveType::String)
        .partition("ts", Transform::Identity)
        .chart("select city, round(avg(cast(temperature as double)), 1) as temperature from default.weather group by city order by city");
    Stream::new("logging_weather")
        .describe("Readings that the logging server received, into the lake")
        .topic(TOPIC)
        .partitions(PARTITIONS)
        .json(Schema::new(vec![text("city"), text("temperature"), text("ts")]))
        .contract(contract)
        .append(table(), definition)
        .commit_every(secs(10))
}

pub fn dags() -> Vec<Dag> {
    let client = dag("logging_client")
        .describe("What the client of the logging server sends in a minute: ten readings every five seconds")
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

/// The readings of the minute: the same, however often it is run. A server writes its own hour into them, and has those of a try
/// that failed twice.
#[task(retries = 2)]
async fn log_weather(ctx: Ctx) -> TaskResult<usize> {
    let at = ctx.logical_date().unwrap_or_else(|| ctx.run_after());
    let readings: Vec<ClientReading> = readings(at).collect();
    let server = ctx.connection(LOGGING_SERVER).await?;
    if ["http", "https"].contains(&server.conn_type.as_str()) {
        let http = Http::of(&server)?.within(ANSWER_WITHIN);
        for reading in &readings {
            http.bytes(&ctx, &asked(reading)).await?;
        }
    } else {
        let records = readings.iter().map(NewRecord::json).collect::<TaskResult<Vec<_>>>()?;
        publish(&ctx, TOPIC, PARTITIONS, records).await?;
    }
    Ok(readings.len())
}

fn asked(reading: &ClientReading) -> String {
    let mut query = Serializer::new(String::new());
    query.append_pair("city", reading.city).append_pair("temperature", &reading.temperature);
    format!("log?{}", query.finish())
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct ClientReading {
    city: &'static str,
    temperature: String,
    ts: String,
}

fn readings(at: DateTime<Utc>) -> impl Iterator<Item = ClientReading> {
    let (minute, ts) = (at.timestamp().cast_unsigned() / 60, at.format("%Y-%m-%d-%H").to_string());
    (0..A_MINUTE).map(move |nth| {
        let random = scramble(minute * A_MINUTE + nth);
        let hundredths = random % 12_001;
        ClientReading {
            city: CITIES[(random >> 32) as usize % CITIES.len()],
            temperature: format!("{}.{:02}", hundredths / 100, hundredths % 100),
            ts: ts.clone(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_a_hundred_and_twenty_readings_of_its_own() {
        let at = DateTime::from_timestamp(1_767_880_800, 0).unwrap();
        let (one, again): (Vec<_>, Vec<_>) = (readings(at).collect(), readings(at).collect());
        assert_eq!(one, again);
        assert_eq!((one.len(), one[0].ts.as_str()), (120, "2026-01-08-14"));
        assert_ne!(one, readings(at + chrono::TimeDelta::minutes(1)).collect::<Vec<_>>());
        for reading in &one {
            let degrees: f64 = reading.temperature.parse().unwrap();
            assert!((0.0..=120.0).contains(&degrees), "{reading:?}");
        }
    }
}
