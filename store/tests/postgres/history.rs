//! Verifying a run's history finds no differences if only the store wrote it, and reports each value that the test
//! manipulated.

use crate::fixture::{Hands, chain, dag, database, one, register, trigger};
use orch_core::select::Selection;
use orch_core::transition::{RunEnd, Selected};
use orch_spec::state::TaskState;
use orch_store::clear::{ClearScope, clear_instances};
use orch_store::doctor::{NamedDifference, VerifiedRun, WhichHistory, count_history, verify_history};
use orch_store::locks::Locks;
use orch_store::run::{cancel_run, set_run_state, time_out_run};
use orch_store::step::{EndedTry, Stepper};
use orch_store::version::Versions;
use orch_test_support::TestDb;
use serde_json::json;
use sqlx::postgres::PgConnection;
use std::time::Duration;
use uuid::Uuid;

const LEASE: Duration = Duration::from_mins(1);

async fn verified(db: &mut PgConnection) -> Vec<VerifiedRun> {
    verify_history(db, &mut Versions::default(), &WhichHistory::default(), None).await.expect("a verification")
}

/// Returns the differences that verification finds in the only run.
async fn differences(db: &mut PgConnection) -> Vec<String> {
    let runs = verified(db).await;
    assert_eq!(runs.len(), 1);
    let line = |d: &NamedDifference| {
        let task = d.task_id.as_deref().unwrap_or("run");
        format!("{task}[{}] {}: {}, not {}", d.map_index, d.what, d.stored, d.follows)
    };
    runs[0].differences.iter().map(line).collect()
}

async fn sql(db: &mut PgConnection, text: &'static str) {
    assert!(sqlx::query(text).execute(db).await.expect("it is tampered with").rows_affected() > 0, "{text}");
}

/// Creates a run in which `list` has returned five elements, of which at most three are running, and `side` has not
/// started.
async fn half_done(database: &TestDb) -> (PgConnection, Hands, Uuid) {
    let mut db = one(database).await;
    let spec = dag(json!({ "dag_id": "d", "max_active_tasks": 3, "tasks": [
        { "task_id": "list", "kind": "rust" },
        { "task_id": "each", "kind": "rust", "map": { "each": { "output": "list" } } },
        { "task_id": "side", "kind": "rust", "after": ["list"] },
        { "task_id": "end", "kind": "rust", "after": ["each", "side"] },
    ] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
    let mut hands = Hands::new(database, &[version], LEASE).await;
    let list = hands.claim(10).await[0].lease;
    let outputs = vec![("return_value".into(), "[1, 2, 3, 4, 5]".into())];
    assert!(hands.record(EndedTry { outputs, list_len: Some(5), ..EndedTry::new(list, TaskState::Success) }).await);
    hands.fold(run).await;
    (db, hands, run)
}

#[tokio::test]
async fn a_healthy_history_is_clean_at_any_moment() {
    let database = database().await;
    let (mut db, mut hands, _) = half_done(&database).await;
    let none: [String; 0] = [];
    assert_eq!(differences(&mut db).await, none);
    let claimed = hands.claim(2).await;
    assert_eq!(differences(&mut db).await, none, "running");
    assert!(hands.record(EndedTry::new(claimed[0].lease, TaskState::Failed)).await);
    assert_eq!(differences(&mut db).await, none, "recorded, not folded");
    assert!(hands.end(claimed[1].lease, TaskState::Success).await);
    assert_eq!(differences(&mut db).await, none, "folded");
    hands.work_off().await;
    let runs = verified(&mut db).await;
    assert!(runs[0].replayed && runs[0].differences.is_empty(), "{runs:?}");
}

#[tokio::test]
async fn runs_that_somebody_or_the_clock_ended_are_clean() {
    for end in 0..3 {
        let database = database().await;
        let (mut db, mut hands, run) = half_done(&database).await;
        let claimed = hands.claim(2).await;
        assert!(hands.end(claimed[0].lease, TaskState::Success).await);
        let mut versions = Versions::default();
        match end {
            0 => cancel_run(&mut db, &Locks::begin().runs(), &mut versions, run).await.unwrap(),
            1 => time_out_run(&mut db, &Locks::begin().runs(), &mut versions, run).await.unwrap(),
            _ => set_run_state(&mut db, &Locks::begin().runs(), &mut versions, run, RunEnd::Success).await.unwrap(),
        };
        let runs = verified(&mut db).await;
        assert!(runs[0].replayed && runs[0].differences.is_empty(), "{end}: {runs:?}");
    }
}

#[tokio::test]
async fn a_run_that_was_cleared_has_its_books_compared() {
    let database = database().await;
    let (mut db, mut hands, run) = half_done(&database).await;
    hands.work_off().await;
    let wish = ClearScope {
        selection: Selection { tasks: vec![Selected { task: 2, index: None }], ..Selection::default() },
        ..ClearScope::default()
    };
    clear_instances(&mut db, &Locks::begin().runs(), &mut Stepper::default(), &mut Versions::default(), run, &wish)
        .await
        .unwrap();
    assert!(differences(&mut db).await.is_empty());
    let side = hands.claim(1).await[0].lease;
    assert!(hands.end(side, TaskState::Failed).await);
    // `end` was marked as a success and stays one. Replaying the history cannot reproduce the mark, which is not
    // reported as a difference.
    let runs = verified(&mut db).await;
    assert!(!runs[0].replayed && runs[0].differences.is_empty(), "{runs:?}");
    sql(&mut db, "update task_instance set state = 'skipped' where task = 3").await;
    assert_eq!(differences(&mut db).await, ["end[-1] state: row skipped, not ledger success"]);
}

#[tokio::test]
async fn what_was_tampered_with_is_named() {
    let database = database().await;
    let (mut db, mut hands, _) = half_done(&database).await;
    hands.work_off().await;
    for (tamper, undo, expected) in [
        (
            "update task_instance set state = 'failed' where task = 2",
            "update task_instance set state = 'success' where task = 2",
            &["side[-1] state: row failed, not ledger success"][..],
        ),
        (
            "update task_instance set state = 'failed' where task = 1 and map_index = 3",
            "update task_instance set state = 'success' where task = 1 and map_index = 3",
            &["each[-1] counter success: 5, not 4", "each[-1] counter failed: 0, not 1"],
        ),
        (
            "update dag_run set counters[2] = counters[2] + 1",
            "update dag_run set counters[2] = counters[2] - 1",
            &["run[-1] counter open: 1, not 0"],
        ),
        (
            "update dag_run set state = 'failed'",
            "update dag_run set state = 'success'",
            &["run[-1] state: failed, not success"],
        ),
        (
            "with i as (update task_instance set state = 'failed' where task = 2) update dag_run set ledger[3] = 6",
            "with i as (update task_instance set state = 'success' where task = 2) update dag_run set ledger[3] = 5",
            &["run[-1] state: success, not failed", "end[-1] state: success, not upstream_failed: it could not run"],
        ),
        (
            "update output set value = '[1, 2, 3]'",
            "update output set value = '[1, 2, 3, 4, 5]'",
            &["list[-1] counter list length: 5, not 3"],
        ),
        (
            "insert into held (run, version, task, map_index, attempt, queue, priority, max_tries)
              select id, version, 1, 2, id, 1, 1, 0 from dag_run",
            "delete from held",
            &["each[-1] counter held: 0, not 1", "each[2] instance: in flight, not the run is over"],
        ),
    ] {
        assert!(differences(&mut db).await.is_empty(), "before {tamper}");
        sql(&mut db, tamper).await;
        assert_eq!(differences(&mut db).await, expected, "{tamper}");
        sql(&mut db, undo).await;
    }
}

#[tokio::test]
async fn runs_are_chosen_by_dag_and_time_and_come_in_pages() {
    let database = database().await;
    let mut db = one(&database).await;
    register(&mut db, &[chain("a", 2), chain("b", 1)]).await;
    let mut runs = Vec::new();
    for dag_id in ["a", "b", "a"] {
        runs.push(trigger(&mut db, &mut Versions::default(), dag_id).await);
    }
    let of_a = WhichHistory { dag_id: Some("a".into()), since: None };
    assert_eq!(count_history(&mut db, &of_a).await.unwrap(), 2);
    let first = verify_history(&mut db, &mut Versions::default(), &of_a, None).await.unwrap();
    assert_eq!(first.iter().map(|run| run.id).collect::<Vec<_>>(), [runs[0].id, runs[2].id]);
    let rest = verify_history(&mut db, &mut Versions::default(), &of_a, Some(runs[0].id)).await.unwrap();
    assert_eq!(rest.len(), 1);
    let late = WhichHistory { dag_id: None, since: Some(runs[2].created_at) };
    assert_eq!(count_history(&mut db, &late).await.unwrap(), 1);
}
