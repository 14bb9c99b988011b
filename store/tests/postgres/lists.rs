//! Lists for users: versions, run counts, outputs, the audit log, and instances of many runs.

use crate::fixture::{Hands, chain, dag, database, one, register, trigger};
use orch_spec::state::{RunState, TaskState};
use orch_store::StoreError;
use orch_store::audit::{AUDIT, Deed, by, record};
use orch_store::dag::{RunCount, run_counts_of};
use orch_store::instance::{InstanceFilter, count_instances, instances_of_runs, list_instances};
use orch_store::list::Search;
use orch_store::output::{self, OUTPUTS, put};
use orch_store::version::{self, VERSIONS, Versions, structure};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn versions_are_listed_by_dag_and_number() {
    let database = database().await;
    let mut db = one(&database).await;
    register(&mut db, &[chain("a", 1), chain("b", 1)]).await;
    register(&mut db, &[chain("a", 2), chain("b", 1)]).await;
    let of_a = Search::default().and(version::by::DAG_ID.is("a")).by(version::by::ID.descending());
    let found = VERSIONS.rows(&mut db, &of_a).await.unwrap();
    assert_eq!(found.iter().map(|version| version.number).collect::<Vec<_>>(), [2, 1]);
    let rest = VERSIONS.find(&mut db, &Search::default().page(2, 10)).await.unwrap();
    assert_eq!((rest.rows.len(), rest.total), (1, 3));
    let past_the_end = VERSIONS.find(&mut db, &Search::default().page(5, 10)).await.unwrap();
    assert_eq!((past_the_end.rows.len(), past_the_end.total), (0, 3));
    let spec = structure(&mut db, "a", 2).await.unwrap().expect("it is there");
    assert_eq!(spec["tasks"].as_array().map(Vec::len), Some(2));
    let versions = Versions::default();
    let ids: Vec<i32> = found.iter().map(|version| version.id).collect();
    versions.warm(&mut db, &ids).await.unwrap();
    assert!(ids.iter().all(|id| versions.known(*id).is_some_and(|version| version.dag_id == "a")));
    assert_eq!(structure(&mut db, "a", 3).await.unwrap(), None);
}

#[tokio::test]
async fn runs_of_many_dags_are_counted_and_their_instances_listed_as_one_by_one() {
    let database = database().await;
    let mut db = one(&database).await;
    let mapped = dag(json!({ "dag_id": "m", "tasks": [
        { "task_id": "list", "kind": "rust" },
        { "task_id": "each", "kind": "rust", "map": { "each": { "output": "list" } } },
    ] }));
    let registered = register(&mut db, &[chain("a", 3), mapped]).await;
    let offers: Vec<i32> = registered.iter().map(|dag| dag.version_id).collect();
    let mut versions = Versions::default();
    let mut runs = Vec::new();
    for dag_id in ["a", "m", "a"] {
        runs.push(trigger(&mut db, &mut versions, dag_id).await.id);
    }
    let mut hands = Hands::new(&database, &offers, Duration::from_mins(1)).await;
    for claimed in hands.claim(3).await {
        assert!(hands.end_with(claimed.lease, TaskState::Success, Some(2)).await);
    }
    hands.claim(1).await;
    let found = instances_of_runs(&mut db, &mut versions, &runs).await.unwrap();
    let mut count = 0;
    for run in found {
        let alone = list_instances(&mut db, &mut versions, run.run, &InstanceFilter::default(), 100).await.unwrap();
        count += run.instances.len();
        assert_eq!(Some(run.instances), alone);
    }
    assert_eq!((count, count_instances(&mut db, &mut versions, &runs).await.unwrap()), (9, 9));
    let running = |count| vec![RunCount { state: RunState::Running, count }];
    let expected = vec![("a".to_string(), running(2)), ("m".to_string(), running(1))];
    assert_eq!(run_counts_of(&mut db, None).await.unwrap(), expected);
    assert_eq!(run_counts_of(&mut db, Some(&["m".into()])).await.unwrap(), expected[1..]);
}

#[tokio::test]
async fn outputs_are_listed_without_their_values() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[chain("a", 2)]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "a").await.id;
    let mut hands = Hands::new(&database, &[version], Duration::from_mins(1)).await;
    let lease = hands.claim(1).await[0].lease;
    for key in ["return_value", "extra"] {
        assert!(put(&mut db, lease, key, &json!(1)).await.unwrap());
    }
    let of_run = Search::default().and(output::by::RUN.is(run));
    let all = OUTPUTS.rows(&mut db, &of_run).await.unwrap();
    assert_eq!(all.iter().map(|output| output.key.as_str()).collect::<Vec<_>>(), ["extra", "return_value"]);
    assert_eq!(OUTPUTS.count(&mut db, &of_run.and(output::by::TASK.any_of([1, 2]))).await.unwrap(), 0);
}

#[tokio::test]
async fn outputs_are_read_up_to_a_number_of_bytes() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[chain("a", 2)]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "a").await.id;
    let mut hands = Hands::new(&database, &[version], Duration::from_mins(1)).await;
    // A string and a list, both large enough to be stored in parts.
    let values = [json!("x".repeat(300_000)), json!(vec![7; 2_000])];
    for value in &values {
        let lease = hands.claim(1).await[0].lease;
        assert!(put(&mut db, lease, "return_value", value).await.unwrap());
        assert!(hands.end(lease, TaskState::Success).await);
    }
    let bytes = 300_002 + 2 * 2_001;
    let [first, second] = values;
    let read = output::of_tasks(&mut db, run, &[0, 1], bytes).await.unwrap();
    assert_eq!(read, [(0, -1, first), (1, -1, second)]);
    let error = output::of_tasks(&mut db, run, &[0, 1], bytes - 1).await.expect_err("a byte more");
    assert!(matches!(error, StoreError::TooManyBytes(_)), "{error}");
}

#[tokio::test]
async fn a_page_has_a_maximum_of_bytes() {
    let database = database().await;
    let mut db = one(&database).await;
    let large = "insert into audit (actor, event, extra) select 'ada', 'large', to_json(repeat('x', 45 << 20)) from generate_series(1, 3)";
    // Inserting 135 MB exceeded the statement timeout of 5 seconds on a busy machine.
    sqlx::query("set statement_timeout = '60s'").execute(&mut db).await.unwrap();
    sqlx::query(large).execute(&mut db).await.unwrap();
    assert_eq!(AUDIT.rows(&mut db, &Search::default().page(0, 2)).await.unwrap().len(), 2);
    let error = AUDIT.rows(&mut db, &Search::default()).await.expect_err("135 MB");
    assert_eq!(error.to_string(), "more than 128 MB");
    assert_eq!(AUDIT.count(&mut db, &Search::default()).await.unwrap(), 3, "the connection can be used");
}

#[tokio::test]
async fn the_audit_log_is_searched_by_what_is_asked() {
    let database = database().await;
    let mut db = one(&database).await;
    for (actor, event, dag_id) in
        [("ada", "pause_dag", "a"), ("bob", "clear_dag_run", "b%"), ("ada", "delete_dag", "c")]
    {
        record(&mut db, &Deed { actor, event, dag_id: Some(dag_id), ..Deed::default() }).await.unwrap();
    }
    let mut events = async |search: Search| {
        let rows = AUDIT.rows(&mut db, &search).await.unwrap();
        assert_eq!(AUDIT.count(&mut db, &search).await.unwrap(), rows.len() as i64);
        rows.into_iter().map(|row| row.event).collect::<Vec<_>>()
    };
    let any = Search::default;
    assert_eq!(events(any()).await, ["pause_dag", "clear_dag_run", "delete_dag"]);
    assert_eq!(events(any().and(by::ACTOR.is("bob"))).await, ["clear_dag_run"]);
    let others = any().and(by::NOT_EVENTS.none_of(vec!["pause_dag".into()])).by(by::ID.descending());
    assert_eq!(events(others).await, ["delete_dag", "clear_dag_run"]);
    assert_eq!(events(any().and(by::EVENT.contains(["DAG_"]))).await, ["clear_dag_run"]);
    assert_eq!(events(any().by(by::ACTOR.ascending())).await, ["pause_dag", "delete_dag", "clear_dag_run"]);
}
