//! The retail pipeline: its transformations alone, and the whole DAG in a real installation, from MySQL to Postgres.

use crate::peers;
use crate::place::{folder, on_runtime};
use crate::shop::{self, LARGE, Shop, key};
use anyhow::Result;
use futures::TryStreamExt as _;
use orch_bench::server::Server;
use orch_bench::{Bench, Figure};
use orch_dags::retail::gold::gold;
use orch_dags::retail::schema::RAW;
use orch_dags::retail::silver::{Raw, silver};
use orch_lake::bucket::Bucket;
use orch_lake::format::csv::{self, Csv};
use orch_lake::frame::{blocking, from_batches};
use orch_sdk::task::TaskResult;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// CSV files → frames → silver → gold, in memory. What it costs to write them is in the other rows.
pub(crate) fn silver_gold(bench: &mut Bench) -> Result<Vec<Figure>> {
    let times = bench.times(15, 3);
    let (small, large) = (folder(bench, "csv1")?, folder(bench, "csv")?);
    let folder_of_small = small.display().to_string();
    on_runtime(async {
        let (small, large) = (shop::files(&small, 1).await?, shop::files(&large, LARGE).await?);
        let mut took = vec![];
        for time in 0..=times {
            let start = Instant::now();
            transform(&small).await?;
            if time > 0 {
                took.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
        peers::run("retail", &[&folder_of_small])?;
        let start = Instant::now();
        transform(&large).await?;
        let seconds = start.elapsed().as_secs_f64();
        Ok(vec![Figure::median("silver_gold_ms", &took), Figure::new("silver_gold_x20_s", seconds, 1)])
    })
}

async fn transform(bucket: &Bucket) -> Result<()> {
    let reads = RAW.iter().map(async |table| {
        let batches = csv::read(bucket, &key(table), Arc::new(table.arrow()), Csv::default()).await?;
        let batches: Vec<_> = batches.try_collect().await?;
        TaskResult::Ok((table.name, batches))
    });
    let mut read: HashMap<_, _> = futures::future::try_join_all(reads).await?.into_iter().collect();
    let made = blocking(move |_| {
        let raw = Raw::from_tables(|name| from_batches(&read.remove(name).unwrap_or_default()))?;
        let silver = silver(&raw)?;
        Ok(gold(&silver)?.len() + silver.len())
    });
    anyhow::ensure!(made.await? > RAW.len(), "tables are missing");
    Ok(())
}

/// From before the trigger until the run has ended.
pub(crate) fn full_run(bench: &mut Bench) -> Result<Vec<Figure>> {
    let times = bench.times(5, 1);
    let files = folder(bench, "csv1")?;
    bench.stop()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let shop = runtime.block_on(async {
        shop::files(&files, 1).await?;
        anyhow::Ok(Shop::start(&files).await)
    })?;
    let server = Server::start_with(bench.data(), &[("ORCH_CONN_RETAIL_MYSQL", &shop.connection.to_uri())])?;
    let mut took = vec![];
    for time in 0..=times {
        let start = Instant::now();
        server.succeed("retail_medallion")?;
        if time > 0 {
            took.push(start.elapsed().as_secs_f64());
        }
    }
    server.stop()?;
    Ok(vec![Figure::median("retail_full_run_s", &took)])
}
