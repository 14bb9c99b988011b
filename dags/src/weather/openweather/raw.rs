//! The topic → the raw table: flat columns, and the unchanged responses. Offsets and rows are committed in the
//! transaction that records the success of the task, so each record is appended exactly once.

use super::{RAW_BUCKET, TOPIC};
use crate::common::connections::TOPICS;
use crate::common::lakehouse::Lakehouse;
use crate::common::rows::batch_of;
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use iceberg::spec::Transform;
use orch::TriggerRequest;
use orch::prelude::*;
use orch_lake::publish::Publisher;
use orch_lake::{Batches, TableSpec, columns};
use orch_streams::{Record, TopicReading};
use serde_json::Value;
use std::collections::BTreeSet;

/// Name under which the offsets are stored.
const READER: &str = "openweather_raw";
/// Maximum number of records per run; the next run reads the rest.
const MAX_RECORDS: usize = 1_000_000;

/// Columns with the time of the request and the time of the measurement.
pub(super) const INGESTED: &str = "ingest_ts";
pub(super) const MEASURED: &str = "dt";

pub(super) const RAW: TableSpec = TableSpec::new(
    "weather",
    "openweather",
    &[],
    columns! {
        city: String, lon: Option<f64>, lat: Option<f64>, temp: Option<f64>, humidity: Option<f64>,
        wind_speed: Option<f64>, clouds_all: Option<f64>, dt_epoch: i64, dt: DateTime<Utc>, ingest_ts: DateTime<Utc>,
        answer: String, kafka_partition: i32, kafka_offset: i64,
    },
)
.partition(&[(INGESTED, Transform::Day)])
.chart("select ingest_ts, temp from weather.openweather where city = 'London' order by ingest_ts desc limit 500");

/// Returns a row of the table and its day, or `None` if the record is an error record, lacks a city or time, or has a
/// value of another type.
fn row_of(record: &Record<'_>) -> Option<(NaiveDate, Value)> {
    let answer = std::str::from_utf8(record.value?).ok()?;
    let response: Value = serde_json::from_str(answer).ok()?;
    let number = |pointer: &str| match response.pointer(pointer) {
        None | Some(Value::Null) => Some(None),
        Some(value) => value.as_f64().map(Some),
    };
    let city = response["name"].as_str().filter(|city| !city.is_empty() && !city.contains('\0'))?;
    let is_error = !matches!(response.get("_error"), None | Some(Value::Bool(false)));
    let dt_epoch = response["dt"].as_i64().filter(|_| !is_error)?;
    let dt = DateTime::from_timestamp(dt_epoch, 0)?;
    let ingest_ts = match &response["_ingest_ts"] {
        Value::Null => dt,
        time => time.as_str()?.parse::<NaiveDateTime>().ok()?.and_utc(),
    };
    let row = json!({
        "city": city, "lon": number("/coord/lon")?, "lat": number("/coord/lat")?, "temp": number("/main/temp")?,
        "humidity": number("/main/humidity")?, "wind_speed": number("/wind/speed")?, "clouds_all": number("/clouds/all")?,
        "dt_epoch": dt_epoch, "dt": dt, "ingest_ts": ingest_ts, "answer": answer,
        "kafka_partition": record.partition, "kafka_offset": record.offset,
    });
    Some((ingest_ts.date_naive(), row))
}

/// The new records of the topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Read {
    pub rows: u64,
    /// Number of error records, and of records that are not the weather of a city.
    pub refused: u64,
    /// First and last day of the rows.
    pub days: Option<(NaiveDate, NaiveDate)>,
}

/// Appends the records since the last run that succeeded.
#[task(retries = 1, retry_delay = mins(1), timeout = mins(30))]
pub async fn kafka_to_raw_once(ctx: Ctx) -> TaskResult<Read> {
    let place = Lakehouse::of(&ctx).await?;
    let mut publisher = Publisher::new(&ctx, &place.lake).await?;
    let raw = publisher.table(&RAW, Some(place.bucket(RAW_BUCKET).await?.url())).await?;
    let mut topic = TopicReading::of(&ctx, READER, TOPICS, TOPIC).await?.most(MAX_RECORDS);
    let (mut batches, mut days, mut refused) = (Vec::new(), BTreeSet::new(), 0);
    while let Some(records) = topic.next(&ctx).await? {
        let (of, rows): (Vec<NaiveDate>, Vec<Value>) = records.iter().filter_map(|record| row_of(&record)).unzip();
        refused += (records.len() - rows.len()) as u64;
        days.extend(of);
        batches.push(batch_of(&RAW.schema(), &rows)?);
    }
    let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
    if rows > 0 {
        publisher.change(raw.append(Batches::from(batches)).await?);
        publisher.publish()?;
    }
    topic.done(&ctx).await?;
    ctx.info(format!("{rows} rows are in `{}`; {refused} records are not the weather of a city", RAW.id()?));
    ctx.lineage(&format!("kafka://{TOPIC}"), &RAW.uri(), rows)?;
    Ok(Read { rows, refused, days: days.first().copied().zip(days.last().copied()) })
}

/// Computes the 5-minute view of the days of the new rows. Starts no run without new rows.
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

#[cfg(test)]
mod tests {
    use super::super::cities::response_of;
    use super::*;
    use crate::weather::hourly::sample::Sample;

    fn row(value: &str) -> Option<Value> {
        let (at_ms, key, old_key, value) = (None, None, None, Some(value.as_bytes()));
        row_of(&Record { partition: 0, offset: 1, at_ms, key, value, old_key, has_new_key: false }).map(|(_, row)| row)
    }

    #[test]
    fn a_row_has_a_city_and_a_time() {
        let at = "2026-11-22T20:15:00Z".parse().expect("a time");
        let sample = response_of(Sample::default(), "London", at).expect("a response").to_string();
        let requested =
            r#"{"name":"London","main":{"temp":285.5},"dt":1756684794,"_ingest_ts":"2025-09-01T00:00:07.000000"}"#;
        let good = [requested, r#"{"name":"London","dt":1756684794}"#, &sample].map(|good| row(good).expect(good));
        assert_eq!([&good[0]["ingest_ts"], &good[1]["ingest_ts"]], ["2025-09-01T00:00:07Z", "2025-08-31T23:59:54Z"]);
        assert_eq!((&good[0]["temp"], &good[1]["temp"]), (&json!(285.5), &Value::Null));
        assert_eq!(batch_of(&RAW.schema(), &good).expect("a batch").num_rows(), 3);
        for bad in [
            r#"{"_error":true,"status_code":401,"name":"London","dt":1}"#,
            r#"{"name":null,"dt":1756684794}"#,
            r#"{"name":"London"}"#,
            r#"{"name":"London","dt":1,"main":{"temp":"hot"}}"#,
            r#"{"name":"London","dt":99999999999999999}"#,
            "[]",
            "",
        ] {
            assert_eq!(row(bad), None, "{bad}");
        }
    }
}
