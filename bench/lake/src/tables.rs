//! Iceberg tables: the cost of a commit, an upsert, a compaction and a scan.

use crate::peers;
use crate::place::{catalog, folder, lake, on_runtime};
use anyhow::{Context, Result};
use arrow::array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch};
use futures::TryStreamExt as _;
use iceberg::spec::PrimitiveType;
use orch_bench::{Bench, Figure};
use orch_lake::batches::Batches;
use orch_lake::table::At;
use orch_lake::table::maintain::Compaction;
use orch_lake::{Lake, Table, TableDef};
use std::sync::Arc;
use std::time::Instant;

/// Number of order items in the retail database.
const ROWS: i64 = 172_198;
const UPSERTED: i64 = 1_000;
/// Number of files that are compacted into one.
const SMALL_FILES: i64 = 100;
const ROWS_OF_SMALL: i64 = 20_000;

/// Returns rows of a narrow table: a key, two numbers, an amount.
pub(crate) fn rows(keys: impl Iterator<Item = i64>, salt: i64) -> Result<RecordBatch> {
    let keys: Vec<i64> = keys.collect();
    let numbers = |factor: i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(keys.iter().map(|k| k * factor % 997 + salt)))
    };
    let amounts = Decimal128Array::from_iter_values(keys.iter().map(|key| i128::from(key * 31 % 99_991 + salt)));
    let amounts: ArrayRef = Arc::new(amounts.with_precision_and_scale(12, 2)?);
    let (one, other) = (numbers(7), numbers(13));
    let keys: ArrayRef = Arc::new(Int64Array::from(keys));
    Ok(RecordBatch::try_from_iter([("id", keys), ("order_id", one), ("product_id", other), ("subtotal", amounts)])?)
}

pub(crate) async fn table(lake: &Lake, name: &str) -> Result<Table> {
    let number = PrimitiveType::Long;
    let amount = PrimitiveType::Decimal { precision: 12, scale: 2 };
    let definition = TableDef::new()
        .required("id", number.clone())
        .optional("order_id", number.clone())
        .optional("product_id", number)
        .optional("subtotal", amount)
        .key(["id"]);
    Ok(lake.ensure(&name.parse()?, &definition).await?)
}

pub(crate) fn batches(batch: RecordBatch) -> Batches {
    Batches::of(batch.schema(), vec![batch])
}

/// Measures whole calls: writing the files and committing, until the next reader sees the result.
pub(crate) fn commits(bench: &mut Bench) -> Result<Vec<Figure>> {
    let (appends, upserts) = (bench.times(60, 10), bench.times(20, 5));
    let (url, folder) = (catalog(bench)?, folder(bench, "commits")?);
    on_runtime(async {
        let lake = lake(&url, &folder).await?;
        let mut small = table(&lake, "bench.small").await?;
        let (mut whole, mut alone) = (vec![], vec![]);
        for number in 0..=appends as i64 {
            let batch = rows(number * 100..(number + 1) * 100, 0)?;
            let start = Instant::now();
            let change = small.append(batches(batch)).await?;
            let written = Instant::now();
            small = change.commit(&lake).await?.table;
            if number > 0 {
                whole.push(start.elapsed().as_secs_f64() * 1e3);
                alone.push(written.elapsed().as_secs_f64() * 1e3);
            }
        }
        let mut large = table(&lake, "bench.large").await?;
        large = large.append(batches(rows(0..ROWS, 0)?)).await?.commit(&lake).await?.table;
        let mut upserted = vec![];
        for number in 0..=upserts as i64 {
            let step = ROWS / UPSERTED;
            let batch = rows((0..UPSERTED).map(|row| row * step + number % step), number + 1)?;
            let start = Instant::now();
            large = large.upsert(&["id"], batches(batch)).await?.commit(&lake).await?.table;
            if number > 0 {
                upserted.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
        anyhow::ensure!(large.count().await? == ROWS as u64, "an upsert of known keys adds no row");
        peers::run_peer("tables", &[&url, &folder.display().to_string()])?;
        let swap = Figure::median("iceberg_commit_p50_ms", &alone).value;
        Ok(vec![
            Figure::median("iceberg_commit_p50_ms", &whole).with("without_the_data_file", swap),
            Figure::median("iceberg_upsert1000_p50_ms", &upserted).with("rows", ROWS),
        ])
    })
}

pub(crate) fn reads(bench: &mut Bench) -> Result<Vec<Figure>> {
    let times = bench.times(5, 1);
    let (url, folder) = (catalog(bench)?, folder(bench, "reads")?);
    on_runtime(async {
        let lake = lake(&url, &folder).await?;
        let (mut compacted, mut scanned) = (vec![], vec![]);
        for time in 0..=times {
            let name = format!("bench.files_{time}");
            let mut parts = table(&lake, &name).await?;
            for part in 0..SMALL_FILES {
                let batch = rows(part * ROWS_OF_SMALL..(part + 1) * ROWS_OF_SMALL, 0)?;
                parts = parts.append(batches(batch)).await?.commit(&lake).await?.table;
            }
            let all = (SMALL_FILES * ROWS_OF_SMALL) as u64;
            let start = Instant::now();
            lake.compact(parts.name(), &Compaction::new()).await?;
            let took = start.elapsed().as_secs_f64();
            let whole = parts.refresh().await?;
            let files = whole.files(&At::Now).await?.files.len();
            anyhow::ensure!(files < SMALL_FILES as usize, "{files} files after compaction");
            let start = Instant::now();
            let rows = whole.scan().stream().await?.try_fold(0, async |rows, batch| Ok(rows + batch.num_rows() as u64));
            let rows = rows.await.context("scanning")?;
            let scan = start.elapsed().as_secs_f64();
            anyhow::ensure!(rows == all, "{rows} rows of {all}");
            if time > 0 {
                compacted.push(all as f64 / took);
                scanned.push(all as f64 / scan);
            }
        }
        Ok(vec![
            Figure::median("compaction_rows_per_s", &compacted).with("files", SMALL_FILES),
            Figure::median("scan_rows_per_s", &scanned),
        ])
    })
}
