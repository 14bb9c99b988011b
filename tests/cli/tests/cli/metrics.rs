//! The metrics of each role, read with Prometheus' own parser while tasks run.

use crate::remote::PASSWORD;
use crate::world::World;
use orch_test_support::read_metrics;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

const GUIDE: &str = include_str!("../../../../docs/guides/monitoring.md");
const WIDE: &str = "dag_id: wide\ntasks:\n  it: {map: [1, 2, 3, 4, 5, 6, 7, 8], value: '{{ element }}'}\n";

/// Starts a role and returns the address of its metrics.
async fn start(world: &mut World, arguments: &[&str]) -> String {
    let told = "metrics are at ";
    let before = world.said().matches(told).count();
    world.start(&[arguments, &["--metrics-address", "127.0.0.1:0"]].concat());
    world.wait_until_said_often(told, before + 1).await;
    world.said().rsplit(told).next().unwrap().split_whitespace().next().unwrap().to_owned()
}

#[tokio::test]
async fn every_role_tells_prometheus_how_it_is() {
    let mut world = World::new().await;
    let folder = world.path().join("dag-files");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("wide.yaml"), WIDE).unwrap();
    world.set("ORCH_DAGS_FOLDER", folder.to_str().unwrap());
    world.set("ORCH_METRICS_TOKEN", "for prometheus");
    let worker = start(&mut world, &["worker", "--paused-at-creation=false"]).await;
    let scheduler = start(&mut world, &["scheduler"]).await;
    let web = world.serve(PASSWORD).await + "/metrics";
    world.wait_for(&["dags", "export", "wide"], |ended| ended.code == 0);
    let token = ("ORCH_METRICS_TOKEN", "for prometheus");
    let (is_read, shared) = (AtomicBool::new(false), &world);
    // Runs start until the last response is read, so that all responses are sent under load.
    let (of_worker, of_scheduler, of_web, runs) = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let begin = |run: &i32| shared.run(&["dags", "trigger", "wide", "--run-id", &format!("run-{run}")]).done();
            (1..100).take_while(|_| !is_read.load(Relaxed)).inspect(|run| drop(begin(run))).count()
        });
        shared.wait_for(&["runs", "list", "--state", "success"], |ended| ended.out.contains("run-4"));
        let answers = [read_metrics(&worker, token), read_metrics(&scheduler, token)];
        let of_web = read_metrics(&web, ("ORCH_PASSWORD", PASSWORD));
        is_read.store(true, Relaxed);
        let [of_worker, of_scheduler] = answers.map(Result::unwrap);
        (of_worker, of_scheduler, of_web.unwrap(), load.join().unwrap())
    });
    assert!(runs > 3, "{runs} runs began meanwhile");
    assert!(of_worker.contains("orch_worker_tries_started_total"), "{of_worker:?}");
    assert!(of_scheduler.contains("orch_scheduler_rounds_total"), "{of_scheduler:?}");
    assert!(of_web.contains("orch_dag_runs_running"), "{of_web:?}");
    for name in of_worker.iter().chain(&of_scheduler).chain(&of_web) {
        assert!(GUIDE.contains(&format!("`{name}`")), "{name} is not in docs/guides/monitoring.md");
    }
    let top = world.run(&["top"]).done();
    for line in ["DAGs ", "scheduler", "worker", "web "] {
        assert!(top.contains(line), "{line}: {top}");
    }
    let ended = world.run(&["config", "get-value", "metrics_token"]);
    assert!(!ended.out.contains("for prometheus"), "{}", ended.out);
}

#[tokio::test]
async fn metrics_for_other_machines_need_a_token() {
    let mut world = World::new().await;
    let process = world.start(&["scheduler", "--metrics-address", "0.0.0.0:0"]);
    assert_eq!(world.wait_for_end(process), Some(2));
    let said = world.said();
    assert!(said.contains("hint: set `ORCH_METRICS_TOKEN`, or listen at 127.0.0.1"), "{said}");

    world.set("ORCH_METRICS_TOKEN", "for prometheus");
    let url = start(&mut world, &["scheduler"]).await;
    let refused = read_metrics(&url, ("ORCH_METRICS_TOKEN", "something")).unwrap_err();
    assert!(refused.contains("HTTP Error 401"), "{refused}");
    read_metrics(&url, ("ORCH_METRICS_TOKEN", "for prometheus")).unwrap();
}
