//! Stream commands: list, show, pause, restart, move and delete. No process runs streams here; the test calls the store
//! functions that such a process uses.

use crate::world::World;
use orch_store::stream::{
    Beat, Beaten, Covered, Lease, NewStream, Progress, StartAt, beat, commit_stream, fail_stream, register_streams,
    start_stream,
};
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::time::Duration;

fn new(name: &str, topic: &str) -> NewStream {
    let spec = json!({ "topic": topic, "table": format!("shop.{name}"), "mode": "append", "commit_every": "10 s" });
    NewStream { name: name.into(), version: "1".into(), spec }
}

/// `readings` runs and is 5 records behind, `broken` waits for a restart, and no bundle declares `gone`.
pub(crate) async fn seed(db: &mut PgConnection) {
    let declared = [new("broken", "orders"), new("readings", "weather")];
    register_streams(db, "shop", &[&declared[..], &[new("gone", "old")]].concat(), false).await.unwrap();
    register_streams(db, "shop", &declared, false).await.unwrap();
    let lease = Duration::from_hours(24);
    let beat_of_it = Beat { bundle: "shop", process: "worker-1@host", offered: &declared, held: &[], room: 9, lease };
    let Beaten { taken, .. } = beat(db, &beat_of_it).await.unwrap();
    let [broken, readings] = &taken[..] else { panic!("both are taken: {taken:?}") };
    progress(db, readings, "log:9").await;
    fail_stream(db, broken, "table `shop.broken` cannot be read\nthe disk is full", None).await.unwrap();
}

/// Reads offsets 0 to 20 of two partitions, up to 17 and 18.
async fn progress(db: &mut PgConnection, lease: &Lease, topic: &str) {
    let at = [0, 1].map(|partition| StartAt { partition, offset: 0, end_offset: 20, moves: false });
    start_stream(db, lease, topic, &at).await.unwrap();
    let covered = [(0, 17), (1, 18)].map(|(partition, to)| Covered { partition, from: 0, to, end_offset: 20 });
    let progress = Progress { covered: covered.into(), records: 35, quarantined: 2, ..Progress::default() };
    commit_stream(db, lease, &progress).await.unwrap();
}

fn shown(world: &World, name: &str) -> Value {
    world.run(&["streams", "show", name, "-o", "json"]).json()
}

#[tokio::test]
async fn a_stream_is_listed_looked_into_steered_and_deleted() {
    let world = World::new().await;
    assert!(world.run(&["streams", "list"]).err.contains("no streams"));
    seed(&mut world.db().await).await;
    let list = world.run(&["streams", "list", "-o", "json"]).json();
    let states: Vec<_> =
        list.as_array().unwrap().iter().map(|one| (&one["name"], &one["state"], &one["lag"])).collect();
    let expected = [("broken", "failed", 0), ("gone", "unassigned", 0), ("readings", "running", 5)];
    let expected = expected.map(|(name, state, lag)| (json!(name), json!(state), json!(lag)));
    assert_eq!(states, expected.each_ref().map(|(name, state, lag)| (name, state, lag)));
    let failed = world.run(&["streams", "list", "--state", "failed", "-o", "plain"]).done();
    assert!(failed.contains("broken") && !failed.contains("readings"), "{failed}");

    let broken = shown(&world, "broken");
    assert_eq!((&broken["waits_for_restart"], &broken["failures"]), (&json!(true), &json!(1)));
    assert!(broken["error"].as_str().unwrap().ends_with("the disk is full"), "{broken}");
    world.run(&["streams", "restart", "broken"]).done();
    let broken = shown(&world, "broken");
    assert_eq!((&broken["state"], &broken["error"]), (&json!("unassigned"), &Value::Null));

    world.run(&["streams", "pause", "readings"]).done();
    assert_eq!(shown(&world, "readings")["state"], "paused");
    world.run(&["streams", "resume", "readings"]).done();
    let readings = shown(&world, "readings");
    let offsets = json!([{ "partition": 0, "next_offset": 17, "end_offset": 20, "lag": 3, "process": null },
        { "partition": 1, "next_offset": 18, "end_offset": 20, "lag": 2, "process": null }]);
    assert_eq!((&readings["state"], &readings["partitions"]), (&json!("unassigned"), &offsets));
    let table = world.run(&["streams", "show", "readings"]).done();
    assert!(table.contains("0: 17 of 20, 1: 18 of 20"), "{table}");

    for (flags, to) in [
        (&["--to-earliest"][..], json!({ "to": "earliest" })),
        (&["--to-earliest", "--empty-table"], json!({ "to": "earliest", "empty_table": true })),
        (&["--to-latest", "--partition", "1"], json!({ "to": "latest", "partition": 1 })),
        (&["--to-offset", "3", "--partition", "0"], json!({ "to": { "offset": 3 }, "partition": 0 })),
        (&["--to-time", "2026-11-22T06:00:00Z"], json!({ "to": { "time": "2026-11-22T06:00:00Z" } })),
    ] {
        world.run(&[&["streams", "reset", "readings"], flags].concat()).done();
        assert_eq!(shown(&world, "readings")["reset_to"], to, "{flags:?}");
    }
    for flags in [
        &["--partition", "1"][..],
        &["--to-latest", "--to-earliest"],
        &["--to-earliest", "--empty-table", "--partition", "0"],
        &["--to-offset=-1"],
    ] {
        let wrong = world.run(&[&["streams", "reset", "readings"], flags].concat());
        assert!(wrong.code == 2 && wrong.err.starts_with("error: "), "{flags:?}: {wrong:?}");
    }
    let several = world.run(&["streams", "reset", "readings", "--to-offset", "3"]).refused();
    assert!(several.contains("name the partition"), "{several}");

    let declared = world.run(&["streams", "delete", "readings"]).refused();
    assert!(declared.contains("its bundle declares it"), "{declared}");
    world.run(&["streams", "delete", "gone"]).done();
    for command in ["show", "pause", "resume", "restart", "delete"] {
        let refused = world.run(&["streams", command, "gone"]).refused();
        assert!(refused.contains("there is no stream `gone`") && refused.contains("orch streams list"), "{refused}");
    }
}

#[tokio::test]
async fn a_record_is_skipped_after_it_was_agreed_to() {
    let world = World::new().await;
    let mut db = world.db().await;
    seed(&mut db).await;
    let skip = |name: &str, offset: &str, yes: &[&str]| {
        world.run(&[&["streams", "skip", name, "--partition", "0", "--offset", offset], yes].concat())
    };
    let asked = skip("broken", "0", &[]);
    assert!(asked.err.contains("the disk is full") && asked.err.contains("agree with `--yes`"), "{}", asked.err);
    let read = skip("readings", "3", &["--yes"]);
    assert!(read.err.contains("has read partition 0 up to offset 17 already"), "{}", read.err);
    assert!(skip("missing", "3", &["--yes"]).err.contains("no stream `missing`"));
    let skipped = skip("readings", "17", &["--yes"]);
    assert!(skipped.err.contains("stream `readings` is restarted and skips the record"), "{}", skipped.err);
    let found: (i32, i64) =
        sqlx::query_as("select partition, record_offset from stream_skip").fetch_one(&mut db).await.unwrap();
    assert_eq!(found, (0, 17));
    let audited = "select extra::jsonb - 'from' from audit where event = 'skip_stream_record'";
    let audited: Value = sqlx::query_scalar(audited).fetch_one(&mut db).await.unwrap();
    assert_eq!(audited, json!({ "stream": "readings", "partition": 0, "offset": 17 }));
}
