//! Rollouts run a new binary next to an old one: which DAG versions become current, and which runs the old binary must
//! finish.

use crate::fixture::{Hands, chain, database, number, one, register, trigger};
use orch_core::transition::RunEnd;
use orch_store::locks::Locks;
use orch_store::registry::{NewBundle, take_over};
use orch_store::run::set_run_state;
use orch_store::step::Claimed;
use orch_store::version::{Versions, runs_by_version, workers_by_version};
use orch_store::worker::{WorkerState, needed_versions, set_worker_state};
use std::time::Duration;

const LEASE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_worker_that_steps_back_keeps_what_runs_need_and_nobody_else_has() {
    let database = database().await;
    let (mut db, mut versions) = (one(&database).await, Versions::default());
    let first = register(&mut db, &[chain("a", 1), chain("b", 1), chain("c", 1)]).await;
    let ids: Vec<i32> = first.iter().map(|dag| dag.version_id).collect();
    let old = Hands::new(&database, &ids, LEASE).await;
    let run = trigger(&mut db, &mut versions, "a").await;
    trigger(&mut db, &mut versions, "b").await;
    let second = register(&mut db, &[chain("a", 2), chain("b", 1)]).await;
    let new_ids: Vec<i32> = second.iter().map(|dag| dag.version_id).collect();
    assert_eq!(new_ids[1], ids[1], "`b` has not changed");
    assert_eq!(needed_versions(&mut db, old.worker, &ids).await.unwrap(), [ids[0], ids[1]], "nobody else is there");
    let new = Hands::new(&database, &new_ids, LEASE).await;
    assert_eq!(needed_versions(&mut db, old.worker, &ids).await.unwrap(), [ids[0]], "`b` is left, `c` has no runs");
    // If both workers drain at the same time, each keeps the versions of its unfinished runs.
    for worker in [old.worker, new.worker] {
        set_worker_state(&mut db, worker, WorkerState::Draining).await.unwrap();
    }
    assert_eq!(needed_versions(&mut db, old.worker, &ids).await.unwrap(), [ids[0], ids[1]]);
    assert_eq!(needed_versions(&mut db, new.worker, &new_ids).await.unwrap(), [ids[1]]);
    set_run_state(&mut db, &Locks::begin().runs(), &mut versions, run.id, RunEnd::Failed).await.unwrap();
    assert_eq!(needed_versions(&mut db, old.worker, &ids).await.unwrap(), [ids[1]], "the run is over");
}

#[tokio::test]
async fn a_worker_that_steps_back_claims_its_own_version_and_one_that_stopped_claims_nothing() {
    let database = database().await;
    let (mut db, mut versions) = (one(&database).await, Versions::default());
    let first = register(&mut db, &[chain("a", 1)]).await[0].version_id;
    let mut old = Hands::new(&database, &[first], LEASE).await;
    let before = [trigger(&mut db, &mut versions, "a").await.id, trigger(&mut db, &mut versions, "a").await.id];
    let second = register(&mut db, &[chain("a", 2)]).await[0].version_id;
    let mut new = Hands::new(&database, &[second], LEASE).await;
    let after = trigger(&mut db, &mut versions, "a").await.id;
    let runs = |claimed: Vec<Claimed>| claimed.into_iter().map(|one| one.lease.run).collect::<Vec<_>>();
    set_worker_state(&mut db, old.worker, WorkerState::Draining).await.unwrap();
    assert_eq!(runs(old.claim(1).await), before[..1], "it goes on with what only it can run");
    assert_eq!(runs(new.claim(10).await), [after], "of runs of other versions it has none");
    set_worker_state(&mut db, old.worker, WorkerState::Stopped).await.unwrap();
    assert!(old.claim(10).await.is_empty(), "whoever has stopped takes nothing");
    let mut third = Hands::new(&database, &[first, second], LEASE).await;
    assert_eq!(runs(third.claim(10).await), before[1..], "what it left is there for others of that version");
}

#[tokio::test]
async fn the_binary_that_takes_over_counts_although_a_newer_version_lives() {
    let database = database().await;
    let mut db = one(&database).await;
    let old = register(&mut db, &[chain("a", 1)]).await;
    let new = register(&mut db, &[chain("a", 2)]).await;
    let _living = Hands::new(&database, &[new[0].version_id], LEASE).await;
    let newest = "select v.number::bigint from dag d join dag_version v on v.id = d.version";
    register(&mut db, &[chain("a", 1)]).await;
    assert_eq!(number(&mut db, newest).await, 2, "an older binary that comes back takes nothing away");
    let bundle = NewBundle { name: "test".into(), dags: vec![chain("a", 1)] };
    let back = take_over(&mut db, &bundle, false).await.unwrap();
    assert_eq!((back[0].version_id, back[0].new), (old[0].version_id, false));
    assert_eq!(number(&mut db, newest).await, 1);
}

#[tokio::test]
async fn a_version_has_its_runs_and_its_workers() {
    let database = database().await;
    let (mut db, mut versions) = (one(&database).await, Versions::default());
    let first = register(&mut db, &[chain("a", 1)]).await[0].version_id;
    trigger(&mut db, &mut versions, "a").await;
    trigger(&mut db, &mut versions, "a").await;
    let second = register(&mut db, &[chain("a", 2)]).await[0].version_id;
    trigger(&mut db, &mut versions, "a").await;
    let hands = Hands::new(&database, &[first, second], LEASE).await;
    Hands::new(&database, &[second], LEASE).await;
    let runs = runs_by_version(&mut db, "a").await.unwrap();
    assert_eq!((runs[&first], runs[&second], runs.len()), (2, 1, 2));
    let workers = workers_by_version(&mut db, &[first, second]).await.unwrap();
    assert_eq!((workers[&first].len(), workers[&second].len()), (1, 2));
    set_worker_state(&mut db, hands.worker, WorkerState::Stopped).await.unwrap();
    assert!(!workers_by_version(&mut db, &[first]).await.unwrap().contains_key(&first));
}
