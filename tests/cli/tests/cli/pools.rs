//! Pool commands, Airflow's export file of pools, and the reason why a task waits.

use crate::world::World;
use orch_spec::DagSpec;
use orch_store::admission::admit;
use orch_store::locks::Locks;
use orch_store::registry::{NewBundle, register_bundle};
use orch_store::version::Versions;
use serde_json::{Value, json};
use std::sync::Arc;

#[tokio::test]
async fn pools_are_set_listed_exported_imported_and_deleted() {
    let (world, other) = (World::new().await, World::new().await);
    let set = world.run(&["pools", "set", "mysql", "4", "the shop", "--include-deferred", "-o", "json"]).json();
    assert_eq!(
        (&set[0]["pool"], &set[0]["slots"], &set[0]["include_deferred"]),
        (&json!("mysql"), &json!(4), &json!(true))
    );
    world.run(&["pools", "set", "lake", "-1", ""]).done();
    assert!(world.run(&["pools", "set", "lake", "-2", ""]).refused().contains("-2"));
    let listed = world.run(&["pools", "list", "-o", "plain"]).done();
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["pool", "default_pool", "lake", "mysql"], "{listed}");
    let path = world.path().join("pools.json");
    let file = path.to_string_lossy().into_owned();
    world.run(&["pools", "export", &file]).done();
    let written: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    // The format of `airflow pools export`.
    assert_eq!(written["mysql"], json!({ "slots": 4, "description": "the shop", "include_deferred": true }));
    other.run(&["pools", "import", &file]).done();
    assert_eq!(other.run(&["pools", "get", "mysql", "-o", "json"]).json(), set);
    std::fs::write(&path, r#"{"ok": {"slots": 1, "description": ""}, "odd": {"slots": "many"}}"#).unwrap();
    assert!(other.run(&["pools", "import", &file]).refused().contains("pool `odd` is not an object such as"));
    assert!(other.run(&["pools", "get", "ok"]).refused().contains("there is no pool `ok`"), "all or nothing");
    other.run(&["pools", "delete", "mysql"]).done();
    assert!(other.run(&["pools", "delete", "mysql"]).refused().contains("there is no pool `mysql`"));
    assert!(other.run(&["pools", "delete", "default_pool"]).refused().contains("always there"));
}

#[tokio::test]
async fn a_command_says_every_reason_why_a_task_waits() {
    let world = World::new().await;
    let mut db = world.db().await;
    let spec = json!({ "dag_id": "gated", "paused_at_creation": false, "tasks": [
        { "task_id": "t", "kind": "rust", "pool": "db" }, { "task_id": "u", "kind": "rust", "after": ["t"] } ] });
    let spec: DagSpec = serde_json::from_value(spec).unwrap();
    let bundle = NewBundle { name: "test".into(), dags: vec![Arc::new(spec)] };
    register_bundle(&mut db, &bundle, false).await.unwrap();
    world.run(&["pools", "set", "db", "1", ""]).done();
    world.run(&["dags", "trigger", "gated", "--run-id", "one"]).done();
    world.run(&["dags", "trigger", "gated", "--run-id", "two"]).done();
    assert_eq!(admit(&mut db, &Locks::begin().slots(), &Versions::default()).await.unwrap().many, 1);
    assert_eq!(world.run(&["tasks", "state", "gated", "t", "two"]).done(), "scheduled\n");
    let why = world.run(&["tasks", "why", "gated", "t", "two", "-o", "json"]).json();
    let reason = "Pool 'db' has 0 of 1 slots open, and it wants 1.";
    assert_eq!(why, json!([{ "dependency": "Pool Slots Available", "reason": reason, "in_the_way": "gated/one/t" }]));
    let deps = world.run(&["tasks", "failed-deps", "gated", "u", "two"]).done();
    assert_eq!(
        deps,
        "Task instance dependencies not met:\nTrigger Rule: Task's trigger rule 'all_success' is not met yet: 1 of 1 upstream \
        tasks are not over: t (queued).\n"
    );
}
