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
use orch_test_support::{Sail, spark};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

const MYSQL: &str = "ORCH_CONN_RETAIL_MYSQL";

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

pub(crate) fn full_run(bench: &mut Bench) -> Result<Vec<Figure>> {
    let times = bench.times(5, 1);
    let shop = shop_of(bench)?;
    let (_, took) = runs(bench, &[(MYSQL, &shop.connection.to_uri())], "retail_medallion", times)?;
    Ok(vec![Figure::median("retail_full_run_s", &took)])
}

/// The pipelines by their SQL texts, on each engine.
pub(crate) fn engines(bench: &mut Bench) -> Result<Vec<Figure>> {
    let times = bench.times(3, 1);
    let shop = shop_of(bench)?;
    let mysql = shop.connection.to_uri();
    let sail = Sail::start();
    let runtime = tokio::runtime::Runtime::new()?;
    let spark = runtime.block_on(spark());
    let (sail, spark) = (sail.connection(), spark.connection(&spark.master()));
    let mut figures = vec![];
    for (name, engine) in
        [("retail_local_s", None), ("retail_sail_s", Some(sail.as_str())), ("retail_spark_s", Some(spark.as_str()))]
    {
        let engine = engine.map(|connection| ("ORCH_CONN_SPARK_DEFAULT", connection));
        let environment: Vec<_> = [(MYSQL, mysql.as_str())].into_iter().chain(engine).collect();
        let (cold, took) = runs(bench, &environment, "retail_master_pipeline", times)?;
        figures.push(Figure::median(name, &took).with("first_s", cold));
    }
    Ok(figures)
}

fn shop_of(bench: &Bench) -> Result<Shop> {
    let files = folder(bench, "csv1")?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        shop::files(&files, 1).await?;
        Ok(Shop::start(&files).await)
    })
}

/// Seconds from before a trigger until its run has ended: of the first one, and of those after it.
fn runs(bench: &mut Bench, environment: &[(&str, &str)], dag: &'static str, times: usize) -> Result<(f64, Vec<f64>)> {
    bench.stop()?;
    let server = Server::start_with(bench.data(), environment)?;
    let run = || {
        let start = Instant::now();
        server.succeed(dag)?;
        anyhow::Ok(start.elapsed().as_secs_f64())
    };
    let first = run()?;
    let took = (0..times).map(|_| run()).collect::<Result<_>>()?;
    server.stop()?;
    Ok((first, took))
}
