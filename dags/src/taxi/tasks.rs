//! The bodies of the taxi tasks, one file at a time where it matters: what one file does wrong stops no other.

use super::control::{self, Entry};
use super::load::{Loaded, leave_out, load, table_name};
use super::options::{RunMonths, Taxi};
use super::raw::{RawFile, rows, see};
use super::schema::Column;
use super::source::Source;
use super::typed::{Unfit, typed};
use super::{RAW_BUCKET, table_uri};
use crate::common::connections::NYC_TAXI;
use crate::common::lakehouse::Lakehouse;
use crate::common::nyc::month::last_loaded;
use arrow::array::Array as _;
use futures::TryStreamExt as _;
use orch::prelude::*;
use orch_lake::Filter;
use orch_lake::contract::{CheckOutcome, CheckResult, CheckTrail, Policy, quarantine_of};
use orch_lake::frame::blocking;
use orch_lake::table::CommitStep;
use std::collections::BTreeMap;

/// A file that holds what it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validated {
    pub file: RawFile,
    pub rows: u64,
    /// By column.
    pub nulls: BTreeMap<String, u64>,
}

/// What is in the tables of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub file: RawFile,
    pub rows: u64,
    pub dropped: u64,
    pub quarantined: u64,
    /// Summed up anew.
    pub days: u64,
    /// The file that has the same content: nothing of this one is published.
    pub duplicate_of: Option<String>,
}

/// An object's name in lineage and as an asset.
fn object_uri(file: &RawFile) -> String {
    format!("bucket://{RAW_BUCKET}/{}", file.key)
}

/// Brings the files of the wanted months into the bucket `raw-taxi-data`, as they are. A download that breaks off goes
/// on where it stopped; a file is there whole or not at all.
///
/// Without months in the run's params it is those after the last one that was loaded. A month that the city has not
/// published yet ends them, without an error; one that is named, or four months old, has to be there.
#[task(retries = 3, retry_delay = secs(10), retry_backoff = 2.0, timeout = hours(2))]
pub async fn extract_taxi_data(ctx: Ctx, options: Taxi) -> TaskResult<Vec<RawFile>> {
    let place = Lakehouse::of(&ctx).await?;
    let source = Source::of(&ctx.connection(NYC_TAXI).await?)?;
    let mut db = control::open(&place.lake).await?;
    let (known, now) = (last_loaded(&place.lake).await?, control::now(&mut db).await?);
    drop(db);
    let wanted = options.wanted(ctx.logical_date().map(|date| date.date_naive()), known, now)?;
    let (months, are_named) = match wanted {
        RunMonths::Named(months) => (months, true),
        RunMonths::Due(months) => (months, false),
    };
    let bucket = place.bucket(RAW_BUCKET).await?;
    let mut files = Vec::new();
    for month in months {
        let address = source.address(month);
        match source.fetch(&ctx, &bucket, month, now).await? {
            Some(file) => {
                ctx.info(format!("{} bytes of `{address}` are in `{}`", file.bytes, bucket.location(&file.key)));
                let object = object_uri(&file);
                ctx.emit(AssetEvent::of(&*object).extra(json!({ "sha256": file.sha256, "bytes": file.bytes })))?;
                ctx.lineage(&address, &object, None)?;
                files.push(file);
            }
            None if are_named || month.is_published(now) => {
                return Err(fatal(format!(
                    "there is no file of {month}: `{address}` is not there\n\
                     hint: look at the template of connection `{NYC_TAXI}`, and at the months of the run"
                )));
            }
            None => {
                ctx.info(format!("{month} is not published yet: `{address}` is not there"));
                break;
            }
        }
    }
    if files.is_empty() {
        ctx.info("there is nothing to be loaded");
    }
    Ok(files)
}

/// Looks at one file: is it whole, has it the columns of a trip, of types that can be, and rows? Of a CSV every line is
/// read, of a Parquet file what it says of itself.
#[task(retries = 1, retry_delay = secs(5), timeout = hours(1))]
pub async fn validate_data(ctx: Ctx, file: RawFile) -> TaskResult<Validated> {
    let bucket = Lakehouse::of(&ctx).await?.bucket(RAW_BUCKET).await?;
    let seen = see(&bucket, &file).await?;
    let columns: Vec<&'static Column> = seen.mapping.found.iter().map(|found| found.column).collect();
    let mut counted: Vec<u64> = seen.nulls.iter().map(|nulls| nulls.unwrap_or_default()).collect();
    let mut count = seen.rows.unwrap_or_default();
    if seen.rows.is_none() {
        let location = bucket.location(&file.key);
        let mut batches = rows(&bucket, &file, &seen).await?.report_progress(&ctx);
        while let Some(batch) = batches.try_next().await? {
            let (columns, location, before) = (columns.clone(), location.clone(), count);
            count += batch.num_rows() as u64;
            let nulls = blocking(move |_| {
                let nulls = columns.iter().zip(batch.columns()).map(|(column, values)| match typed(values, column) {
                    Ok(values) => Ok(values.null_count() as u64),
                    Err(Unfit::Row(row, problem)) => {
                        let line = before + row as u64 + 2;
                        Err(fatal(format!("`{location}`, line {line}: column `{}` {problem}", column.name)))
                    }
                    Err(Unfit::Arrow(error)) => Err(error.into()),
                });
                nulls.collect::<TaskResult<Vec<u64>>>()
            });
            counted.iter_mut().zip(nulls.await?).for_each(|(all, more)| *all += more);
        }
    }
    let names = columns.iter().map(|column| column.name.to_string());
    let nulls: BTreeMap<String, u64> = names.zip(counted).filter(|(_, nulls)| *nulls > 0).collect();
    for (name, nulls) in &nulls {
        ctx.info(format!("{:.1} % of `{name}` are null", *nulls as f64 * 100.0 / count.max(1) as f64));
    }
    let checks = checks(&file, &seen.mapping.unknown, count);
    ctx.commit(CheckTrail::new(&ctx, &object_uri(&file), checks))?;
    for name in &seen.mapping.unknown {
        ctx.warning(format!("column `{name}` is not known here, and left out"));
    }
    if count == 0 {
        return Err(fatal(format!(
            "`{}` has no rows\nhint: no month is without trips: look at what lies at `{}`",
            bucket.location(&file.key),
            file.from
        )));
    }
    ctx.info(format!("{count} rows in {} known columns", columns.len()));
    Ok(Validated { file, rows: count, nulls })
}

fn checks(file: &RawFile, unknown: &[String], rows: u64) -> Vec<CheckResult> {
    let check = |name: &str, kind: &str, policy: Policy, sample: String| CheckResult {
        name: name.into(),
        kind: kind.into(),
        policy,
        outcome: if sample.is_empty() { CheckOutcome::Pass } else { CheckOutcome::of_bad(policy) },
        rows,
        bad: u64::from(!sample.is_empty()),
        sample,
    };
    let empty = if rows == 0 { format!("`{}` has none", file.key) } else { String::new() };
    vec![
        check("there are rows", "rows", Policy::Fail, empty),
        check("the columns are those that are known", "schema", Policy::Warn, unknown.join(", ")),
    ]
}

/// Cleans the trips of one file, and puts them into `nyc_taxi.trips` in the place of those that the file had before;
/// sums the days anew that it touches. Both tables, what was put aside, and the word of it in `lake.etl_control` are
/// published in the transaction that records the success of this task.
///
/// Whoever is faster on the same days makes this one begin again.
#[task(retries = 8, retry_delay = secs(2), retry_backoff = 1.5, timeout = hours(1), max_active = 2)]
pub async fn process_to_iceberg(ctx: Ctx, valid: Validated) -> TaskResult<Published> {
    let Validated { file, .. } = valid;
    let place = Lakehouse::of(&ctx).await?;
    let bucket = place.bucket(RAW_BUCKET).await?;
    let mut db = control::open(&place.lake).await?;
    let duplicate_of = control::same_content(&mut db, &file).await?;
    let now = control::now(&mut db).await?;
    drop(db);
    let loaded = match &duplicate_of {
        None => load(&ctx, &place.lake, &bucket, &file, now).await?,
        Some(other) => {
            ctx.warning(format!("`{}` has the content of `{other}`, so nothing of it is loaded", file.source_file));
            leave_out(&ctx, &place.lake, &file, now).await?
        }
    };
    let Loaded { changes, findings, rows, quarantined, found, days } = loaded;
    for (uri, findings) in findings {
        ctx.commit(CheckTrail::new(&ctx, &uri, findings))?;
    }
    ctx.commit(CommitStep::new(&place.lake, changes))?;
    let is_duplicate = duplicate_of.is_some();
    ctx.commit(control::published(&ctx, Entry { file: file.clone(), rows, quarantined, found, is_duplicate }))?;
    ctx.info(format!(
        "{} rows: {rows} trips on {} days, {} dropped by the rules, {quarantined} put aside",
        found.rows,
        days.len(),
        found.dropped
    ));
    let (trips, summary) = (table_uri("trips"), table_uri("daily_summary"));
    let extra = json!({ "source_file": file.source_file, "found": found, "quarantined": quarantined });
    ctx.emit(AssetEvent::of(&*trips).extra(extra).rows(rows))?;
    ctx.emit(AssetEvent::of(&*summary).rows(days.len() as u64))?;
    ctx.lineage(&object_uri(&file), &trips, rows)?;
    ctx.lineage(&trips, &summary, days.len() as u64)?;
    if quarantined > 0 {
        ctx.warning(format!("{quarantined} rows were put aside into `nyc_taxi.{}`", quarantine_of("trips")));
        ctx.lineage(&object_uri(&file), &table_uri(&quarantine_of("trips")), quarantined)?;
    }
    Ok(Published { file, rows, dropped: found.dropped, quarantined, days: days.len() as u64, duplicate_of })
}

/// Looks at the table as readers see it: are the trips there that were published? Then the files are done, and the next
/// run begins after their months.
#[task(retries = 3, retry_delay = secs(5), timeout = mins(30))]
pub async fn update_control_table(ctx: Ctx, published: Vec<Published>) -> TaskResult<u64> {
    let place = Lakehouse::of(&ctx).await?;
    let mut db = control::open(&place.lake).await?;
    let trips = place.lake.table(&table_name("trips")?).await?;
    let (mut done, mut all) = (Vec::new(), 0);
    for Published { file, duplicate_of, .. } in published {
        if duplicate_of.is_some() {
            continue;
        }
        let name = &file.source_file;
        let there = trips.scan().filter(Filter::eq("source_file", name.as_str())).count().await?;
        match control::rows_of(&mut db, name, &file.sha256).await? {
            None => ctx.info(format!("`{name}` was published anew meanwhile: that run looks at it")),
            Some(rows) if rows != there => {
                bail!("`{}` has {there} trips of `{name}`, not the {rows} that were published", trips.name());
            }
            Some(rows) => {
                all += rows;
                done.push((name.clone(), file.sha256));
            }
        }
    }
    drop(db);
    ctx.info(format!("{all} trips of {} files are where they belong", done.len()));
    ctx.commit(control::done(done))?;
    Ok(all)
}
