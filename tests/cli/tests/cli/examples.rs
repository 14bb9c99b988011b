//! Disabled examples: from the start, later, and enabled again. In the binary under test, the DAGs `example_…` are
//! examples, and the DAGs `test_…` are not.

use crate::binary::run;
use crate::standalone::Standalone;
use crate::world::World;

const SWITCH: &str = "ORCH_EXAMPLES";

fn start_worker(world: &mut World) -> u32 {
    world.start(&["worker", "--lease", "2s", "--paused-at-creation=false"])
}

fn lists_examples(listed: &str) -> bool {
    listed.lines().any(|line| line.starts_with("example_"))
}

#[tokio::test]
async fn without_examples_only_own_dags_and_files_are_listed_and_run() {
    let mut world = World::new().await;
    let folder = world.path().join("dag-files");
    std::fs::create_dir(&folder).unwrap();
    // The id of an example may be used while examples are disabled.
    std::fs::write(folder.join("own.yaml"), "dag_id: example_hello\ntasks:\n  say: {bash: echo mine}\n").unwrap();
    world.set(SWITCH, "false");
    world.begin_work();
    assert!(!lists_examples(&world.run(&["dags", "list", "-o", "plain"]).done()));
    assert!(!lists_examples(&world.run(&["dags", "list", "--where", "exclude_stale=false", "-o", "plain"]).done()));
    let refused = world.run(&["dags", "trigger", "example_chain"]).refused();
    assert!(refused.contains("example_chain"), "{refused}");
    world.run(&["dags", "trigger", "test_counting", "--wait"]).done();

    world.set("ORCH_DAGS_FOLDER", folder.to_str().unwrap());
    start_worker(&mut world);
    world.wait_for(&["dags", "trigger", "example_hello", "--run-id", "own", "--wait"], |ended| ended.code == 0);
    let log = world.run(&["tasks", "logs", "example_hello", "say", "own"]);
    assert!(log.out.contains("mine"), "{log:?}");
}

#[tokio::test]
async fn examples_that_are_switched_off_later_leave_the_lists_and_their_runs_end() {
    let mut world = World::new().await;
    let first = start_worker(&mut world);
    world.start(&["scheduler"]);
    world.wait_for(&["dags", "list", "-o", "plain"], |ended| ended.out.contains("example_chain"));
    world.run(&["dags", "trigger", "example_chain", "--run-id", "before", "--wait"]).done();
    world.stop(first);
    // Queued while no worker runs. The tasks of the second DAG need a child process.
    for dag in ["example_chain", "example_process"] {
        world.run(&["dags", "trigger", dag, "--run-id", "left"]).done();
    }
    world.set(SWITCH, "false");
    let second = start_worker(&mut world);
    let listed =
        world.wait_for(&["dags", "list", "-o", "plain"], |ended| ended.code == 0 && !lists_examples(&ended.out));
    assert!(listed.out.contains("test_scheduled"), "{listed:?}");
    for (dag, run) in [("example_chain", "before"), ("example_chain", "left"), ("example_process", "left")] {
        let ended = world.run(&["runs", "wait", dag, run, "--timeout", "1m"]);
        assert_eq!(ended.code, 0, "{dag} {run}: {ended:?}\n{}", world.said());
    }
    let stale = world.run(&["dags", "list", "--where", "exclude_stale=false", "-o", "plain"]).done();
    assert!(lists_examples(&stale), "{stale}");

    world.stop(second);
    world.set(SWITCH, "true");
    start_worker(&mut world);
    world.wait_for(&["dags", "list", "-o", "plain"], |ended| lists_examples(&ended.out));
    let runs = world.run(&["dags", "list-runs", "example_chain", "-o", "json"]).json();
    assert_eq!(runs.as_array().unwrap().len(), 2, "{runs}");
    world.run(&["dags", "trigger", "example_chain", "--run-id", "again", "--wait"]).done();
}

#[test]
fn a_standalone_has_no_examples_with_the_flag() {
    let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
    let _standalone = Standalone::start(home.path(), &["--no-examples"]);
    let listed = run(home.path(), ["dags", "list", "-o", "plain"]).done();
    assert!(!lists_examples(&listed) && listed.contains("test_scheduled"), "{listed}");
    run(home.path(), ["dags", "reserialize"]).done();
    assert!(lists_examples(&run(home.path(), ["dags", "list", "-o", "plain"]).done()));
    run(home.path(), ["dags", "reserialize", "--no-examples"]).done();
    assert!(!lists_examples(&run(home.path(), ["dags", "list", "-o", "plain"]).done()));
}

#[test]
fn the_switch_is_a_setting_with_a_short_flag() {
    let home = tempfile::tempdir().unwrap();
    let of = |arguments: &[&str]| {
        let arguments = [&["config", "list", "-o", "json"][..], arguments].concat();
        let listed = run(home.path(), arguments).json();
        let row = listed.as_array().unwrap().iter().find(|row| row["key"] == "examples").unwrap();
        (row["value"].as_str().unwrap().to_owned(), row["source"].as_str().unwrap().to_owned())
    };
    assert_eq!(of(&[]), ("true".into(), "default".into()));
    assert_eq!(of(&["--no-examples"]), ("false".into(), "--examples".into()));
    assert_eq!(of(&["--examples=false"]), ("false".into(), "--examples".into()));
    let both = run(home.path(), ["config", "list", "--no-examples", "--examples"]);
    assert!(both.code == 2 && both.err.contains("cannot be used with"), "{both:?}");
    assert_eq!(run(home.path(), ["config", "get-value", "core", "load_examples"]).done(), "true\n");
}
