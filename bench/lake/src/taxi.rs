//! The taxi pipeline: loading a month of three million trips from a file, and the cost of one more day in a table that
//! is ten times as large.

use crate::peers;
use crate::place::{catalog, folder, lake_called, on_runtime};
use anyhow::{Context, Result};
use orch_bench::process::{forget_peak, peak_of};
use orch_bench::{Bench, Figure};
use orch_dags::common::nyc::month::Month;
use orch_dags::taxi::NAMESPACE;
use orch_dags::taxi::load::load;
use orch_dags::taxi::raw::RawFile;
use orch_dags::taxi::sample::Sample;
use orch_lake::bucket::{Bucket, Options};
use orch_lake::format::parquet;
use orch_lake::publish::Publisher;
use orch_lake::{Lake, TableName};
use orch_sdk::task::MemoryHost;
use orch_store::completion::left;
use std::path::Path;
use std::time::Instant;

const TABLES: [&str; 3] = ["trips", "daily_summary", "trips_quarantine"];
/// A busy month.
pub(crate) const MONTH: &str = "2025-02";
const FIRST: &str = "2015-01";
/// Number of months in the small and the large table.
const SIZES: [u32; 2] = [3, 30];

fn bucket(folder: &Path) -> Result<Bucket> {
    let files = folder.join("raw");
    std::fs::create_dir_all(&files)?;
    Ok(Bucket::open(&format!("file://{}", files.display()), &Options::default())?)
}

/// Writes a sample file to the bucket.
async fn file(bucket: &Bucket, month: Month, trips: u64) -> Result<RawFile> {
    let source_file = format!("yellow_tripdata_{month}");
    let key = format!("{source_file}.parquet");
    let rows = Sample { trips, ..Sample::default() }.file(month)?;
    let written = parquet::write(bucket, &key, rows).await?;
    // The checksum is not needed, because no duplicate is detected here.
    Ok(RawFile { source_file, month, key, bytes: written.bytes, sha256: String::new(), from: written.location })
}

/// Cleans, checks, partitions and commits a file with its daily sums. Returns seconds and trips.
async fn loaded(lake: &Lake, bucket: &Bucket, file: &RawFile) -> Result<(f64, u64)> {
    let host = MemoryHost::new();
    let start = Instant::now();
    let ctx = host.ctx();
    let mut publisher = Publisher::new(&ctx, lake).await?;
    let loaded = load(&ctx, lake, &mut publisher, bucket, file).await?;
    publisher.publish()?;
    let mut db = lake.catalog().postgres().context("the catalog is in Postgres")?.pool().begin().await?;
    // Storing check results needs orch's database, which this benchmark does not have.
    for mut step in left(&host).into_iter().filter(|step| step.name().starts_with("commit ")) {
        step.prepare().await?;
        step.run(&mut db).await?;
    }
    db.commit().await?;
    Ok((start.elapsed().as_secs_f64(), loaded.trips))
}

/// Loads the trips of a month into their table.
pub(crate) async fn one_month(lake: &Lake, folder: &Path, month: Month, trips: u64) -> Result<()> {
    let bucket = bucket(folder)?;
    let file = file(&bucket, month, trips).await?;
    loaded(lake, &bucket, &file).await.map(drop)
}

pub(crate) fn month(bench: &mut Bench) -> Result<Vec<Figure>> {
    let (times, trips) = (bench.times(3, 1), bench.times(3_000_000, 100_000) as u64);
    let (url, folder) = (catalog(bench)?, folder(bench, "taxi")?);
    on_runtime(async {
        let (lake, bucket) = (lake_called("taxi", &url, &folder).await?, bucket(&folder)?);
        let file = file(&bucket, Month::parse(MONTH)?, trips).await?;
        let (mut took, mut peak, mut rows) = (vec![], 0.0, 0);
        for time in 0..=times {
            for table in TABLES {
                lake.purge(&TableName::new(NAMESPACE, table)?).await?;
            }
            let pid = std::process::id();
            forget_peak(pid)?;
            let (seconds, all) = loaded(&lake, &bucket, &file).await?;
            rows = all;
            peak = f64::max(peak, peak_of(pid)?);
            if time > 0 {
                took.push(seconds);
            }
        }
        let there = lake.table(&TableName::new(NAMESPACE, "trips")?).await?.count().await?;
        anyhow::ensure!(there == rows, "{there} trips in the table, {rows} were loaded");
        let path = folder.join("raw").join(&file.key);
        peers::run_peer("taxi", &[&url, &folder.display().to_string(), path.to_str().context("a path of text")?])?;
        let megabytes = file.bytes as f64 / 1e6;
        Ok(vec![
            Figure::median("taxi3m_s", &took).with("rows", trips).with("trips", rows).with("file_mb", megabytes),
            Figure::new("taxi3m_rss_mb", peak, times + 1).with("rows", trips),
        ])
    })
}

/// Loads a day's file into each table alternately and reports the ratio of their costs.
pub(crate) fn increment(bench: &mut Bench) -> Result<Vec<Figure>> {
    let (times, trips) = (bench.times(11, 3), bench.times(300_000, 20_000) as u64);
    let (url, folder) = (catalog(bench)?, folder(bench, "taxi-days")?);
    on_runtime(async {
        let bucket = bucket(&folder)?;
        let first = Month::parse(FIRST)?;
        let month = |number: u32| std::iter::successors(Some(first), |month| Some(month.next())).nth(number as usize);
        let mut tables = vec![];
        for (name, months) in ["taxi_small", "taxi_large"].into_iter().zip(SIZES) {
            let lake = lake_called(name, &url, &folder.join(name)).await?;
            for number in 0..months {
                let file = file(&bucket, month(number).context("a month")?, trips).await?;
                loaded(&lake, &bucket, &file).await?;
            }
            tables.push((lake, vec![]));
        }
        for time in 0..=times as u32 {
            let file = file(&bucket, month(SIZES[1] + time).context("a month")?, trips / 30).await?;
            for (lake, took) in &mut tables {
                let (seconds, _) = loaded(lake, &bucket, &file).await?;
                if time > 0 {
                    took.push(seconds * 1e3);
                }
            }
        }
        let median = |at: usize| Figure::median("taxi_increment_ratio", &tables[at].1).value;
        let (small, large) = (median(0), median(1));
        let ratio = Figure::new("taxi_increment_ratio", large / small, times);
        Ok(vec![ratio.with("small_ms", small).with("large_ms", large).with("rows", trips / 30)])
    })
}
