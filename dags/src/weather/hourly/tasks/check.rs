//! Raw → checked: rows that may be published, and beside them those that may not, with the reason.

use super::BUCKET;
use super::fetch::{Fetched, Listed};
use crate::common::lakehouse::Lakehouse;
use crate::common::nyc::schema::{HOURLY, Table, ZONES};
use crate::weather::hourly::contracts;
use crate::weather::hourly::hours::hour_of;
use arrow::array::{AsArray as _, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::TimestampMicrosecondType;
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use orch::prelude::*;
use orch_lake::Filter;
use orch_lake::batches::Batches;
use orch_lake::bucket::Bucket;
use orch_lake::contract::{Contract, Facts, Stats};
use orch_lake::format::parquet;

/// What outliers are measured by.
const HISTORY_DAYS: i64 = 30;
/// Fewer hours have not seen enough weather.
const LEAST_HISTORY: usize = 7 * 24;
/// Missing hours that are named in a log.
const MOST_NAMED: usize = 10;

/// Rows of one table that were looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lot {
    /// Where they came from.
    pub from: String,
    pub passed: String,
    pub rows: u64,
    pub aside: String,
    pub rows_aside: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    pub weather: Lot,
    pub zones: Lot,
    pub zones_digest: String,
    /// Hours that nobody told.
    pub missing: Vec<String>,
}

/// Holds both tables to their contracts before anybody sees them: rows that cannot be go aside, with the reason; hours
/// that are missing are told. What was found stands on the pages of the tables, however this ends.
#[task(retries = 2, retry_delay = secs(5), timeout = mins(30))]
pub async fn validate(ctx: Ctx, weather: Fetched, zones: Listed) -> TaskResult<Checked> {
    let place = Lakehouse::of(&ctx).await?;
    let bucket = place.bucket(BUCKET).await?;
    if !weather.missing.is_empty() {
        let named: Vec<&str> = weather.missing.iter().take(MOST_NAMED).map(String::as_str).collect();
        let more = if weather.missing.len() > MOST_NAMED { ", …" } else { "" };
        ctx.warning(format!("{} hours are missing: {}{more}", weather.missing.len(), named.join(", ")));
    }
    let rows = read(&bucket, &weather.object, &HOURLY).await?;
    if rows.iter().all(|batch| batch.num_rows() == 0) {
        return Err(fatal(format!(
            "nothing was told of any hour\nhint: `{BUCKET}/{}` is empty; look at the log of `fetch_weather`",
            weather.object
        )));
    }
    let facts = known_weather(&ctx, &place, &rows).await?;
    let hours = sort(&ctx, &bucket, &contracts::hourly_weather(), &facts, (&weather.object, rows)).await?;
    let rows = read(&bucket, &zones.object, &ZONES).await?;
    let facts = Facts::at(ctx.run_after());
    let facts = match place.lake.find(&ZONES.id()?).await? {
        Some(table) => facts.rows_before(table.count().await?),
        None => facts,
    };
    let listed = sort(&ctx, &bucket, &contracts::taxi_zones(), &facts, (&zones.object, rows)).await?;
    Ok(Checked { weather: hours, zones: listed, zones_digest: zones.digest, missing: weather.missing })
}

async fn read(bucket: &Bucket, key: &str, table: &Table) -> TaskResult<Vec<RecordBatch>> {
    parquet::read_as(bucket, key, table.arrow()).await?.try_collect().await
}

/// What the table knows of the time before these rows.
async fn known_weather(ctx: &Ctx, place: &Lakehouse, rows: &[RecordBatch]) -> TaskResult<Facts> {
    let facts = Facts::at(hour_of(ctx.run_after()));
    let Some(table) = place.lake.find(&HOURLY.id()?).await? else { return Ok(facts) };
    let Some(first) = rows.iter().filter_map(|batch| min(times(batch))).min().and_then(moment) else {
        return Ok(facts);
    };
    let long_ago = first - chrono::TimeDelta::days(HISTORY_DAYS);
    let before = Filter::ge("timestamp", long_ago.to_rfc3339()).and(Filter::lt("timestamp", first.to_rfc3339()));
    let history = table.scan().columns(["timestamp", "temperature_celsius"]).filter(before).collect().await?;
    let newest = history.iter().filter_map(|batch| max(times(batch))).max().and_then(moment);
    let facts = newest.into_iter().fold(facts, |facts, at| facts.newest("timestamp", at));
    let stats = Stats::of_column(&history, "temperature_celsius")?.filter(|stats| stats.count >= LEAST_HISTORY);
    Ok(stats.into_iter().fold(facts, |facts, stats| facts.history("temperature_celsius", stats)))
}

fn times(batch: &RecordBatch) -> &arrow::array::PrimitiveArray<TimestampMicrosecondType> {
    let column = batch.column_by_name("timestamp").expect("both schemas have it");
    column.as_primitive::<TimestampMicrosecondType>()
}

fn moment(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros)
}

/// Sorts a lot and keeps both parts as objects beside it.
async fn sort(
    ctx: &Ctx,
    bucket: &Bucket,
    contract: &Contract,
    facts: &Facts,
    (from, rows): (&str, Vec<RecordBatch>),
) -> TaskResult<Lot> {
    let schema = rows.first().map(RecordBatch::schema);
    let report = contract.check(&rows, facts)?;
    ctx.commit(report.trail(ctx))?;
    report.ok().map_err(|broken| fatal(broken.to_string()))?;
    let [passed, aside] = ["passed", "aside"].map(|part| from.replacen("fetched/", &format!("{part}/"), 1));
    let (rows, rows_aside) = (report.rows_passed() as u64, report.rows_quarantined() as u64);
    let of = schema.unwrap_or_else(|| arrow::datatypes::Schema::empty().into());
    parquet::write(bucket, &passed, Batches::of(of, report.passed)).await?;
    if rows_aside > 0 {
        ctx.warning(format!("{rows_aside} of {} rows of `{}` were put aside", rows + rows_aside, contract.uri()));
        parquet::write(bucket, &aside, report.quarantined.into()).await?;
    }
    ctx.info(format!("{rows} rows of `{}` may be published", contract.uri()));
    Ok(Lot { from: from.into(), passed, rows, aside, rows_aside })
}
