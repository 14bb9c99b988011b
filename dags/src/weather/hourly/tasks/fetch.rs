//! Source → raw: one object with the hours of all places, one with the zones.

use super::{BUCKET, object_uri};
use crate::common::connections::WEATHER_API;
use crate::common::lakehouse::Lakehouse;
use crate::common::nyc::zones;
use crate::weather::hourly::hours::{hour_of, missing};
use crate::weather::hourly::options::Weather;
use crate::weather::hourly::readings;
use crate::weather::hourly::source::{Hours, Source};
use arrow::array::RecordBatch;
use chrono::{DateTime, SecondsFormat, Utc};
use orch::prelude::*;
use orch_lake::batches::Batches;
use orch_lake::format::parquet;

/// The weather as it was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// The key of the object.
    pub object: String,
    pub rows: u64,
    /// Hours that the source promises and did not tell: `New York 2026-01-01T05:00:00Z`.
    pub missing: Vec<String>,
}

/// The zones as they are in the binary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub object: String,
    pub rows: u64,
    /// Tells this list from any other.
    pub digest: String,
}

/// Asks for the hours up to that of the run, for each place; of an API that tells only of now, for that. The same hours
/// are fetched again by the next runs: what is told later counts.
#[task(retries = 3, retry_delay = secs(5), retry_backoff = 2.0, timeout = mins(30))]
pub async fn fetch_weather(ctx: Ctx, wish: Weather) -> TaskResult<Fetched> {
    wish.check()?;
    let place = Lakehouse::of(&ctx).await?;
    let source = Source::of(&ctx.connection(WEATHER_API).await?)?;
    let last = hour_of(ctx.run_after());
    let hours = Hours { last, count: wish.hours, now: place.now().await? };
    let promised = source.promised(hours);
    let (mut all, mut absent) = (Vec::new(), Vec::new());
    for location in &wish.locations {
        let series = source.series(&ctx, location, hours).await?;
        let missing = missing(&promised, &series.hours());
        absent.extend(missing.into_iter().map(|hour| format!("{} {}", location.name, written(hour))));
        all.push(series);
    }
    let rows = readings::rows(&all, ctx.run_after())?;
    let object = format!("fetched/weather_data_{}.parquet", last.format("%Y%m%d_%H"));
    let count = write(&place, &object, rows).await?;
    ctx.info(format!("{count} hours of {} places are in `{BUCKET}/{object}`", all.len()));
    ctx.lineage(&source.uri(), &object_uri(&object), count)?;
    Ok(Fetched { object, rows: count, missing: absent })
}

/// Puts the zones of the city into the bucket.
#[task(retries = 3, retry_delay = secs(5), retry_backoff = 2.0, timeout = mins(10))]
pub async fn create_locations(ctx: Ctx) -> TaskResult<Listed> {
    let place = Lakehouse::of(&ctx).await?;
    let all = zones::zones()?;
    let object = String::from("fetched/taxi_zones.parquet");
    let rows = write(&place, &object, zones::rows(&all, ctx.run_after())?).await?;
    ctx.info(format!("{rows} zones are in `{BUCKET}/{object}`"));
    Ok(Listed { object, rows, digest: zones::digest(&all) })
}

fn written(hour: DateTime<Utc>) -> String {
    hour.to_rfc3339_opts(SecondsFormat::Secs, true)
}

async fn write(place: &Lakehouse, key: &str, rows: RecordBatch) -> TaskResult<u64> {
    let bucket = place.bucket(BUCKET).await?;
    Ok(parquet::write(&bucket, key, Batches::of(rows.schema(), vec![rows])).await?.rows)
}
