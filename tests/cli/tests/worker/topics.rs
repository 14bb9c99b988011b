//! Records that a task produces are in the topic exactly once if the task succeeded, and not at all otherwise.

use crate::world::World;
use orch::prelude::*;
use orch_store::stream::{NewStream, register_streams};
use orch_store::topic::{ReadFrom, get_topic, read_records};
use std::time::Duration;

/// The first try fails once it has left its records.
#[task(retries = 1, retry_delay = secs(0))]
async fn produces(ctx: Ctx) -> TaskResult<()> {
    let record = NewRecord::json(&json!({ "try": ctx.try_number() }))?.key("k");
    ctx.produce("readings", vec![record.clone(), record])?;
    ensure!(ctx.try_number() > 1, "the first try fails");
    Ok(())
}

#[task(retries = 1, retry_delay = secs(0))]
async fn produces_nowhere(ctx: Ctx) -> TaskResult<()> {
    ctx.produce("missing", vec![NewRecord::json(&1)?])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_task_produces_is_committed_with_its_success_and_readers_hear_of_it() {
    let dags = vec![dag("readings").build(|d| {
        d.add(produces());
    })];
    let world = World::new(dags, 1).await;
    let mut db = world.db.connect().await;
    sqlx::query("insert into topic (name) values ('readings')").execute(&mut db).await.unwrap();
    let heard = world.hints.on(orch_store::hint::Hint::Topic).notified();
    let run = world.trigger("readings", None).await;
    assert_eq!(world.end_of("readings", &run).await, "success", "{}", world.dump().await);
    tokio::time::timeout(Duration::from_secs(10), heard).await.expect("the hint is given after the commit");
    let topic = get_topic(&mut db, "readings").await.unwrap().unwrap();
    let from = ReadFrom { partition: 0, offset: 0, most: 10, most_bytes: i64::MAX };
    let records = read_records(&mut db, &topic, from).await.unwrap();
    let values: Vec<_> =
        records.iter().map(|r| String::from_utf8_lossy(r.value.as_deref().unwrap_or_default())).collect();
    assert_eq!(values, ["{\"try\":2}", "{\"try\":2}"]);
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [0, 1]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_cannot_produce_to_a_topic_that_a_capture_writes() {
    let dags = vec![dag("forged").build(|d| {
        d.add(produces());
    })];
    let world = World::new(dags, 1).await;
    let mut db = world.db.connect().await;
    sqlx::query("insert into topic (name) values ('readings')").execute(&mut db).await.unwrap();
    let spec = json!({ "captures": "postgres", "topic": "readings", "connection": "topics" });
    let declared = [NewStream { name: "shop".into(), version: "1".into(), spec }];
    register_streams(&mut db, "shop", &declared, false).await.unwrap();
    let run = world.trigger("forged", None).await;
    assert_eq!(world.end_of("forged", &run).await, "failed");
    let causes = "select array_to_string(causes, ': ') from failure order by created_at desc limit 1";
    let cause: String = sqlx::query_scalar(causes).fetch_one(&mut db).await.unwrap();
    assert!(cause.contains("topic `readings` is written by capture `shop`"), "{cause}");
    let records: i64 = sqlx::query_scalar("select count(*) from topic_record").fetch_one(&mut db).await.unwrap();
    assert_eq!(records, 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_missing_fails_the_task_at_once_and_says_what_to_do() {
    let dags = vec![dag("nowhere").build(|d| {
        d.add(produces_nowhere());
    })];
    let world = World::new(dags, 1).await;
    let run = world.trigger("nowhere", None).await;
    assert_eq!(world.end_of("nowhere", &run).await, "failed");
    let causes = "select array_to_string(causes, ': ') from failure";
    let causes: Vec<String> = sqlx::query_scalar(causes).fetch_all(&mut world.db.connect().await).await.unwrap();
    assert_eq!(causes.len(), 1, "another try could not end otherwise: {causes:?}");
    assert!(causes[0].contains("there is no topic `missing`") && causes[0].contains("orch topics create missing"));
    world.end().await;
}
