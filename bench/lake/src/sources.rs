//! Copies from MySQL to files and tables: rows per second, and the memory for many rows.

use crate::peers;
use crate::place::{catalog, folder, lake, on_runtime};
use crate::shop::{self, LARGE, Shop};
use anyhow::Result;
use orch_bench::process::{forget_peak, peak_of};
use orch_bench::{Bench, Figure};
use orch_lake::bucket::{Bucket, Options};
use orch_lake::format::parquet;
use orch_lake::source::mysql::{MysqlSource, read};
use orch_lake::{Filter, TableDef};
use std::time::Instant;

/// A narrow table: 172,198 rows of six numbers, 20 times.
const TABLE: &str = "order_items";
/// Triples the table to about ten million rows.
const THRICE: &str =
    "select i.* from order_items i cross join (select 1 n union all select 2 union all select 3) times";

/// Measures MySQL → an Iceberg table. Each method has one warm-up run.
pub(crate) fn copy(bench: &mut Bench) -> Result<Vec<Figure>> {
    let times = bench.times(5, 1);
    let (url, files, target) = (catalog(bench)?, folder(bench, "csv")?, folder(bench, "copy")?);
    on_runtime(async {
        shop::files(&files, LARGE).await?;
        let shop = Shop::start(&files).await;
        let bucket = Bucket::open(&format!("file://{}", target.display()), &Options::default())?;
        let lake = lake(&url, &target).await?;
        let schema = read(&shop.connection, items()).await?.schema();
        let mut table = lake.ensure(&"bench.order_items".parse()?, &TableDef::of(&schema)?).await?;
        let (mut to_parquet, mut to_table, mut rows) = (vec![], vec![], 0);
        for time in 0..=times {
            let start = Instant::now();
            let written = parquet::write(&bucket, "items.parquet", read(&shop.connection, items()).await?).await?;
            let parquet = start.elapsed().as_secs_f64();
            let start = Instant::now();
            let change = table.overwrite(Filter::All, read(&shop.connection, items()).await?).await?;
            table = change.commit(&lake).await?.table;
            let iceberg = start.elapsed().as_secs_f64();
            rows = table.count().await?;
            anyhow::ensure!(rows == written.rows, "{rows} rows in the table, {} in the file", written.rows);
            if time > 0 {
                to_parquet.push(rows as f64 / parquet);
                to_table.push(rows as f64 / iceberg);
            }
        }
        peers::run_peer("mysql", &[&shop.connection.to_uri(), &target.display().to_string()])?;
        Ok(vec![
            Figure::median("mysql_parquet_rows_per_s", &to_parquet).with("rows", rows),
            Figure::median("mysql_iceberg_rows_per_s", &to_table).with("rows", rows),
        ])
    })
}

fn items() -> MysqlSource {
    MysqlSource::table(TABLE).money()
}

/// Measures peak memory (RSS) while about ten million rows are copied from MySQL to an Iceberg table. It must run in a
/// process that has done nothing else, or earlier allocations inflate the peak.
pub(crate) fn stream(bench: &mut Bench) -> Result<Vec<Figure>> {
    let (url, files, target) = (catalog(bench)?, folder(bench, "csv")?, folder(bench, "stream")?);
    on_runtime(async {
        shop::files(&files, LARGE).await?;
        let shop = Shop::start(&files).await;
        let lake = lake(&url, &target).await?;
        let all = || MysqlSource::query(THRICE).money();
        let schema = read(&shop.connection, all()).await?.schema();
        let table = lake.ensure(&"bench.streamed".parse()?, &TableDef::of(&schema)?).await?;
        let pid = std::process::id();
        forget_peak(pid)?;
        let start = Instant::now();
        let change = table.append(read(&shop.connection, all()).await?).await?;
        let rows = change.commit(&lake).await?.table.count().await?;
        let seconds = start.elapsed().as_secs_f64();
        let peak = peak_of(pid)?;
        Ok(vec![Figure::new("stream10m_rss_mb", peak, 1).with("rows", rows).with("seconds", seconds)])
    })
}
