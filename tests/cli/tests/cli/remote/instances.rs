//! Logs of task instances and dry runs of clears, over the API and with a database.

use super::World;

#[test]
fn logs_are_the_same_over_the_api() {
    let world = World::new();
    world.remote(&["dags", "trigger", "broken", "--run-id", "bad", "--wait"]).failed();
    world.remote(&["dags", "trigger", "example_fan", "--run-id", "wide", "--wait"]).done();
    let log = ["tasks", "logs", "broken", "fail", "bad"];
    let said = world.both(&log);
    assert!(said.code == 0 && said.out.contains("ERROR   the source is empty"), "{said:?}");
    assert_eq!(said.err, "try 1 failed (retryable): the source is empty\n");
    assert_eq!(world.both(&[&log[..], &["--follow"]].concat()), said);
    assert_eq!(world.both(&[&log[..], &["--try", "1"]].concat()), said);
    let lines = world.both(&[&log[..], &["--json"]].concat()).done();
    let events: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events[1]["event"], "the source is empty", "{lines}");
    world.both(&["tasks", "logs", "example_fan", "double", "wide", "--map-index", "2", "--json"]).done();
    for mistake in [
        &["tasks", "logs", "broken", "fail", "bad", "--try", "9"][..],
        &["tasks", "logs", "broken", "say", "bad"],
        &["tasks", "logs", "broken", "say", "bad", "--follow"],
        &["tasks", "logs", "broken", "fial", "bad"],
        &["tasks", "logs", "broken", "fail", "good"],
        &["tasks", "logs", "example_fan", "double", "wide"],
        &["tasks", "logs", "example_fan", "double", "wide", "--map-index", "999"],
    ] {
        world.both(mistake).refused();
    }
}

#[test]
fn a_log_is_followed_to_its_end_over_the_api() {
    let world = World::new();
    world.remote(&["dags", "trigger", "test_talking", "--run-id", "long"]).done();
    let log = ["tasks", "logs", "test_talking", "talk", "long"];
    let followed = std::thread::scope(|scope| {
        let following = scope.spawn(|| world.remote(&[&log[..], &["--follow"]].concat()));
        world.until(&log, |ended| !ended.out.is_empty());
        world.remote(&["tasks", "cancel", "test_talking", "talk", "long"]).done();
        following.join().unwrap()
    });
    let whole = world.both(&log).done();
    assert!(followed.code == 0 && !followed.out.is_empty() && whole.starts_with(&followed.out), "{followed:?}");
}

#[test]
fn a_clear_is_shown_the_same_over_the_api() {
    let world = World::new();
    for day in ["2026-01-01", "2026-01-02", "2026-01-03"] {
        world.remote(&["dags", "trigger", "example_chain", "--logical-date", day, "--run-id", day, "--wait"]).done();
    }
    let would = |more: &[&str]| {
        let line = [&["tasks", "clear", "example_chain", "--dry-run", "-o", "json"], more].concat();
        world.both(&line).json().as_array().unwrap().len()
    };
    for (more, count) in [
        (&["-i", "2026-01-02"][..], 10),
        (&["-i", "2026-01-02", "-t", "^step_9$"], 1),
        (&["-i", "2026-01-02", "-t", "^step_9$", "--downstream"], 2),
        (&["-i", "2026-01-02", "-t", "^step_3$", "--upstream", "--past"], 6),
        (&["-i", "2026-01-02", "-t", "^step_10$", "--past", "--future"], 3),
        (&["-t", "^step_10$"], 3),
        (&["-s", "2026-01-02", "-e", "2026-01-02", "-t", "^step_10$"], 1),
        (&["-t", "nothing"], 0),
        (&["--only-failed"], 0),
        (&["--only-running"], 0),
    ] {
        assert_eq!(would(more), count, "{more:?}");
    }
    world.remote(&["dags", "trigger", "example_fan", "--run-id", "wide", "--wait"]).done();
    let of_map = ["tasks", "clear", "example_fan", "-i", "wide", "-t", "^double$", "--dry-run", "-o", "json"];
    let all = world.both(&of_map).json();
    assert!(all.as_array().unwrap().len() > 1, "{all}");
    let element = world.both(&[&of_map[..], &["--map-index", "2"]].concat()).json();
    assert_eq!((element.as_array().unwrap().len(), element[0]["map_index"].as_i64()), (1, Some(2)), "{element}");
    world.both(&["tasks", "clear", "^example_ch", "--dag-regex", "--dry-run"]).done();
    for mistake in [
        &["tasks", "clear", "example_chian"][..],
        &["tasks", "clear", "^nothing$", "--dag-regex"],
        &["tasks", "clear", "(", "--dag-regex"],
        &["tasks", "clear", "example_chain", "--past"],
        &["tasks", "clear", "example_chain", "-i", "2026-01-04"],
        &["tasks", "clear", "example_chain", "-i", "nothing"],
    ] {
        world.both(mistake).refused();
    }
}

#[test]
fn a_clear_of_many_instances_lists_the_first_thousand_and_counts_the_rest() {
    let tasks: Vec<_> = (0..1_100).map(|n| format!("  t{n}: {{bash: echo hello}}\n")).collect();
    let (world, _) = World::with_dag_files(&[("wide.yaml", &format!("dag_id: wide\ntasks:\n{}", tasks.concat()))]);
    world.until(&["dags", "pause", "wide"], |ended| ended.code == 0);
    world.local(&["dags", "trigger", "wide", "--run-id", "all"]).done();
    world.local(&["runs", "cancel", "wide", "all"]).done();
    let would = world.both(&["tasks", "clear", "wide", "-i", "all", "--dry-run", "-o", "json"]);
    assert_eq!(would.err, "100 more of run `all` are not listed\n");
    assert_eq!(would.json().as_array().unwrap().len(), 1_000);
}
