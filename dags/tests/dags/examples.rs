//! The pipelines with examples switched off: from the start, and after they were registered.

use crate::http::ask;
use crate::world::World;
use orch_dags::{DASHBOARDS, MAINTENANCE};
use orch_test_support::until;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const SWITCH: &str = "ORCH_EXAMPLES";
const PATIENCE: Duration = Duration::from_mins(1);
const LIST: [&str; 4] = ["dags", "list", "-o", "json"];
const STREAMS: &str = "select count(*) from stream where version is not null";

/// Returns the ids of the listed DAGs.
fn dags(listed: &str) -> BTreeSet<String> {
    let rows: Vec<Value> = serde_json::from_str(listed).unwrap_or_default();
    rows.iter().filter_map(|row| row["dag_id"].as_str()).map(String::from).collect()
}

fn maintenance() -> BTreeSet<String> {
    MAINTENANCE.map(String::from).into()
}

async fn count(world: &World, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(&mut world.db().await).await.unwrap()
}

/// Waits until a statement returns this number.
async fn until_count(world: &World, statement: &'static str, expected: i64) {
    let began = Instant::now();
    loop {
        let found = count(world, statement).await;
        if found == expected {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{statement}: {found}, not {expected}\n{}", world.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_examples_the_maintenance_of_the_lake_and_own_files_are_left() {
    let mut world = World::new().await;
    let folder = world.path().join("own");
    std::fs::create_dir(&folder).unwrap();
    for (file, text) in [
        ("own.yaml", "dag_id: own\ntasks:\n  say: {bash: echo mine}\n"),
        ("own.stream.yaml", "topic: own\nfields: {city: text}\ntable: own.readings\n"),
        ("own.dashboard.yaml", "title: Own\npanels:\n  - {title: All, type: figure, sql: select 1}\n"),
        (
            "own.endpoint.yaml",
            "path: /own\nabout: Readings\nsql: select city from own.readings\ncolumns: [{name: city, type: text}]\n",
        ),
    ] {
        std::fs::write(folder.join(file), text).unwrap();
    }
    world.set(SWITCH, "false");
    world.set("ORCH_DAGS_FOLDER", folder.to_str().unwrap());
    world.start_worker();
    world.start(&["scheduler"]);
    let listed = world.wait_for("the file", &LIST, |ended| dags(&ended.out).contains("own"));
    let mut expected = maintenance();
    expected.insert("own".into());
    assert_eq!(dags(&listed.out), expected);
    world.run(&["dags", "trigger", "own", "--wait"]).done();
    until_count(&world, STREAMS, 1).await;
    assert_eq!(count(&world, "select count(*) from stream").await, 1);
    until_count(&world, "select count(*) from dashboard", 1).await;

    let key = world.add_key("viewer", "serving").await;
    let (_, address) = world.start_server(&["serving", "--port", "0"]);
    until("the endpoint of the file", || {
        let described = ask(&address, "/openapi.json", &[&format!("X-API-Key: {key}")]).body;
        let is_alone = described.contains("/own\"") && !described.contains("/api/v1/");
        if is_alone { Ok(()) } else { Err(described) }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_that_are_switched_off_later_stop_and_come_back() {
    let mut world = World::new().await;
    let (all, streams) = (orch_dags::dags().len(), orch_dags::streams().len());
    let (streams, dashboards) = (i64::try_from(streams).unwrap(), i64::try_from(DASHBOARDS.len()).unwrap());
    let is_whole = |listed: &str| dags(listed).len() == all;
    let first = world.start_worker();
    world.wait_for("all DAGs", &LIST, |ended| is_whole(&ended.out));
    until_count(&world, STREAMS, streams).await;
    assert_eq!(count(&world, "select count(*) from dashboard").await, dashboards);

    world.kill(first);
    world.set(SWITCH, "false");
    let second = world.start_worker();
    world.wait_for("the maintenance alone", &LIST, |ended| dags(&ended.out) == maintenance());
    until_count(&world, STREAMS, 0).await;
    until_count(&world, "select count(*) from dashboard", 0).await;
    // The positions of the streams are kept in case examples are switched on again.
    assert_eq!(count(&world, "select count(*) from stream").await, streams);

    world.kill(second);
    world.set(SWITCH, "true");
    world.start_worker();
    world.wait_for("all DAGs again", &LIST, |ended| is_whole(&ended.out));
    until_count(&world, STREAMS, streams).await;
    until_count(&world, "select count(*) from dashboard", dashboards).await;
}
