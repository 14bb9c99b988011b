//! Registering DAGs, creating runs and starting queued runs.

use crate::fixture::{chain, dag, database, hot, number, one, register, trigger};
use orch_spec::ids::RunId;
use orch_spec::state::{RunState, TaskState, TriggeredBy};
use orch_store::dag::{DAGS, by, did_you_mean, get_dag, pause, resolve, set_stale, unpause};
use orch_store::instance::{InstanceFilter, list_instances};
use orch_store::list::Search;
use orch_store::locks::Locks;
use orch_store::run::{CreateRun, NewRun, RUNS, create_run, get_run, start_queued_runs};
use orch_store::version::Versions;
use serde_json::json;
use sqlx::Connection as _;
use std::collections::BTreeSet;
use tokio::task::JoinSet;

#[tokio::test]
async fn a_structure_is_a_version_and_words_are_not() {
    let database = database().await;
    let mut db = one(&database).await;
    let spec = |retries: u32, words: &str| {
        dag(json!({ "dag_id": "d", "description": words, "aliases": ["old"], "tags": ["x"],
            "tasks": [{ "task_id": "a", "kind": "rust", "retries": retries }] }))
    };
    let first = register(&mut db, &[spec(0, "one"), chain("other", 2)]).await;
    assert!(first.iter().all(|r| r.new && r.number == 1));
    let again = register(&mut db, &[spec(0, "two")]).await;
    assert_eq!((again[0].version_id, again[0].new), (first[0].version_id, false));
    assert_eq!(get_dag(&mut db, "d").await.unwrap().unwrap().description, "two");
    let changed = register(&mut db, &[spec(1, "two")]).await;
    assert!(changed[0].new && changed[0].number == 2);
    assert_eq!(get_dag(&mut db, "d").await.unwrap().unwrap().version, changed[0].version_id);
    assert_eq!(resolve(&mut db, "old").await.unwrap().as_deref(), Some("d"));
    assert_eq!(did_you_mean(&mut db, "othr").await.unwrap(), ["other"]);
    let tagged = Search::default().and(by::TAGS.is("x"));
    assert_eq!(DAGS.rows(&mut db, &tagged).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_schedule_that_changes_is_reckoned_anew_and_one_that_stays_is_kept() {
    let database = database().await;
    let mut db = one(&database).await;
    let spec = |cron: &str, retries: u32| {
        dag(json!({ "dag_id": "d", "schedule": { "cron": { "expression": cron, "timezone": "UTC" } },
            "start": "2020-01-01T00:00:00Z", "tasks": [{ "task_id": "a", "kind": "rust", "retries": retries }] }))
    };
    register(&mut db, &[spec("0 0 1 1 *", 0)]).await;
    let yearly = get_dag(&mut db, "d").await.unwrap().unwrap().next_run_after.expect("it is scheduled");
    register(&mut db, &[spec("0 0 1 1 *", 1)]).await;
    assert_eq!(get_dag(&mut db, "d").await.unwrap().unwrap().next_run_after, Some(yearly));
    register(&mut db, &[spec("0 0 2 1 *", 1)]).await;
    assert_eq!(get_dag(&mut db, "d").await.unwrap().unwrap().next_run_after, Some(yearly + chrono::TimeDelta::days(1)));
    register(&mut db, &[chain("d", 1)]).await;
    assert_eq!(get_dag(&mut db, "d").await.unwrap().unwrap().next_run_after, None);
}

#[tokio::test]
async fn a_run_begins_when_it_is_created() {
    let database = database().await;
    let (mut db, mut versions) = (hot(&database).await, Versions::default());
    register(&mut db, &[chain("d", 3)]).await;
    let run = trigger(&mut db, &mut versions, "d").await;
    assert!(run.started && run.run_id.starts_with("manual__20"), "{run:?}");
    let listed =
        list_instances(&mut db, &mut versions, run.id, &InstanceFilter::default(), 100).await.unwrap().unwrap();
    let states: Vec<_> = listed.iter().map(|i| (i.task_id.as_str(), i.state, i.try_no)).collect();
    assert_eq!(states, [("t0", TaskState::Queued, 1), ("t1", TaskState::None, 0), ("t2", TaskState::None, 0)]);
    let details = get_run(&mut db, "d", &run.run_id).await.unwrap().unwrap();
    assert_eq!((details.state, details.version_number), (RunState::Running, 1));
    assert_eq!(RUNS.rows(&mut db, &Search::default()).await.unwrap(), [details]);
}

#[tokio::test]
async fn names_dates_and_keys_belong_to_one_run() {
    let database = database().await;
    let (mut db, mut versions) = (hot(&database).await, Versions::default());
    register(&mut db, &[chain("d", 1)]).await;
    let named = NewRun { run_id: Some(RunId::new("mine").unwrap()), ..NewRun::manual("d", TriggeredBy::Test) };
    assert!(matches!(create_run(&mut db, Locks::begin(), &mut versions, &named).await, Ok(CreateRun::Created(_))));
    assert!(matches!(create_run(&mut db, Locks::begin(), &mut versions, &named).await, Ok(CreateRun::RunIdTaken)));
    let date = Some("2026-01-01T00:00:00Z".parse().unwrap());
    let dated = |name: &str| NewRun {
        run_id: Some(RunId::new(name).unwrap()),
        logical_date: date,
        ..NewRun::manual("d", TriggeredBy::Test)
    };
    assert!(matches!(create_run(&mut db, Locks::begin(), &mut versions, &dated("x")).await, Ok(CreateRun::Created(_))));
    assert!(matches!(
        create_run(&mut db, Locks::begin(), &mut versions, &dated("y")).await,
        Ok(CreateRun::LogicalDateTaken)
    ));
    let keyed = NewRun { idempotency_key: Some("k".into()), ..NewRun::manual("d", TriggeredBy::Test) };
    let Ok(CreateRun::Created(first)) = create_run(&mut db, Locks::begin(), &mut versions, &keyed).await else {
        panic!("not created")
    };
    let Ok(CreateRun::Same(second)) = create_run(&mut db, Locks::begin(), &mut versions, &keyed).await else {
        panic!("not the same")
    };
    assert_eq!(first, second);
    let hashed = |key: &str, hash: u8| NewRun {
        idempotency_key: Some(key.into()),
        request_hash: Some(vec![hash]),
        ..NewRun::manual("d", TriggeredBy::Test)
    };
    for (key, hash, same) in [("k", 1, true), ("h", 1, true), ("h", 1, true), ("h", 2, false)] {
        let done = create_run(&mut db, Locks::begin(), &mut versions, &hashed(key, hash)).await.unwrap();
        assert_eq!(!matches!(done, CreateRun::OtherRequest), same, "{key} {hash}: {done:?}");
    }
    assert!(matches!(
        create_run(&mut db, Locks::begin(), &mut versions, &NewRun::manual("none", TriggeredBy::Test)).await,
        Ok(CreateRun::NoSuchDag)
    ));
}

#[tokio::test]
async fn the_same_key_sent_by_many_at_once_gives_one_run() {
    let database = database().await;
    register(&mut one(&database).await, &[chain("d", 1)]).await;
    let mut senders = JoinSet::new();
    for _ in 0..8 {
        let mut db = hot(&database).await;
        senders.spawn(async move {
            let keyed = NewRun { idempotency_key: Some("k".into()), ..NewRun::manual("d", TriggeredBy::Test) };
            match create_run(&mut db, Locks::begin(), &mut Versions::default(), &keyed).await.unwrap() {
                CreateRun::Created(run) | CreateRun::Same(run) => run.id,
                other => panic!("{other:?}"),
            }
        });
    }
    let ids: BTreeSet<_> = senders.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(number(&mut one(&database).await, "select count(*) from dag_run").await, 1);
}

#[tokio::test]
async fn many_creators_never_exceed_the_limit_of_a_dag() {
    let database = database().await;
    let limited = dag(json!({ "dag_id": "d", "max_active_runs": 3, "tasks": [{ "task_id": "a", "kind": "rust" }] }));
    register(&mut one(&database).await, &[limited]).await;
    let mut creators = JoinSet::new();
    for _ in 0..8 {
        let mut db = hot(&database).await;
        creators.spawn(async move {
            let mut versions = Versions::default();
            let mut started = 0;
            for _ in 0..10 {
                started += i32::from(trigger(&mut db, &mut versions, "d").await.started);
                started += start_queued_runs(&mut db, Locks::begin(), &mut versions, "d").await.unwrap().len() as i32;
            }
            started
        });
    }
    assert_eq!(creators.join_all().await.into_iter().sum::<i32>(), 3);
    let mut db = one(&database).await;
    assert_eq!(number(&mut db, "select count(*) from dag_run where state = 'running'").await, 3);
    assert_eq!(number(&mut db, "select count(*) from dag_run where state = 'queued'").await, 77);
    assert_eq!(number(&mut db, "select count(*) from ready").await, 3);
}

#[tokio::test]
async fn runs_of_a_paused_dag_wait_and_begin_when_it_is_unpaused() {
    let database = database().await;
    let (mut db, mut versions) = (hot(&database).await, Versions::default());
    register(&mut db, &[chain("d", 2)]).await;
    assert_eq!(pause(&mut db, &Locks::begin(), &["d".into(), "none".into()]).await.unwrap(), ["d"]);
    let run = trigger(&mut db, &mut versions, "d").await;
    assert_eq!((run.started, run.state), (false, RunState::Queued));
    assert!(start_queued_runs(&mut db, Locks::begin(), &mut versions, "d").await.unwrap().is_empty());
    // A queued run starts with the version that its DAG has at that time.
    register(&mut db, &[chain("d", 5)]).await;
    unpause(&mut db, Locks::begin(), &["d".into()]).await.unwrap();
    assert_eq!(start_queued_runs(&mut db, Locks::begin(), &mut versions, "d").await.unwrap(), [run.id]);
    let listed =
        list_instances(&mut db, &mut versions, run.id, &InstanceFilter::default(), 100).await.unwrap().unwrap();
    assert_eq!(listed.len(), 5);
    assert_eq!(listed[0].state, TaskState::Queued);
}

#[tokio::test]
async fn a_run_for_later_waits_for_its_time() {
    let database = database().await;
    let (mut db, mut versions) = (hot(&database).await, Versions::default());
    register(&mut db, &[chain("d", 1)]).await;
    let later =
        NewRun { run_after: Some("2100-01-01T00:00:00Z".parse().unwrap()), ..NewRun::manual("d", TriggeredBy::Test) };
    let Ok(CreateRun::Created(run)) = create_run(&mut db, Locks::begin(), &mut versions, &later).await else {
        panic!("not created")
    };
    assert!(!run.started && run.run_id.starts_with("manual__2100-01-01T00:00:00+00:00_"), "{run:?}");
    assert!(start_queued_runs(&mut db, Locks::begin(), &mut versions, "d").await.unwrap().is_empty());
}

#[tokio::test]
async fn partitions_of_a_transaction_that_was_rolled_back_are_created_again() {
    let database = database().await;
    let mut db = one(&database).await;
    register(&mut db, &[chain("d", 1)]).await;
    let leaves: Vec<String> = sqlx::query_scalar(
        "select inhrelid::regclass::text from pg_inherits join pg_class on pg_class.oid = inhrelid
        where relkind = 'r' and relname ~ '_\\d{4}w\\d{2}$'",
    )
    .fetch_all(&mut db)
    .await
    .unwrap();
    for leaf in leaves {
        sqlx::query(sqlx::AssertSqlSafe(format!("drop table {leaf}"))).execute(&mut db).await.unwrap();
    }
    let mut versions = Versions::default();
    let mut tx = db.begin().await.unwrap();
    // The second run finds the partitions that the first one created, also inside a savepoint.
    trigger(&mut tx, &mut versions, "d").await;
    trigger(&mut tx, &mut versions, "d").await;
    let mut savepoint = tx.begin().await.unwrap();
    trigger(&mut savepoint, &mut versions, "d").await;
    savepoint.commit().await.unwrap();
    tx.rollback().await.unwrap();
    let run = trigger(&mut db, &mut versions, "d").await;
    assert_eq!(run.state, RunState::Running);
    assert_eq!(number(&mut db, "select count(*) from dag_run").await, 1);
}

/// Statements lock several DAGs in the order of their ids. Stale DAGs used to be locked in row order.
#[tokio::test]
async fn dags_that_are_paused_and_become_stale_at_the_same_time_do_not_deadlock() {
    let database = database().await;
    let (mut db, mut gate) = (one(&database).await, one(&database).await);
    register(&mut db, &[chain("b", 1)]).await;
    register(&mut db, &[chain("a", 1)]).await;
    let mut tx = gate.begin().await.unwrap();
    sqlx::query("select from dag where dag_id = 'a' for no key update").execute(&mut *tx).await.unwrap();
    let mut both = JoinSet::new();
    for sessions in 1..=2 {
        let mut session = one(&database).await;
        both.spawn(async move {
            let ids = ["a", "b"].map(String::from);
            match sessions {
                1 => pause(&mut session, &Locks::begin(), &ids).await.map(|paused| paused.len() as u64),
                _ => set_stale(&mut session, "test", &ids).await,
            }
        });
        let waits =
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        while number(&mut db, waits).await < sessions {
            tokio::task::yield_now().await;
        }
    }
    tx.commit().await.unwrap();
    for changed in both.join_all().await {
        assert_eq!(changed.expect("no deadlock"), 2);
    }
}
