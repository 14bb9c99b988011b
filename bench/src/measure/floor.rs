//! The performance of Postgres alone on this machine at this time: one durable commit, and claiming and completing
//! batches in orch's tables without its logic. The other rows are compared with these two.

use std::str::FromStr as _;
use std::time::Instant;

use anyhow::{Context, Result};
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{Bench, Figure, stats};
use crate::clock;

/// A separate database, so that orch does not process its rows.
const DATABASE: &str = "bench_floor";
/// Same as the number of slots of a worker.
const BATCH: i32 = 256;
const TASKS_OF_A_RUN: usize = 1_000;
/// Numbers of connections to try. The best result is the ceiling.
const CONNECTIONS: [usize; 3] = [1, 2, 4];
/// Same settings as orch's hot connections.
const HOT_SETTINGS: [(&str, &str); 4] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("jit", "off"),
];

pub(crate) fn measure(bench: &mut Bench) -> Result<Vec<Figure>> {
    let (commits, tasks) = (bench.times(2_000, 500), bench.times(150_000, 50_000));
    let url = bench.running()?.database_url.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        prepare(&url).await?;
        let commit = commit(&url, commits).await?;
        let claim = claim(&url, tasks).await?;
        Ok(vec![commit, claim])
    })
}

fn options(url: &str) -> Result<PgConnectOptions> {
    Ok(orch_store::connect::options(url, "orch bench")?.database(DATABASE))
}

async fn prepare(url: &str) -> Result<()> {
    let mut db = PgConnection::connect_with(&PgConnectOptions::from_str(url)?).await?;
    sqlx::raw_sql("drop database if exists bench_floor with (force)").execute(&mut db).await?;
    sqlx::raw_sql("create database bench_floor").execute(&mut db).await?;
    db.close().await?;
    let mut db = PgConnection::connect_with(&options(url)?).await?;
    orch_store::guard::migrate(&mut db).await?;
    sqlx::raw_sql(
        "select make_partitions(now());
        create table bench_commit (id bigint generated always as identity primary key, payload text not null,
            written_at timestamptz not null default now())",
    )
    .execute(&mut db)
    .await?;
    db.close().await?;
    Ok(())
}

/// Measures one-row transactions on one connection.
async fn commit(url: &str, times: usize) -> Result<Figure> {
    let mut db = PgConnection::connect_with(&options(url)?).await?;
    let mut took = Vec::with_capacity(times);
    for number in 0..times + times / 10 {
        let start = clock::now();
        sqlx::query("insert into bench_commit (payload) values ($1)").bind("one row").execute(&mut db).await?;
        if number >= times / 10 {
            took.push(clock::millis_between(start, clock::now()));
        }
    }
    db.close().await?;
    Ok(Figure::new("commit_p50_ms", stats::median(&took), times).with("p95", stats::percentile(&took, 0.95)))
}

/// Measures the tasks per second that pass through `ready` and `task_instance` without any scheduling decisions.
async fn claim(url: &str, tasks: usize) -> Result<Figure> {
    let mut figure = Figure::new("claim_batch_per_s", 0.0, tasks).with("batch", BATCH);
    // The first round is a warm-up in which the files grow.
    claim_all(url, tasks / 5, 1).await?;
    for connections in CONNECTIONS {
        let per_second = claim_all(url, tasks, connections).await?;
        if per_second > figure.value {
            figure.value = per_second;
            figure = figure.with("connections", connections);
        }
    }
    Ok(figure)
}

async fn claim_all(url: &str, tasks: usize, connections: usize) -> Result<f64> {
    let mut db = PgConnection::connect_with(&options(url)?).await?;
    fill(&mut db, tasks).await?;
    let leaf: String =
        sqlx::query_scalar("select to_char(now() at time zone 'UTC', 'IYYY\"w\"IW')").fetch_one(&mut db).await?;
    db.close().await?;

    let mut ready = Vec::new();
    for _ in 0..connections {
        ready.push(PgConnection::connect_with(&options(url)?.options(HOT_SETTINGS)).await?);
    }
    let start = Instant::now();
    let mut workers = JoinSet::new();
    for db in ready {
        workers.spawn(work(db, statement(&leaf)));
    }
    let mut done = 0;
    while let Some(worker) = workers.join_next().await {
        done += worker.context("a connection panicked")??;
    }
    anyhow::ensure!(done == tasks, "{done} of {tasks} tasks were claimed");
    Ok(tasks as f64 / start.elapsed().as_secs_f64())
}

async fn fill(db: &mut PgConnection, tasks: usize) -> Result<()> {
    let runs: Vec<Uuid> = (0..tasks.div_ceil(TASKS_OF_A_RUN)).map(|_| Uuid::now_v7()).collect();
    sqlx::raw_sql("truncate ready, task_instance").execute(&mut *db).await?;
    sqlx::query(
        "insert into ready (run, task, map_index, attempt, version, queue, priority, try_no, max_tries, lease_no, lost_no)
        select r.run, 0, i, gen_random_uuid(), 1, 1, 1, 1, 0, 1, 0
        from unnest($1::uuid[]) with ordinality as r (run, place), generate_series(0, $2 - 1) i
        order by r.place, i limit $3",
    )
    .bind(&runs)
    .bind(TASKS_OF_A_RUN as i32)
    .bind(tasks as i64)
    .execute(&mut *db)
    .await?;
    sqlx::raw_sql("vacuum analyze ready").execute(&mut *db).await?;
    sqlx::raw_sql("checkpoint").execute(&mut *db).await?;
    Ok(())
}

/// Returns the statement that ends one batch and claims the next, like the step of a worker.
fn statement(leaf: &str) -> String {
    format!(
        "with f as materialized (select * from unnest($1::uuid[], $2::integer[], $3::uuid[]) as f (run, map_index, attempt)),
        fin as (update task_instance_{leaf} t set state = 'success', ended_at = now(), rev_end = 1 from f
          where t.run = f.run and t.task = 0 and t.map_index = f.map_index and t.attempt = f.attempt and t.lease_no = 1
            and t.state = 'running'),
        clm as (delete from ready where ctid = any(array(
            select ctid from ready where queue = 1 and version = any($4::integer[])
            order by priority desc, seq limit $5 for update skip locked))
          returning run, task, map_index, attempt, try_no, max_tries, lease_no, lost_no, queued_at),
        taken as (insert into task_instance (run, task, map_index, attempt, worker, try_no, max_tries, lease_no, lost_no, state,
            queued_at, started_at, rev_ready)
          select run, task, map_index, attempt, 1, try_no, max_tries, lease_no, lost_no, 'running', queued_at, now(), 0 from clm)
        select run, map_index, attempt from clm"
    )
}

async fn work(mut db: PgConnection, statement: String) -> Result<usize> {
    let (mut runs, mut indexes, mut attempts) = (Vec::<Uuid>::new(), Vec::<i32>::new(), Vec::<Uuid>::new());
    let mut done = 0;
    loop {
        let claimed: Vec<(Uuid, i32, Uuid)> = sqlx::query_as(sqlx::AssertSqlSafe(statement.as_str()))
            .bind(&runs)
            .bind(&indexes)
            .bind(&attempts)
            .bind([1])
            .bind(BATCH)
            .fetch_all(&mut db)
            .await?;
        done += runs.len();
        if claimed.is_empty() {
            db.close().await?;
            return Ok(done);
        }
        runs.clear();
        indexes.clear();
        attempts.clear();
        for (run, index, attempt) in claimed {
            runs.push(run);
            indexes.push(index);
            attempts.push(attempt);
        }
    }
}
