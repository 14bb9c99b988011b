//! The retail pipeline: its transformations alone, and the whole DAG in a real installation, from MySQL to Postgres.

use crate::peers;
use crate::place::{folder, on_runtime};
use crate::shop::{self, LARGE, Shop, key};
use anyhow::Result;
use futures::TryStreamExt as _;
use orch_bench::process::{forget_peak, peak_of};
use orch_bench::server::Server;
use orch_bench::{Bench, Figure};
use orch_dags::retail::tables::{GOLD, RAW, SILVER};
use orch_lake::bucket::Bucket;
use orch_lake::format::csv::{self, Csv};
use orch_lake::frame::sql::SqlFrames;
use orch_lake::frame::{blocking, from_batches};
use orch_sdk::task::TaskResult;
use orch_test_support::{Sail, spark};
use std::time::Instant;

const MYSQL: &str = "ORCH_CONN_RETAIL_MYSQL";

/// Measures CSV files → frames → silver → gold in memory. Other rows measure the writes.
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
        peers::run_peer("retail", &[&folder_of_small])?;
        let start = Instant::now();
        transform(&large).await?;
        let seconds = start.elapsed().as_secs_f64();
        Ok(vec![Figure::median("silver_gold_ms", &took), Figure::new("silver_gold_x20_s", seconds, 1)])
    })
}

async fn transform(bucket: &Bucket) -> Result<()> {
    let reads = RAW.iter().map(async |table| {
        let batches = csv::read(bucket, &key(table), table.schema(), Csv::default()).await?;
        let batches: Vec<_> = batches.try_collect().await?;
        TaskResult::Ok((table.name, batches))
    });
    let read = futures::future::try_join_all(reads).await?;
    let made = blocking(move |_| {
        let mut frames = SqlFrames::default();
        for (name, batches) in read {
            frames.set(name, from_batches(&batches)?);
        }
        let mut rows = 0;
        for model in SILVER.iter().chain(GOLD.iter()) {
            let frame = frames.query(model.statement)?;
            rows += frame.height();
            frames.set(model.table.name, frame);
        }
        Ok(rows)
    });
    anyhow::ensure!(made.await? > 0, "the tables have no rows");
    Ok(())
}

pub(crate) fn full_run(bench: &mut Bench) -> Result<Vec<Figure>> {
    let times = bench.times(5, 1);
    let shop = shop_of(bench, 1)?;
    let (_, took) = runs(bench, &[(MYSQL, &shop.connection.to_uri())], "retail_medallion", times)?;
    Ok(vec![Figure::median("retail_full_run_s", &took)])
}

/// Measures the DAG with a shop 20 times as large. The memory is measured in the process that runs its tasks.
pub(crate) fn large_run(bench: &mut Bench) -> Result<Vec<Figure>> {
    let (times, scale) = (bench.times(3, 1), bench.times(LARGE as usize, 1));
    let shop = shop_of(bench, u32::try_from(scale)?)?;
    bench.stop()?;
    let server = Server::start_with(bench.data(), &[(MYSQL, &shop.connection.to_uri())])?;
    forget_peak(server.pid())?;
    let took = (0..times).map(|_| timed(&server, "retail_medallion")).collect::<Result<Vec<_>>>()?;
    let peak = peak_of(server.pid())?;
    server.stop()?;
    let seconds = Figure::median("retail_x20_s", &took).with("scale", scale);
    Ok(vec![seconds, Figure::new("retail_x20_rss_mb", peak, times).with("scale", scale)])
}

/// Measures the pipelines that are written in SQL, on each engine.
pub(crate) fn engines(bench: &mut Bench) -> Result<Vec<Figure>> {
    let times = bench.times(3, 1);
    let shop = shop_of(bench, 1)?;
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

fn shop_of(bench: &Bench, scale: u32) -> Result<Shop> {
    let files = folder(bench, if scale == 1 { "csv1" } else { "csv" })?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        shop::files(&files, scale).await?;
        Ok(Shop::start(&files).await)
    })
}

/// Returns the seconds from before the trigger until the end of the run, for the first run and for the later ones.
fn runs(bench: &mut Bench, environment: &[(&str, &str)], dag: &'static str, times: usize) -> Result<(f64, Vec<f64>)> {
    bench.stop()?;
    let server = Server::start_with(bench.data(), environment)?;
    let first = timed(&server, dag)?;
    let took = (0..times).map(|_| timed(&server, dag)).collect::<Result<_>>()?;
    server.stop()?;
    Ok((first, took))
}

fn timed(server: &Server, dag: &'static str) -> Result<f64> {
    let start = Instant::now();
    server.succeed(dag)?;
    Ok(start.elapsed().as_secs_f64())
}
