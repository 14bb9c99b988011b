//! Runs that are cancelled, marked or timed out before their tasks end.

use crate::fixture::{Hands, check_run, dag, database, number, one, register, states, trigger};
use orch_core::transition::RunEnd;
use orch_spec::state::{RunState, TaskState};
use orch_store::StoreError;
use orch_store::dag::{get_dag, unpause};
use orch_store::locks::Locks;
use orch_store::run::{EndRun, cancel_run, set_run_state, time_out_run};
use orch_store::version::Versions;
use orch_store::worker::heartbeat;
use orch_test_support::TestDb;
use serde_json::json;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use uuid::Uuid;

const LEASE: Duration = Duration::from_mins(1);

/// Creates a run in which `list` has returned five elements, three elements are running, and `side` is running.
async fn half_done(database: &TestDb) -> (PgConnection, Hands, Uuid) {
    let mut db = one(database).await;
    let spec = dag(json!({ "dag_id": "d", "max_active_tasks": 4, "tasks": [
        { "task_id": "list", "kind": "rust" },
        { "task_id": "each", "kind": "rust", "map": { "each": { "output": "list" } } },
        { "task_id": "side", "kind": "rust", "after": ["list"], "priority": 9 },
        { "task_id": "end", "kind": "rust", "after": ["each", "side"] },
    ] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
    let mut hands = Hands::new(database, &[version], LEASE).await;
    let list = hands.claim(10).await[0].lease;
    assert!(hands.end_with(list, TaskState::Success, Some(5)).await);
    (db, hands, run)
}

#[tokio::test]
async fn a_cancelled_run_is_over_at_once_and_late_ends_do_not_count() {
    let database = database().await;
    let (mut db, mut hands, run) = half_done(&database).await;
    let claimed = hands.claim(3).await;
    assert_eq!(claimed.len(), 3);
    assert!(hands.end(claimed[0].lease, TaskState::Success).await);
    let ended = cancel_run(&mut db, &Locks::begin().runs(), &mut Versions::default(), run).await.unwrap();
    assert_eq!(ended, EndRun::Ended(RunState::Failed));
    check_run(&mut db, run).await;
    let (good, failed) = (states(&mut db, run).await, |s: &String| s.ends_with(" failed"));
    assert_eq!(good.iter().filter(|s| failed(s)).count(), 2, "{good:?}");
    assert_eq!(good.iter().filter(|s| s.ends_with(" success")).count(), 2, "{good:?}");
    assert_eq!(good.iter().filter(|s| s.ends_with(" skipped")).count(), 4, "{good:?}");
    assert!(!hands.end(claimed[1].lease, TaskState::Success).await);
    assert!(hands.claim(10).await.is_empty());

    let answer = heartbeat(&mut db, hands.worker, 2, LEASE, &[]).await.unwrap();
    let mut told: Vec<_> = answer.stop_orders.iter().map(|o| o.lease.attempt).collect();
    let mut running: Vec<_> = claimed[1..].iter().map(|c| c.lease.attempt).collect();
    told.sort();
    running.sort();
    assert_eq!(told, running);
    assert!(answer.stop_orders.iter().all(|o| o.why == "cancelled"));
    // Heartbeats repeat the stop orders until the worker confirms them.
    assert_eq!(heartbeat(&mut db, hands.worker, 2, LEASE, &told[..1]).await.unwrap().stop_orders.len(), 1);
    assert_eq!(heartbeat(&mut db, hands.worker, 2, LEASE, &told).await.unwrap().stop_orders, []);
    let again = cancel_run(&mut db, &Locks::begin().runs(), &mut Versions::default(), run).await.unwrap();
    assert_eq!(again, EndRun::AlreadyOver(RunState::Failed));
}

#[tokio::test]
async fn a_run_out_of_time_fails_and_its_instances_are_skipped() {
    let database = database().await;
    let (mut db, mut hands, run) = half_done(&database).await;
    let claimed = hands.claim(2).await;
    assert_eq!(
        time_out_run(&mut db, &Locks::begin().runs(), &mut Versions::default(), run).await.unwrap(),
        EndRun::Ended(RunState::Failed)
    );
    check_run(&mut db, run).await;
    let states = states(&mut db, run).await;
    assert_eq!(states.iter().filter(|s| s.ends_with(" skipped")).count(), 7, "{states:?}");
    assert!(!hands.end(claimed[0].lease, TaskState::Failed).await);
}

#[tokio::test]
async fn a_run_is_what_somebody_says_it_is() {
    let database = database().await;
    let (mut db, mut hands, run) = half_done(&database).await;
    hands.claim(1).await;
    let mut versions = Versions::default();
    let marked = set_run_state(&mut db, &Locks::begin().runs(), &mut versions, run, RunEnd::Success).await.unwrap();
    assert_eq!(marked, EndRun::Ended(RunState::Success));
    check_run(&mut db, run).await;
    let marked = set_run_state(&mut db, &Locks::begin().runs(), &mut versions, run, RunEnd::Failed).await.unwrap();
    assert_eq!(marked, EndRun::Ended(RunState::Failed));
    let marked = set_run_state(&mut db, &Locks::begin().runs(), &mut versions, run, RunEnd::Failed).await.unwrap();
    assert_eq!(marked, EndRun::AlreadyOver(RunState::Failed));
    assert_eq!(
        cancel_run(&mut db, &Locks::begin().runs(), &mut versions, Uuid::now_v7()).await.unwrap(),
        EndRun::NoSuchRun
    );
}

#[tokio::test]
async fn an_outcome_that_nobody_folded_yet_counts_in_a_cancelled_run() {
    let database = database().await;
    let (mut db, mut hands, run) = half_done(&database).await;
    let claimed = hands.claim(2).await;
    let ended = orch_store::step::EndedTry::new(claimed[0].lease, TaskState::Success);
    assert!(hands.record(ended).await);
    cancel_run(&mut db, &Locks::begin().runs(), &mut Versions::default(), run).await.unwrap();
    check_run(&mut db, run).await;
    let states = states(&mut db, run).await;
    assert_eq!(states.iter().filter(|s| s.ends_with(" success")).count(), 2, "{states:?}");
    assert_eq!(number(&mut db, "select count(*) from unfolded").await, 0);
}

/// Workers claim and end instances while a run is cancelled. Regardless of the order, no slot, queue entry or stop
/// order is left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancel_in_the_midst_of_work_leaves_nothing_behind() {
    let database = database().await;
    let mut db = one(&database).await;
    let spec = dag(json!({ "dag_id": "d", "max_active_runs": 100, "tasks": [
        { "task_id": "each", "kind": "rust", "map": { "each": { "value": (0..40).collect::<Vec<_>>() } } },
        { "task_id": "end", "kind": "rust", "after": ["each"] },
    ] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    for round in 0..12_u64 {
        let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
        let (start, mut work) = (Arc::new(Barrier::new(4)), JoinSet::new());
        for _ in 0..3 {
            let (mut hands, start) = (Hands::new(&database, &[version], LEASE).await, start.clone());
            work.spawn(async move {
                start.wait().await;
                loop {
                    let claimed = hands.claim(4).await;
                    if claimed.is_empty() {
                        break;
                    }
                    for claimed in claimed {
                        hands.end(claimed.lease, TaskState::Success).await;
                    }
                }
            });
        }
        start.wait().await;
        // Each round cancels at a different point of the work.
        for _ in 0..round {
            number(&mut db, "select 1::bigint").await;
        }
        let ended = cancel_run(&mut db, &Locks::begin().runs(), &mut Versions::default(), run).await.unwrap();
        assert!(matches!(ended, EndRun::Ended(RunState::Failed) | EndRun::AlreadyOver(_)), "{ended:?}");
        check_run(&mut db, run).await;
        work.join_all().await;
        check_run(&mut db, run).await;
        for table in ["select count(*) from ready", "select count(*) from unfolded", "select count(*) from waiting"] {
            assert_eq!(number(&mut db, table).await, 0, "{table} in round {round}");
        }
    }
}

async fn is_paused(db: &mut PgConnection) -> bool {
    get_dag(db, "d").await.expect("it is read").expect("it exists").is_paused
}

/// The DAG must be paused in the same transaction that ends the run, because the process may be killed right after its
/// commit.
#[tokio::test]
async fn a_dag_that_keeps_failing_is_paused_by_the_transaction_that_ends_its_last_run() {
    let database = database().await;
    let mut db = one(&database).await;
    let spec =
        dag(json!({ "dag_id": "d", "max_consecutive_failed_runs": 2, "tasks": [{ "task_id": "a", "kind": "rust" }] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let (mut versions, mut hands) = (Versions::default(), Hands::new(&database, &[version], LEASE).await);
    let ends = [TaskState::Failed, TaskState::Success, TaskState::Failed, TaskState::Failed];
    for (turn, end) in ends.into_iter().enumerate() {
        assert!(!is_paused(&mut db).await, "turn {turn}");
        trigger(&mut db, &mut versions, "d").await;
        let lease = hands.claim(1).await[0].lease;
        assert!(hands.end(lease, end).await);
    }
    assert!(is_paused(&mut db).await);

    unpause(&mut db, Locks::begin(), &["d".into()]).await.unwrap();
    let run = trigger(&mut db, &mut versions, "d").await.id;
    assert!(!is_paused(&mut db).await, "it stays as a person wants it until the next failure");
    assert_eq!(
        time_out_run(&mut db, &Locks::begin().runs(), &mut versions, run).await.unwrap(),
        EndRun::Ended(RunState::Failed)
    );
    assert!(is_paused(&mut db).await);
}

/// Lock order: DAGs before runs. A transaction that has locked a run never waits for a DAG.
#[tokio::test]
async fn a_run_that_pauses_its_dag_ends_later_while_the_dag_is_locked() {
    let database = database().await;
    let (mut db, mut other) = (one(&database).await, one(&database).await);
    let spec =
        dag(json!({ "dag_id": "d", "max_consecutive_failed_runs": 1, "tasks": [{ "task_id": "a", "kind": "rust" }] }));
    register(&mut db, &[spec]).await;
    let mut versions = Versions::default();
    let run = trigger(&mut db, &mut versions, "d").await.id;
    let mut tx = other.begin().await.unwrap();
    sqlx::query("select from dag for no key update").execute(&mut *tx).await.unwrap();
    let locked = time_out_run(&mut db, &Locks::begin().runs(), &mut versions, run).await;
    assert!(matches!(locked, Err(StoreError::TryAgain(_))), "{locked:?}");
    assert_eq!(number(&mut db, "select count(*) from dag_run where state = 'running'").await, 1);
    tx.commit().await.unwrap();
    time_out_run(&mut db, &Locks::begin().runs(), &mut versions, run).await.unwrap();
    assert!(is_paused(&mut db).await);
}
