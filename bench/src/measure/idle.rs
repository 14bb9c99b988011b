//! The cost of an idle installation: 200 DAGs, half of them scheduled, all roles in one process.
//!
//! Statements are counted in the server's log, which holds all of them during the measurement. Transactions in
//! `pg_stat_database` include autovacuum and hide the number of statements in each transaction.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::process::Processes;
use super::{Bench, Figure, log, pause};
use crate::dags::Beside;
use crate::measure::server::{DataDir, Server};

const IDLE_DAGS: u32 = 200;
/// Number of most frequent statements to report.
const TOLD: usize = 5;

pub(crate) fn measure(bench: &mut Bench) -> Result<Vec<Figure>> {
    bench.stop()?;
    let (settle, seconds) = (bench.times(10, 3), bench.times(60, 15));
    let server = Server::start(&bench.data, Beside { idle: IDLE_DAGS, ..Beside::default() })?;
    let still = stand_still(&bench.data, &server, settle as u64, seconds as u64)?;
    server.stop()?;
    Ok(vec![
        Figure::new("idle_rss_mb", still.rss_mb, 1).with("dags", IDLE_DAGS),
        Figure::new("idle_cpu_percent", still.cpu_percent, 1)
            .with("seconds", seconds)
            .with("postgres_cpu_percent", still.postgres_cpu_percent),
        Figure::new("idle_queries_per_min", still.statements_per_min, 1).with("seconds", seconds),
    ])
}

/// Resource usage of an idle installation.
#[derive(Debug)]
pub struct IdleUsage {
    pub rss_mb: f64,
    /// Percent of one core.
    pub cpu_percent: f64,
    pub postgres_cpu_percent: f64,
    pub statements_per_min: f64,
}

/// Waits `settle` seconds, then measures for `seconds` seconds.
pub fn stand_still(data: &DataDir, server: &Server, settle: u64, seconds: u64) -> Result<IdleUsage> {
    let log_file = data.data().join("postgres.log");
    pause::pause(Duration::from_secs(settle))?;
    log_statements(&server.database_url, true)?;
    pause::pause(Duration::from_millis(300))?;
    let read = || std::fs::read(&log_file).with_context(|| format!("cannot read `{}`", log_file.display()));
    let already = read()?.len();

    let processes = Processes::of(server.pid())?;
    let (start, before) = (Instant::now(), processes.cpu_seconds());
    pause::pause(Duration::from_secs(seconds))?;
    let (took, after) = (start.elapsed().as_secs_f64(), processes.cpu_seconds());
    let rss_mb = Processes::of(server.pid())?.rss_mb()?;
    let log = read()?;
    log_statements(&server.database_url, false)?;

    let statements = log::statements(&String::from_utf8_lossy(log.get(already..).unwrap_or_default()));
    let mut often: Vec<(&String, &usize)> = statements.iter().collect();
    often.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (text, count) in often.into_iter().take(TOLD) {
        eprintln!("  {count} × {text}");
    }
    let percent = |before: f64, after: f64| (after - before) / took * 100.0;
    let count: usize = statements.values().sum();
    Ok(IdleUsage {
        rss_mb,
        cpu_percent: percent(before.0, after.0),
        postgres_cpu_percent: percent(before.1, after.1),
        statements_per_min: count as f64 * 60.0 / took,
    })
}

/// Enables or disables the logging of all statements in the server.
fn log_statements(database_url: &str, all: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let options = orch_store::connect::options(database_url, "orch bench")?;
        let mut db = PgConnection::connect_with(&options).await?;
        let change = if all { "alter system set log_statement = 'all'" } else { "alter system reset log_statement" };
        sqlx::raw_sql(change).execute(&mut db).await?;
        sqlx::raw_sql("select pg_reload_conf()").execute(&mut db).await?;
        db.close().await?;
        Ok(())
    })
}
