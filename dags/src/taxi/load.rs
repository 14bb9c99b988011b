//! The changes that one file makes: its trips replace the trips that an earlier load of it added, and the summaries of
//! all affected days are recomputed. Nothing is visible before the task succeeds.

use super::clean::{Reader, rules, trips_of};
use super::raw::{RawFile, inspect};
use super::schema::{Mapping, SOURCE_FILE, TRIPS, ZONES, daily_contract, daily_summary, sums, trips_contract};
use super::{NAMESPACE, RAW_BUCKET};
use crate::common::model::{Model, columns_read};
use crate::common::nyc::days::Days;
use crate::common::nyc::sources::aggregate;
use anyhow::Context as _;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use chrono::{DateTime, NaiveDate, Utc};
use futures::stream;
use iceberg::arrow::arrow_type_to_type;
use orch::{Ctx, TaskResult, fatal};
use orch_lake::batches::Batches;
use orch_lake::bucket::Bucket;
use orch_lake::contract::{Contract, Facts, KeySet, quarantine_of};
use orch_lake::frame::blocking;
use orch_lake::frame::sql::SqlFrames;
use orch_lake::publish::{Layer, Publisher, Written};
use orch_lake::table::evolve::Columns;
use orch_lake::table::spec::Column;
use orch_lake::{Filter, Lake, TableName};
use polars::prelude::{DataFrame, df};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

const DAYS: &str = "SELECT DISTINCT CAST(pickup_datetime AS DATE) AS trip_date FROM rows";

#[derive(Debug, Clone, Default)]
pub struct Loaded {
    pub trips: u64,
    pub quarantined: u64,
    /// Number of days whose summary was recomputed.
    pub days: u64,
    pub found: Found,
}

/// Result of cleaning one file.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Found {
    pub rows: u64,
    /// Number of removed rows; a row that breaks several rules counts once.
    pub dropped: u64,
    /// Number of rows that break each rule.
    #[serde(flatten)]
    pub by_rule: BTreeMap<String, u64>,
}

/// Returns the URI of a file's object, for lineage and as an asset.
pub(super) fn object_uri(file: &RawFile) -> String {
    format!("bucket://{RAW_BUCKET}/{}", file.key)
}

/// Adds the trips of a file and the summaries of the affected days.
///
/// # Errors
/// Returns an error if a row cannot be read, or if no row is a trip.
pub async fn load(
    ctx: &Ctx,
    lake: &Lake,
    publisher: &mut Publisher<'_>,
    bucket: &Bucket,
    file: &RawFile,
) -> TaskResult<Loaded> {
    let raw = inspect(bucket, file).await?;
    publisher.table(&TRIPS, None).await?;
    add_later_columns(lake, &raw.mapping).await?;
    let zones = zones(ctx, lake).await?;
    let contract = trips_contract(!zones.is_empty());
    publisher.facts = Facts::at(publisher.now).keys(ZONES, zones);

    let rows = Reader::new(&raw, file.month).read(raw.rows(bucket).await?);
    let (kept, cleaned) = rules().check_on_the_way(Facts::at(publisher.now), rows, None);
    let trips = trips_of(kept, raw.mapping.trips_schema(), file.source_file.clone(), publisher.now);
    let written = publisher.add(trips_layer(file, trips).contract(contract).tally(sums())).await?;
    raw.check_unchanged(bucket).await?;
    let cleaned = cleaned.take().context("the rows of the file broke off")?.report;
    publisher.also(cleaned.trail(ctx))?;
    let found = Found { rows: cleaned.rows, dropped: cleaned.removed.rows, by_rule: cleaned.removed.by_rule };
    for (rule, rows) in found.by_rule.iter().filter(|(_, rows)| **rows > 0) {
        ctx.info(format!("{rows} rows break the rule `{rule}`"));
    }
    if written.rows == 0 {
        let location = bucket.location(&file.key);
        return Err(fatal(format!("`{location}` has {} rows, and none of them is a trip", found.rows)));
    }
    let extra =
        serde_json::json!({ "source_file": file.source_file, "found": found, "quarantined": written.quarantined });
    publisher.extra(&TRIPS, &extra);
    let days = add_days(lake, publisher, file, written.tally).await?;
    Ok(Loaded { trips: written.rows, quarantined: written.quarantined, days, found })
}

/// Removes the trips of a file that has the same content as another file.
pub(super) async fn remove(lake: &Lake, publisher: &mut Publisher<'_>, file: &RawFile) -> TaskResult<Loaded> {
    let nothing = trips_layer(file, Batches::of(TRIPS.schema(), Vec::new())).contract(Contract::of(TRIPS.uri()));
    let Written { tally, .. } = publisher.add(nothing).await?;
    Ok(Loaded { days: add_days(lake, publisher, file, tally).await?, ..Loaded::default() })
}

fn trips_layer(file: &RawFile, trips: Batches) -> Layer {
    Layer::new(&TRIPS, trips).replacing(Filter::eq(SOURCE_FILE, file.source_file.as_str())).sources([object_uri(file)])
}

/// Adds the file's columns of `LATER` to `trips` and its quarantine table if they are missing there.
async fn add_later_columns(lake: &Lake, mapping: &Mapping) -> TaskResult<()> {
    for name in [TRIPS.id()?, TableName::new(NAMESPACE, quarantine_of(TRIPS.name))?] {
        for column in mapping.later() {
            if lacks(lake, &name, column).await? {
                let kind = arrow_type_to_type(&column.kind.arrow())?;
                let added = lake.evolve(&name, Columns::new().add(column.name, kind)).await;
                // A concurrent run may have added the column.
                if lacks(lake, &name, column).await? {
                    added?;
                }
            }
        }
    }
    Ok(())
}

async fn lacks(lake: &Lake, table: &TableName, column: &Column) -> TaskResult<bool> {
    Ok(lake.find(table).await?.is_some_and(|table| table.schema().field_by_name(column.name).is_none()))
}

/// Returns the zones of the city; an empty set until another pipeline has published them.
async fn zones(ctx: &Ctx, lake: &Lake) -> TaskResult<KeySet> {
    let zones = match lake.find(&ZONES.parse()?).await? {
        Some(table) => table.scan().columns(["location_id"]).collect().await?,
        None => Vec::new(),
    };
    let zones = KeySet::of(&zones, &["location_id"])?;
    if zones.is_empty() {
        ctx.warning(format!(
            "`{ZONES}` has no rows, so trips to unknown zones are not quarantined\n\
             hint: run `nyc_weather_etl`, which publishes the zones, then clear this run"
        ));
    }
    Ok(zones)
}

/// Recomputes the summaries of the days that the file touches now or touched before, and returns their number. `own`
/// has the sums of its trips.
async fn add_days(lake: &Lake, publisher: &mut Publisher<'_>, file: &RawFile, own: DataFrame) -> TaskResult<u64> {
    let trips = lake.table(&TRIPS.id()?).await?;
    let before = trips.scan().columns(["pickup_datetime"]).filter(Filter::eq(SOURCE_FILE, file.source_file.as_str()));
    let mut days = days_of(&aggregate(before.stream().await?, DAYS, "SELECT DISTINCT trip_date FROM rows").await?)?;
    days.extend(days_of(&own)?);
    let (Some(of_trips), Some(of_days)) = (on_days("pickup_datetime", &days), on_days("trip_date", &days)) else {
        return Ok(0);
    };
    let others = of_trips.and(Filter::ne(SOURCE_FILE, file.source_file.as_str()));
    let rows = summary(lake, own, others, publisher.now);
    let layer = Layer::new(&daily_summary().table, rows).contract(daily_contract());
    publisher.add(layer.replacing(of_days).sources([TRIPS.uri()])).await?;
    Ok(days.len() as u64)
}

/// Returns the rows of `daily_summary` from the sums of a file and the trips of the `others`.
///
/// The trips are read when the first row is requested, which is after the publisher has loaded `daily_summary`. A run
/// that changes the same days after that commits both tables, so this run gets a conflict and retries.
fn summary(lake: &Lake, mut own: DataFrame, others: Filter, now: DateTime<Utc>) -> Batches {
    let lake = lake.clone();
    let rows = stream::once(async move {
        let trips = lake.table(&TRIPS.id()?).await?;
        let read = trips.scan().columns(columns_read(sums(), &TRIPS)).filter(others);
        own.vstack_mut(&aggregate(read.stream().await?, sums(), "SELECT * FROM rows").await?)?;
        blocking(move |_| summarize(own, now)).await
    });
    Batches::new(daily_summary().table.schema(), rows)
}

fn summarize(sums: DataFrame, now: DateTime<Utc>) -> TaskResult<RecordBatch> {
    let mut frames = SqlFrames::default();
    frames.set("clock", df!("micros" => [now.timestamp_micros()])?);
    frames.set("sums", sums);
    let Model { table, statement, .. } = daily_summary();
    let schema = table.schema();
    Ok(concat_batches(&schema, &frames.batches(statement, &[], &schema)?)?)
}

fn days_of(sums: &DataFrame) -> TaskResult<BTreeSet<NaiveDate>> {
    // The tally of a file without trips has no columns.
    if sums.width() == 0 {
        return Ok(BTreeSet::new());
    }
    Ok(sums.column("trip_date")?.date()?.as_date_iter().flatten().collect())
}

/// Returns one range per sequence of consecutive days, on a column of dates or timestamps. `None` without days.
fn on_days(column: &str, days: &BTreeSet<NaiveDate>) -> Option<Filter> {
    let mut ranges: Vec<Days> = Vec::new();
    for day in days {
        match ranges.last_mut() {
            Some(range) if range.last.succ_opt() == Some(*day) => range.last = *day,
            _ => ranges.push(Days::only(*day)),
        }
    }
    ranges.into_iter().map(|range| range.rows(column)).reduce(Filter::or)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::util::display::array_value_to_string;

    #[test]
    fn sums_of_parts_are_the_sums_of_all_trips() {
        // Trips of two passengers each, with a day since the Unix epoch and a tip. All other columns are 1.
        let columns = TRIPS.column_names().map(|name| match name {
            "pickup_datetime" => "CAST(day * 86400000000 AS TIMESTAMP) AS pickup_datetime".into(),
            "passenger_count" => "2 AS passenger_count".into(),
            "tip_amount" => "tip AS tip_amount".into(),
            name => format!("1 AS {name}"),
        });
        let trips = format!("SELECT {} FROM trips", columns.collect::<Vec<String>>().join(", "));
        let given = [(1, Some(1.0)), (0, None), (1, Some(2.5)), (1, None), (3, Some(0.0))];
        let summed = |size: usize| {
            let (mut all, mut frames) = (DataFrame::empty(), SqlFrames::default());
            for part in given.chunks(size) {
                let (days, tips): (Vec<i64>, Vec<Option<f64>>) = part.iter().copied().unzip();
                frames.set("trips", df!("day" => days, "tip" => tips).expect("a frame"));
                let rows = frames.query(&trips).expect("trips");
                frames.set("rows", rows);
                all.vstack_mut(&frames.query(sums()).expect("sums")).expect("the same columns");
            }
            (days_of(&all).expect("days"), summarize(all, DateTime::UNIX_EPOCH).expect("rows"))
        };
        let (days, whole) = summed(given.len());
        assert_eq!(whole, summed(2).1);
        let column = |name: &str| [0, 1, 2].map(|row| array_value_to_string(&whole[name], row).expect("a value"));
        assert_eq!(column("avg_tip_amount"), ["", "1.75", "0.0"]);
        assert_eq!(column("total_passengers"), ["2", "6", "2"]);
        assert_eq!(
            on_days("trip_date", &days).expect("there are days").to_string(),
            "((trip_date >= '1970-01-01') and (trip_date < '1970-01-03')) or \
             ((trip_date >= '1970-01-04') and (trip_date < '1970-01-05'))"
        );
    }
}
