//! Schedulers are killed, or many of them run.

use super::{PAUSE, PROGRAM, length, seeds};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use orch_torture::ledger;
use orch_torture::world::{SchedulerOptions, WorkerOptions, World};
use std::time::Duration;

const KILLS: usize = 6;
const MANY: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_schedulers_lose_nothing() {
    for seed in seeds() {
        let mut world = World::new(PROGRAM, seed).await;
        world.worker(&WorkerOptions::default());
        let options = SchedulerOptions::default();
        world.scheduler(&options);
        world.workers_are_up().await;
        world.trigger_all().await;
        let (mut load, mut kills) = (world.rng.part("load"), world.rng.part("kills"));
        for _ in 0..KILLS * length() {
            world.load(kills.millis(300, 900), PAUSE, &mut load).await;
            // The only scheduler: until the next one starts, no retry is woken.
            world.replace_scheduler(0, kills.millis(0, 800), &options).await;
        }
        let verdict = world.finish().await;
        assert!(verdict.runs >= 30, "too little happened: {verdict}");
    }
}

/// Each tick creates one run and each wake-up one attempt, however many schedulers run and whichever of them is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedulers_side_by_side_do_everything_once() {
    for seed in seeds() {
        let mut world = World::new(PROGRAM, seed).await;
        let now: DateTime<Utc> = now(&world).await;
        // Some ticks are already missed when the first scheduler starts.
        let start = (now - TimeDelta::seconds(20)).trunc_subsecs(0);
        let ticking_since = Some(start.format("%Y-%m-%dT%H:%M:%SZ").to_string());
        world.start_workers(2, &WorkerOptions { ticking_since, ..WorkerOptions::default() });
        let options = SchedulerOptions::default();
        world.start_schedulers(3, &options);
        world.workers_are_up().await;
        let (mut load, mut kills) = (world.rng.part("load"), world.rng.part("kills"));
        for _ in 0..3 * length() {
            world.load(kills.millis(1_000, 2_000), PAUSE, &mut load).await;
            let victim = kills.below(world.schedulers.len());
            world.replace_scheduler(victim, kills.millis(0, 300), &options).await;
        }
        sqlx::query("update dag set is_paused = true where dag_id = 'ticking'")
            .execute(world.pool())
            .await
            .expect("it can be paused");
        let dates: Vec<DateTime<Utc>> =
            sqlx::query_scalar("select logical_date from dag_run where dag_id = 'ticking' order by 1")
                .fetch_all(world.pool())
                .await
                .expect("the runs can be read");
        let missing: Vec<_> = dates.windows(2).filter(|w| w[1] - w[0] != TimeDelta::seconds(1)).collect();
        assert!(missing.is_empty(), "seed {seed}: ticks are missing or doubled: {missing:?}");
        assert!(dates.len() >= 20, "seed {seed}: only {} ticks", dates.len());
        assert!(dates[0] - start <= TimeDelta::seconds(1), "seed {seed}: the first tick is {} of {start}", dates[0]);
        world.finish().await;
    }
}

/// The server has no schema.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_schedulers_that_start_at_once_make_one_schema() {
    for seed in seeds() {
        let mut world = World::empty(PROGRAM, seed).await;
        let at = ledger::now() + Duration::from_millis(1_500);
        for _ in 0..MANY {
            world.scheduler(&SchedulerOptions { migrate: true, at: Some(at), ..SchedulerOptions::default() });
        }
        world.fault("twenty starts");
        world
            .until("the schema is there", || async {
                let made = "select count(*) from pg_tables where tablename = 'schema_guard'";
                world.number(made).await == 1
            })
            .await;
        let up = "select count(*) from process where role = 'scheduler'";
        world.until("all are up", || async { world.number(up).await == MANY as i64 }).await;
        let applied = "select count(*) from _sqlx_migrations where success";
        assert_eq!(
            world.number(applied).await,
            orch_store::MIGRATOR.iter().filter(|m| m.migration_type.is_up_migration()).count() as i64
        );
        world.worker(&WorkerOptions::default());
        world.workers_are_up().await;
        world.trigger_all().await;
        world.finish().await;
    }
}

async fn now(world: &World) -> DateTime<Utc> {
    sqlx::query_scalar("select now()").fetch_one(world.pool()).await.expect("the server answers")
}
