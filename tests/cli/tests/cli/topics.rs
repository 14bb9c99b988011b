//! Topic commands: create, append from a file, read from the end, and follow.

use crate::world::World;
use orch_store::topic::reader::{Move, MoveOf, move_reader};
use serde_json::json;
use sqlx::PgConnection;

/// Adds a reader that has read one partition of `weather` up to 3 of 5, and the other one completely.
pub(crate) async fn seed_reader(db: &mut PgConnection) {
    let of = |partition, next_offset| MoveOf { partition, found: None, next_offset, end_offset: 5 };
    let to = Move {
        reader: "archive".into(),
        connection: "events".into(),
        topic: "weather".into(),
        topic_identity: "kafka/c/weather".into(),
        epoch: 0,
        dag_id: "example_chain".into(),
        task_id: "step_1".into(),
        run_id: "far".into(),
        partitions: vec![of(0, 3), of(1, 5)],
    };
    assert!(move_reader(db, &to).await.unwrap());
}

#[tokio::test]
async fn a_reader_is_listed_moved_and_forgotten() {
    let world = World::new().await;
    assert!(world.run(&["topics", "readers"]).err.contains("no readers"));
    seed_reader(&mut world.db().await).await;
    let list = world.run(&["topics", "readers", "-o", "json"]).json();
    let told: Vec<_> = list.as_array().unwrap().iter().map(|row| (&row["next_offset"], &row["lag"])).collect();
    assert_eq!(told, [(&json!(3), &json!(2)), (&json!(5), &json!(0))]);
    assert!(world.run(&["topics", "readers", "--topic", "other"]).err.contains("no readers"));
    let several = world.run(&["topics", "seek", "archive", "--to-offset", "1"]).refused();
    assert!(several.contains("name the partition"), "{several}");
    assert!(
        world.run(&["topics", "seek", "archive", "--to-latest", "--partition", "7"]).refused().contains("no partition")
    );
    world.run(&["topics", "seek", "archive", "--to-offset", "1", "--partition", "1"]).done();
    let list = world.run(&["topics", "readers", "-o", "json"]).json();
    assert_eq!(list[0]["seek_to"], json!({ "partition": 1, "to": { "offset": 1 } }));
    world.run(&["topics", "forget", "archive"]).done();
    for command in [&["topics", "forget", "archive"][..], &["topics", "seek", "archive", "--to-latest"]] {
        assert!(world.run(command).refused().contains("there is no reader `archive`"), "{command:?}");
    }
    let deeds = sqlx::query_scalar::<_, String>("select event from audit where event like '%reader' order by id");
    assert_eq!(deeds.fetch_all(&mut world.db().await).await.unwrap(), ["seek_topic_reader", "delete_topic_reader"]);
}

#[tokio::test]
async fn a_topic_is_created_filled_read_changed_and_deleted() {
    let world = World::new().await;
    assert!(world.run(&["topics", "list"]).err.contains("no topics"));
    world.run(&["topics", "create", "weather", "--partitions", "2", "--description", "readings"]).done();
    let again = world.run(&["topics", "create", "weather"]).refused();
    assert!(
        again.contains("there is a topic `weather` already") && again.contains("orch topics set weather"),
        "{again}"
    );
    assert!(world.run(&["topics", "create", "a b"]).refused().contains("String should match pattern"));

    world.run(&["topics", "produce", "weather", "--partition", "0", "{\"city\": \"London\"}"]).done();
    let lines = b"London:{\"t\": 11}\n\nOslo:{\"t\": 3}\n";
    let produced = world.run_with(lines, &["topics", "produce", "weather", "--key-separator", ":", "--partition", "1"]);
    assert!(produced.err.contains("2 records are appended to `weather`"), "{produced:?}");
    let odd = world.run_with(b"no key here\n", &["topics", "produce", "weather", "--key-separator", "\t"]).refused();
    assert!(odd.contains("line 1 has no"), "{odd}");

    let shown = world.run(&["topics", "show", "weather", "-o", "json"]).json();
    assert_eq!((&shown[0]["next_offset"], &shown[1]["next_offset"]), (&json!(1), &json!(2)));
    let tail = world.run(&["topics", "tail", "weather", "--partition", "1", "-n", "1"]).done();
    assert!(tail.starts_with("1:1 ") && tail.ends_with("Z Oslo {\"t\": 3}\n"), "{tail}");
    let all = world.run(&["topics", "tail", "weather", "--json"]).done();
    let values: Vec<String> =
        all.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["value"].to_string()).collect();
    assert_eq!(values, [r#""{\"city\": \"London\"}""#, r#""{\"t\": 11}""#, r#""{\"t\": 3}""#]);

    world.run(&["topics", "set", "weather", "--retention-hours", "-1"]).done();
    assert_eq!(world.run(&["topics", "list", "-o", "json"]).json()[0]["retention_hours"], -1);
    assert!(world.run(&["topics", "set", "weather", "--partitions", "1"]).refused().contains("cannot have fewer"));
    assert!(world.run(&["topics", "set", "weather"]).refused().contains("nothing to change"));
    world.run(&["topics", "delete", "weather"]).done();
    for command in [["topics", "show", "weather"], ["topics", "tail", "weather"], ["topics", "delete", "weather"]] {
        assert!(world.run(&command).refused().contains("there is no topic `weather`"), "{command:?}");
    }
}

#[tokio::test]
async fn a_tail_that_follows_prints_records_as_they_come() {
    let mut world = World::new().await;
    world.run(&["topics", "create", "t", "--partitions", "3"]).done();
    world.run(&["topics", "produce", "t", "first"]).done();
    world.start(&["topics", "tail", "t", "-f"]);
    world.wait_until_said(" first").await;
    for partition in ["2", "0", "1"] {
        world.run(&["topics", "produce", "t", "--partition", partition, &format!("next-{partition}")]).done();
    }
    for partition in ["0", "1", "2"] {
        world.wait_until_said(&format!(" next-{partition}")).await;
    }
    let said = world.said();
    assert_eq!(said.lines().count(), 4, "each once: {said}");
}
