//! The database server crashes under load.

use super::{PAUSE, PROGRAM, length, seeds};
use orch_torture::ledger::Word;
use orch_torture::world::{SchedulerOptions, WorkerOptions, World};
use std::time::{Duration, Instant};

const CRASHES: usize = 3;
/// Maximum time after the restart of the server until all processes work again.
const RECONNECT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing_and_everybody_comes_back() {
    for seed in seeds() {
        let mut world = World::with_server(PROGRAM, seed).await;
        world.start_workers(2, &WorkerOptions::default());
        world.scheduler(&SchedulerOptions::default());
        world.workers_are_up().await;
        world.trigger_all().await;
        let (mut load, mut crashes) = (world.rng.part("load"), world.rng.part("crashes"));
        let mut slowest = Duration::ZERO;
        for _ in 0..CRASHES * length() {
            world.load(crashes.millis(600, 1_200), PAUSE, &mut load).await;
            world.crash_server(crashes.millis(0, 900)).await;
            let (up, before) = (Instant::now(), world.ledger().len());
            world.trigger("chain").await;
            let works = || async { world.ledger()[before..].iter().any(|e| e.word == Word::End) };
            world.until("somebody works again", works).await;
            slowest = slowest.max(up.elapsed());
        }
        eprintln!("seed {seed}: back at work {slowest:.1?} after the server");
        assert!(slowest <= RECONNECT, "seed {seed}: back at work only {slowest:?} after the server");
        let verdict = world.finish().await;
        // No task needs to be lost: workers with a valid lease continue.
        assert!(verdict.runs >= 20, "too little happened: {verdict}");
    }
}
