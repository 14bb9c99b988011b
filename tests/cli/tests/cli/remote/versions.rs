//! Deadlines, versions and DAG files, over the API and with a database.

use super::World;
use std::fs;

#[test]
fn deadlines_and_versions_are_the_same_over_the_api() {
    let world = World::new();
    world.remote(&["dags", "trigger", "example_alerts", "--run-id", "far", "--wait"]).done();
    let listed = world.both(&["runs", "deadlines", "example_alerts", "far", "-o", "json"]).json();
    assert_eq!((&listed[0]["deadline"], &listed[0]["state"]), (&"5 min after it was queued".into(), &"met".into()));
    assert!(listed[0]["seconds"].as_f64().is_some_and(|before| before > 100.0), "{listed}");
    for all in [&["runs", "deadlines", "example_alerts", "-o", "json"][..], &["runs", "deadlines", "-o", "json"]] {
        assert_eq!(world.both(all).json().as_array().unwrap().len(), 1, "{all:?}");
    }
    world.both(&["runs", "deadlines", "--missed"]).done();
    world.both(&["runs", "deadlines", "example_alerts", "nothing"]).refused();
    let details = world.both(&["dags", "details", "example_alerts", "-o", "json"]).json();
    assert_eq!(details["deadlines"], serde_json::json!(["5 min after it was queued"]));

    let versions = world.both(&["dags", "versions", "example_alerts", "-o", "json"]).json();
    assert_eq!(
        (&versions[0]["version"], &versions[0]["runs"], &versions[0]["newest"]),
        (&1.into(), &1.into(), &true.into())
    );
    assert_eq!(world.both(&["dags", "diff", "example_alerts"]).code, 0);
    world.both(&["dags", "diff", "example_alerts", "1", "9"]).refused();
    world.both(&["dags", "versions", "example_alrets"]).refused();
    world.both(&["dags", "export", "example_alerts"]).refused();
    assert_eq!(world.both(&["dags", "list-import-errors"]).code, 0);
}

#[test]
fn dag_files_are_seen_over_the_api() {
    let file = |word: &str| format!("dag_id: said\ntasks:\n  say: {{bash: echo {word}}}\n");
    let wrong = "dag_id: wrong\ntasks:\n  say: {bsh: echo third}\n";
    let (world, folder) = World::with_dag_files(&[("said.yaml", &file("first")), ("wrong.yaml", wrong)]);
    world.until(&["dags", "export", "said"], |ended| ended.code == 0);
    world.until(&["dags", "list-import-errors"], |ended| ended.code == 1);
    assert!(world.both(&["dags", "export", "said"]).done().contains("echo first"));
    let broken = world.both(&["dags", "list-import-errors", "-o", "json"]).failed();
    assert!(broken.out.contains("wrong.yaml:3:") && broken.out.contains("did you mean `bash`?"), "{broken:?}");
    fs::write(folder.join("said.yaml"), file("second")).unwrap();
    world.until(&["dags", "export", "said"], |ended| ended.out.contains("echo second"));
    let diff = world.both(&["dags", "diff", "said"]).failed();
    assert!(diff.out.contains("say"), "{diff:?}");
    let versions = world.both(&["dags", "versions", "said", "-o", "json"]).json();
    assert_eq!(versions.as_array().unwrap().len(), 2);
    assert_eq!(world.both(&["dags", "diff", "said", "2", "2"]).code, 0);
}
