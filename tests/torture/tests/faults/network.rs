//! Connections break at the worst time, or stop delivering data.

use super::{PROGRAM, length, seeds};
use orch_test_support::proxy::{Cut, Network, Proxy, Statement};
use orch_torture::dags;
use orch_torture::world::{LEASE, SchedulerOptions, WorkerOptions, World, Zombies};
use std::time::Duration;

/// About one in this many writes of each kind is cut.
const CUT_ONE_IN: usize = 12;
const ROUNDS: usize = 40;
/// Writes that occur in every scenario.
const ALWAYS_SAID: [Statement; 5] =
    [Statement::Claim, Statement::Outcome, Statement::Commit, Statement::Heartbeat, Statement::CreateRun];

/// A client that is disconnected between a commit and its response does not know the result of the commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_of_unknown_fate_are_done_once() {
    for seed in seeds() {
        let mut world = World::new(PROGRAM, seed).await;
        let proxy = Proxy::start(&world.url(), world.rng.part("cuts")).await;
        let through = Some(proxy.url());
        for _ in 0..2 {
            world.worker(&WorkerOptions { url: through.clone(), ..WorkerOptions::default() });
        }
        world.scheduler(&SchedulerOptions { url: through.clone(), ..SchedulerOptions::default() });
        world.workers_are_up().await;
        proxy.cut_one_in(CUT_ONE_IN);
        let ids: Vec<String> = dags::all(1).iter().map(|d| d.spec().dag_id.clone()).collect();
        let mut load = world.rng.part("load");
        for round in 0..ROUNDS * length() {
            let dag_id = load.pick(&ids).clone();
            world.trigger_through(&proxy.url(), &dag_id).await;
            tokio::time::sleep(load.millis(20, 200)).await;
            if round % 8 == 7 {
                proxy.set(Network::Slow(load.millis(1, 20)));
            } else if round % 8 == 1 {
                proxy.set(Network::Good);
            }
        }
        proxy.set(Network::Good);
        proxy.cut_one_in(0);
        let cuts = proxy.cuts();
        for ((statement, cut), many) in &cuts {
            world.faults.insert(format!("{statement:?} cut {cut:?}"), *many);
        }
        world.finish().await;
        let not_cut: Vec<_> = ALWAYS_SAID
            .into_iter()
            .flat_map(|statement| [(statement, Cut::Before), (statement, Cut::After)])
            .filter(|kind| !cuts.contains_key(kind))
            .collect();
        assert!(not_cut.is_empty(), "seed {seed}: never cut: {not_cut:?} of {cuts:?}");
    }
}

/// Neither side is notified that the other one is gone: the worker must stop by itself before its successor starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_hears_nothing_stops_before_its_lease_ends() {
    for seed in seeds() {
        let mut world = World::new(PROGRAM, seed).await;
        let proxy = Proxy::start(&world.url(), world.rng.part("cuts")).await;
        world.worker(&WorkerOptions { url: Some(proxy.url()), slots: Some(32), ..WorkerOptions::default() });
        world.scheduler(&SchedulerOptions::default());
        world.workers_are_up().await;
        let mut rng = world.rng.part("silence");
        for _ in 0..length() {
            for _ in 0..2 {
                world.trigger("slow").await;
                // These tasks end while their outcome cannot be recorded.
                world.trigger("long").await;
            }
            let began = "select count(*) from task_instance where state = 'running'";
            world.until("bodies run", || async { world.number(began).await >= 14 }).await;
            tokio::time::sleep(rng.millis(0, 100)).await;
            proxy.set(Network::Silent);
            world.fault("network silent");
            let other = world.worker(&WorkerOptions::default());
            let over = "select count(*) from dag_run where state = 'running'";
            world.until("the other worker has done it all", || async { world.number(over).await == 0 }).await;
            tokio::time::sleep(LEASE + rng.millis(0, 500)).await;
            proxy.set(Network::Good);
            let again =
                "select count(*) from worker where state = 'running' and started_at > now() - interval '3 seconds'";
            world.until("it comes back", || async { world.number(again).await >= 1 }).await;
            let mut gone = world.workers.remove(other);
            gone.end(Duration::from_secs(10)).await;
        }
        // Zombies are not allowed: no task function ran after its successor had started.
        assert_eq!(world.zombies, Zombies::None);
        let verdict = world.finish().await;
        assert!(verdict.lost > 0, "nothing ran when it fell silent: {verdict}");
    }
}
