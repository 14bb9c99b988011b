//! Commands for backfills, marks and presets, with a running scheduler and worker.

use crate::world::World;

#[tokio::test]
async fn a_backfill_is_looked_at_first_created_and_waited_for() {
    let world = World::at_work().await;
    let wish = ["backfill", "create", "--dag-id", "example_chain", "--date", "2026-01-02", "--date", "2026-01-01"];
    let planned = world.run(&[&wish[..], &["--dry-run", "-o", "json"]].concat()).json();
    let said: Vec<_> =
        planned.as_array().unwrap().iter().map(|p| format!("{} {}", p["logical_date"], p["action"])).collect();
    assert_eq!(said, [r#""2026-01-01T00:00:00+00:00" "create""#, r#""2026-01-02T00:00:00+00:00" "create""#]);
    let made = world.run(&[&wish[..], &["-o", "json"]].concat()).json();
    assert_eq!((&made[0]["id"], &made[0]["planned"]), (&1.into(), &2.into()));
    let waited = world.run(&["backfill", "wait", "1", "--timeout", "60s"]);
    assert_eq!((waited.code, waited.err.as_str()), (0, "backfill 1: success, 2 of 2 dates are over\n"));
    let shown = world.run(&["backfill", "show", "1", "-o", "json"]).json();
    assert_eq!(shown[0]["run_id"], "backfill__2026-01-01T00:00:00+00:00");
    // The same dates again: all runs are skipped.
    assert_eq!(world.run(&wish).code, 0);
    world.wait_for(&["backfill", "wait", "2", "--timeout", "60s"], |ended| ended.code == 0);
    assert_eq!(world.run(&["backfill", "list", "-o", "json"]).json()[0]["skipped"], 2);
    let over = world.run(&["backfill", "pause", "1"]).refused();
    assert_eq!(over, "error: backfill 1 is over already\nhint: `orch backfill show 1` shows how it ended\n");
    let step = world.run(&["dags", "backfill", "example_chain", "-s", "2026-01-01", "-e", "2026-01-02"]).refused();
    assert_eq!(
        step,
        "error: dag `example_chain` has no schedule to take the dates from\n\
        hint: use `orch backfill create --dag-id example_chain` with `--step daily` (or `hourly`), or with a `--date` for each date\n"
    );
}

#[tokio::test]
async fn one_task_is_stopped_and_its_process_ends() {
    let world = World::at_work().await;
    world.run(&["dags", "trigger", "test_lingering", "--run-id", "long"]).done();
    let task = ["test_lingering", "linger", "long"];
    world.wait_for(&[&["tasks", "state"][..], &task].concat(), |ended| ended.out == "running\n");
    let stopped = world.run(&[&["tasks", "cancel"][..], &task].concat());
    assert!(stopped.code == 0 && stopped.err.contains("is failed; it was running"), "{stopped:?}");
    assert_eq!(world.run(&["runs", "wait", "long", "--timeout", "30s"]).code, 1);
    // Waits until the worker has stopped the task.
    let mut db = world.db().await;
    let began = std::time::Instant::now();
    while sqlx::query_scalar::<_, i64>("select count(*) from stop_order").fetch_one(&mut db).await.unwrap() > 0 {
        assert!(began.elapsed() < std::time::Duration::from_secs(30), "nobody obeys");
    }
    let again = world.run(&[&["tasks", "cancel"][..], &task].concat());
    assert!(again.err.contains("is over already: failed"), "{again:?}");
}

#[tokio::test]
async fn tasks_are_marked_and_cleared_over_later_runs() {
    let world = World::at_work().await;
    // Runs are ordered by logical date, not by the time of the trigger.
    for day in ["2026-01-03", "2026-01-01", "2026-01-02"] {
        world.run(&["dags", "trigger", "example_chain", "--logical-date", day, "--run-id", day, "--wait"]).done();
    }
    let wish = ["tasks", "mark", "example_chain", "step_10", "2026-01-02", "failed", "--future"];
    let would = world.run(&[&wish[..], &["--dry-run", "-o", "json"]].concat()).json();
    let runs: Vec<_> = would.as_array().unwrap().iter().map(|i| i["run_id"].clone()).collect();
    assert_eq!(runs, ["2026-01-02", "2026-01-03"]);
    assert_eq!(world.run(&[&wish[..], &["--yes"]].concat()).err, "2 task instances marked as failed\n");
    assert_eq!(world.run(&["runs", "wait", "2026-01-03"]).code, 0, "a mark leaves a finished run as it is");
    let clear = ["tasks", "clear", "^example_ch", "--dag-regex", "--only-failed", "--yes"];
    assert_eq!(world.run(&clear).err, "2 task instances cleared\n");
    assert_eq!(world.run(&["runs", "wait", "2026-01-03", "--timeout", "30s"]).code, 0);
    let past =
        ["tasks", "clear", "example_chain", "-i", "2026-01-02", "--past", "-t", "step_10", "--dry-run", "-o", "json"];
    assert_eq!(world.run(&past).json().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_run_begins_with_a_preset_or_with_the_conf_of_another() {
    let world = World::at_work().await;
    let kept = world.run(&["dags", "presets", "example_chain", "--save", "mine", "--conf", r#"{"a": 1, "b": 2}"#]);
    assert!(kept.code == 0 && kept.err.starts_with("preset `mine` is kept"), "{kept:?}");
    let trigger = |more: &[&str]| {
        world.run(&[&["dags", "trigger", "example_chain", "-o", "json"][..], more].concat()).json()[0].clone()
    };
    let first = trigger(&["--preset", "mine", "--conf", r#"{"b": 3}"#, "--run-id", "first"]);
    assert_eq!(first["conf"], serde_json::json!({ "a": 1, "b": 3 }));
    assert_eq!(trigger(&["--same-as", "first"])["conf"], first["conf"]);
    let none = world.run(&["dags", "trigger", "example_chain", "--preset", "yours"]).refused();
    assert_eq!(
        none,
        "error: dag `example_chain` has no preset `yours`\nhint: list them with `orch dags presets example_chain`\n"
    );
}
