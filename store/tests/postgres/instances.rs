//! Task instances, as lists and pages show them.

use crate::fixture::{Hands, dag, database, one, register, trigger};
use orch_spec::state::TaskState;
use orch_store::instance::{InstanceFilter, get_instance, list_instances, state_counts, tries};
use orch_store::step::{EndedTry, Failure, NextTry};
use orch_store::version::Versions;
use orch_store::{due, run};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

const LEASE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn pages_go_through_all_instances_in_the_order_of_the_dag() {
    let database = database().await;
    let (mut db, mut versions) = (one(&database).await, Versions::default());
    let spec = dag(json!({ "dag_id": "d", "tasks": [
        { "task_id": "list", "kind": "rust" },
        { "task_id": "each", "kind": "rust", "map": { "each": { "output": "list" } }, "max_active": 3 },
        { "task_id": "after", "kind": "rust", "map": { "each": { "outputs": "each" } } },
        { "task_id": "empty", "kind": "rust", "map": { "each": { "value": [] } } },
        { "task_id": "end", "kind": "rust", "after": ["after", "empty"] },
    ] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let run = trigger(&mut db, &mut versions, "d").await.id;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    let list = hands.claim(1).await[0].lease;
    assert!(hands.end_with(list, TaskState::Success, Some(5)).await);
    let claimed = hands.claim(2).await;
    assert!(hands.end(claimed[0].lease, TaskState::Success).await);

    let mut seen = Vec::new();
    let mut filter = InstanceFilter::default();
    loop {
        let page = list_instances(&mut db, &mut versions, run, &filter, 2).await.unwrap().unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        filter.after = Some((last.task, last.map_index));
        seen.extend(page);
    }
    let words: Vec<_> = seen.iter().map(|i| format!("{} {} {}", i.task_id, i.map_index, i.state)).collect();
    assert_eq!(
        words,
        [
            "list -1 success",
            "each 0 success",
            "each 1 running",
            "each 2 queued",
            "each 3 queued",
            "each 4 scheduled",
            "after 0 queued",
            "after 1 none",
            "after 2 none",
            "after 3 none",
            "after 4 none",
            "empty -1 skipped",
            "end -1 skipped",
        ]
    );
    let ids: std::collections::BTreeSet<Uuid> = seen.iter().map(|i| i.id).collect();
    assert_eq!(ids.len(), seen.len());
    let again = list_instances(&mut db, &mut versions, run, &InstanceFilter::default(), 100).await.unwrap().unwrap();
    assert_eq!(again, seen, "made-up ids stay the same");

    let in_states = |states: &[TaskState]| InstanceFilter { states: states.to_vec(), ..InstanceFilter::default() };
    for (states, many) in [
        (vec![TaskState::Success], 2),
        (vec![TaskState::Queued, TaskState::Running], 4),
        (vec![TaskState::None], 4),
        (vec![TaskState::None, TaskState::Scheduled, TaskState::Skipped], 7),
    ] {
        let found = list_instances(&mut db, &mut versions, run, &in_states(&states), 100).await.unwrap().unwrap();
        assert_eq!(found.len(), many, "{states:?}");
    }
    let one_task =
        InstanceFilter { task_ids: Some(vec!["after".into()]), map_index: Some(3), ..InstanceFilter::default() };
    assert_eq!(list_instances(&mut db, &mut versions, run, &one_task, 100).await.unwrap().unwrap().len(), 1);
    assert_eq!(get_instance(&mut db, &mut versions, run, "each", 1).await.unwrap().unwrap().worker, Some(hands.worker));
    for (task, index) in [("each", -1), ("each", 5), ("none", -1), ("end", 0)] {
        assert_eq!(get_instance(&mut db, &mut versions, run, task, index).await.unwrap(), None, "{task} {index}");
    }
    let counts = state_counts(&mut db, run).await.unwrap();
    assert!(counts.contains(&(1, TaskState::Queued, 2)) && counts.contains(&(1, TaskState::Running, 1)), "{counts:?}");
    assert_eq!(
        list_instances(&mut db, &mut versions, Uuid::now_v7(), &InstanceFilter::default(), 9).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn a_failed_try_is_shown_until_the_next_one_is_queued() {
    let database = database().await;
    let (mut db, mut versions) = (one(&database).await, Versions::default());
    let spec = dag(json!({ "dag_id": "d", "tasks": [{ "task_id": "a", "kind": "rust", "retries": 1 }] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let run = trigger(&mut db, &mut versions, "d").await.id;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    let first = hands.claim(1).await[0].lease;
    let next = NextTry { attempt: Uuid::now_v7(), wake_in_ms: 1, version, queue: 1, priority: 1, wait: None };
    let causes = vec!["the bridge is closed".to_string(), "rain".to_string()];
    let ended = EndedTry {
        next: Some(next.clone()),
        failure: Some(Failure::new("retryable", causes.clone())),
        ..EndedTry::new(first, TaskState::UpForRetry)
    };
    assert!(hands.record(ended).await);
    let shown = get_instance(&mut db, &mut versions, run, "a", -1).await.unwrap().unwrap();
    assert_eq!((shown.id, shown.state, shown.try_no), (first.attempt, TaskState::UpForRetry, 1));
    assert!(shown.wake_at.is_some() && shown.ended_at.is_some());
    while due::wake_waiting(&mut db, 10).await.unwrap() == 0 {}
    let shown = get_instance(&mut db, &mut versions, run, "a", -1).await.unwrap().unwrap();
    assert_eq!((shown.id, shown.state, shown.try_no), (next.attempt, TaskState::Queued, 2));
    assert_eq!((shown.started_at, shown.ended_at, shown.worker), (None, None, None));
    let second = hands.claim(1).await[0].lease;
    assert!(hands.end(second, TaskState::Success).await);
    let history = tries(&mut db, run, 0, -1).await.unwrap();
    let words: Vec<_> = history.iter().map(|t| (t.try_no, t.state, t.failure.as_deref())).collect();
    assert_eq!(words, [(1, TaskState::Failed, Some("retryable")), (2, TaskState::Success, None)]);
    assert_eq!(history[0].causes, causes);
    assert_eq!(run::run_by_uuid(&mut db, run).await.unwrap().unwrap().state.as_str(), "success");
}
