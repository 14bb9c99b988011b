//! Trips, weather and zones as frames, for the SQL of the analytics and forecast pipelines.

use super::days::Days;
use super::month;
use super::schema::{HOURLY, ZONES};
use super::table::structs_of;
use crate::common::lakehouse::Lakehouse;
use crate::common::model::has_word;
use arrow::array::RecordBatch;
use chrono::{NaiveDate, TimeDelta};
use futures::{TryStreamExt as _, pin_mut};
use orch::prelude::*;
use orch_lake::contract::KeySet;
use orch_lake::frame::sql::{SqlFrames, query_rows};
use orch_lake::frame::{blocking, from_batches};
use orch_lake::publish::Publisher;
use orch_lake::table::Scan;
use orch_lake::{Batches, Filter, Table};
use polars::prelude::DataFrame;

/// Value of `location` in the weather tables.
const CITY: &str = "New York";
pub const TRIPS: &str = "nyc_taxi.trips";
const SUMMARY: &str = "nyc_taxi.daily_summary";
/// Number of batches that [`aggregate`] reads at a time.
const BATCHES_AT_ONCE: usize = 8;
/// Number of rows that [`aggregate`] holds before it merges them; a row takes about 100 bytes.
const MAX_RESULTS: usize = 1 << 19;

/// Returns the table if it has at least one snapshot.
pub(crate) async fn filled(place: &Lakehouse, name: &str) -> TaskResult<Option<Table>> {
    Ok(place.lake.find(&name.parse()?).await?.filter(|table| table.current_snapshot().is_some()))
}

pub(crate) async fn needed(place: &Lakehouse, name: &str, dag: &str) -> TaskResult<Table> {
    let missing = || fatal(format!("`{name}` is not in the lake, or empty\nhint: run `{dag}`, which fills it"));
    filled(place, name).await?.ok_or_else(missing)
}

/// # Errors
/// Returns a fatal error if no trips were loaded.
pub(crate) async fn trips_table(place: &Lakehouse) -> TaskResult<Table> {
    needed(place, TRIPS, "nyc_taxi_iceberg_etl").await
}

/// # Errors
/// Returns a fatal error if no zones were loaded.
pub(crate) async fn zones_table(place: &Lakehouse) -> TaskResult<Table> {
    needed(place, &ZONES.id()?.to_string(), "nyc_weather_etl").await
}

/// Scans the columns of a table that a statement names.
pub(crate) fn scan_for<'a>(table: &'a Table, statement: &str) -> Scan<'a> {
    let names = table.schema().as_struct().fields().iter().map(|field| field.name.as_str());
    table.scan().columns(names.filter(|name| has_word(statement, name)))
}

/// Returns all rows of a scan. They must fit into memory.
pub(crate) async fn collect(scan: Scan<'_>) -> TaskResult<RecordBatch> {
    scan.stream().await?.collect().await
}

/// Returns the newest day with trips, at most the end of the newest loaded month: files contain a few trips of other
/// months, even of future ones.
///
/// # Errors
/// Returns a fatal error if no trips were loaded.
pub(crate) async fn newest_day(place: &Lakehouse) -> TaskResult<NaiveDate> {
    #[derive(Deserialize)]
    struct Newest {
        day: Option<NaiveDate>,
    }
    let summary = needed(place, SUMMARY, "nyc_taxi_iceberg_etl").await?;
    let loaded = month::last_loaded(&place.lake).await?.map(|month| month.next().first());
    let tomorrow = place.now().await?.date_naive() + TimeDelta::days(1);
    let end = loaded.map_or(tomorrow, |loaded| loaded.min(tomorrow)).to_string();
    let days = collect(summary.scan().columns(["trip_date"]).filter(Filter::lt("trip_date", end.as_str()))).await?;
    let newest: Vec<Newest> = structs_of(query_rows(&[days], "SELECT MAX(trip_date) AS day FROM rows")?)?;
    let day = newest.first().and_then(|newest| newest.day);
    day.ok_or_else(|| fatal(format!("`{SUMMARY}` has no day before {end}\nhint: name a `reference_date`")))
}

/// Aggregates more rows than fit into memory. `part` runs on every few batches, which it names `rows`; `merge` runs on
/// the results of `part`, and on its own results.
pub(crate) async fn aggregate(rows: Batches, part: &'static str, merge: &'static str) -> TaskResult<DataFrame> {
    let merged = move |parts: DataFrame| {
        let mut frames = SqlFrames::default();
        frames.set("rows", parts);
        frames.query(merge)
    };
    let mut total = merged(query_rows(&[RecordBatch::new_empty(rows.schema())], part)?)?;
    let chunks = rows.try_chunks(BATCHES_AT_ONCE).map_err(|failed| failed.1);
    pin_mut!(chunks);
    let mut next = chunks.try_next().await?;
    while let Some(batches) = next {
        let sums = blocking(move |_| {
            total.vstack_mut(&merged(query_rows(&batches, part)?)?)?;
            if total.height() > MAX_RESULTS { merged(total) } else { Ok(total) }
        });
        (total, next) = tokio::try_join!(sums, chunks.try_next())?;
    }
    blocking(move |_| merged(total)).await
}

/// Returns the number of trips that started in each zone in each hour of some days: columns `hour`, `zone` and `trips`.
pub(crate) async fn pickups(ctx: &Ctx, trips: &Table, days: Days) -> TaskResult<DataFrame> {
    let (part, merge) = (include_str!("sql/pickups.sql"), include_str!("sql/pickup_sums.sql"));
    let rows = scan_for(trips, part).filter(days.rows("pickup_datetime")).stream().await?;
    aggregate(rows.report_progress(ctx), part, merge).await
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Zone {
    pub location_id: i32,
    pub borough: String,
    pub zone: String,
    /// A `GeoJSON` geometry.
    pub geometry: Option<String>,
}

/// Returns the zones of one snapshot of their table, ordered by number.
pub(crate) async fn zones_of(table: &Table) -> TaskResult<Vec<Zone>> {
    let rows = collect(table.scan().columns(["location_id", "borough", "zone", "geometry"])).await?;
    structs_of(query_rows(&[rows], "SELECT * FROM rows ORDER BY location_id")?)
}

/// Returns the zones without their outlines and load times.
///
/// # Errors
/// Returns a fatal error if no zones were loaded.
pub(crate) async fn zones(place: &Lakehouse) -> TaskResult<RecordBatch> {
    let columns = ZONES.column_names().filter(|name| !["geometry", "created_at", "load_date"].contains(name));
    collect(zones_table(place).await?.scan().columns(columns)).await
}

/// Returns each hour of some days with its calendar and its weather; `sql/hours.sql` describes the columns.
pub(crate) async fn hours(place: &Lakehouse, days: Days) -> TaskResult<DataFrame> {
    let statement = include_str!("sql/hours.sql");
    let readings = match filled(place, &HOURLY.id()?.to_string()).await? {
        None => RecordBatch::new_empty(HOURLY.schema()),
        Some(table) => {
            // Days in New York end later than UTC days.
            let around = Days { first: days.first - TimeDelta::days(1), last: days.last + TimeDelta::days(1) };
            let filter = Filter::eq("location", CITY).and(around.rows("timestamp"));
            collect(scan_for(&table, statement).filter(filter)).await?
        }
    };
    let mut frames = SqlFrames::default();
    frames.set("span", days.span()?);
    frames.set("readings", from_batches(&[readings])?);
    frames.query(statement)
}

/// Returns a publisher whose contracts can refer to the zones.
///
/// # Errors
/// Returns a fatal error if no zones were loaded.
pub(crate) async fn publisher<'a>(ctx: &'a Ctx, place: &'a Lakehouse) -> TaskResult<Publisher<'a>> {
    let mut publisher = Publisher::new(ctx, &place.lake).await?;
    let keys = KeySet::of(&[zones(place).await?], &["location_id"])?;
    publisher.facts = publisher.facts.clone().keys(ZONES.uri(), keys);
    Ok(publisher)
}
