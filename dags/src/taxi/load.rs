//! One file → what changes in the lake: its trips in the place of those it had before, the days that they touch summed
//! up anew, and rows that do not fit put aside. Files are written; nobody sees them before the changes are committed,
//! together.

use super::clean::{Cleaner, CleaningCounts};
use super::contracts::{self, ZONES, Zones};
use super::raw::{self, RawFile, RawFileSummary};
use super::schema::{Column, daily_summary, trips};
use super::{NAMESPACE, daily};
use anyhow::{Context, anyhow};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Field, Schema};
use chrono::{DateTime, NaiveDate, Utc};
use futures::TryStreamExt as _;
use iceberg::spec::Transform;
use orch::{Ctx, TaskResult, fatal};
use orch_lake::batches::Batches;
use orch_lake::bucket::Bucket;
use orch_lake::contract::{CheckResult, Facts, KeySet, REASON, quarantine_of, verdict};
use orch_lake::table::evolve::Columns;
use orch_lake::{Change, Filter, Lake, Table, TableDef, TableName};
use polars::prelude::DataFrame;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;

/// Of one file: with more of them it is something else, and nothing of it is published.
const MOST_ASIDE: usize = 100_000;
/// Batches that are summed up at once.
const SUMMED_AT_ONCE: usize = 8;
/// What the page of `daily_summary` draws.
const TRIPS_PER_DAY: &str = "select * from (select trip_date, total_trips as \"trips per day\" from nyc_taxi.daily_summary \
                             order by 1 desc limit 366) order by 1";
/// By this the rows of a file are known.
const SOURCE_FILE: &str = "source_file";

/// What one file means for the lake.
#[derive(Debug)]
pub struct Loaded {
    pub changes: Vec<Change>,
    /// Of `trips` and of `daily_summary`.
    pub findings: Vec<(String, Vec<CheckResult>)>,
    pub rows: u64,
    pub quarantined: u64,
    pub found: CleaningCounts,
    /// That are summed up anew.
    pub days: BTreeSet<NaiveDate>,
}

/// What came of the rows of a file, besides those that went into the table.
#[derive(Debug, Default)]
struct Swept {
    found: CleaningCounts,
    quarantined: Vec<RecordBatch>,
    findings: Vec<CheckResult>,
    sums: Vec<DataFrame>,
}

pub fn table_name(name: &str) -> TaskResult<TableName> {
    Ok(TableName::new(NAMESPACE, name)?)
}

/// The changes of a file that is loaded now.
///
/// # Errors
/// A row cannot be read, or no row is a trip.
pub async fn load(ctx: &Ctx, lake: &Lake, bucket: &Bucket, file: &RawFile, now: DateTime<Utc>) -> TaskResult<Loaded> {
    let seen = raw::see(bucket, file).await?;
    let later = seen.mapping.later();
    // Before the trips: whoever changes days commits both, so an older state of this one is noticed.
    let summary = table(lake, "daily_summary", &daily_summary(), &[]).await?;
    let trips = table(lake, "trips", &trips(&[]), &later).await?;
    let zones = zones(ctx, lake).await?;
    let (rows, swept) = swept(ctx, bucket, (file, now), &seen, zones).await?;
    let loaded = changes(ctx, lake, (file, now), (trips, summary), rows, &swept).await?;
    seen.is_still(bucket).await?;
    if loaded.rows == 0 {
        return Err(fatal(format!(
            "`{}` has {} rows, and none of them is a trip",
            bucket.location(&file.key),
            loaded.found.rows
        )));
    }
    Ok(loaded)
}

/// The changes of a file whose content another one has: its own rows go.
///
/// # Errors
/// The lake cannot be read.
pub async fn leave_out(ctx: &Ctx, lake: &Lake, file: &RawFile, now: DateTime<Utc>) -> TaskResult<Loaded> {
    let summary = table(lake, "daily_summary", &daily_summary(), &[]).await?;
    let trips = table(lake, "trips", &trips(&[]), &[]).await?;
    let nothing = Batches::of(trips.arrow_schema()?, Vec::new());
    changes(ctx, lake, (file, now), (trips, summary), nothing, &Mutex::new(Some(Swept::default()))).await
}

async fn changes(
    ctx: &Ctx,
    lake: &Lake,
    (file, now): (&RawFile, DateTime<Utc>),
    (trips, summary): (Table, Table),
    rows: Batches,
    swept: &Mutex<Option<Swept>>,
) -> TaskResult<Loaded> {
    let its_own = Filter::eq(SOURCE_FILE, file.source_file.as_str());
    let mut days = days_of(&trips, its_own.clone()).await?;
    let change = trips.overwrite(its_own.clone(), rows).await?.by(ctx);
    let taken = swept.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Swept { found, quarantined, findings, sums } = taken.context("the rows of a file broke off")?;
    verdict(&super::table_uri("trips"), &findings).map_err(|broken| fatal(broken.to_string()))?;
    let put_aside: usize = quarantined.iter().map(RecordBatch::num_rows).sum();
    let rows = found.rows - found.dropped - put_aside as u64;
    let mut loaded = Loaded {
        changes: vec![change],
        findings: vec![(super::table_uri("trips"), findings)],
        rows,
        quarantined: put_aside as u64,
        found,
        days: BTreeSet::new(),
    };

    days.extend(daily::days(&daily::together(sums.clone())?)?);
    if let (Some(of_trips), Some(of_summary)) =
        (daily::on_days("pickup_datetime", &days), daily::on_days("trip_date", &days))
    {
        let mut parts = sums;
        parts.extend(sums_of_others(&trips, of_trips.and(Filter::ne(SOURCE_FILE, file.source_file.as_str()))).await?);
        let summed = daily::summary(daily::together(parts)?, now.timestamp_micros())?;
        let report = contracts::summary().check(&summed, &Facts::at(now))?;
        report.ok().map_err(|broken| fatal(broken.to_string()))?;
        loaded.findings.push((super::table_uri("daily_summary"), report.findings));
        let summed = Batches::of(Arc::new(daily_summary()), summed);
        loaded.changes.push(summary.overwrite(of_summary, summed).await?.by(ctx));
    }
    loaded.days = days;
    loaded.changes.extend(put_aside_into(ctx, lake, its_own, quarantined).await?);
    Ok(loaded)
}

/// The table, made if it is not there, with these columns besides.
async fn table(lake: &Lake, name: &str, schema: &Schema, later: &[&'static Column]) -> TaskResult<Table> {
    let name = table_name(name)?;
    let mut definition = TableDef::of(schema)?;
    if schema.column_with_name("year").is_some() {
        definition = definition.partition("year", Transform::Identity).partition("month", Transform::Identity);
    }
    match name.name() {
        // People ask for some hours or days of it.
        "trips" => definition = definition.sorted(["pickup_datetime"]),
        "daily_summary" => definition = definition.chart(TRIPS_PER_DAY),
        _ => {}
    }
    let mut table = lake.ensure(&name, &definition).await?;
    for column in later {
        if table.schema().field_by_name(column.name).is_some() {
            continue;
        }
        let change = table.evolve(Columns::new().add(column.name, column.kind.iceberg()))?;
        let added = change.commit(lake).await;
        table = lake.table(&name).await?;
        // Somebody else may have added it in the same moment.
        if table.schema().field_by_name(column.name).is_none() {
            added?;
        }
    }
    Ok(table)
}

/// The places that there are; `None` until their table is there and filled.
async fn zones(ctx: &Ctx, lake: &Lake) -> TaskResult<Option<KeySet>> {
    let table = lake.find(&ZONES.parse()?).await?;
    let Some(table) = table.filter(|table| table.current_snapshot().is_some()) else {
        ctx.warning(format!(
            "`{ZONES}` is not there yet: no trip is held against the zones of the city\n\
             hint: run `nyc_weather_etl`, which makes it, and this run again"
        ));
        return Ok(None);
    };
    let ids = table.scan().columns(["location_id"]).collect().await?;
    Ok(Some(KeySet::of(&ids, &["location_id"])?))
}

/// The trips of a file, cleaned and checked while they are asked for, and what else there is to say when all have come.
async fn swept(
    ctx: &Ctx,
    bucket: &Bucket,
    (file, now): (&RawFile, DateTime<Utc>),
    seen: &RawFileSummary,
    zones: Option<KeySet>,
) -> TaskResult<(Batches, Arc<Mutex<Option<Swept>>>)> {
    let rows = raw::rows(bucket, file, seen).await?.report_progress(ctx);
    let location = bucket.location(&file.key);
    let cleaner = Cleaner::new(&location, &file.source_file, seen.mapping.clone(), file.month, now.timestamp_micros());
    let facts = Facts::at(now);
    let (facts, known) = match zones {
        Some(zones) => (facts.keys(ZONES, zones), Zones::Known),
        None => (facts, Zones::Missing),
    };
    let all: Arc<Mutex<Option<Swept>>> = Arc::default();
    let (schema, place) = (cleaner.schema(), all.clone());
    let batches = Batches::read_ahead(schema, move |taker| async move {
        let (handle, mut rows) = (Handle::current(), rows);
        // A thread for all of it: a batch takes longer than the runtime may be kept.
        let sweeping = tokio::task::spawn_blocking(move || {
            let next = || handle.block_on(rows.try_next());
            sweep(next, cleaner, &facts, known, |batch| handle.block_on(taker.take(batch)))
        });
        let swept = sweeping.await.map_err(|error| anyhow!(error))??;
        *place.lock().unwrap_or_else(PoisonError::into_inner) = swept;
        Ok(())
    });
    Ok((batches, all))
}

/// `None`: nobody takes any more.
fn sweep(
    mut next: impl FnMut() -> TaskResult<Option<RecordBatch>>,
    mut cleaner: Cleaner,
    facts: &Facts,
    zones: Zones,
    take: impl Fn(RecordBatch) -> bool,
) -> TaskResult<Option<Swept>> {
    let contract = contracts::trips(zones);
    let mut checker = contract.begin(facts)?;
    let (mut swept, mut aside, mut unsummed) = (Swept::default(), 0, Vec::new());
    while let Some(batch) = next()? {
        let checked = checker.check_batch(&cleaner.batch(&batch)?)?;
        if let Some(bad) = checked.quarantined {
            aside += bad.num_rows();
            swept.quarantined.push(bad);
        }
        if aside > MOST_ASIDE {
            let findings = checker.end();
            verdict(contract.uri(), &findings)?;
            let worst = findings.iter().max_by_key(|one| one.bad).map(|one| format!("{}: {}", one.name, one.sample));
            return Err(fatal(format!(
                "more than {MOST_ASIDE} rows do not fit, so nothing is published: not so: {}",
                worst.unwrap_or_default()
            )));
        }
        unsummed.push(checked.passed.clone());
        if unsummed.len() == SUMMED_AT_ONCE {
            swept.sums.push(daily::sums(&std::mem::take(&mut unsummed))?);
        }
        if !take(checked.passed) {
            return Ok(None);
        }
    }
    swept.sums.push(daily::sums(&unsummed)?);
    swept.found = cleaner.found;
    swept.findings = checker.end();
    swept.findings.extend(contracts::findings(&cleaner.found, zones));
    Ok(Some(swept))
}

/// The days that rows of the table are of.
async fn days_of(trips: &Table, filter: Filter) -> TaskResult<BTreeSet<NaiveDate>> {
    let mut days = BTreeSet::new();
    let mut rows = trips.scan().columns(["pickup_datetime"]).filter(filter).stream().await?;
    while let Some(batch) = rows.try_next().await? {
        let dates = arrow::compute::cast(batch.column(0), &DataType::Date32)?;
        let mut last = None;
        for date in
            dates.as_primitive::<Date32Type>().iter().flatten().filter(|date| last.replace(*date) != Some(*date))
        {
            days.extend(Date32Type::to_naive_date_opt(date));
        }
    }
    Ok(days)
}

async fn sums_of_others(trips: &Table, filter: Filter) -> TaskResult<Vec<DataFrame>> {
    let mut sums = Vec::new();
    let mut rows = trips.scan().columns(daily::SUMMED).filter(filter).stream().await?;
    while let Some(batch) = rows.try_next().await? {
        sums.push(daily::sums(&[batch])?);
    }
    Ok(sums)
}

/// Of the same file as the rows that went in: a run again finds them here, or mended.
async fn put_aside_into(ctx: &Ctx, lake: &Lake, its_own: Filter, rows: Vec<RecordBatch>) -> TaskResult<Option<Change>> {
    let name = quarantine_of("trips");
    if rows.is_empty() && lake.find(&table_name(&name)?).await?.is_none() {
        return Ok(None);
    }
    let mut fields: Vec<Field> = trips(&[])
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(field.name() != SOURCE_FILE))
        .collect();
    fields.push(Field::new(REASON, DataType::Utf8, false));
    let later = super::schema::COLUMNS.iter().filter(|column| {
        rows.first().is_some_and(|batch| batch.column_by_name(column.name).is_some())
            && column.need == super::schema::Need::Later
    });
    let table = table(lake, &name, &Schema::new(fields), &later.collect::<Vec<_>>()).await?;
    Ok(Some(table.overwrite(its_own, Batches::from(rows)).await?.by(ctx)))
}
