//! Overlap policies: a run above the limit waits, is skipped, or replaces an older run. The limit applies per DAG and
//! per value of a param.

use crate::fixture::{Hands, dag, database, hot, number, one, register, states};
use orch_spec::state::{RunState, TaskState, TriggeredBy};
use orch_store::audit::{AUDIT, by, newest};
use orch_store::dag::{pause, unpause};
use orch_store::due::{create_due_runs, due_dags};
use orch_store::locks::Locks;
use orch_store::run::{CreateRun, NewRun, RunRow, cancel_run, create_run, run_by_uuid, start_queued_runs};
use orch_store::step::EndedTry;
use orch_store::version::Versions;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use std::time::Duration;
use tokio::task::JoinSet;

const LEASE: Duration = Duration::from_mins(1);

async fn registered(db: &mut PgConnection, more: &Value) -> i32 {
    let mut spec = json!({ "dag_id": "d", "max_active_runs": 1, "tasks": [{ "task_id": "a", "kind": "rust" }] });
    spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    register(db, &[dag(spec)]).await[0].version_id
}

async fn create(db: &mut PgConnection, conf: Value) -> RunRow {
    let new = NewRun { conf: Some(conf), ..NewRun::manual("d", TriggeredBy::Test) };
    match create_run(db, Locks::begin(), &mut Versions::default(), &new).await.expect("it is created") {
        CreateRun::Created(run) => run,
        other => panic!("{other:?}"),
    }
}

async fn state(db: &mut PgConnection, run: &RunRow) -> RunState {
    run_by_uuid(db, run.id).await.expect("it can be read").expect("it is there").state
}

async fn events(db: &mut PgConnection) -> Vec<String> {
    let rows = AUDIT.rows(db, &newest(100).and(by::DAG_ID.is("d"))).await.expect("it can be read");
    rows.into_iter().rev().map(|row| format!("{} {}", row.event, row.run_id.unwrap_or_default())).collect()
}

#[tokio::test]
async fn a_run_without_a_place_is_skipped_and_says_so() {
    let database = database().await;
    let mut db = one(&database).await;
    registered(&mut db, &json!({ "overlap": "skip" })).await;
    let first = create(&mut db, json!({})).await;
    let second = create(&mut db, json!({})).await;
    assert_eq!((first.state, second.state, second.started), (RunState::Running, RunState::Success, false));
    let details = run_by_uuid(&mut db, second.id).await.unwrap().unwrap();
    assert_eq!(details.note.as_deref(), Some("Skipped: as many runs as may run were running."));
    assert_eq!(states(&mut db, second.id).await, ["a skipped"]);
    assert_eq!(events(&mut db).await, [format!("skip_dag_run {}", second.run_id)]);
    assert_eq!(number(&mut db, "select count(*) from ready").await, 1);
}

#[tokio::test]
async fn the_oldest_run_makes_way_and_what_it_runs_is_stopped() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = registered(&mut db, &json!({ "overlap": "cancel_running" })).await;
    let first = create(&mut db, json!({})).await;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    let claimed = hands.claim(1).await;
    let second = create(&mut db, json!({})).await;
    assert!(second.stopping && second.started, "{second:?}");
    assert_eq!((state(&mut db, &first).await, state(&mut db, &second).await), (RunState::Failed, RunState::Running));
    assert_eq!(number(&mut db, "select count(*) from stop_order where why = 'cancelled'").await, 1);
    assert!(!hands.end(claimed[0].lease, TaskState::Success).await, "its outcome does not count any more");
    assert_eq!(events(&mut db).await, [format!("cancel_dag_run {}", first.run_id)]);
}

#[tokio::test]
async fn a_run_that_has_ended_by_itself_is_not_recorded_as_cancelled() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = registered(&mut db, &json!({ "overlap": "cancel_running" })).await;
    let first = create(&mut db, json!({})).await;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    let lease = hands.claim(1).await[0].lease;
    assert!(hands.record(EndedTry::new(lease, TaskState::Success)).await, "its outcome waits for the fold");
    let second = create(&mut db, json!({})).await;
    assert_eq!((state(&mut db, &first).await, state(&mut db, &second).await), (RunState::Success, RunState::Running));
    assert!(events(&mut db).await.is_empty(), "{:?}", events(&mut db).await);
}

#[tokio::test]
async fn runs_of_one_value_wait_for_each_other_and_others_pass_them() {
    let database = database().await;
    let mut db = one(&database).await;
    let by = json!({ "max_active_runs": 16, "concurrency": [{ "key": "customer", "most": 1 }] });
    registered(&mut db, &by).await;
    let acme = create(&mut db, json!({ "customer": "acme" })).await;
    let waits = create(&mut db, json!({ "customer": "acme" })).await;
    let bolt = create(&mut db, json!({ "customer": "bolt" })).await;
    let nobody = create(&mut db, json!({})).await;
    assert_eq!([&acme, &waits, &bolt, &nobody].map(|run| run.started), [true, false, true, true]);
    let mut versions = Versions::default();
    assert!(start_queued_runs(&mut db, Locks::begin(), &mut versions, "d").await.unwrap().is_empty());
    cancel_run(&mut db, &Locks::begin().runs(), &mut versions, bolt.id).await.unwrap();
    assert!(start_queued_runs(&mut db, Locks::begin(), &mut versions, "d").await.unwrap().is_empty());
    cancel_run(&mut db, &Locks::begin().runs(), &mut versions, acme.id).await.unwrap();
    assert_eq!(start_queued_runs(&mut db, Locks::begin(), &mut versions, "d").await.unwrap(), [waits.id]);
}

#[tokio::test]
async fn many_creators_never_exceed_the_limit_of_a_value() {
    let database = database().await;
    let by = json!({ "max_active_runs": 100, "concurrency": [{ "key": "customer", "most": 2 }] });
    registered(&mut one(&database).await, &by).await;
    let mut creators = JoinSet::new();
    for creator in 0..6 {
        let mut db = hot(&database).await;
        creators.spawn(async move {
            for turn in 0..6 {
                create(&mut db, json!({ "customer": (creator + turn) % 3 })).await;
                start_queued_runs(&mut db, Locks::begin(), &mut Versions::default(), "d").await.unwrap();
            }
        });
    }
    creators.join_all().await;
    let mut db = one(&database).await;
    assert_eq!(number(&mut db, "select count(*) from dag_run where state = 'running'").await, 6);
    let most = "select max(many) from (select count(*) as many from dag_run r join dag_run_detail d on d.run = r.id
        where r.state = 'running' group by d.conf->>'customer') c";
    assert_eq!(number(&mut db, most).await, 2);
}

#[tokio::test]
async fn runs_that_waited_for_the_dag_are_asked_when_they_may_begin() {
    let database = database().await;
    let mut db = one(&database).await;
    registered(&mut db, &json!({ "overlap": "skip" })).await;
    pause(&mut db, &Locks::begin(), &["d".into()]).await.unwrap();
    let (first, second) = (create(&mut db, json!({})).await, create(&mut db, json!({})).await);
    assert_eq!([&first, &second].map(|run| run.started), [false, false]);
    unpause(&mut db, Locks::begin(), &["d".into()]).await.unwrap();
    assert_eq!(start_queued_runs(&mut db, Locks::begin(), &mut Versions::default(), "d").await.unwrap(), [first.id]);
    assert_eq!(state(&mut db, &second).await, RunState::Success);
}

#[tokio::test]
async fn a_schedule_goes_on_though_a_run_is_late() {
    for (overlap, expected) in
        [("skip", "running success success"), ("cancel_running", "failed failed running"), ("queue", "running")]
    {
        let database = database().await;
        let mut db = one(&database).await;
        let daily = json!({ "overlap": overlap, "catchup": true, "start": "2026-01-01T00:00:00Z", "end": "2026-01-03T00:00:00Z",
            "schedule": { "cron": { "expression": "0 0 * * *", "timezone": "UTC" } } });
        registered(&mut db, &daily).await;
        for _ in 0..5 {
            for due in due_dags(&mut db, 10).await.unwrap() {
                create_due_runs(&mut db, Locks::begin(), &mut Versions::default(), &due, 32).await.unwrap();
            }
        }
        let found: Vec<String> = sqlx::query_scalar("select state::text from dag_run order by logical_date")
            .fetch_all(&mut db)
            .await
            .unwrap();
        assert_eq!(found.join(" "), expected, "{overlap}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schedulers_side_by_side_leave_a_dag_no_more_runs_than_it_has_room_for() {
    let database = database().await;
    let (mut db, mut other) = (one(&database).await, one(&database).await);
    registered(&mut db, &json!({ "schedule": "continuous", "start": "2026-01-01T00:00:00Z" })).await;
    let (mut versions, mut others) = (Versions::default(), Versions::default());
    for _ in 0..200 {
        let (first, second) = tokio::join!(
            create_due_runs(&mut db, Locks::begin(), &mut versions, "d", 32),
            create_due_runs(&mut other, Locks::begin(), &mut others, "d", 32)
        );
        assert!(first.unwrap().len() + second.unwrap().len() <= 1, "one run at a time");
        sqlx::query("update dag_run set state = 'success', ended_at = now() where state in ('queued', 'running')")
            .execute(&mut db)
            .await
            .unwrap();
    }
}
