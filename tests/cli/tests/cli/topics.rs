//! Topics by command: created, filled from a file, read from their end and as records come.

use crate::world::World;
use serde_json::json;

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
