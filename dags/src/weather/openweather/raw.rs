//! The topic → the raw table: flat columns, and the answers as they came. Offsets and rows are kept in the transaction that records
//! the success of the task, so each record is there once.

use super::answer::CityReading;
use super::{RAW_BUCKET, TOPIC};
use crate::common::connections::TOPICS;
use crate::common::lakehouse::Lakehouse;
use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use chrono::{DateTime, NaiveDate, Utc};
use iceberg::spec::{PrimitiveType, Transform};
use orch::TriggerRequest;
use orch::prelude::*;
use orch_lake::table::CommitStep;
use orch_lake::{Table, TableDef, TableName};
use orch_streams::{Records, TopicReading};
use std::sync::Arc;

/// The name under which it is kept how far the topic was read.
const READER: &str = "openweather_raw";
/// Of a run; the next one reads the others.
const MOST_RECORDS: usize = 1_000_000;

pub(super) fn table() -> TableName {
    TableName::new("weather", "openweather").expect("it is a name")
}

/// The columns of the raw table, by when the answers came.
pub(super) const INGESTED: &str = "ingest_ts";
pub(super) const MEASURED: &str = "dt";

pub(super) async fn ensure(place: &Lakehouse) -> TaskResult<Table> {
    let definition = TableDef::new()
        .required("city", PrimitiveType::String)
        .optional("lon", PrimitiveType::Double)
        .optional("lat", PrimitiveType::Double)
        .optional("temp", PrimitiveType::Double)
        .optional("humidity", PrimitiveType::Double)
        .optional("wind_speed", PrimitiveType::Double)
        .optional("clouds_all", PrimitiveType::Double)
        .required("dt_epoch", PrimitiveType::Long)
        .required(MEASURED, PrimitiveType::Timestamptz)
        .required(INGESTED, PrimitiveType::Timestamptz)
        .required("answer", PrimitiveType::String)
        .required("kafka_partition", PrimitiveType::Int)
        .required("kafka_offset", PrimitiveType::Long)
        .location(format!("{}/openweather", place.bucket(RAW_BUCKET).await?.url()))
        .partition(INGESTED, Transform::Day)
        .chart(
            "select ingest_ts, temp from weather.openweather where city = 'London' order by ingest_ts desc limit 500",
        );
    Ok(place.lake.ensure(&table(), &definition).await?)
}

/// What was new in the topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Read {
    pub rows: u64,
    /// Records in which the API refused, or that are no weather of a city.
    pub refused: u64,
    /// The first and the last day that rows are of.
    pub days: Option<(NaiveDate, NaiveDate)>,
}

/// Appends what came since the last run that succeeded.
#[task(retries = 1, retry_delay = mins(1), timeout = mins(30))]
pub async fn kafka_to_raw_once(ctx: Ctx) -> TaskResult<Read> {
    let place = Lakehouse::of(&ctx).await?;
    let raw = ensure(&place).await?;
    let mut topic = TopicReading::of(&ctx, READER, TOPICS, TOPIC).await?.most(MOST_RECORDS);
    let (mut batches, mut read) = (Vec::new(), Read::default());
    while let Some(records) = topic.next(&ctx).await? {
        batches.push(rows(&records, &mut read)?);
    }
    if read.rows > 0 {
        let change = raw.append(orch_lake::Batches::from(batches)).await?;
        ctx.commit(CommitStep::new(&place.lake, vec![change]))?;
    }
    topic.done(&ctx).await?;
    ctx.info(format!("{} rows are in `{}`; {} records are no weather of a city", read.rows, table(), read.refused));
    ctx.lineage(&format!("kafka://{TOPIC}"), "lake://weather/openweather", read.rows)?;
    Ok(read)
}

fn rows(records: &Records, read: &mut Read) -> TaskResult<RecordBatch> {
    let mut readings = Vec::new();
    for record in records.iter() {
        let value = record.value.unwrap_or_default();
        match (CityReading::of(value), std::str::from_utf8(value)) {
            (Some(reading), Ok(text)) => readings.push((reading, text, record.partition, record.offset)),
            _ => read.refused += 1,
        }
    }
    read.rows += readings.len() as u64;
    for (reading, ..) in &readings {
        let day = reading.ingested_at.date_naive();
        read.days = Some(read.days.map_or((day, day), |(first, last)| (first.min(day), last.max(day))));
    }
    let number = |of: fn(&CityReading) -> Option<f64>| -> ArrayRef {
        Arc::new(readings.iter().map(|(reading, ..)| of(reading)).collect::<Float64Array>())
    };
    let time = |of: fn(&CityReading) -> DateTime<Utc>| -> ArrayRef {
        let micros = readings.iter().map(|(reading, ..)| of(reading).timestamp_micros());
        Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("+00:00"))
    };
    let columns: [(&str, ArrayRef); 13] = [
        ("city", Arc::new(StringArray::from_iter_values(readings.iter().map(|(reading, ..)| &reading.city)))),
        ("lon", number(|reading| reading.answer.coord.lon)),
        ("lat", number(|reading| reading.answer.coord.lat)),
        ("temp", number(|reading| reading.answer.main.temp)),
        ("humidity", number(|reading| reading.answer.main.humidity)),
        ("wind_speed", number(|reading| reading.answer.wind.speed)),
        ("clouds_all", number(|reading| reading.answer.clouds.all)),
        ("dt_epoch", Arc::new(readings.iter().map(|(reading, ..)| reading.answer.dt).collect::<Int64Array>())),
        (MEASURED, time(|reading| reading.measured_at)),
        (INGESTED, time(|reading| reading.ingested_at)),
        ("answer", Arc::new(StringArray::from_iter_values(readings.iter().map(|(_, text, ..)| *text)))),
        (
            "kafka_partition",
            Arc::new(Int32Array::from_iter_values(readings.iter().map(|(.., partition, _)| *partition))),
        ),
        ("kafka_offset", Arc::new(Int64Array::from_iter_values(readings.iter().map(|(.., offset)| *offset)))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// Has the days of the new rows counted. One that finds nothing new starts no run.
#[task(retries = 3, retry_delay = secs(5))]
pub async fn trigger_stream_5min(ctx: Ctx, read: Read) -> TaskResult<Option<String>> {
    let Some((from, to)) = read.days else { return Ok(None) };
    let request = TriggerRequest {
        dag_id: "stream_5min_dag".into(),
        conf: Some(json!({ "from": from, "to": to })),
        note: Some(format!("{} new rows", read.rows)),
        ..TriggerRequest::default()
    };
    let started = ctx.host().trigger(request).await?;
    ctx.info(format!("started run `{}` of dag `{}`", started.run_id, started.dag_id));
    Ok(Some(started.run_id))
}
