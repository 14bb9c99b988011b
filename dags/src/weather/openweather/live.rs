//! The topic → Postgres as streams: the windows of `weather_rt` and `weather_bt`, in the schema `live`.

use super::{PARTITIONS, TOPIC};
use crate::common::connections::RETAIL_POSTGRES;
use crate::common::rows::select;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use orch::prelude::*;
use orch_lake::frame::sql::query_rows;
use orch_streams::{OFFSET, PARTITION, Stream, Windows};
use std::time::Duration;

/// Maximum delay between the measurement or request of a response and its arrival.
const LATE: Duration = Duration::from_hours(3);

pub fn streams() -> Vec<Stream> {
    let stream = |name: &str, text: &str, grain: &'static str| {
        let stream = Stream::new(name).describe(text).topic(TOPIC).partitions(PARTITIONS);
        stream.json(record()).ignore_unknown_fields().transform(move |responses| flatten(&responses, grain))
    };
    let rt = stream("weather_rt", "Averages of 5 minutes by city, as records come", "5min")
        .windows(averages(Windows::tumbling(mins(5)).by(&["city"]).at("ingest_ts")))
        .upsert_postgres(RETAIL_POSTGRES, "live.weather_rt", &["city", "window_start"], None);
    let bt = |grain: &'static str, size: Duration| {
        stream(&format!("weather_bt_{grain}"), "Averages by city, as records come", grain)
            .windows(averages(Windows::tumbling(size).by(&["grain", "city"]).at("dt")))
            .upsert_postgres(RETAIL_POSTGRES, "live.weather_bt", &["grain", "city", "window_start"], None)
    };
    vec![rt, bt("hourly", hours(1)), bt("daily", hours(24))]
}

fn averages(windows: Windows) -> Windows {
    windows.allow_late(LATE).average("temp", "avg_temp").average("humidity", "avg_humidity").count("n")
}

fn record() -> Schema {
    let number = |name: &str| Field::new(name, DataType::Float64, true);
    Schema::new(vec![
        Field::new("name", DataType::Utf8, true),
        Field::new("main", DataType::Struct(vec![number("temp"), number("humidity")].into()), true),
        Field::new("dt", DataType::Int64, true),
        Field::new("_ingest_ts", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("_error", DataType::Boolean, true),
        Field::new("status_code", DataType::Int64, true),
    ])
}

/// Converts responses to rows. A time that does not fit a timestamp is null, so its record is quarantined.
///
/// # Errors
/// Returns an error if a record is an error record or has no city.
fn flatten(responses: &RecordBatch, grain: &str) -> TaskResult<RecordBatch> {
    let bad = "SELECT _error, status_code FROM rows WHERE _error OR name IS NULL LIMIT 1";
    let bad = query_rows(std::slice::from_ref(responses), bad)?;
    if let Some(refused) = bad.column("_error")?.bool()?.iter().next() {
        ensure!(refused != Some(true), "the API refused with status {}", bad.column("status_code")?.get(0)?);
        bail!("it names no city");
    }
    select(
        responses,
        &format!(
            "SELECT '{grain}' AS grain, city, temp, humidity, dt, COALESCE(_ingest_ts, dt) AS ingest_ts, {PARTITION}, {OFFSET}
             FROM (SELECT name AS city, main.temp, main.humidity, _ingest_ts, {PARTITION}, {OFFSET},
               CASE WHEN ABS(dt) < 1000000000000 THEN CAST(dt * 1000000 AS TIMESTAMP) END AS dt FROM rows) AS flat"
        ),
    )
}
