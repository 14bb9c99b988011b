//! Pools, presets, marks, assets and backfills over the API: changes are visible in the database, and both ways report
//! the same.

use super::World;
use crate::binary::CommandOutput;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

impl World {
    /// Polls a command with a database connection until the condition holds.
    pub(super) fn until(&self, arguments: &[&str], is_it: impl Fn(&CommandOutput) -> bool) {
        let began = Instant::now();
        loop {
            let ended = self.local(arguments);
            if is_it(&ended) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{arguments:?}: {ended:?}");
        }
    }
}

#[test]
fn pools_and_presets_are_kept_over_the_api() {
    let world = World::new();
    let set = world.remote(&["pools", "set", "mysql", "4", "the shop", "--include-deferred", "-o", "json"]).json();
    assert_eq!((&set[0]["slots"], &set[0]["include_deferred"]), (&4.into(), &true.into()));
    world.remote(&["pools", "set", "default_pool", "64", "smaller"]).done();
    let file = world.elsewhere.path().join("pools.json");
    let file = file.to_string_lossy();
    world.remote(&["pools", "export", &file]).done();
    world.remote(&["pools", "delete", "mysql"]).done();
    assert!(world.remote(&["pools", "import", &file]).err.starts_with("imported 2 of 2 pools"));
    assert_eq!(world.both(&["pools", "get", "mysql", "-o", "json"]).json(), set);
    world.both(&["pools", "list"]).done();
    for missing in [["get", "nothing"], ["delete", "nothing"], ["delete", "default_pool"]] {
        world.both(&["pools", missing[0], missing[1]]).refused();
    }

    let presets = ["dags", "presets", "example_chain"];
    world.remote(&[&presets[..], &["--save", "a/b c", "--conf", r#"{"a": 1}"#]].concat()).done();
    let listed = world.both(&[&presets[..], &["-o", "json"]].concat()).json();
    assert_eq!((&listed[0]["name"], &listed[0]["created_by"]), (&"a/b c".into(), &"admin".into()));
    let run = world.remote(&["dags", "trigger", "example_chain", "--preset", "a/b c", "-o", "json"]).json();
    assert_eq!(run[0]["conf"]["a"], 1);
    world.both(&["dags", "trigger", "example_chain", "--preset", "none"]).refused();
    for (run_id, run) in [("late", World::remote as fn(&World, &[&str]) -> _), ("later", World::local)] {
        let late = ["--run-id", run_id, "--run-after", "2126-11-20T22:00:00Z", "-o", "json"];
        let late = run(&world, &[&["dags", "trigger", "example_chain"][..], &late].concat()).json();
        let (after, state) = (late[0]["run_after"].as_str().unwrap(), &late[0]["state"]);
        assert!(after.starts_with("2126-11-20T22:00:00") && state == "queued", "{late}");
    }
    world.both(&[&presets[..], &["--save", " odd"]].concat()).refused();
    world.remote(&[&presets[..], &["--delete", "a/b c"]].concat()).done();
    world.both(&[&presets[..], &["--delete", "a/b c"]].concat()).refused();
}

#[test]
fn tasks_are_marked_and_cancelled_over_the_api() {
    let world = World::new();
    world.remote(&["dags", "trigger", "example_chain", "--run-id", "far", "--wait"]).done();
    let wish = ["tasks", "mark", "example_chain", "step_9", "far", "failed", "--downstream"];
    let meant = world.both(&[&wish[..], &["--dry-run", "-o", "json"]].concat()).json();
    assert_eq!(meant.as_array().unwrap().len(), 2, "{meant}");
    assert_eq!(world.remote(&[&wish[..], &["--yes"]].concat()).err, "2 task instances marked as failed\n");
    assert_eq!(world.both(&["runs", "wait", "far"]).code, 0, "a mark leaves a finished run as it is");
    world.both(&wish).done();
    world.both(&["tasks", "mark", "example_chain", "stepp_9", "far", "failed"]).refused();
    world.both(&["tasks", "mark", "example_chain", "step_9", "nobody", "failed"]).refused();

    world.remote(&["dags", "trigger", "test_lingering", "--run-id", "long"]).done();
    let task = ["test_lingering", "linger", "long"];
    world.until(&[&["tasks", "state"][..], &task].concat(), |ended| ended.out == "running\n");
    let stopped = world.remote(&[&["tasks", "cancel"][..], &task].concat());
    assert!(stopped.code == 0 && stopped.err.contains("is failed; it was running"), "{stopped:?}");
    assert!(world.both(&[&["tasks", "cancel"][..], &task].concat()).err.contains("is over already: failed"));
}

#[test]
fn assets_are_looked_at_updated_and_made_over_the_api() {
    let world = World::new();
    let said = world.remote(&["assets", "emit", "--name", "source", "--extra", "{\"why\": 1}", "--partition", "mon"]);
    assert_eq!((said.code, said.err.as_str()), (0, "update 1 of `source` is said\n"), "{said:?}");
    world.until(&["assets", "events", "test://relayed"], |ended| ended.out.contains("test_relaying"));
    for asked in [
        &["assets", "events"][..],
        &["assets", "events", "test://relayed", "-o", "json"],
        &["assets", "events", "source", "--limit", "1", "-o", "json"],
        &["assets", "list", "-o", "json"],
        &["assets", "list", "--stale"],
        &["assets", "list", "--alias"],
        &["assets", "details", "--uri", "test://relayed", "-o", "json"],
        &["assets", "details", "--name", "source", "-o", "json"],
        &["assets", "details", "--alias", "--name", "monthly archive"],
    ] {
        world.both(asked).done();
    }
    let made = world.remote(&["assets", "materialize", "--name", "revenue", "-o", "json"]).json();
    let expected = ("example_asset_consumer".into(), "asset_materialization".into());
    assert_eq!((&made[0]["dag_id"], &made[0]["run_type"]), (&expected.0, &expected.1));
    for mistake in [
        &["assets", "events", "nothing"][..],
        &["assets", "details", "--name", "nothing"],
        &["assets", "materialize", "--name", "source"],
        &["assets", "emit", "--name", "source", "--extra", "[1]"],
    ] {
        world.both(mistake).refused();
    }
}

#[tokio::test]
async fn checks_and_dependencies_are_looked_at_over_the_api() {
    let world = World::new();
    let depends = world.both(&["dags", "show-dependencies"]).done();
    assert!(depends.contains("test_relaying -> "), "{depends}");
    let checked = "insert into asset_check (uri, name, kind, policy, outcome, rows, bad, sample, run, dag_id, run_id, task_id,
          map_index, try_no, attempt)
        select uri, 'n is at least ' || n, 'range', 'warn', case when n = 7 then 'warn' else 'pass' end, 1200, 3, 'id 7',
          gen_random_uuid(), 'd', 'r', 't', -1, 1, gen_random_uuid()
        from generate_series(1, 120) n, (values ('test://relayed'), ('test://of no dag?')) u (uri)";
    sqlx::query(checked).execute(&mut world.db().await).await.unwrap();
    for asset in ["test://relayed", "test://of no dag?"] {
        let count = |more: &[&str]| {
            let line = [&["assets", "checks", asset, "-o", "json"], more].concat();
            world.both(&line).json().as_array().unwrap().len()
        };
        assert_eq!((count(&[]), count(&["--limit", "110"]), count(&["--limit", "all"])), (100, 110, 120));
        assert_eq!(count(&["--outcome", "warn"]), 1);
    }
    world.both(&["assets", "checks", "test://relayed", "--outcome", "fail"]).done();
    world.both(&["assets", "checks", "nothing"]).refused();
}

#[test]
fn backfills_are_planned_created_and_ended_over_the_api() {
    let world = World::new();
    let wish = ["backfill", "create", "--dag-id", "example_chain", "--date", "2026-01-02", "--date", "2026-01-01"];
    let planned = world.both(&[&wish[..], &["--dry-run", "-o", "json"]].concat()).json();
    assert_eq!((&planned[0]["action"], planned.as_array().unwrap().len()), (&"create".into(), 2));
    world.both(&[&wish[..], &["--dry-run", "--task-regex", "step_3"]].concat()).done();
    let made = world.remote(&[&wish[..], &["-o", "json"]].concat()).json();
    assert_eq!((&made[0]["id"], &made[0]["created_by"]), (&1.into(), &"admin".into()));
    let waited = world.remote(&["backfill", "wait", "1", "--timeout", "60s"]);
    assert_eq!((waited.code, waited.err.as_str()), (0, "backfill 1: success, 2 of 2 dates are over\n"));
    assert_eq!(world.both(&["backfill", "show", "1", "-o", "json"]).json().as_array().unwrap().len(), 2);
    world.both(&[&wish[..], &["--dry-run"]].concat()).done();
    world.both(&["backfill", "list", "--dag-id", "example_chain", "-o", "json"]).done();
    assert_eq!(world.both(&["backfill", "list", "--active", "-o", "json"]).json(), serde_json::json!([]));

    world.remote(&["backfill", "create", "--dag-id", "test_lingering", "--date", "2026-01-01"]).done();
    assert_eq!(world.remote(&["backfill", "pause", "2"]).err, "backfill 2 is paused; running runs continue\n");
    assert_eq!(world.remote(&["backfill", "unpause", "2"]).err, "backfill 2 continues\n");
    world.until(&["tasks", "state", "test_lingering", "linger", "2026-01-01"], |ended| ended.out == "running\n");
    let cancelled = world.remote(&["backfill", "cancel", "2", "--stop-running"]);
    assert!(cancelled.code == 0 && cancelled.err.starts_with("backfill 2: cancelled, 1 of 1 dates"), "{cancelled:?}");
    for mistake in [
        &["backfill", "pause", "1"][..],
        &["backfill", "cancel", "1"],
        &["backfill", "show", "9"],
        &["backfill", "wait", "9"],
        &["backfill", "create", "--dag-id", "example_chian", "--date", "2026-01-01"],
        &[
            "backfill",
            "create",
            "--dag-id",
            "example_params",
            "--date",
            "2026-01-01",
            "--dag-run-conf",
            "{\"limit\": -1}",
        ],
        &["dags", "backfill", "example_chain", "-s", "2026-01-01", "-e", "2026-01-02"],
    ] {
        world.both(mistake).refused();
    }
}
