//! Mapped tasks with more elements than a run may have, and runs with very many elements.

use crate::fixture::{Hands, check_run, dag, database, number, one, register, trigger};
use orch_core::select::Selection;
use orch_core::transition::Selected;
use orch_spec::state::{RunState, TaskState};
use orch_store::clear::{ClearScope, clear_instances};
use orch_store::instance::{count_instances, first_element_failure};
use orch_store::locks::Locks;
use orch_store::overview::first_failures;
use orch_store::run::{DeleteRun, EndRun, cancel_run, delete_run, start_queued_runs, write_skipped};
use orch_store::step::Stepper;
use orch_store::version::Versions;
use serde_json::json;
use std::time::{Duration, Instant};

const LEASE: Duration = Duration::from_mins(1);

/// Mapping over three lists of 1,000 elements each would create 10^9 instances.
#[tokio::test]
async fn a_map_that_is_too_long_fails_with_its_reason_and_its_run_can_be_cancelled() {
    let database = database().await;
    let mut db = one(&database).await;
    let [a, b, c, slow] = ["a", "b", "c", "slow"].map(|id| json!({ "task_id": id, "kind": "rust" }));
    let cross = json!({ "cross": [{ "output": "a" }, { "output": "b" }, { "output": "c" }] });
    let spec = dag(json!({ "dag_id": "d", "tasks": [
        a, b, c, slow, { "task_id": "each", "kind": "rust", "map": cross },
        { "task_id": "after", "kind": "rust", "after": ["each"] },
    ] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    let claimed = hands.claim(4).await;
    let began = Instant::now();
    for claimed in claimed.iter().filter(|claimed| claimed.lease.task < 3) {
        assert!(hands.end_with(claimed.lease, TaskState::Success, Some(1_000)).await);
    }
    // The check takes milliseconds. Expanding 10^9 elements would take hours.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    check_run(&mut db, run.id).await;
    let found = first_failures(&mut db, &[("d".into(), run.run_id.clone())]).await.unwrap();
    let reason = "the map of `each` has 1,000,000,000 elements; the maximum is 1,000,000\nhint: ";
    assert!(found[0].causes[0].starts_with(reason), "{found:?}");
    let of_task = first_element_failure(&mut db, run.id, 4).await.unwrap().expect("the reason is recorded");
    assert_eq!((of_task.map_index, &of_task.causes), (-1, &found[0].causes));
    assert_eq!(count_instances(&mut db, &mut Versions::default(), &[run.id]).await.unwrap(), 6);
    let ended = cancel_run(&mut db, &Locks::begin().runs(), &mut Versions::default(), run.id).await.unwrap();
    assert_eq!(ended, EndRun::Ended(RunState::Failed));
    check_run(&mut db, run.id).await;
}

/// If a task is mapped over a list in the DAG itself, it is expanded by the statement that creates or starts the run.
#[tokio::test]
async fn a_map_that_is_too_long_from_the_start_has_its_reason_too() {
    let database = database().await;
    let mut db = one(&database).await;
    let list = json!({ "value": (0..1_001).collect::<Vec<_>>() });
    let spec = dag(json!({ "dag_id": "d", "max_active_runs": 1, "tasks": [
        { "task_id": "slow", "kind": "rust" },
        { "task_id": "each", "kind": "rust", "map": { "cross": [list.clone(), list] } },
    ] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let first = trigger(&mut db, &mut Versions::default(), "d").await;
    let second = trigger(&mut db, &mut Versions::default(), "d").await;
    assert!(first.started && !second.started);
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    hands.work_off().await;
    start_queued_runs(&mut db, Locks::begin(), &mut Versions::default(), "d").await.unwrap();
    for run in [first, second] {
        let found = first_failures(&mut db, &[("d".into(), run.run_id)]).await.unwrap();
        assert!(found[0].causes[0].contains("has 1,002,001 elements"), "{found:?}");
        check_run(&mut db, run.id).await;
    }
}

/// Writing a million rows in one statement would exceed the statement timeout. This test scales down both numbers.
#[tokio::test]
async fn a_run_of_very_many_elements_is_cancelled_and_deleted_in_batches() {
    const ELEMENTS: i32 = 200_000;
    let database = database().await;
    let mut db = one(&database).await;
    let spec = dag(json!({ "dag_id": "d", "tasks": [
        { "task_id": "list", "kind": "rust" },
        { "task_id": "each", "kind": "rust", "map": { "each": { "output": "list" } } },
    ] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    let list = hands.claim(1).await[0].lease;
    assert!(hands.end_with(list, TaskState::Success, Some(ELEMENTS)).await);
    sqlx::query("set statement_timeout = '1s'").execute(&mut db).await.unwrap();
    let ended = cancel_run(&mut db, &Locks::begin().runs(), &mut Versions::default(), run.id).await.unwrap();
    assert_eq!(ended, EndRun::Ended(RunState::Failed));
    // Statements that hold the run's lock write only one batch.
    let skipped = "select count(*) from task_instance where task = 1 and state = 'skipped'";
    assert_eq!(number(&mut db, skipped).await, 20_000);
    let mut batches = 0;
    while write_skipped(&mut db).await.unwrap() {
        batches += 1;
        assert_eq!(number(&mut db, skipped).await, 20_000 * (batches + 1));
    }
    assert_eq!(number(&mut db, skipped).await, i64::from(ELEMENTS));
    let deleted = delete_run(&mut db, &Locks::begin().runs(), "d", &run.run_id).await.unwrap();
    assert_eq!(deleted, DeleteRun::Deleted);
    assert_eq!(number(&mut db, "select count(*) from task_instance").await, 0);
    assert_eq!(number(&mut db, "select count(*) from dag_run").await, 0);
}

/// A clear needs the states of all instances, so the rows that were not written yet must be written first. Cleared
/// instances have rows without a state.
#[tokio::test]
async fn a_long_map_is_cleared_right_after_its_run_is_cancelled_and_cancelled_again() {
    const ELEMENTS: i32 = 45_000;
    let database = database().await;
    let mut db = one(&database).await;
    let spec = dag(json!({ "dag_id": "d", "tasks": [
        { "task_id": "list", "kind": "rust" },
        { "task_id": "each", "kind": "rust", "map": { "each": { "output": "list" } } },
    ] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    let list = hands.claim(1).await[0].lease;
    assert!(hands.end_with(list, TaskState::Success, Some(ELEMENTS)).await);
    let mut versions = Versions::default();
    cancel_run(&mut db, &Locks::begin().runs(), &mut versions, run.id).await.unwrap();
    let wish = ClearScope {
        selection: Selection { tasks: vec![Selected { task: 1, index: Some(44_999) }], ..Selection::default() },
        ..ClearScope::default()
    };
    let mut stepper = Stepper::default();
    let cleared = clear_instances(&mut db, &Locks::begin().runs(), &mut stepper, &mut versions, run.id, &wish)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(cleared.instances, [(1, 44_999, TaskState::Skipped)]);
    assert_eq!(number(&mut db, "select count(*) from unwritten_skip").await, 0);
    check_run(&mut db, run.id).await;
    let wish = ClearScope {
        selection: Selection { tasks: vec![Selected { task: 1, index: None }], ..Selection::default() },
        ..ClearScope::default()
    };
    clear_instances(&mut db, &Locks::begin().runs(), &mut stepper, &mut versions, run.id, &wish)
        .await
        .unwrap()
        .unwrap();
    let without_a_state = "select count(*) from task_instance where state is null";
    assert!(number(&mut db, without_a_state).await > 40_000);
    assert_eq!(
        cancel_run(&mut db, &Locks::begin().runs(), &mut versions, run.id).await.unwrap(),
        EndRun::Ended(RunState::Failed)
    );
    assert!(number(&mut db, without_a_state).await > 20_000);
    while write_skipped(&mut db).await.unwrap() {}
    assert_eq!(number(&mut db, without_a_state).await, 0);
    check_run(&mut db, run.id).await;
    // Deleting the run concurrently leaves no rows behind.
    clear_instances(&mut db, &Locks::begin().runs(), &mut stepper, &mut versions, run.id, &wish)
        .await
        .unwrap()
        .unwrap();
    cancel_run(&mut db, &Locks::begin().runs(), &mut versions, run.id).await.unwrap();
    assert_eq!(delete_run(&mut db, &Locks::begin().runs(), "d", &run.run_id).await.unwrap(), DeleteRun::Deleted);
    assert!(!write_skipped(&mut db).await.unwrap());
    assert_eq!(number(&mut db, "select count(*) from task_instance").await, 0);
}
