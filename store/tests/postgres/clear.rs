//! A clear restarts the selected instances and no others.

use crate::fixture::{Hands, chain, check_run, dag, database, later, number, one, register, states, trigger};
use orch_core::select::Selection;
use orch_core::transition::Selected;
use orch_spec::state::TaskState;
use orch_store::clear::{ClearScope, Cleared, clear_instances, count_clear, would_clear};
use orch_store::list::Search;
use orch_store::locks::Locks;
use orch_store::overview::last_runs;
use orch_store::run::{RUNS, by, cancel_run, run_by_uuid};
use orch_store::step::{EndedTry, Stepper};
use orch_store::timing::usual_run;
use orch_store::version::Versions;
use serde_json::json;
use sqlx::postgres::PgConnection;
use std::time::Duration;
use tokio::task::JoinSet;
use uuid::Uuid;

const LEASE: Duration = Duration::from_mins(1);

async fn clear(db: &mut PgConnection, run: Uuid, tasks: &[Selected]) -> Cleared {
    let selection = Selection { tasks: tasks.to_vec(), ..Selection::default() };
    let wish = ClearScope { selection, ..ClearScope::default() };
    let cleared =
        clear_instances(db, &Locks::begin().runs(), &mut Stepper::default(), &mut Versions::default(), run, &wish)
            .await;
    cleared.expect("it is cleared").expect("there is such a run")
}

#[tokio::test]
async fn an_element_in_flight_is_not_begun_anew_when_what_let_it_begin_is_cleared() {
    let database = database().await;
    let mut db = one(&database).await;
    let spec =
        dag(json!({ "dag_id": "d", "groups": [{ "group_id": "g", "map": { "each": { "value": [1, 2] } } }], "tasks": [
        { "task_id": "g.a", "kind": "rust", "group_id": "g" },
        { "task_id": "g.b", "kind": "rust", "group_id": "g", "after": ["g.a"] },
    ] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    let first = hands.claim(10).await;
    assert!(hands.end(first[0].lease, TaskState::Success).await);
    assert!(hands.end(first[1].lease, TaskState::Success).await);
    // One element of `b` is running, the other one is ready.
    assert_eq!(hands.claim(1).await.len(), 1);
    let both = [0, 1].map(|index| Selected { task: 0, index: Some(index) });
    assert_eq!(clear(&mut db, run, &both).await.instances.len(), 2);
    for again in hands.claim(10).await.iter().filter(|c| c.lease.task == 0) {
        assert!(hands.end(again.lease, TaskState::Success).await);
    }
    assert_eq!(hands.claim(10).await.len(), 0, "both elements of `b` are in flight");
    check_run(&mut db, run).await;
}

#[tokio::test]
async fn what_is_no_instance_any_more_stays_without_a_state_when_its_run_ends() {
    let database = database().await;
    let mut db = one(&database).await;
    let spec = dag(json!({ "dag_id": "d", "tasks": [
        { "task_id": "list", "kind": "rust" },
        { "task_id": "each", "kind": "rust", "map": { "each": { "output": "list" } } },
    ] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    let list = hands.claim(10).await[0].lease;
    assert!(hands.end_with(list, TaskState::Success, Some(3)).await);
    hands.work_off().await;
    let all = [0, 1].map(|task| Selected { task, index: None });
    clear(&mut db, run, &all).await;
    cancel_run(&mut db, &Locks::begin().runs(), &mut Versions::default(), run).await.unwrap();
    check_run(&mut db, run).await;
    assert_eq!(states(&mut db, run).await, ["list skipped", "each skipped"]);
    // The mapped task was cancelled before it was expanded, so the clear finds only two instances.
    assert_eq!(clear(&mut db, run, &all).await.instances.len(), 2);
    let list = hands.claim(10).await[0].lease;
    assert!(hands.end_with(list, TaskState::Success, Some(2)).await);
    hands.work_off().await;
    check_run(&mut db, run).await;
    assert_eq!(states(&mut db, run).await, ["list success", "each[0] success", "each[1] success"]);
}

#[tokio::test]
async fn an_end_that_is_recorded_while_a_clear_waits_for_its_row_is_cleared_with_it() {
    let database = database().await;
    let mut db = one(&database).await;
    let spec = dag(
        json!({ "dag_id": "d", "tasks": [{ "task_id": "a", "kind": "rust" }, { "task_id": "b", "kind": "rust" }] }),
    );
    let version = register(&mut db, &[spec]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    let lease = hands.claim(10).await[0].lease;
    sqlx::query("begin").execute(&mut hands.db).await.unwrap();
    assert!(hands.record(EndedTry::new(lease, TaskState::Failed)).await);
    let mut other = one(&database).await;
    let mut clearing = JoinSet::new();
    clearing.spawn(async move { clear(&mut other, run, &[Selected { task: 0, index: None }]).await });
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while number(&mut db, waits).await == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    sqlx::query("commit").execute(&mut hands.db).await.unwrap();
    assert_eq!(clearing.join_all().await[0].instances, [(0, -1, TaskState::Failed)]);
    hands.fold(run).await;
    check_run(&mut db, run).await;
    assert_eq!(states(&mut db, run).await, ["a queued", "b running"]);
}

#[tokio::test]
async fn what_waits_for_its_time_begins_at_once_when_it_is_cleared_and_not_when_only_what_runs_is() {
    for state in [TaskState::UpForRetry, TaskState::UpForReschedule, TaskState::Deferred] {
        let database = database().await;
        let mut db = one(&database).await;
        let spec = dag(json!({ "dag_id": "d", "tasks": [
            { "task_id": "a", "kind": "rust", "retries": 2 }, { "task_id": "b", "kind": "rust", "after": ["a"] } ] }));
        let version = register(&mut db, &[spec]).await[0].version_id;
        let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
        let mut hands = Hands::new(&database, &[version], LEASE).await;
        let lease = hands.claim(1).await[0].lease;
        let attempt = if state == TaskState::UpForRetry { Uuid::now_v7() } else { lease.attempt };
        let next = Some(later(attempt, version, None));
        assert!(hands.record(EndedTry { next, ..EndedTry::new(lease, state) }).await);
        let all = vec![Selected { task: 0, index: None }, Selected { task: 1, index: None }];
        let selection = Selection { tasks: all.clone(), ..Selection::default() };
        let running = ClearScope { selection, states: vec![TaskState::Running], version: None };
        let none = would_clear(&mut db, &mut Versions::default(), run, &running).await.unwrap().unwrap();
        assert_eq!(none.instances, []);
        let wish = ClearScope { states: Vec::new(), ..running };
        let would = would_clear(&mut db, &mut Versions::default(), run, &wish).await.unwrap().unwrap();
        let counted = count_clear(&mut db, &mut Versions::default(), run, &wish, 10).await.unwrap().unwrap();
        let cleared = clear(&mut db, run, &all).await;
        assert_eq!((&cleared.instances, cleared.stopping), (&vec![(0, -1, state)], false));
        assert_eq!((&would.instances, &counted.first), (&cleared.instances, &cleared.instances));
        assert_eq!(number(&mut db, "select count(*) from waiting").await, 0);
        let again = hands.claim(10).await;
        assert_eq!(again.iter().map(|c| (c.lease.task, c.try_no, c.max_tries)).collect::<Vec<_>>(), [(0, 2, 3)]);
        assert!(hands.end(again[0].lease, TaskState::Success).await);
        hands.work_off().await;
        check_run(&mut db, run).await;
        assert_eq!(states(&mut db, run).await, ["a success", "b success"]);
        assert_eq!(number(&mut db, "select count(*) from attempt where try_no = 1").await, 1, "{state}");
    }
}

#[tokio::test]
async fn the_time_between_the_end_of_a_run_and_its_clear_is_not_in_its_duration() {
    let database = database().await;
    let (mut db, mut versions) = (one(&database).await, Versions::default());
    let version = register(&mut db, &[chain("d", 1)]).await[0].version_id;
    let (run, other) = (trigger(&mut db, &mut versions, "d").await.id, trigger(&mut db, &mut versions, "d").await.id);
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    hands.work_off().await;
    // The cleared run took one hour before the clear. The other run took 90 minutes.
    for (run, minutes) in [(run, 60), (other, 90)] {
        let took = "update dag_run set started_at = now() - interval '2 hours',
            ended_at = now() - interval '2 hours' + $2 * interval '1 minute' where id = $1";
        sqlx::query(took).bind(run).bind(minutes).execute(&mut db).await.unwrap();
    }
    for _ in 0..2 {
        clear(&mut db, run, &[Selected { task: 0, index: None }]).await;
        let open = run_by_uuid(&mut db, run).await.unwrap().unwrap();
        assert_eq!((open.ended_at, open.idle.num_minutes()), (None, 60));
        hands.work_off().await;
        check_run(&mut db, run).await;
    }
    let cleared = run_by_uuid(&mut db, run).await.unwrap().unwrap();
    let ended = cleared.ended_at.unwrap();
    assert_eq!((ended - cleared.started_at.unwrap()).num_minutes(), 120);
    assert_eq!(cleared.active_time(ended).unwrap().num_minutes(), 60);
    let marks = last_runs(&mut db, &["d".into()], 2).await.unwrap();
    let mark = marks.iter().find(|mark| mark.id == run).unwrap();
    assert_eq!(mark.active_time(ended), cleared.active_time(ended));
    let longest_first = RUNS.rows(&mut db, &Search::default().by(by::DURATION.descending()).page(0, 10)).await.unwrap();
    assert_eq!(longest_first.iter().map(|run| run.id).collect::<Vec<_>>(), [other, run]);
    // With two values, the smaller one is the median.
    assert_eq!(usual_run(&mut db, "d").await.unwrap().unwrap().num_minutes(), 60);
}

#[tokio::test]
async fn a_run_that_ended_before_it_started_has_no_idle_time() {
    let database = database().await;
    let (mut db, mut versions) = (one(&database).await, Versions::default());
    register(&mut db, &[chain("d", 1)]).await;
    let run = trigger(&mut db, &mut versions, "d").await.id;
    cancel_run(&mut db, &Locks::begin().runs(), &mut versions, run).await.unwrap();
    let unstarted = "update dag_run set started_at = null, ended_at = now() - interval '1 hour'";
    sqlx::query(unstarted).execute(&mut db).await.unwrap();
    clear(&mut db, run, &[Selected { task: 0, index: None }]).await;
    let open = run_by_uuid(&mut db, run).await.unwrap().unwrap();
    assert_eq!((open.started_at.is_some(), open.idle.num_microseconds()), (true, Some(0)));
}

#[tokio::test]
async fn a_run_that_timed_out_has_its_whole_timeout_again_after_a_clear() {
    let database = database().await;
    let (mut db, mut versions) = (one(&database).await, Versions::default());
    let spec =
        dag(json!({ "dag_id": "d", "run_timeout_ms": 3_600_000, "tasks": [{ "task_id": "t", "kind": "rust" }] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let run = trigger(&mut db, &mut versions, "d").await.id;
    Hands::new(&database, &[version], LEASE).await.work_off().await;
    sqlx::query("update dag_run set timeout_at = now() - interval '1 hour'").execute(&mut db).await.unwrap();
    clear(&mut db, run, &[Selected { task: 0, index: None }]).await;
    let left = number(&mut db, "select (extract(epoch from timeout_at - now()) / 60)::bigint from dag_run").await;
    assert!((59..=60).contains(&left), "{left} minutes");
}
