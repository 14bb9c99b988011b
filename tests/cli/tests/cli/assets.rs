//! Asset commands, with a worker and a scheduler in separate processes.

use crate::world::World;
use orch_store::identity::identity;
use serde_json::{Value, json};

#[tokio::test]
async fn an_update_that_is_said_begins_a_run_and_the_run_says_the_next_one() {
    let world = World::at_work().await;
    let emit = ["assets", "emit", "--name", "source", "--extra", "{\"why\": 1}", "--partition", "mon"];
    let said = world.run(&emit);
    assert_eq!((said.code, said.err.as_str()), (0, "update 1 of `source` is said\n"), "{said:?}");
    let events = ["assets", "events", "test://relayed", "-o", "json"];
    let relayed = world.wait_for(&events, |ended| ended.out.contains("test_relaying")).json();
    let event = &relayed[0];
    assert_eq!((&event["rows"], &event["extra"]), (&json!(7), &json!({ "from": "mon" })), "{event}");
    assert_eq!((&event["partition_key"], &event["source_task_id"]), (&json!("mon"), &json!("relay")), "{event}");
    let first = world.run(&["assets", "events", "source", "-o", "json"]).json();
    assert!(first[0]["runs"][0].as_str().unwrap().starts_with("test_relaying.asset_triggered__"), "{first}");
    let details = world.run(&["assets", "details", "--uri", "test://relayed", "-o", "json"]).json();
    assert_eq!(details["lineage"], json!(["test://source -> test://relayed (7 rows)"]));
    assert_eq!(details["producing_tasks"], json!(["test_relaying.relay"]));
    let mut db = world.db().await;
    let output: Value = sqlx::query_scalar(
        "select o.value from output o join dag_run r on r.id = o.run where r.dag_id = 'test_relaying'",
    )
    .fetch_one(&mut db)
    .await
    .unwrap();
    let home = identity(&mut db).await.unwrap();
    assert_eq!(output, json!([1, home]), "a child is told what began its run, and where its end is recorded");

    let listed = world.run(&["assets", "list", "-o", "json"]).json();
    let source = listed.as_array().unwrap().iter().find(|asset| asset["name"] == "source").unwrap();
    assert_eq!((&source["uri"], &source["fresh"]), (&json!("test://source"), &json!("fresh")));
    assert!(world.run(&["assets", "list", "--alias", "-o", "plain"]).done().contains("monthly archive"));
    let made = world.run(&["assets", "materialize", "--name", "revenue", "-o", "json"]).json();
    assert_eq!(
        (&made[0]["dag_id"], &made[0]["run_type"]),
        (&json!("example_asset_consumer"), &json!("asset_materialization"))
    );
    let depends = world.run(&["dags", "show-dependencies"]).done();
    assert!(
        depends.contains("source -> test_relaying (schedule)\n")
            && depends.contains("test_relaying -> test://relayed (outlet)\n")
            && depends.contains("example_operators -> example_hello (trigger)\n"),
        "{depends}"
    );
    let none = world.run(&["assets", "details", "--name", "nothing"]).refused();
    assert_eq!(none, "error: there is no asset `nothing`\nhint: list all with `orch assets list`\n");
    let none = world.run(&["assets", "materialize", "--name", "source"]).refused();
    assert!(none.starts_with("error: no dag produces `source`\nhint: "), "{none}");
}
