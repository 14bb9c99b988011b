//! Alerts while their receiver is down, their senders are killed and the server crashes: each one arrives, and has one
//! row.

use super::{PROGRAM, seeds};
use orch_test_support::{Manner, Receiver};
use orch_torture::dags::ELEMENTS;
use orch_torture::told::{OF_EACH_RUN, TOGETHER, TOLD, by_kind};
use orch_torture::world::{SchedulerOptions, WorkerOptions, World};
use std::time::Duration;

const RUNS: usize = 6;
const AN_HOUR_PASSES: &str = "update alert set at = at - interval '1 hour', due_at = least(due_at, now())
    where state = 'waiting'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_alert_arrives_and_is_shown_once() {
    for seed in seeds() {
        let mut receiver = Receiver::http().await;
        receiver.go_down().await;
        let mut world = World::with_server(PROGRAM, seed).await;
        let tell = Some(format!("http://127.0.0.1:{}/hook", receiver.port()));
        let options = SchedulerOptions { tell, ..SchedulerOptions::default() };
        world.start_workers(2, &WorkerOptions::default());
        world.start_schedulers(2, &options);
        world.workers_are_up().await;
        let mut kills = world.rng.part("kills");
        for _ in 0..RUNS {
            world.trigger(TOLD).await;
        }
        world.replace_worker(kills.below(2), kills.millis(0, 300), &WorkerOptions::default()).await;
        world.crash_server(kills.millis(100, 800)).await;
        let all = (RUNS * OF_EACH_RUN.len()) as i64;
        let told = "select count(*) from alert where tries > 0 and kind <> 'task_skipped'";
        let count = "select count(*) from alert where kind <> 'task_skipped'";
        world.until("each is there and was tried", || async { number(&world, told).await == all }).await;
        assert_eq!(number(&world, count).await, all, "seed {seed}: each is one row");
        pass_an_hour(&world).await;
        // The receiver accepts alerts but does not respond, and the senders that wait for its response are killed.
        receiver.is(Manner::IsSilent);
        receiver.come_up().await;
        pass_an_hour(&world).await;
        receiver.until("somebody tells", |letters| !letters.is_empty()).await;
        for victim in [0, 1] {
            world.replace_scheduler(victim, kills.millis(0, 300), &options).await;
        }
        receiver.is(Manner::Takes);
        // Alerts claimed by the killed senders are free when their lease expires.
        let open = "select (select count(*) from alert where state <> 'sent')
            + (select count(*) from alert_part where alert is null)";
        world
            .until("all are sent", || async {
                pass_an_hour(&world).await;
                tokio::time::sleep(Duration::from_millis(300)).await;
                number(&world, open).await == 0
            })
            .await;
        assert_eq!(number(&world, count).await, all, "seed {seed}: each is one row");
        let elements = number(&world, "select count(*) from alert_part").await;
        assert_eq!(elements, (RUNS as u64 * ELEMENTS) as i64, "seed {seed}: each element is told of");
        let counted = "select sum(coalesce((facts -> 'elements' ->> 'count')::bigint, 1))::bigint from alert
            where kind = 'task_skipped'";
        assert_eq!(number(&world, counted).await, elements, "seed {seed}: each by one alert");
        let letters = receiver.letters();
        let keys: Vec<String> = letters.iter().map(|letter| letter.head["idempotency-key"].clone()).collect();
        let found = by_kind(&keys);
        for kind in OF_EACH_RUN {
            let many = found.get(kind).map_or(0, std::collections::BTreeSet::len);
            assert_eq!(many, RUNS, "seed {seed}: {kind} of each run has arrived: {found:#?}");
        }
        let together = number(&world, "select count(*) from alert where kind = 'task_skipped'").await;
        let arrived = found.get(TOGETHER).map_or(0, std::collections::BTreeSet::len);
        assert_eq!(arrived as i64, together, "seed {seed}: what is told together has arrived");
        assert!(together < elements / 2, "seed {seed}: {together} alerts of {elements} elements");
        assert!(keys.len() > all as usize, "seed {seed}: some came twice, under the same key");
        eprintln!("seed {seed}: {} letters of {all} alerts", keys.len());
        world.finish().await;
    }
}

/// Moves the alerts one hour into the past, because they use the clock of the database.
async fn pass_an_hour(world: &World) {
    sqlx::query(AN_HOUR_PASSES).execute(world.pool()).await.expect("the server answers");
}

/// Returns the number that a query returns, or -1 if the server has just crashed and does not respond yet.
async fn number(world: &World, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(world.pool()).await.unwrap_or(-1)
}
