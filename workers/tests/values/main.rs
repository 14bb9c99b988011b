//! Tests that task functions, conditions and alert receivers may return arbitrary data. Asserts that a value that the
//! database rejects fails only one attempt, and affects neither the worker nor other attempts.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod hostile;
mod told;
mod world;

use orch_sdk::task::{Awaited, BoxFuture, Condition, ConditionResult, Conditions, Eyes, TaskError};
use orch_store::locks::Locks;
use orch_store::run::cancel_run;
use orch_store::version::Versions;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Notify;
use world::{World, body, element, innocent, wide};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nul_in_a_failure_is_one_failed_try() {
    let bad = body(|_| async { Err(TaskError::fatal("the server answered 400: a\0b")) });
    let mut world = World::new(vec![wide("bad", 1, bad), innocent(20)]).await;
    let (bad, good) = (world.trigger("bad").await, world.trigger("good").await);
    assert_eq!(world.end_of(&bad).await, "failed");
    assert_eq!(world.end_of(&good).await, "success");
    let causes: Vec<String> = sqlx::query_scalar("select causes from failure").fetch_one(&mut world.db).await.unwrap();
    assert_eq!(causes, ["the server answered 400: a\u{FFFD}b"]);
    world.end().await;
}

/// Asserts that an outcome that the database rejects is recorded as failed, and that other outcomes of the batch are
/// recorded unchanged. A trigger stands for values that nobody foresaw.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_the_database_refuses_is_failed_and_those_beside_it_are_as_they_ended() {
    let gives = body(|ctx| async move {
        let n = element(&ctx);
        Ok(Some(if n % 37 == 5 { json!("poison") } else { json!(n) }))
    });
    let mut world = World::new(vec![wide("mixed", 200, gives)]).await;
    world.say("alter table output add constraint refused check (value::text not like '%poison%')").await;
    let run = world.trigger("mixed").await;
    assert_eq!(world.end_of(&run).await, "failed");
    let bad: Vec<i32> = sqlx::query_scalar(
        "select t.map_index from task_instance t join failure f on f.attempt = t.attempt
        where f.kind = 'unrecordable' and t.state = 'failed' order by 1",
    )
    .fetch_all(&mut world.db)
    .await
    .unwrap();
    assert_eq!(bad, [5, 42, 79, 116, 153, 190]);
    assert_eq!(world.number("select count(*) from task_instance where state = 'success' and try_no = 1").await, 195);
    let words =
        "select count(*) from failure where causes[1] like '%does not fit the database, or the database is damaged%'";
    assert_eq!(world.number(words).await, 6);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_meets_damaged_data_is_failed_and_its_task_function_runs_once() {
    let begun = Arc::new(AtomicU32::new(0));
    let counted = begun.clone();
    let gives = body(move |ctx| {
        let (n, counted) = (element(&ctx), counted.clone());
        async move {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(Some(if n == 5 { json!("poison") } else { json!(n) }))
        }
    });
    let mut world = World::new(vec![wide("mixed", 20, gives)]).await;
    for refuses in [
        "create function refuse() returns trigger language plpgsql as $$ begin
          if new.value::text like '%poison%' then
            raise exception 'invalid page in block 7 of relation base/5/2619' using errcode = 'XX001';
          end if; return new; end $$",
        "create trigger refuse before insert on output for each row execute function refuse()",
    ] {
        world.say(refuses).await;
    }
    let run = world.trigger("mixed").await;
    assert_eq!(world.end_of(&run).await, "failed");
    let bad = "select count(*) from task_instance t join failure f on f.attempt = t.attempt
        where f.kind = 'unrecordable' and t.state = 'failed' and t.map_index = 5";
    assert_eq!(world.number(bad).await, 1);
    assert_eq!(world.number("select count(*) from failure").await, 1);
    assert_eq!(begun.load(Ordering::Relaxed), 20, "no task function runs again");
    world.end().await;
}

/// Asserts that a poke result that the database rejects ends only the wait of its attempt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_the_database_refuses_ends_its_wait_and_those_beside_it_end_as_seen() {
    struct Echo;
    impl Condition for Echo {
        fn kind(&self) -> &'static str {
            "echo"
        }
        fn poke(&self, config: Value, _eyes: Arc<dyn Eyes>) -> BoxFuture<ConditionResult> {
            Box::pin(async move { Ok(Some(config)) })
        }
    }
    let waits = body(|ctx| async move {
        match ctx.resumed() {
            Some(resumed) => Ok(resumed.value().cloned()),
            None => {
                let n = element(&ctx);
                let seen = if n % 37 == 5 { json!("poison") } else { json!(n) };
                Err(TaskError::Deferred { deferral: Box::new(Awaited::new("echo", seen).into()) })
            }
        }
    });
    let mut world = World::with(vec![wide("waits", 100, waits)], &Conditions::default().with(Arc::new(Echo))).await;
    world.say("alter table waiting add constraint refused check (answer::text not like '%poison%')").await;
    let run = world.trigger("waits").await;
    assert_eq!(world.end_of(&run).await, "failed");
    let bad = "select count(*) from failure where causes[1] like 'it cannot wait: % does not fit the database'";
    assert_eq!(world.number(bad).await, 3);
    assert_eq!(world.number("select count(*) from task_instance where state = 'success' and try_no = 1").await, 98);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_cannot_be_read_is_parked_and_its_worker_goes_on_with_others() {
    let go = Arc::new(Notify::new());
    let told = go.clone();
    let waits = body(move |_| {
        let told = told.clone();
        async move {
            told.notified().await;
            Ok(Some(json!(1)))
        }
    });
    let mut world = World::new(vec![wide("harmed", 1, waits), innocent(20)]).await;
    let harmed = world.trigger("harmed").await;
    world.some("select count(*) from task_instance where state = 'running' and map_index = 0").await;
    world.say("update dag_run set ledger = '{5}', rev = rev + 1 where dag_id = 'harmed'").await;
    go.notify_one();
    world.some("select count(*) from parked_run").await;
    let good = world.trigger("good").await;
    assert_eq!(world.end_of(&good).await, "success");
    // Users can still cancel such a run.
    cancel_run(&mut world.db, &Locks::begin().runs(), &mut Versions::default(), harmed.id).await.unwrap();
    assert_eq!(world.end_of(&harmed).await, "failed");
    world.end().await;
}
