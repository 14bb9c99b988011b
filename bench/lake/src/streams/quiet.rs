//! The cost of idle streams: an installation in which all DAGs and streams are paused, and the same one with stream
//! files.

use anyhow::{Result, ensure};
use orch_bench::server::Server;
use orch_bench::{Bench, Figure, pause, stand_still};
use sqlx::{Connection as _, PgConnection};
use std::time::Duration;

const STREAMS: usize = 20;
const SETTLE_SECONDS: u64 = 20;
/// Files are read within two seconds, and streams start one after the other.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(crate) fn rows(bench: &mut Bench) -> Result<Vec<Figure>> {
    bench.stop()?;
    // An idle stream checks its topic every five minutes.
    let seconds = bench.times(600, 30) as u64;
    // Streams run in the process of a bundle, and this program is also one.
    let bundle = std::env::current_exe()?;
    let server = Server::start_with(bench.data(), &[("ORCH_BUNDLE", &bundle.to_string_lossy())])?;
    let steer = |sql: &'static str| -> Result<i64> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut db = PgConnection::connect(&server.database_url).await?;
            Ok(sqlx::query_scalar(sql).fetch_one(&mut db).await?)
        })
    };
    pause::until("waiting for the bundle", LOOK_EVERY, PATIENCE, || {
        Ok((steer("select count(*) from stream")? > 0).then_some(()))
    })?;
    let paused = steer(
        "with dags as (update dag set is_paused = true returning 1), streams as (update stream set is_paused = true)
         select count(*) from dags",
    )?;
    ensure!(paused > 0, "there are no DAGs");
    let without = stand_still(bench.data(), &server, SETTLE_SECONDS, seconds)?;

    let folder = bench.data().data().join("dags");
    for number in 0..STREAMS {
        let text = format!("topic: quiet_{number}\nfields: {{id: integer, city: text}}\ntable: bench.quiet_{number}\n");
        std::fs::write(folder.join(format!("quiet_{number}.stream.yaml")), text)?;
    }
    let begin = "with begun as (
            update stream set is_paused = false where name like 'quiet\\_%' and is_paused returning 1
        ) select count(*) from stream where name like 'quiet\\_%' and process is not null";
    pause::until("waiting for the streams", LOOK_EVERY, PATIENCE, || {
        Ok((steer(begin)? == STREAMS as i64).then_some(()))
    })?;
    let with = stand_still(bench.data(), &server, SETTLE_SECONDS, seconds)?;
    server.stop()?;
    let row = |name, with: f64, without: f64| {
        Figure::new(name, with - without, 1).with("streams", STREAMS).with("seconds", seconds).with("without", without)
    };
    let cpu = |one: &orch_bench::IdleUsage| one.cpu_percent + one.postgres_cpu_percent;
    Ok(vec![
        row("quiet_streams_statements_per_min", with.statements_per_min, without.statements_per_min),
        row("quiet_streams_cpu_percent", cpu(&with), cpu(&without)),
    ])
}
