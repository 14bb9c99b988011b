//! Commits of six tables in a bucket, as a task does them: staged together, then swapped in one transaction. The server
//! delays each response like one in another data center.

use crate::place::{catalog, on_runtime};
use crate::tables::{batches, rows, table};
use anyhow::Result;
use orch_bench::{Bench, Figure, percentile};
use orch_lake::bucket::Options;
use orch_lake::table::CommitStep;
use orch_lake::{Change, Lake, LakeConfig};
use orch_test_lake::S3Server;
use sqlx::postgres::{PgPool, PgPoolOptions};
use std::time::{Duration, Instant};

const TABLES: [&str; 6] = ["s3.a", "s3.b", "s3.c", "s3.d", "s3.e", "s3.f"];
const ROWS: i64 = 1_000;
const DELAYS: [(&str, u64); 3] = [("commit6_s3_0ms_s", 0), ("commit6_s3_50ms_s", 50), ("commit6_s3_150ms_s", 150)];

/// Measures the seconds from the end of the task function to the commit, by a worker that has just started. The data
/// files are written before.
pub(crate) fn commits(bench: &mut Bench) -> Result<Vec<Figure>> {
    let times = bench.times(15, 3);
    let url = catalog(bench)?;
    on_runtime(async {
        let pool = PgPoolOptions::new().max_connections(8).connect(&url).await?;
        let server = S3Server::start().await;
        server.make_bucket("bench");
        let mut figures = vec![];
        for (row, delay) in DELAYS {
            let (mut took, mut transactions, mut requests) = (vec![], vec![], 0);
            for time in 0..=times {
                server.delay(Duration::ZERO);
                let changes = written(&lake(&server, &pool)?, time as i64).await?;
                let mut step = CommitStep::new(&lake(&server, &pool)?, changes);
                server.delay(Duration::from_millis(delay));
                let before = server.requests();
                let start = Instant::now();
                step.stage().await?;
                let staged = Instant::now();
                let mut transaction = pool.begin().await?;
                step.swap_on(&mut transaction).await?;
                transaction.commit().await?;
                requests = server.requests() - before;
                if time > 0 {
                    took.push(start.elapsed().as_secs_f64());
                    transactions.push(staged.elapsed().as_secs_f64() * 1e3);
                }
            }
            // Measured by the client's clock, because the time of the server is part of the result.
            let transaction = Figure::median(row, &transactions).value;
            let figure = Figure::median(row, &took)
                .with("transaction_ms", transaction)
                .with("transaction_p95_ms", percentile(&transactions, 0.95))
                .with("requests", requests);
            figures.push(figure);
        }
        Ok(figures)
    })
}

fn lake(server: &S3Server, pool: &PgPool) -> Result<Lake> {
    let (storage, warehouse) = (Options::of(&server.connection()), "s3://bench/warehouse".to_owned());
    Ok(Lake::open(LakeConfig { catalog: pool.clone(), name: "bench-s3".into(), warehouse, storage })?)
}

/// Writes data files for every table.
async fn written(lake: &Lake, time: i64) -> Result<Vec<Change>> {
    let mut changes = vec![];
    for name in TABLES {
        let batch = rows(time * ROWS..(time + 1) * ROWS, 0)?;
        changes.push(table(lake, name).await?.append(batches(batch)).await?);
    }
    Ok(changes)
}
