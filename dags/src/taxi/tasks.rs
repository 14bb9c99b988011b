//! The tasks of the taxi pipeline. Two of them run once per file, so that a broken file does not block the others.

use super::RAW_BUCKET;
use super::clean::Reader;
use super::control;
use super::load::{Found, Loaded, load, object_uri, remove};
use super::options::Taxi;
use super::raw::{RawFile, inspect};
use super::schema::{SOURCE_FILE, TRIPS};
use super::source::Source;
use crate::common::connections::NYC_TAXI;
use crate::common::lakehouse::Lakehouse;
use crate::common::nyc::month::last_loaded;
use arrow::array::Array as _;
use futures::TryStreamExt as _;
use orch::prelude::*;
use orch_lake::Filter;
use orch_lake::contract::{Contract, Policy};
use orch_lake::frame::batches_of;
use orch_lake::publish::Publisher;
use polars::prelude::df;
use std::collections::BTreeMap;

/// Checks of a file, for the quality page of its object.
const FILE_RULES: [(&str, &str); 2] =
    [("there are rows", "rows > 0"), ("the columns are those that are known", "unknown_columns = ''")];

/// A file that has the columns of a trip, and at least one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validated {
    pub file: RawFile,
    pub rows: u64,
    /// Number of nulls in each column that has any.
    pub nulls: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub file: RawFile,
    pub rows: u64,
    pub dropped: u64,
    /// Number of rows that break each rule.
    #[serde(default)]
    pub rules: BTreeMap<String, u64>,
    pub quarantined: u64,
    /// Number of days whose summary was recomputed.
    pub days: u64,
    /// Another file with the same content. If it is set, the tables have no rows of this file.
    pub duplicate_of: Option<String>,
}

/// Downloads the files of the requested months into the bucket `raw-taxi-data`. A download that breaks off resumes where it
/// stopped. The object appears only when it is complete.
///
/// By default, these are the months after the last one that was loaded. The first month that the city has not published
/// yet ends them, without an error. A month that the run names, or that is four months old, must exist.
#[task(retries = 3, retry_delay = secs(10), retry_backoff = 2.0, timeout = hours(2))]
pub async fn extract_taxi_data(ctx: Ctx, options: Taxi) -> TaskResult<Vec<RawFile>> {
    let place = Lakehouse::of(&ctx).await?;
    let source = Source::of(&ctx.connection(NYC_TAXI).await?)?;
    drop(control::open(&place.lake).await?);
    let (loaded, now) = (last_loaded(&place.lake).await?, place.lake.now().await?);
    let (months, must_exist) = options.wanted(ctx.logical_date().map(|date| date.date_naive()), loaded, now)?;
    let bucket = place.bucket(RAW_BUCKET).await?;
    let mut files = Vec::new();
    for month in months {
        let address = source.address(month);
        let Some(file) = source.fetch(&ctx, &bucket, month, now).await? else {
            if must_exist || month.is_published(now) {
                return Err(fatal(format!(
                    "there is no file of {month}: `{address}` does not exist\n\
                     hint: check the template of connection `{NYC_TAXI}` and the months of the run"
                )));
            }
            ctx.info(format!("{month} is not published yet: `{address}` does not exist"));
            break;
        };
        ctx.info(format!("{} bytes of `{address}` are in `{}`", file.bytes, bucket.location(&file.key)));
        let object = object_uri(&file);
        ctx.emit(AssetEvent::of(&*object).extra(json!({ "sha256": file.sha256, "bytes": file.bytes })))?;
        ctx.lineage(&address, &object, None)?;
        files.push(file);
    }
    if files.is_empty() {
        ctx.info("there is nothing to be loaded");
    }
    Ok(files)
}

/// Checks that a file is complete, has the columns of a trip in readable types, and has rows. Every line of a CSV is read;
/// of a Parquet file only its footer.
#[task(retries = 1, retry_delay = secs(5), timeout = hours(1))]
pub async fn validate_data(ctx: Ctx, file: RawFile) -> TaskResult<Validated> {
    let place = Lakehouse::of(&ctx).await?;
    let bucket = place.bucket(RAW_BUCKET).await?;
    let publisher = Publisher::new(&ctx, &place.lake).await?;
    let raw = inspect(&bucket, &file).await?;
    let (columns, unknown) = (&raw.mapping.found, &raw.mapping.unknown);
    let (mut rows, mut counted) = (0, vec![0; columns.len()]);
    if let Some(footer) = &raw.footer {
        rows = footer.rows;
        let nulls = |name: &str| footer.schema.fields().find(name).and_then(|(at, _)| footer.nulls[at]);
        counted = columns.iter().map(|(_, name)| nulls(name).unwrap_or_default()).collect();
    } else {
        let mut batches = Reader::new(&raw, file.month).read(raw.rows(&bucket).await?).report_progress(&ctx);
        while let Some(batch) = batches.try_next().await? {
            rows += batch.num_rows() as u64;
            let nulls = columns.iter().map(|(column, _)| batch[column.name].null_count() as u64);
            counted.iter_mut().zip(nulls).for_each(|(all, more)| *all += more);
        }
    }
    let names = columns.iter().map(|(column, _)| column.name.to_string());
    let nulls: BTreeMap<String, u64> = names.zip(counted).filter(|(_, nulls)| *nulls > 0).collect();
    for (name, nulls) in &nulls {
        ctx.info(format!("{:.1} % of `{name}` are null", *nulls as f64 * 100.0 / rows.max(1) as f64));
    }
    let facts = df!("rows" => [rows], "unknown_columns" => [unknown.join(", ")])?;
    let contract = Contract::of(object_uri(&file)).rules(FILE_RULES).or(Policy::Warn);
    publisher.check(&contract.key(["rows", "unknown_columns"]), &batches_of(facts)?.1, &publisher.facts)?;
    for name in unknown {
        ctx.warning(format!("column `{name}` is unknown, so it is not loaded"));
    }
    if rows == 0 {
        let (location, from) = (bucket.location(&file.key), &file.from);
        return Err(fatal(format!(
            "`{location}` has no rows\nhint: every month has trips: check the file at `{from}`"
        )));
    }
    ctx.info(format!("{rows} rows in {} known columns", columns.len()));
    Ok(Validated { file, rows, nulls })
}

/// Cleans the trips of one file, and replaces those that the file had before in `nyc_taxi.trips`; sums up the days again
/// that it touches. Both tables, the quarantine and the entry in `lake.etl_control` are published in the transaction that
/// records the success of this task.
///
/// If another run has published the same days meanwhile, this one fails with a conflict and retries.
#[task(retries = 8, retry_delay = secs(2), retry_backoff = 1.5, timeout = hours(1), max_active = 2)]
pub async fn process_to_iceberg(ctx: Ctx, valid: Validated) -> TaskResult<Published> {
    let Validated { file, .. } = valid;
    let place = Lakehouse::of(&ctx).await?;
    let bucket = place.bucket(RAW_BUCKET).await?;
    let duplicate_of = control::same_content(&place.lake, &file).await?;
    let mut publisher = Publisher::new(&ctx, &place.lake).await?;
    let loaded = match &duplicate_of {
        None => load(&ctx, &place.lake, &mut publisher, &bucket, &file).await?,
        Some(other) => {
            ctx.warning(format!("`{}` has the content of `{other}`, so nothing of it is loaded", file.source_file));
            remove(&place.lake, &mut publisher, &file).await?
        }
    };
    publisher.also(control::published(&ctx, &file, &loaded, duplicate_of.is_some()))?;
    publisher.publish()?;
    let Loaded { trips: rows, quarantined, days, found: Found { rows: read, dropped, by_rule: rules } } = loaded;
    ctx.info(format!("{read} rows: {rows} trips on {days} days, {dropped} dropped, {quarantined} quarantined"));
    Ok(Published { file, rows, dropped, rules, quarantined, days, duplicate_of })
}

/// Checks that readers see the trips that were published. Then the files are done, and the next run starts after their
/// months.
#[task(retries = 3, retry_delay = secs(5), timeout = mins(30))]
pub async fn update_control_table(ctx: Ctx, published: Vec<Published>) -> TaskResult<u64> {
    let place = Lakehouse::of(&ctx).await?;
    let mut db = control::open(&place.lake).await?;
    let trips = place.lake.table(&TRIPS.id()?).await?;
    let (mut done, mut all) = (Vec::new(), 0);
    for Published { file, .. } in published.into_iter().filter(|published| published.duplicate_of.is_none()) {
        let name = &file.source_file;
        let count = trips.scan().filter(Filter::eq(SOURCE_FILE, name.as_str())).count().await?;
        match control::rows_of(&mut db, name, &file.sha256).await? {
            None => ctx.info(format!("`{name}` was published again meanwhile: that run checks it")),
            Some(rows) if rows != count => {
                bail!("`{}` has {count} trips of `{name}`, not the {rows} that were published", trips.name());
            }
            Some(rows) => {
                all += rows;
                done.push((name.clone(), file.sha256));
            }
        }
    }
    ctx.info(format!("all {all} trips of {} files are in the table", done.len()));
    Publisher::new(&ctx, &place.lake).await?.also(control::done(done))?;
    Ok(all)
}
