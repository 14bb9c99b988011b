//! The tasks. They pass objects of a bucket to each other, and publish tables in the transaction that records their
//! success.

use super::contracts;
use super::hours::hour_of;
use super::options::Weather;
use super::readings;
use super::source::{Hours, Source};
use crate::common::connections::WEATHER_API;
use crate::common::data_end;
use crate::common::lakehouse::Lakehouse;
use crate::common::nyc::days::Days;
use crate::common::nyc::month::Month;
use crate::common::nyc::schema::{HOURLY, ZONES};
use crate::common::nyc::sources::{self, filled};
use crate::common::nyc::zones;
use crate::common::rows::query;
use arrow::array::RecordBatch;
use chrono::{DateTime, NaiveTime, SecondsFormat, TimeDelta, Utc};
use futures::TryStreamExt as _;
use orch::prelude::*;
use orch_lake::contract::{CheckOutcome, CheckTrail, Facts, KeySet, Stats};
use orch_lake::format::parquet;
use orch_lake::publish::{Layer, Published, Publisher};
use orch_lake::{Batches, Filter, TableSpec};
use std::collections::BTreeSet;

/// Bucket of fetched objects.
pub const BUCKET: &str = "raw-weather-data";

/// The hours that the source returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// Key of the object.
    pub object: String,
    pub rows: u64,
    /// Hours that the source should have and did not return, such as `New York 2026-01-01T05:00:00Z`.
    pub missing: Vec<String>,
}

/// The zones that are compiled into the binary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub object: String,
    pub rows: u64,
    /// Hash that changes with any zone.
    pub digest: String,
}

/// Fetches the hours up to the hour of the run, for each location. Later runs fetch the same hours again, and replace them.
#[task(retries = 3, retry_delay = secs(5), retry_backoff = 2.0, timeout = mins(30))]
pub async fn fetch_weather(ctx: Ctx, wish: Weather) -> TaskResult<Fetched> {
    wish.check()?;
    let place = Lakehouse::of(&ctx).await?;
    let source = Source::of(&ctx.connection(WEATHER_API).await?)?;
    let last = hour_of(data_end(&ctx));
    let now = place.now().await?;
    let count = match source {
        Source::Sample(_) if wish == Weather::default() => {
            wish.hours.max(hours_since_sample_trips(&place, last, now).await?)
        }
        _ => wish.hours,
    };
    let hours = Hours { last, count, now };
    let promised = source.promised(hours);
    let (mut all, mut missing) = (Vec::new(), Vec::new());
    for location in &wish.locations {
        let series = source.series(&ctx, location, hours).await?;
        let found = series.hours();
        let name =
            |hour: &DateTime<Utc>| format!("{} {}", location.name, hour.to_rfc3339_opts(SecondsFormat::Secs, true));
        missing.extend(promised.iter().filter(|hour| !found.contains(hour)).map(name));
        all.push(series);
    }
    let object = format!("fetched/weather_data_{}.parquet", last.format("%Y%m%d_%H"));
    let rows = write(&place, &object, readings::rows(&all, data_end(&ctx))?).await?;
    ctx.info(format!("{rows} hours of {} locations are in `{BUCKET}/{object}`", all.len()));
    ctx.lineage(&source.uri(), &object_uri(&object), rows)?;
    Ok(Fetched { object, rows, missing })
}

/// Returns the number of hours from the newest month of sample trips to `last`, or 0 if the weather of that month is
/// stored. Sample trips are published months late, and the analytics need the weather of the same hours.
async fn hours_since_sample_trips(place: &Lakehouse, last: DateTime<Utc>, now: DateTime<Utc>) -> TaskResult<u32> {
    let month = Month::newest_sample(now);
    let days = Days { first: month.first(), last: month.next().first() - TimeDelta::days(1) };
    // In spring, clocks skip one of these hours.
    if sources::hours(place, days).await?.column("condition")?.null_count() <= 1 {
        return Ok(0);
    }
    let hours = last - days.first.and_time(NaiveTime::MIN).and_utc();
    // A backfill of an earlier time has no hours of that month.
    Ok(u32::try_from(hours.num_hours() + 1).unwrap_or(0))
}

/// Writes the zones of the city into the bucket.
#[task(retries = 3, retry_delay = secs(5), retry_backoff = 2.0, timeout = mins(10))]
pub async fn create_locations(ctx: Ctx) -> TaskResult<Listed> {
    let place = Lakehouse::of(&ctx).await?;
    let object = String::from("fetched/taxi_zones.parquet");
    let rows = write(&place, &object, zones::rows(&zones::zones()?, data_end(&ctx))?).await?;
    ctx.info(format!("{rows} zones are in `{BUCKET}/{object}`"));
    Ok(Listed { object, rows, digest: zones::digest() })
}

async fn write(place: &Lakehouse, key: &str, rows: RecordBatch) -> TaskResult<u64> {
    Ok(parquet::write(&place.bucket(BUCKET).await?, key, Batches::from(rows)).await?.rows)
}

/// Number of days of stored hours that outliers are compared with.
const HISTORY_DAYS: i64 = 30;
/// Minimum number of stored hours for a check of outliers: fewer hours do not represent the weather.
const MIN_HISTORY: usize = 7 * 24;
/// Maximum number of missing hours that the log names.
const MAX_NAMED: usize = 10;

/// Objects that passed their checks and may be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    pub weather: Fetched,
    pub zones: Listed,
}

/// Fails if either table must not be published, and reports missing hours, holes and outliers.
#[task(retries = 2, retry_delay = secs(5), timeout = mins(30))]
pub async fn validate(ctx: Ctx, weather: Fetched, zones: Listed) -> TaskResult<Checked> {
    let place = Lakehouse::of(&ctx).await?;
    let missing = &weather.missing;
    if !missing.is_empty() {
        let more = if missing.len() > MAX_NAMED { ", …" } else { "" };
        let named = missing[..missing.len().min(MAX_NAMED)].join(", ");
        ctx.warning(format!("{} hours are missing: {named}{more}", missing.len()));
    }
    if weather.rows == 0 {
        let object = &weather.object;
        return Err(fatal(format!(
            "the source returned no hour\nhint: `{BUCKET}/{object}` is empty; see the log of `fetch_weather`"
        )));
    }
    let mut publisher = Publisher::new(&ctx, &place.lake).await?;
    let rows = read(&place, &weather.object, &HOURLY).await?;
    publisher.facts = stored_hours(&ctx, &place, &rows).await?;
    let report = contracts::hourly_weather().check(&[rows], &publisher.facts)?;
    if let Err(broken) = report.ok() {
        publisher.also(report.trail(&ctx))?;
        return Err(fatal(broken.to_string()));
    }
    publisher.check(&contracts::hourly_series(), &report.passed, &publisher.facts)?;
    let quarantined = report.rows_quarantined();
    if quarantined > 0 {
        ctx.warning(format!("{quarantined} of {} rows are impossible and will be quarantined", report.rows));
    }
    publisher.facts = Facts::at(data_end(&ctx));
    if let Some(table) = place.lake.find(&ZONES.id()?).await? {
        publisher.facts = publisher.facts.rows_before(table.count().await?);
    }
    publisher.check(&contracts::taxi_zones(), &[read(&place, &zones.object, &ZONES).await?], &publisher.facts)?;
    Ok(Checked { weather, zones })
}

/// Returns facts about the stored hours before these rows: the newest hour, and the distribution of temperatures.
async fn stored_hours(ctx: &Ctx, place: &Lakehouse, rows: &RecordBatch) -> TaskResult<Facts> {
    let facts = Facts::at(hour_of(data_end(ctx)));
    let Some(table) = place.lake.find(&HOURLY.id()?).await? else { return Ok(facts) };
    let first = *hours_of(rows).await?.first().context("there are rows")?;
    let since = (first - TimeDelta::days(HISTORY_DAYS)).to_rfc3339();
    let before = Filter::ge("timestamp", since).and(Filter::lt("timestamp", first.to_rfc3339()));
    let stored = table.scan().columns(["timestamp", "temperature_celsius"]).filter(before).stream().await?;
    let stored = stored.collect().await?;
    let facts = hours_of(&stored).await?.last().into_iter().fold(facts, |facts, at| facts.newest("timestamp", *at));
    let stats = Stats::of_column(&[stored], "temperature_celsius")?.filter(|stats| stats.count >= MIN_HISTORY);
    Ok(stats.into_iter().fold(facts, |facts, stats| facts.history("temperature_celsius", stats)))
}

/// Snapshot property with the digest of the published zones.
const DIGEST: &str = "reference.zones";

/// Replaces the fetched hours of each location and leaves all other rows. Idempotent.
#[task(retries = 5, retry_delay = secs(2), retry_backoff = 2.0, timeout = mins(30))]
pub async fn weather_to_iceberg(ctx: Ctx, checked: Checked) -> TaskResult<Published> {
    let place = Lakehouse::of(&ctx).await?;
    let object = &checked.weather.object;
    let rows = read(&place, object, &HOURLY).await?;
    let fetched_hours = Filter::is_in("timestamp", hours_of(&rows).await?);
    let mut publisher = Publisher::new(&ctx, &place.lake).await?;
    let layer = Layer::new(&HOURLY, Batches::from(rows)).contract(contracts::hourly_weather()).upserting(fetched_hours);
    publisher.add(layer.sources([object_uri(object)])).await?;
    publisher.publish()
}

/// Replaces the list of zones if it has changed. `validate` has checked the zones.
#[task(retries = 5, retry_delay = secs(2), retry_backoff = 2.0, timeout = mins(10))]
pub async fn location_to_iceberg(ctx: Ctx, checked: Checked) -> TaskResult<Published> {
    let place = Lakehouse::of(&ctx).await?;
    let zones = &checked.zones;
    let mut publisher = Publisher::new(&ctx, &place.lake).await?;
    let table = publisher.table(&ZONES, None).await?;
    let snapshot = table.current_snapshot().map(|snapshot| &snapshot.summary().additional_properties);
    if snapshot.and_then(|properties| properties.get(DIGEST)) == Some(&zones.digest) {
        ctx.info(format!("`{}` has these zones already", table.name()));
    } else {
        // Based on the table state whose digest was compared: if another run writes the zones meanwhile, this run gets
        // a conflict and retries.
        let rows = Batches::from(read(&place, &zones.object, &ZONES).await?);
        let change = table.overwrite(Filter::All, rows).await?;
        publisher.change(change.property(DIGEST, zones.digest.clone()));
    }
    ctx.emit(AssetEvent::of(&*ZONES.uri()).rows(zones.rows))?;
    ctx.lineage(&object_uri(&zones.object), &ZONES.uri(), zones.rows)?;
    publisher.publish()
}

/// Checks that every trip starts and ends in a known zone. It only reports: the trips stay as they are.
#[task(retries = 2, retry_delay = secs(5), timeout = hours(1))]
pub async fn trips_against_zones(ctx: Ctx) -> TaskResult<u64> {
    let place = Lakehouse::of(&ctx).await?;
    let trips = filled(&place, "nyc_taxi.trips").await?;
    let (Some(trips), Some(zones)) = (trips, filled(&place, "reference.taxi_zones").await?) else {
        return Err(skip("the trips and the zones are not both in the lake yet"));
    };
    let known = zones.scan().columns(["location_id"]).collect().await?;
    let publisher = Publisher::new(&ctx, &place.lake).await?;
    let facts = publisher.facts.clone().keys(ZONES.uri(), KeySet::of(&known, &["location_id"])?);
    let contract = contracts::trips_against_zones();
    let mut checker = contract.begin(&facts)?;
    let mut batches = trips.scan().columns(contracts::TRIP_ZONES).stream().await?.report_progress(&ctx);
    while let Some(batch) = batches.try_next().await? {
        checker.check_batch(&batch)?;
    }
    let (rows, found) = (checker.rows(), checker.end());
    for check in found.iter().filter(|check| check.outcome != CheckOutcome::Pass) {
        ctx.warning(format!("{} of {rows} trips break `{}`: {}", check.bad, check.name, check.sample));
    }
    publisher.also(CheckTrail::new(&ctx, contract.uri(), found))?;
    Ok(rows)
}

/// Returns the URI of an object for lineage.
fn object_uri(key: &str) -> String {
    format!("bucket://{BUCKET}/{key}")
}

/// Reads the rows that were fetched for a table: at most a few months of hours, or the zones.
async fn read(place: &Lakehouse, key: &str, table: &TableSpec) -> TaskResult<RecordBatch> {
    parquet::read_as(&place.bucket(BUCKET).await?, key, table.schema()).await?.collect().await
}

/// Returns the distinct hours of rows of `weather.hourly_weather`.
async fn hours_of(rows: &RecordBatch) -> TaskResult<BTreeSet<DateTime<Utc>>> {
    let hours = query(rows, "SELECT DISTINCT timestamp FROM rows").await?;
    let micros = hours.column("timestamp")?.datetime()?.physical().iter().flatten();
    Ok(micros.filter_map(DateTime::from_timestamp_micros).collect())
}
