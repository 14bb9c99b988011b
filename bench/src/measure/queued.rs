//! Drain rate of a long queue of runs: 50,000 runs of a DAG with one task, of which 16 may run at a time. The cost of
//! starting a run must not grow with the number of queued runs.

use std::time::Duration;

use anyhow::Result;
use orch_store::connect;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::{Bench, Figure, pause};

const DAG: &str = "queue";
const RUNS: usize = 50_000;
const RUNS_QUICK: usize = 10_000;
const PATIENCE: Duration = Duration::from_mins(10);

/// Inserts queued copies of a run that was really executed; its remaining rows are written when it starts.
const QUEUE: &str = "insert into dag_run (id, version, ledger_format, state, run_type, ledger, counters, dag_id, run_id,
    run_after, triggered_by)
  select overlay(uuid_of_moment(now())::text placing lpad(to_hex(n), 12, '0') from 25)::uuid, r.version, r.ledger_format,
    'queued', 'manual', r.ledger, r.counters, r.dag_id, 'queued_' || n, now(), 'test'
  from (select * from dag_run where dag_id = 'queue' limit 1) r, generate_series(1, $1) n";

pub(crate) fn measure(bench: &mut Bench) -> Result<Vec<Figure>> {
    let runs = bench.times(RUNS, RUNS_QUICK);
    bench.fresh()?;
    let server = bench.running()?;
    server.succeed(DAG)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut db = runtime.block_on(connect::one(&server.database_url, "orch bench"))?;
    runtime.block_on(queue(&mut db, runs))?;
    let open = "select count(*) from dag_run where dag_id = 'queue' and state in ('queued', 'running')";
    pause::until("waiting for the runs", Duration::from_millis(500), PATIENCE, || {
        let left: i64 = runtime.block_on(sqlx::query_scalar(open).fetch_one(&mut db))?;
        Ok((left == 0).then_some(()))
    })?;
    let took =
        "select extract(epoch from max(ended_at) - min(started_at))::float8 from dag_run where run_id like 'queued_%'";
    let seconds: f64 = runtime.block_on(sqlx::query_scalar(took).fetch_one(&mut db))?;
    runtime.block_on(db.close())?;
    let figure = Figure::new("queued_runs_per_s", runs as f64 / seconds, 1);
    Ok(vec![figure.with("runs", runs).with("seconds", seconds)])
}

/// Inserts all runs in one transaction, so that none of them starts earlier.
async fn queue(db: &mut PgConnection, runs: usize) -> Result<()> {
    sqlx::query("set statement_timeout = 0").execute(&mut *db).await?;
    let mut tx = db.begin().await?;
    sqlx::query(QUEUE).bind(i32::try_from(runs)?).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}
