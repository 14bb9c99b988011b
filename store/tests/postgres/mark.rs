//! Instances that users mark as succeeded or failed.

use crate::fixture::{Hands, chain, check_run, dag, database, number, one, register, states, trigger};
use orch_core::plan::TaskIdx;
use orch_core::select::Selection;
use orch_core::transition::Selected;
use orch_spec::state::{RunState, TaskState};
use orch_store::clear::{ClearScope, clear_instances};
use orch_store::instance::tries;
use orch_store::locks::Locks;
use orch_store::mark::{Mark, mark_instance, mark_instances};
use orch_store::run::run_by_uuid;
use orch_store::step::Stepper;
use orch_store::version::Versions;
use serde_json::json;
use sqlx::postgres::PgConnection;
use std::time::Duration;
use uuid::Uuid;

const LEASE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn what_is_queued_or_undecided_ends_as_somebody_says() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[chain("d", 3)]).await[0].version_id;
    let mut versions = Versions::default();
    let run = trigger(&mut db, &mut versions, "d").await.id;
    let mut mark = async |task, state| {
        mark_instance(&mut db, &Locks::begin().runs(), &mut versions, (run, None), (task, -1), state).await.unwrap()
    };
    assert_eq!(mark(1, TaskState::Success).await, Mark::Marked(TaskState::None));
    assert_eq!(mark(1, TaskState::Success).await, Mark::Same);
    assert_eq!(mark(0, TaskState::Skipped).await, Mark::Marked(TaskState::Queued));
    assert_eq!(mark(7, TaskState::Success).await, Mark::NoSuchInstance);
    let mut db = one(&database).await;
    check_run(&mut db, run).await;
    assert_eq!(states(&mut db, run).await, ["t0 skipped", "t1 success", "t2 queued"]);
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    hands.work_off().await;
    assert_eq!(run_by_uuid(&mut db, run).await.unwrap().unwrap().state, RunState::Success);
    check_run(&mut db, run).await;
}

#[tokio::test]
async fn what_runs_is_fenced_and_its_worker_told() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[chain("d", 2)]).await[0].version_id;
    let mut versions = Versions::default();
    let run = trigger(&mut db, &mut versions, "d").await.id;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    let lease = hands.claim(1).await[0].lease;
    let marked = mark_instance(&mut db, &Locks::begin().runs(), &mut versions, (run, None), (0, -1), TaskState::Failed)
        .await
        .unwrap();
    assert_eq!(marked, Mark::Marked(TaskState::Running));
    assert!(!hands.end(lease, TaskState::Success).await, "its own end comes too late");
    assert_eq!(number(&mut db, "select count(*) from stop_order where why = 'marked'").await, 1);
    assert_eq!(states(&mut db, run).await, ["t0 failed", "t1 upstream_failed"]);
    check_run(&mut db, run).await;
}

#[tokio::test]
async fn a_mark_in_a_finished_run_does_not_change_the_run() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[chain("d", 2)]).await[0].version_id;
    let mut versions = Versions::default();
    let run = trigger(&mut db, &mut versions, "d").await.id;
    Hands::new(&database, &[version], LEASE).await.work_off().await;
    let before = run_by_uuid(&mut db, run).await.unwrap().unwrap();
    for (task, state) in
        [(1, TaskState::Failed), (0, TaskState::Skipped), (1, TaskState::Success), (1, TaskState::Failed)]
    {
        let marked =
            mark_instance(&mut db, &Locks::begin().runs(), &mut versions, (run, None), (task, -1), state).await;
        assert!(matches!(marked.unwrap(), Mark::Marked(_)));
        let found = run_by_uuid(&mut db, run).await.unwrap().unwrap();
        assert_eq!((found.state, found.ended_at), (RunState::Success, before.ended_at));
        check_run(&mut db, run).await;
    }
    assert_eq!(states(&mut db, run).await, ["t0 skipped", "t1 failed"]);
    assert_eq!(number(&mut db, "select count(*) from ready").await, 0);
}

#[tokio::test]
async fn elements_are_marked_in_every_state_and_the_counters_stay_right() {
    let database = database().await;
    let mut db = one(&database).await;
    let spec = dag(json!({ "dag_id": "d", "tasks": [
        { "task_id": "list", "kind": "rust" },
        { "task_id": "each", "kind": "rust", "map": { "each": { "output": "list" } }, "max_active": 3 },
        { "task_id": "then", "kind": "rust", "after": ["each"], "trigger_rule": "all_done" },
    ] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let mut versions = Versions::default();
    let run = trigger(&mut db, &mut versions, "d").await.id;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    assert_eq!(
        mark_instance(&mut db, &Locks::begin().runs(), &mut versions, (run, None), (1, -1), TaskState::Success)
            .await
            .unwrap(),
        Mark::NotYet,
        "its list is not known"
    );
    let list = hands.claim(1).await[0].lease;
    assert!(hands.end_with(list, TaskState::Success, Some(6)).await);
    let running = hands.claim(1).await[0].lease;
    for index in 0..6 {
        let done =
            mark_instance(&mut db, &Locks::begin().runs(), &mut versions, (run, None), (1, index), TaskState::Failed)
                .await
                .unwrap();
        check_run(&mut db, run).await;
        assert!(matches!(done, Mark::Marked(_)), "element {index}: {done:?}");
        let back =
            mark_instance(&mut db, &Locks::begin().runs(), &mut versions, (run, None), (1, index), TaskState::Success)
                .await
                .unwrap();
        assert_eq!(back, Mark::Marked(TaskState::Failed), "element {index}");
        check_run(&mut db, run).await;
    }
    assert!(!hands.end(running, TaskState::Success).await);
    hands.work_off().await;
    assert_eq!(run_by_uuid(&mut db, run).await.unwrap().unwrap().state, RunState::Success);
    check_run(&mut db, run).await;
}

#[tokio::test]
async fn what_a_limit_keeps_aside_is_marked_too() {
    let database = database().await;
    let mut db = one(&database).await;
    let spec = dag(json!({ "dag_id": "d", "max_active_tasks": 1, "tasks": [
        { "task_id": "list", "kind": "rust" },
        { "task_id": "aside", "kind": "rust" },
        { "task_id": "each", "kind": "rust", "map": { "each": { "output": "list" } } },
        { "task_id": "same", "kind": "rust", "after": ["each"], "map": { "each": { "output": "list" } } },
        { "task_id": "then", "kind": "rust", "after": ["same"], "trigger_rule": "all_done" },
    ] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let mut versions = Versions::default();
    let run = trigger(&mut db, &mut versions, "d").await.id;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    // The limit keeps one of two runnable instances waiting.
    let aside = mark_instance(&mut db, &Locks::begin().runs(), &mut versions, (run, None), (1, -1), TaskState::Success)
        .await
        .unwrap();
    assert_eq!(aside, Mark::Marked(TaskState::Scheduled));
    check_run(&mut db, run).await;
    let list = hands.claim(1).await[0].lease;
    assert!(hands.end_with(list, TaskState::Success, Some(4)).await);
    for (task, index) in [(2, 3), (2, 1), (2, 0)] {
        let done = mark_instance(
            &mut db,
            &Locks::begin().runs(),
            &mut versions,
            (run, None),
            (task, index),
            TaskState::Success,
        )
        .await
        .unwrap();
        assert!(matches!(done, Mark::Marked(_)), "{task} [{index}]: {done:?}");
        check_run(&mut db, run).await;
    }
    hands.work_off().await;
    assert_eq!(run_by_uuid(&mut db, run).await.unwrap().unwrap().state, RunState::Success);
    check_run(&mut db, run).await;
}

/// After a clear, an instance has a new attempt, even if it is marked before it starts. The previous attempt is in the
/// history.
#[tokio::test]
async fn what_was_cleared_and_then_marked_is_a_new_try() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[chain("d", 2)]).await[0].version_id;
    let mut versions = Versions::default();
    let run = trigger(&mut db, &mut versions, "d").await.id;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    hands.work_off().await;
    // The first task is claimable again, and the second waits for it. Mark the second task first, because otherwise its
    // state would follow from the first.
    clear(&mut db, run, &[0, 1]).await;
    for task in [1, 0] {
        let marked =
            mark_instance(&mut db, &Locks::begin().runs(), &mut versions, (run, None), (task, -1), TaskState::Failed)
                .await
                .unwrap();
        assert!(matches!(marked, Mark::Marked(_)), "{marked:?}");
        let found = tries(&mut db, run, task, -1).await.unwrap();
        let told: Vec<_> = found.iter().map(|t| (t.try_no, t.state)).collect();
        assert_eq!(told, [(1, TaskState::Success), (2, TaskState::Failed)], "task {task}");
        assert_ne!(found[0].attempt, found[1].attempt);
        assert_eq!((found[1].started_at, found[1].worker), (None, None), "it never began");
        check_run(&mut db, run).await;
    }
    assert_eq!(run_by_uuid(&mut db, run).await.unwrap().unwrap().state, RunState::Failed);
    // After another clear, attempt numbers continue.
    clear(&mut db, run, &[0]).await;
    hands.work_off().await;
    let found = tries(&mut db, run, 0, -1).await.unwrap();
    assert_eq!(found.iter().map(|t| t.try_no).collect::<Vec<_>>(), [1, 2, 3]);
    check_run(&mut db, run).await;
}

#[tokio::test]
async fn what_was_cleared_and_decided_without_a_try_is_marked_as_a_new_try() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[chain("d", 2)]).await[0].version_id;
    let mut versions = Versions::default();
    let run = trigger(&mut db, &mut versions, "d").await.id;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    hands.work_off().await;
    clear(&mut db, run, &[0, 1]).await;
    // The second task gets the state `upstream_failed` because the first one fails. It has no attempt.
    for (task, to) in [(0, TaskState::Failed), (1, TaskState::Success)] {
        mark_instance(&mut db, &Locks::begin().runs(), &mut versions, (run, None), (task, -1), to).await.unwrap();
    }
    let found = tries(&mut db, run, 1, -1).await.unwrap();
    let told: Vec<_> = found.iter().map(|t| (t.try_no, t.state)).collect();
    assert_eq!(told, [(1, TaskState::Success), (2, TaskState::Success)]);
    assert_ne!(found[0].attempt, found[1].attempt);
    check_run(&mut db, run).await;
}

#[tokio::test]
async fn what_was_cleared_while_it_ran_and_then_marked_is_fenced_and_history() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[chain("d", 1)]).await[0].version_id;
    let mut versions = Versions::default();
    let run = trigger(&mut db, &mut versions, "d").await.id;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    let lease = hands.claim(1).await[0].lease;
    clear(&mut db, run, &[0]).await;
    let marked =
        mark_instance(&mut db, &Locks::begin().runs(), &mut versions, (run, None), (0, -1), TaskState::Success)
            .await
            .unwrap();
    assert_eq!(marked, Mark::Marked(TaskState::Restarting));
    assert!(!hands.end(lease, TaskState::Failed).await, "its own end comes too late");
    orch_store::clear::restarted(&mut db, &Locks::begin().runs(), lease).await.unwrap();
    let found = tries(&mut db, run, 0, -1).await.unwrap();
    let told: Vec<_> = found.iter().map(|t| (t.try_no, t.state)).collect();
    assert_eq!(told, [(1, TaskState::Failed), (2, TaskState::Success)]);
    assert_eq!(found[0].attempt, lease.attempt);
    assert_eq!(run_by_uuid(&mut db, run).await.unwrap().unwrap().state, RunState::Success);
    check_run(&mut db, run).await;
}

async fn clear(db: &mut PgConnection, run: Uuid, tasks: &[TaskIdx]) {
    let tasks = tasks.iter().map(|&task| Selected { task, index: None }).collect();
    let wish = ClearScope { selection: Selection { tasks, ..Selection::default() }, ..ClearScope::default() };
    let cleared =
        clear_instances(db, &Locks::begin().runs(), &mut Stepper::default(), &mut Versions::default(), run, &wish)
            .await;
    cleared.expect("it clears").expect("the run is there");
}

/// All elements are marked while the run is locked once, so the run gets only one new revision.
#[tokio::test]
async fn many_elements_are_marked_as_one_change_of_their_run() {
    let database = database().await;
    let mut db = one(&database).await;
    let spec = dag(json!({ "dag_id": "d", "tasks": [
        { "task_id": "list", "kind": "rust" },
        { "task_id": "each", "kind": "rust", "map": { "each": { "output": "list" } } },
        { "task_id": "follow", "kind": "rust", "map": { "each": { "outputs": "each" } } },
        { "task_id": "end", "kind": "rust", "after": ["follow"] },
    ] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let mut versions = Versions::default();
    let run = trigger(&mut db, &mut versions, "d").await.id;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    let list = hands.claim(1).await[0].lease;
    assert!(hands.end_with(list, TaskState::Success, Some(1_500)).await);
    let running = hands.claim(10).await;
    assert!(hands.end(running[0].lease, TaskState::Failed).await);
    hands.fold(run).await;
    let rev = number(&mut db, "select rev::bigint from dag_run").await;
    let wanted: Vec<(TaskIdx, i32)> =
        (600..1_200).chain(0..400).map(|index| (1, index)).chain([(1, 5), (9, 0)]).collect();
    let marks = mark_instances(&mut db, &Locks::begin().runs(), &mut versions, (run, None), &wanted, TaskState::Failed)
        .await
        .unwrap();
    assert_eq!(marks.len(), 1_001, "one is named twice");
    let many = |mark: Mark| marks.iter().filter(|(_, known)| *known == mark).count();
    assert_eq!(many(Mark::Same), 1, "it had failed");
    assert_eq!(many(Mark::NoSuchInstance), 1);
    assert_eq!(many(Mark::Marked(TaskState::Running)), 9);
    // Elements from index 1,025 on are outside the window of elements that may be in flight.
    assert_eq!(many(Mark::Marked(TaskState::Queued)), 390 + 425);
    assert_eq!(many(Mark::Marked(TaskState::Scheduled)), 175);
    assert_eq!(number(&mut db, "select rev::bigint from dag_run").await, rev + 1);
    assert_eq!(number(&mut db, "select count(*) from stop_order where why = 'marked'").await, 9);
    check_run(&mut db, run).await;
    let back = mark_instances(
        &mut db,
        &Locks::begin().runs(),
        &mut versions,
        (run, None),
        &[(1, 3), (3, -1)],
        TaskState::Success,
    )
    .await
    .unwrap();
    assert_eq!(back, [((1, 3), Mark::Marked(TaskState::Failed)), ((3, -1), Mark::Marked(TaskState::UpstreamFailed))]);
    check_run(&mut db, run).await;
    let queued = trigger(&mut db, &mut versions, "d").await.id;
    let not_yet = mark_instances(
        &mut db,
        &Locks::begin().runs(),
        &mut versions,
        (queued, None),
        &[(0, -1), (1, -1)],
        TaskState::Failed,
    )
    .await;
    assert_eq!(not_yet.unwrap()[1].1, Mark::NotYet);
    assert_eq!(states(&mut db, queued).await[0], "list queued", "nothing is marked when one cannot be");
}
