//! Conditions of deferred attempts: a single worker polls each condition, its result is recorded once, and the wait
//! survives changes of the run.

use crate::fixture::{Hands, dag, database, number, one, register, states, trigger};
use orch_sdk::task::{OnTimeout, WaitEnd};
use orch_spec::state::TaskState;
use orch_store::due::wake_waiting;
use orch_store::locks::Locks;
use orch_store::run::{MoveRun, move_run};
use orch_store::step::{Lease, NewWait};
use orch_store::version::Versions;
use orch_store::watch::{
    ConditionOutcome, Watched, WatchedOutcome, Watcher, answer, next_due, resumed, take_due, wait_of,
};
use serde_json::json;
use sqlx::postgres::PgConnection;
use std::time::Duration;
use uuid::Uuid;

const LEASE: Duration = Duration::from_mins(1);

fn wait(timeout_ms: Option<i64>) -> NewWait {
    NewWait {
        condition: Some(("file".into(), r#"{"path":"/x"}"#.into())),
        wake_in_ms: 0,
        wake_at: None,
        poke_ms: 60_000,
        timeout_ms,
        on_timeout: OnTimeout::Skip,
        carried: Some("[1]".into()),
        asks: None,
    }
}

fn watcher(worker: i32, lease: Duration) -> Watcher {
    Watcher { worker, queues: vec![1], kinds: vec!["file".into()], lease }
}

/// Leases due conditions. Waits until they become due, which takes a short time after they are inserted.
async fn take(db: &mut PgConnection, watcher: &Watcher) -> Vec<Watched> {
    loop {
        let taken = take_due(db, watcher, 10).await.expect("the server is there");
        if !taken.is_empty() {
            return taken;
        }
    }
}

fn found(of: &Watched, found: ConditionOutcome) -> WatchedOutcome {
    WatchedOutcome { run: of.run, task: of.task, map_index: of.map_index, looks: of.looks, found }
}

async fn deferred(database: &orch_test_support::TestDb, wait: NewWait) -> (Hands, Uuid, Lease, i32) {
    let mut db = one(database).await;
    let spec = dag(json!({ "dag_id": "d", "tasks": [{ "task_id": "a", "kind": "rust" }] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
    let mut hands = Hands::new(database, &[version], LEASE).await;
    let lease = hands.claim(1).await[0].lease;
    assert!(hands.wait(lease, version, TaskState::Deferred, wait).await);
    (hands, run, lease, version)
}

#[tokio::test]
async fn a_condition_is_in_one_hand_and_late_answers_do_not_count() {
    let database = database().await;
    let (mut hands, run, lease, _) = deferred(&database, wait(None)).await;
    let mut db = one(&database).await;
    assert_eq!(states(&mut db, run).await, ["a deferred"]);
    let (first, second) = (watcher(1, Duration::ZERO), watcher(2, LEASE));
    let early = take(&mut db, &first).await.remove(0);
    assert_eq!((early.kind.as_str(), early.config.as_deref()), ("file", Some(r#"{"path":"/x"}"#)));
    // The lease of the first worker expires immediately, so the second worker takes the condition.
    let taken = take(&mut db, &second).await.remove(0);
    assert!(take_due(&mut db, &watcher(3, LEASE), 10).await.unwrap().is_empty());
    assert!(next_due(&mut db, &second).await.unwrap().is_some_and(|due| due > LEASE / 2));
    let met = |of: &Watched| found(of, ConditionOutcome::End(WaitEnd::Met(json!("late"))));
    assert_eq!(answer(&mut db, 1, &[met(&early)]).await.unwrap(), 0);
    let stuck = ConditionOutcome::Error { next_ms: 1, error: "stuck\0".into() };
    assert_eq!(answer(&mut db, 2, &[found(&taken, stuck)]).await.unwrap(), 1);
    let shown = wait_of(&mut db, run, 0, -1).await.unwrap().unwrap();
    assert_eq!((shown.looks, shown.last_error.as_deref()), (2, Some("stuck\u{FFFD}")));
    let taken = take(&mut db, &second).await.remove(0);
    assert_eq!((taken.errors, taken.looks), (1, 3));
    assert_eq!(
        answer(&mut db, 2, &[found(&taken, ConditionOutcome::End(WaitEnd::Met(json!({ "n": 1 }))))]).await.unwrap(),
        1
    );
    assert!(hands.claim(1).await.is_empty(), "it is claimable once it was woken");
    assert_eq!(wake_waiting(&mut db, 10).await.unwrap(), 1);
    let again = hands.claim(1).await.remove(0).lease;
    assert_eq!((again.attempt, again.lease_no), (lease.attempt, 2));
    let told = resumed(&mut db, again).await.unwrap().unwrap();
    assert_eq!((told.end, told.carried), (WaitEnd::Met(json!({ "n": 1 })), json!([1])));
    let retried = Lease { attempt: Uuid::now_v7(), ..again };
    assert_eq!(resumed(&mut db, retried).await.unwrap(), None, "the next try waited for nothing");
    assert!(hands.end(again, TaskState::Success).await);
    assert_eq!(states(&mut db, run).await, ["a success"]);
}

#[tokio::test]
async fn who_waits_too_long_is_woken_whoever_looks() {
    let database = database().await;
    let (mut hands, run, _, _) = deferred(&database, wait(Some(1))).await;
    let mut db = one(&database).await;
    let taken = take(&mut db, &watcher(1, LEASE)).await.remove(0);
    while wake_waiting(&mut db, 10).await.unwrap() == 0 {}
    assert_eq!(answer(&mut db, 1, &[found(&taken, ConditionOutcome::End(WaitEnd::Met(json!(1))))]).await.unwrap(), 0);
    let again = hands.claim(1).await.remove(0).lease;
    let told = resumed(&mut db, again).await.unwrap().unwrap();
    assert_eq!(told.end, WaitEnd::TimedOut(OnTimeout::Skip));
    assert!(hands.end(again, TaskState::Skipped).await);
    assert_eq!(states(&mut db, run).await, ["a skipped"]);
}

#[tokio::test]
async fn a_run_that_moves_to_another_version_waits_on() {
    let database = database().await;
    let (_hands, run, lease, _) = deferred(&database, wait(Some(3_600_000))).await;
    let mut db = one(&database).await;
    let spec = dag(json!({ "dag_id": "d", "tasks": [
        { "task_id": "new", "kind": "rust" }, { "task_id": "a", "kind": "rust", "after": ["new"] }] }));
    let to = register(&mut db, &[spec]).await[0].version_id;
    assert_eq!(
        move_run(&mut db, &Locks::begin().runs(), &mut Versions::default(), run, to).await.unwrap(),
        MoveRun::Moved
    );
    let same = "select count(*) from waiting where kind = 'file' and config::text = '{\"path\":\"/x\"}' and task = 1
        and on_timeout = 'skip' and carried::text = '[1]' and poke_ms = 60000 and give_up_at > now() and state = 'deferred'";
    assert_eq!(number(&mut db, same).await, 1);
    let taken = take(&mut db, &watcher(1, LEASE)).await.remove(0);
    assert_eq!((taken.attempt, taken.lease_no), (lease.attempt, 2));
}
