//! The topic → Postgres without a schedule: the windows of `weather_rt` and `weather_bt`, in the schema `live`.

use super::{PARTITIONS, TOPIC};
use crate::common::connections::RETAIL_POSTGRES;
use anyhow::ensure;
use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, TimeUnit, TimestampSecondType};
use orch::prelude::*;
use orch_streams::{OFFSET, PARTITION, Stream, Windows};
use std::sync::Arc;
use std::time::Duration;

/// An answer comes so long after it was measured, or asked for, at most.
const LATE: Duration = Duration::from_hours(3);

pub fn streams() -> Vec<Stream> {
    let stream = |name: &str, text: &str| {
        Stream::new(name).describe(text).topic(TOPIC).partitions(PARTITIONS).json(record()).ignore_unknown_fields()
    };
    let rt = stream("weather_rt", "Averages of 5 minutes by city, as records come")
        .transform(|answers| flat(&answers, None))
        .windows(averages(Windows::tumbling(mins(5)).by(&["city"]).at("ingest_ts")))
        .upsert_postgres(RETAIL_POSTGRES, "live.weather_rt", &["city", "window_start"], None);
    let bt = |grain: &'static str, size: Duration| {
        stream(&format!("weather_bt_{grain}"), "Averages by city, as records come")
            .transform(move |answers| flat(&answers, Some(grain)))
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
    let main: Fields = vec![number("temp"), number("humidity")].into();
    Schema::new(vec![
        Field::new("name", DataType::Utf8, true),
        Field::new("main", DataType::Struct(main), true),
        Field::new("dt", DataType::Int64, true),
        Field::new("_ingest_ts", DataType::Utf8, true),
        Field::new("_error", DataType::Boolean, true),
        Field::new("status_code", DataType::Int64, true),
    ])
}

/// Rows with a city and both times. An answer in which the API refused is no row.
fn flat(answers: &RecordBatch, grain: Option<&str>) -> TaskResult<RecordBatch> {
    let column = |name: &str| answers.column_by_name(name).with_context(|| format!("column {name}"));
    let (errors, status) = (column("_error")?.as_boolean(), column("status_code")?.as_primitive::<Int64Type>());
    if let Some(row) = (0..answers.num_rows()).find(|row| errors.is_valid(*row) && errors.value(*row)) {
        anyhow::bail!("the API refused with status {}", status.value(row));
    }
    let city = column("name")?;
    ensure!(city.null_count() == 0, "it names no city");
    let main = column("main")?.as_struct();
    let at = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let seconds = column("dt")?.as_primitive::<Int64Type>().reinterpret_cast::<TimestampSecondType>();
    let measured = cast(&seconds.with_timezone("+00:00"), &at)?;
    let asked = cast(&cast(column("_ingest_ts")?, &DataType::Timestamp(TimeUnit::Microsecond, None))?, &at)?;
    let ingested = zip(&arrow::compute::is_not_null(&asked)?, &asked, &measured)?;
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("city", city.clone()),
        ("temp", main.column(0).clone()),
        ("humidity", main.column(1).clone()),
        ("dt", measured),
        ("ingest_ts", ingested),
        (PARTITION, column(PARTITION)?.clone()),
        (OFFSET, column(OFFSET)?.clone()),
    ];
    if let Some(grain) = grain {
        let all = StringArray::from_iter_values((0..answers.num_rows()).map(|_| grain));
        columns.insert(0, ("grain", Arc::new(all)));
    }
    Ok(RecordBatch::try_from_iter(columns)?)
}
