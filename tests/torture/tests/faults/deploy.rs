//! A new version of the binary is deployed while runs of the old one are active.

use super::{PROGRAM, seeds};
use orch_torture::world::{SchedulerOptions, WorkerOptions, World};
use std::time::Duration;

const RUNS: usize = 200;
/// Time after which runs of a version without a worker move to another version.
const STALE_AFTER: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_in_the_middle_of_two_hundred_runs_loses_none() {
    for seed in seeds() {
        let mut world = World::new(PROGRAM, seed).await;
        let old =
            WorkerOptions { grace: Some(Duration::from_millis(300)), slots: Some(32), ..WorkerOptions::default() };
        let new = WorkerOptions { version: Some(2), ..old.clone() };
        world.start_workers(2, &old);
        world.scheduler(&SchedulerOptions { stale_after: Some(STALE_AFTER), ..SchedulerOptions::default() });
        world.workers_are_up().await;
        let mut rng = world.rng.part("deploy");
        for _ in 0..RUNS {
            let dag_id = *rng.pick(&["chain", "long", "mapped", "mapped_group", "retries", "sensor", "choices"]);
            world.trigger(dag_id).await;
        }
        let open = "select count(*) from dag_run where state = 'running'";
        let under_way = world.number(open).await;
        // One worker after the other, as in a rolling deployment.
        for _ in 0..2 {
            let mut worker = world.workers.remove(0);
            worker.end(Duration::from_secs(10)).await;
            world.fault("worker replaced by a newer one");
            world.worker(&new);
            tokio::time::sleep(rng.millis(0, 500)).await;
        }
        let moved = "select count(*) from dag_run r join dag_version v on v.id = r.version where v.number = 2";
        world.until("runs move to the new version", || async { world.number(moved).await > 0 }).await;
        world.until("the old runs are over", || async { world.number(open).await == 0 }).await;
        let moved = world.number(moved).await;
        eprintln!("seed {seed}: {under_way} runs under way, {moved} moved to the new version");
        let verdict = world.finish().await;
        assert!(under_way >= RUNS as i64 / 2, "seed {seed}: only {under_way} runs were under way");
        assert_eq!(verdict.runs, RUNS, "{verdict}");
    }
}
