//! Moving runs to another version of their DAG.

use crate::fixture::{Hands, check_run, dag, database, number, one, register, states, trigger};
use orch_core::select::Selection;
use orch_core::transition::{CannotMove, Selected};
use orch_spec::state::TaskState;
use orch_store::StoreError;
use orch_store::clear::{ClearScope, clear_instances, would_clear};
use orch_store::locks::Locks;
use orch_store::mark::mark_instance;
use orch_store::run::{MoveRun, move_run};
use orch_store::step::Stepper;
use orch_store::version::Versions;
use serde_json::{Value, json};
use std::time::Duration;

const LEASE: Duration = Duration::from_mins(1);

fn task(id: &str, after: &[&str]) -> Value {
    json!({ "task_id": id, "kind": "rust", "after": after })
}

#[tokio::test]
async fn a_run_goes_on_in_the_new_version_where_it_was_in_the_old_one() {
    let database = database().await;
    let mut db = one(&database).await;
    let each = json!({ "task_id": "each", "kind": "rust", "map": { "each": { "value": [1, 2, 3] } } });
    let old = dag(json!({ "dag_id": "d", "tasks": [task("first", &[]), each, task("end", &["each", "first"])] }));
    let old = register(&mut db, &[old]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
    let mut hands = Hands::new(&database, &[old], LEASE).await;
    let claimed = hands.claim(2).await;
    for claimed in &claimed {
        assert!(hands.end(claimed.lease, TaskState::Success).await);
    }
    let before = states(&mut db, run).await;

    // The new version has the remaining tasks in reverse order and one more task, and lacks the finished task.
    let new = dag(json!({ "dag_id": "d", "tasks": [each, task("more", &["each"]), task("end", &["each", "more"])] }));
    let new = register(&mut db, &[new]).await[0].version_id;
    assert_eq!(
        move_run(&mut db, &Locks::begin().runs(), &mut Versions::default(), run, new).await.unwrap(),
        MoveRun::Moved
    );
    check_run(&mut db, run).await;
    assert_eq!(before[1..4], states(&mut db, run).await[..3]);
    assert!(hands.claim(10).await.is_empty());
    let mut other = Hands::new(&database, &[new], LEASE).await;
    other.work_off().await;
    check_run(&mut db, run).await;
    let done = ["each[0]", "each[1]", "each[2]", "more", "end"].map(|i| format!("{i} success"));
    assert_eq!(states(&mut db, run).await, done);
    assert_eq!(number(&mut db, "select count(*) from dag_run where state = 'success'").await, 1);
    assert_eq!(
        move_run(&mut db, &Locks::begin().runs(), &mut Versions::default(), run, new).await.unwrap(),
        MoveRun::Same
    );
}

#[tokio::test]
async fn a_run_stays_while_it_runs_or_when_it_does_not_fit() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = |tasks: Value| dag(json!({ "dag_id": "d", "tasks": tasks }));
    let old = register(&mut db, &[version(json!([task("a", &[]), task("b", &["a"])]))]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
    let other = register(&mut db, &[version(json!([task("a", &[])]))]).await[0].version_id;
    let gone = MoveRun::CannotMove(CannotMove::Gone { task: "b".into() });
    assert_eq!(move_run(&mut db, &Locks::begin().runs(), &mut Versions::default(), run, other).await.unwrap(), gone);
    let fits = register(&mut db, &[version(json!([task("b", &[]), task("a", &[])]))]).await[0].version_id;
    let mut hands = Hands::new(&database, &[old], LEASE).await;
    let claimed = hands.claim(1).await[0];
    assert_eq!(
        move_run(&mut db, &Locks::begin().runs(), &mut Versions::default(), run, fits).await.unwrap(),
        MoveRun::Running
    );
    // The rejected move changed nothing, so the attempt can still end.
    assert!(hands.end(claimed.lease, TaskState::Success).await);
    hands.work_off().await;
    assert_eq!(states(&mut db, run).await, ["a success", "b success"]);
}

#[tokio::test]
async fn places_in_another_version_mean_no_task_of_this_one() {
    let database = database().await;
    let mut db = one(&database).await;
    let old = dag(json!({ "dag_id": "d", "tasks": [task("keep", &[]), task("drop", &["keep"])] }));
    let old = register(&mut db, &[old]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
    let mut hands = Hands::new(&database, &[old], LEASE).await;
    let keep = hands.claim(1).await[0].lease;
    assert!(hands.end(keep, TaskState::Success).await);
    let new = dag(json!({ "dag_id": "d", "tasks": [task("new", &[]), task("keep", &[]), task("drop", &["keep"])] }));
    let new = register(&mut db, &[new]).await[0].version_id;
    assert_eq!(
        move_run(&mut db, &Locks::begin().runs(), &mut Versions::default(), run, new).await.unwrap(),
        MoveRun::Moved
    );

    let before = states(&mut db, run).await;
    let tasks = vec![Selected { task: 0, index: None }];
    let wish =
        ClearScope { selection: Selection { tasks, ..Selection::default() }, version: Some(old), states: Vec::new() };
    let mut versions = Versions::default();
    let cleared =
        clear_instances(&mut db, &Locks::begin().runs(), &mut Stepper::default(), &mut versions, run, &wish).await;
    assert!(matches!(cleared, Err(StoreError::OtherVersion)), "{cleared:?}");
    assert!(matches!(would_clear(&mut db, &mut versions, run, &wish).await, Err(StoreError::OtherVersion)));
    let marked =
        mark_instance(&mut db, &Locks::begin().runs(), &mut versions, (run, Some(old)), (0, -1), TaskState::Skipped)
            .await;
    assert!(matches!(marked, Err(StoreError::OtherVersion)), "{marked:?}");
    assert_eq!(states(&mut db, run).await, before);
    let wish = ClearScope { version: Some(new), ..wish };
    clear_instances(&mut db, &Locks::begin().runs(), &mut Stepper::default(), &mut versions, run, &wish)
        .await
        .expect("it is of this version");
}
