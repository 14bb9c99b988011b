//! Two binaries with different structures of the same DAG run side by side, each with its own runs.

use crate::world::World;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const WORKER: [&str; 5] = ["worker", "--lease", "2s", "--paused-at-creation=false", "--worker-name"];

fn states(world: &World, run: &str) -> Vec<String> {
    let listed = world.run(&["tasks", "states-for-dag-run", "test_shaped", run, "-o", "json"]).json();
    let mut states: Vec<String> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|task| format!("{} {}", task["task_id"].as_str().unwrap(), task["state"].as_str().unwrap_or_default()))
        .collect();
    states.sort();
    states
}

#[tokio::test]
async fn two_binaries_of_other_versions_work_side_by_side_on_their_own_runs() {
    let mut world = World::new().await;
    let folder = world.path().to_owned();
    let conf = serde_json::json!({ "folder": folder }).to_string();
    let trigger = |world: &World, run: &str| {
        world.run(&["dags", "trigger", "test_shaped", "--run-id", run, "--conf", &conf]).done();
        world.wait_for(&["tasks", "states-for-dag-run", "test_shaped", run, "-o", "json"], |ended| {
            ended.out.contains("running")
        });
    };
    world.start(&["scheduler"]);
    world.set("TEST_SHAPE", "first");
    let first = world.start(&[&WORKER[..], &["first"]].concat());
    world.wait_for(&["dags", "list", "-o", "plain"], |ended| ended.out.contains("test_shaped"));
    trigger(&world, "old");

    world.set("TEST_SHAPE", "second");
    let second = world.start(&[&WORKER[..], &["second", "--take-over"]].concat());
    let versions = ["dags", "versions", "test_shaped", "-o", "json"];
    world.wait_for(&versions, |ended| ended.out.contains("\"second\""));
    trigger(&world, "new");
    // The first worker is asked to retire. It keeps the runs that only it can continue.
    kill(Pid::from_raw(first.cast_signed()), Signal::SIGUSR1).unwrap();
    let listed = world.wait_for(&versions, |_| world.said().contains("retiring: ")).json();
    let line = |place: usize| {
        let version = &listed[place];
        format!("{} {} {} {}", version["version"], version["runs"], version["workers"], version["newest"])
    };
    assert_eq!([line(0), line(1)], [r#"2 1 ["second"] true"#, r#"1 1 ["first"] false"#]);

    std::fs::write(folder.join("open"), "").unwrap();
    for run in ["old", "new"] {
        assert_eq!(world.run(&["runs", "wait", run]).code, 0, "{run}: {}", world.said());
    }
    assert_eq!(states(&world, "old"), ["sign success", "wait_for_opening success"]);
    assert_eq!(states(&world, "new"), ["say success", "sign success", "wait_for_opening success"]);
    let signed = |run: &str| std::fs::read_to_string(folder.join(run)).unwrap();
    assert_eq!([signed("old"), signed("new")], ["first", "second"], "each run ended in the binary it began in");

    let diff = world.run(&["dags", "diff", "test_shaped"]).failed();
    assert_eq!(
        diff.out,
        "+ task say\n~ task sign: after: [\"wait_for_opening\"] → [\"say\"]\n+ say → sign\n+ wait_for_opening → say\n\
        - wait_for_opening → sign\n"
    );
    assert_eq!(
        diff.err,
        "from version 1 of `test_shaped` to version 2: 1 task added, 1 changed; 2 edges added, 1 removed\n"
    );
    assert_eq!(world.run(&["dags", "diff", "test_shaped", "2", "2"]).code, 0);
    let missing = world.run(&["dags", "diff", "test_shaped", "1", "9"]).refused();
    assert!(missing.starts_with("error: dag `test_shaped` has no version 9\nhint: "), "{missing}");

    // No runs are left for the first worker, so it exits with code 0.
    assert_eq!(world.wait_for_end(first), Some(0), "{}", world.said());
    // A rollback to the older binary: its structure becomes the newest, although the newer worker is still alive.
    world.set("TEST_SHAPE", "first");
    world.start(&[&WORKER[..], &["third", "--take-over"]].concat());
    let newest = world.wait_for(&versions, |ended| ended.out.contains("\"third\"")).json();
    assert_eq!((&newest[1]["newest"], &newest[0]["newest"]), (&true.into(), &false.into()), "{newest}");
    world.stop(second);
}
