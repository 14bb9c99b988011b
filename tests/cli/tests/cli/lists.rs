//! Lists of commands: results of `--where`, `--order-by` and `--limit`, and their rejected values.

use crate::world::World;
use orch_spec::DagSpec;
use orch_store::registry::{NewBundle, register_bundle};
use serde_json::{Value, json};
use std::sync::Arc;

async fn world() -> World {
    let mut world = World::new().await;
    world.set("ORCH_SECRET_KEY", world.run(&["secrets", "generate-key"]).done().trim());
    let dag = |id: &str| {
        let spec =
            json!({ "dag_id": id, "paused_at_creation": id == "b", "tasks": [{ "task_id": "t", "kind": "rust" }] });
        Arc::new(serde_json::from_value::<DagSpec>(spec).expect("a DAG"))
    };
    let bundle = NewBundle { name: "test".into(), dags: vec![dag("a"), dag("b")] };
    register_bundle(&mut world.db().await, &bundle, false).await.expect("they are registered");
    for line in [
        "pools set p1 1 first",
        "pools set p3 3 third",
        "pools set p2 2 second",
        "variables set v1 x",
        "variables set v2 y",
        "variables set w x",
        "connections add c1 --conn-type http --conn-host one",
        "connections add c2 --conn-type postgres --conn-host two",
        "dags trigger a --run-id r1 --run-after 2126-01-01",
        "dags trigger a --run-id r2 --run-after 2126-01-03",
        "dags trigger b --run-id r3 --run-after 2126-01-02",
    ] {
        world.run(&line.split(' ').collect::<Vec<_>>()).done();
    }
    world
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_cut() {
    let world = world().await;
    for (line, field, expected) in [
        ("pools list --where pool_name_prefix_pattern=p", "pool", &["p1", "p2", "p3"][..]),
        ("pools list --where slots=1 --where slots=3", "pool", &["p1", "p3"]),
        ("pools list --where description_pattern=secon", "pool", &["p2"]),
        ("pools list --order-by=-slots --limit 2", "pool", &["p3", "p2"]),
        ("variables list --where variable_key_prefix_pattern=v --order-by=-key", "key", &["v2", "v1"]),
        ("variables list --show-values --order-by=-key --limit 2", "val", &["x", "y"]),
        ("connections list --where conn_type=postgres", "conn_id", &["c2"]),
        ("connections list --order-by=-connection_id --limit 2", "conn_id", &["c2", "c1"]),
        ("connections list --show-values --where conn_type=http", "host", &["one"]),
        ("dags list --where paused=true", "dag_id", &["b"]),
        ("dags list --order-by=-dag_id", "dag_id", &["b", "a"]),
        ("dags list --where exclude_stale=true --limit 1", "dag_id", &["a"]),
        ("runs list", "run_id", &["r2", "r3", "r1"]),
        ("runs list --order-by dag_id", "run_id", &["r2", "r1", "r3"]),
        ("runs list --dag-id a --where run_after_lt=2126-01-02", "run_id", &["r1"]),
        ("runs list --where run_after_gte=2126-01-02 --order-by run_after --limit all", "run_id", &["r3", "r2"]),
        ("dags list-runs a --where run_id_pattern=2", "run_id", &["r2"]),
        ("dags list-runs a --where state=failed", "run_id", &[]),
    ] {
        let line: Vec<&str> = line.split(' ').chain(["-o", "json"]).collect();
        let listed = world.run(&line).json();
        let listed: Vec<&str> =
            listed.as_array().expect("a list").iter().map(|row| row[field].as_str().unwrap_or_default()).collect();
        assert_eq!(listed, expected, "{line:?}");
    }
    assert_eq!(world.run(&["pools", "list", "--where", "pool_name_pattern=none"]).done(), "");
}

#[tokio::test]
async fn a_wrong_filter_or_order_is_refused_with_the_right_ones() {
    let world = world().await;
    for (line, words) in [
        (
            "pools list --where name=p1",
            ["this list has no filter `name`", "pool_name_pattern, pool_name_prefix_pattern"],
        ),
        ("pools list --order-by size", ["cannot be sorted by `size`", "name, slots, description"]),
        ("dags list --where exclude_stale=perhaps", ["exclude_stale", "boolean"]),
        ("dags list --paused true --where paused=false", ["`--where paused=…` repeats", "leave one of the two out"]),
        ("dags list-runs a --state failed --where state=queued", ["`--where state=…` repeats", "leave one"]),
        ("runs list --where run_after_gte=soon", ["run_after_gte", "datetime"]),
        ("runs list --where state", ["NAME=VALUE", "state=failed"]),
        ("runs list --where limit=3", ["`--limit`", "`--order-by`"]),
        ("runs list --limit none", ["must be a number from 1", "`all`"]),
        ("topics list --connection kafka --limit 3", ["the topics of a cluster cannot be filtered", "leave out"]),
        ("dags presets a --delete x --limit 3", ["cannot be used with", "--limit"]),
    ] {
        let refused = world.run(&line.split(' ').collect::<Vec<_>>()).refused();
        assert!(words.iter().all(|words| refused.contains(words)), "{line}: {refused}");
    }
}

#[tokio::test]
async fn pools_come_from_a_file_of_any_name() {
    let world = World::new().await;
    for (name, text) in [
        ("pools", r#"{"one": {"slots": 1, "description": ""}}"#),
        ("pools.txt", r#"{"one": {"slots": 2}}"#),
        ("pools.yaml", "one:\n  slots: 3\n"),
    ] {
        let path = world.path().join(name);
        std::fs::write(&path, text).unwrap();
        world.run(&["pools", "import", path.to_str().unwrap()]).done();
    }
    assert_eq!(world.run(&["pools", "get", "one", "-o", "json"]).json()[0]["slots"], 3);
    let path = world.path().join("pools.env");
    std::fs::write(&path, "one=4\n").unwrap();
    let refused = world.run(&["pools", "import", path.to_str().unwrap()]).refused();
    assert!(refused.contains("use .json or .yaml"), "{refused}");
    let default = json!({ "default_pool": { "slots": 64, "description": "mine" } });
    std::fs::write(path.with_extension("json"), default.to_string()).unwrap();
    world.run(&["pools", "import", path.with_extension("json").to_str().unwrap()]).done();
    let pool: Value = world.run(&["pools", "get", "default_pool", "-o", "json"]).json();
    assert_eq!((&pool[0]["slots"], &pool[0]["description"]), (&json!(64), &json!("Default pool")));
}
