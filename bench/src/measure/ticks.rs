//! Delay of runs when 200 schedules fire at the same instant (`* * * * *`), all roles in one process, on a separate
//! cluster without runs of other rows.
//!
//! The delay is the time from the instant at which a run was due until the transaction that creates it began, by the
//! database clock. The time when its task was claimed is reported in addition; by then the run is visible to all.

use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Utc};
use sqlx::Connection as _;

use super::server::{DataDir, Server};
use super::{Bench, Figure, pause, stats};
use crate::dags::Beside;

const DAGS: u32 = 200;

/// For each run, the delay in milliseconds until it was created and until its task was claimed.
const LATE: &str = "select (extract(epoch from r.created_at - r.run_after) * 1000)::float8,
    (extract(epoch from t.started_at - r.run_after) * 1000)::float8
  from dag_run r join task_instance t on t.run = r.id
  where r.dag_id like 'tick\\_%' and t.state = 'success'
    and r.run_after > $1 and r.run_after <= $1 + interval '1 minute' * $2";

pub(crate) fn measure(bench: &mut Bench) -> Result<Vec<Figure>> {
    bench.stop()?;
    let ticks = bench.times(3, 2);
    let data = DataDir::new(Some(bench.data.root()))?;
    let server = Server::start(&data, Beside { ticking: DAGS, ..Beside::default() })?;
    let late = late(&server.database_url, ticks)?;
    server.stop()?;
    let (created, claimed): (Vec<f64>, Vec<f64>) = late.into_iter().unzip();
    let figure = Figure::new("schedules200_tick_p99_ms", stats::percentile(&created, 0.99), created.len());
    Ok(vec![
        figure
            .with("ticks", ticks)
            .with("p50", stats::median(&created))
            .with("worst", stats::percentile(&created, 1.0))
            .with("claimed_p99", stats::percentile(&claimed, 0.99)),
    ])
}

/// Waits for the runs of the next ticks. Runs of the tick before the start, which are due immediately, do not count.
fn late(database_url: &str, ticks: usize) -> Result<Vec<(f64, f64)>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut db = runtime.block_on(orch_store::connect::one(database_url, "orch bench"))?;
    let since: DateTime<Utc> = runtime.block_on(sqlx::query_scalar("select now()").fetch_one(&mut db))?;
    let ticking = Duration::from_secs(60 * ticks as u64);
    pause::pause(ticking)?;
    let late = pause::until("waiting for the runs", Duration::from_millis(500), ticking, || {
        let late = sqlx::query_as(LATE).bind(since).bind(ticks as f64).fetch_all(&mut db);
        let late: Vec<(f64, f64)> = runtime.block_on(late)?;
        Ok((late.len() == DAGS as usize * ticks).then_some(late))
    })?;
    runtime.block_on(db.close())?;
    Ok(late)
}
