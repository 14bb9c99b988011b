//! Alerts: an alert exists if and only if its outcome was recorded, a single process at a time sends it until it is
//! accepted, and a missed deadline raises exactly one alert.

use crate::fixture::{Hands, dag, database, number, one, register, trigger};
use chrono::{DateTime, Utc};
use orch_core::alert::{AlertKind, AlertState, FailedTask, FailedTasks, TryEnd, of_try};
use orch_sdk::task::Ctx;
use orch_spec::asset::{CheckOutcome, CheckPolicy, CheckResult};
use orch_spec::state::{TaskState, TriggeredBy};
use orch_spec::{DagSpec, Notifier};
use orch_store::alert::{
    ALERTS, AlertRow, Retry, add_test_alert, alert_not_sent, alert_sent, claim_alerts, retry_alert, tell_of_checks,
    tell_of_stale,
};
use orch_store::asset::{CheckTrail, keep_checks};
use orch_store::clean::retire;
use orch_store::deadline::{DEADLINES, by, late_runs, ring};
use orch_store::list::Search;
use orch_store::locks::Locks;
use orch_store::partition::Retention;
use orch_store::run::{self, NewRun, RUNS, cancel_run, create_run, time_out_run};
use orch_store::step::{Claimed, EndedTry};
use orch_store::version::Versions;
use orch_store::worker::reap;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const LEASE: Duration = Duration::from_mins(1);

fn told_of_everything(more: &Value) -> Arc<DagSpec> {
    let ops = || json!([{ "connection": "ops" }]);
    let callbacks = json!({ "on_success": ops(), "on_failure": ops() });
    let task = json!({ "task_id": "load", "kind": "rust", "callbacks": callbacks, "on_lost": "fail",
        "outlets": [{ "uri": "s3://b/orders", "fresh_within_ms": 1 }] });
    let mut spec = json!({ "dag_id": "sales", "tasks": [task], "callbacks": { "on_success": ops(), "on_failure": ops(),
        "on_stale": ops(), "on_failed_check": ops() } });
    spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    dag(spec)
}

pub(crate) fn ended(spec: &DagSpec, claimed: &Claimed, state: TaskState) -> EndedTry {
    let end = TryEnd {
        attempt: claimed.lease.attempt,
        try_number: claimed.try_no,
        map_index: claimed.lease.map_index,
        state,
        causes: &[],
    };
    EndedTry { alerts: of_try(&spec.dag_id, &spec.tasks[0], end), ..EndedTry::new(claimed.lease, state) }
}

async fn all(db: &mut PgConnection) -> Vec<AlertRow> {
    let mut all = ALERTS.rows(db, &Search::default()).await.expect("a list");
    all.reverse();
    all
}

async fn kinds(db: &mut PgConnection) -> Vec<AlertKind> {
    all(db).await.into_iter().map(|row| row.kind).collect()
}

#[tokio::test]
async fn an_alert_is_there_once_exactly_if_its_end_is() {
    let database = database().await;
    let mut db = one(&database).await;
    let spec = told_of_everything(&json!({}));
    let version = register(&mut db, std::slice::from_ref(&spec)).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "sales").await;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    let claimed = hands.claim(1).await.remove(0);
    let mut stranger = ended(&spec, &claimed, TaskState::Failed);
    stranger.lease.lease_no += 1;
    assert!(!hands.record(stranger).await);
    assert_eq!(kinds(&mut db).await, [], "an end that does not count tells nobody");
    assert!(hands.record(ended(&spec, &claimed, TaskState::Success)).await);
    assert!(!hands.record(ended(&spec, &claimed, TaskState::Success)).await, "it has ended");
    hands.fold(run.id).await;
    hands.fold(run.id).await;
    let told = all(&mut db).await;
    let found: Vec<_> = told.iter().map(|row| (row.kind, row.facts.task_id.as_deref(), row.state)).collect();
    let waiting = AlertState::Waiting;
    assert_eq!(found, [(AlertKind::TaskSuccess, Some("load"), waiting), (AlertKind::RunSuccess, None, waiting)]);
    assert!(
        told.iter().all(|row| row.run_id.as_deref() == Some(&run.run_id) && row.dag_id.as_deref() == Some("sales"))
    );
}

#[tokio::test]
async fn a_run_whose_time_is_over_tells_and_one_that_is_cancelled_does_not() {
    let database = database().await;
    let mut db = one(&database).await;
    register(&mut db, &[told_of_everything(&json!({}))]).await;
    let mut versions = Versions::default();
    let (late, cancelled) =
        (trigger(&mut db, &mut versions, "sales").await, trigger(&mut db, &mut versions, "sales").await);
    cancel_run(&mut db, &Locks::begin().runs(), &mut versions, cancelled.id).await.unwrap();
    assert_eq!(kinds(&mut db).await, [], "whoever cancels knows of it");
    time_out_run(&mut db, &Locks::begin().runs(), &mut versions, late.id).await.unwrap();
    assert_eq!(kinds(&mut db).await, [AlertKind::RunFailed]);
    assert_eq!(all(&mut db).await[0].facts.reason, "it did not finish within its timeout");
}

#[tokio::test]
async fn a_try_that_fails_with_its_worker_tells() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[told_of_everything(&json!({}))]).await[0].version_id;
    trigger(&mut db, &mut Versions::default(), "sales").await;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    hands.claim(1).await;
    sqlx::query("update worker set expires_at = now() - interval '1 second'").execute(&mut db).await.unwrap();
    let reaped = reap(&mut db, &Locks::begin().runs(), &mut Versions::default()).await.unwrap();
    hands.fold(reaped.unfolded[0]).await;
    assert_eq!(kinds(&mut db).await, [AlertKind::TaskFailed, AlertKind::RunFailed]);
    assert_eq!(all(&mut db).await[0].facts.reason, "the worker was lost");
    let claimed = claim_alerts(&mut db, 10).await.unwrap();
    let claimed = claimed.into_iter().find(|one| one.kind == AlertKind::RunFailed).unwrap();
    let failed = FailedTask::new("load".into(), -1, 1, &["the worker was lost".into()]);
    assert_eq!(claimed.facts.failed, Some(FailedTasks { count: 1, first: vec![failed] }));
    assert_eq!(claimed.facts.reason, "the worker was lost");
    assert_eq!(all(&mut db).await[1].facts, claimed.facts, "the failed tasks are stored with the alert");
}

#[tokio::test]
async fn one_at_a_time_sends_an_alert_until_it_was_taken() {
    let database = database().await;
    let mut db = one(&database).await;
    let ops = Notifier { connection: "ops".into(), ..Notifier::default() };
    let id = add_test_alert(&mut db, ops, "me").await.unwrap();
    let first = claim_alerts(&mut db, 10).await.unwrap().remove(0);
    assert_eq!((first.id, first.tries), (id, 1));
    assert!(claim_alerts(&mut db, 10).await.unwrap().is_empty(), "somebody is at it");
    // The sender died and its lease expired.
    let due = "update alert set due_at = now()";
    sqlx::query(due).execute(&mut db).await.unwrap();
    let second = claim_alerts(&mut db, 10).await.unwrap().remove(0);
    assert_eq!((second.key.as_str(), second.tries), (first.key.as_str(), 2), "again, under the same key");
    alert_not_sent(&mut db, &first, "too late").await.unwrap();
    alert_not_sent(&mut db, &second, "no answer\0").await.unwrap();
    let row = all(&mut db).await.remove(0);
    assert_eq!((row.state, row.problem.as_deref(), row.tries), (AlertState::Waiting, Some("no answer"), 2));
    assert!(claim_alerts(&mut db, 10).await.unwrap().is_empty(), "not at once again");
    // Alerts older than a day are not retried.
    sqlx::query("update alert set due_at = now(), at = now() - interval '25 hours'").execute(&mut db).await.unwrap();
    let late = claim_alerts(&mut db, 10).await.unwrap().remove(0);
    alert_not_sent(&mut db, &late, "no answer").await.unwrap();
    assert_eq!(all(&mut db).await[0].state, AlertState::Failed);
    assert!(claim_alerts(&mut db, 10).await.unwrap().is_empty());
    // A user can still request a retry.
    assert_eq!(retry_alert(&mut db, id).await.unwrap(), Retry::Due);
    let asked = claim_alerts(&mut db, 10).await.unwrap().remove(0);
    alert_sent(&mut db, &asked).await.unwrap();
    assert_eq!(retry_alert(&mut db, id).await.unwrap(), Retry::AlreadySent);
    assert_eq!(retry_alert(&mut db, 0).await.unwrap(), Retry::NoSuchAlert);
    let row = all(&mut db).await.remove(0);
    assert_eq!((row.state, row.problem), (AlertState::Sent, None));
}

#[tokio::test]
async fn a_receiver_that_is_down_holds_up_no_other() {
    let database = database().await;
    let mut db = one(&database).await;
    let ops = || Notifier { connection: "ops".into(), ..Notifier::default() };
    for _ in 0..3 {
        add_test_alert(&mut db, ops(), "me").await.unwrap();
    }
    for claimed in claim_alerts(&mut db, 10).await.unwrap() {
        alert_not_sent(&mut db, &claimed, "no answer").await.unwrap();
    }
    sqlx::query("update alert set due_at = now()").execute(&mut db).await.unwrap();
    let new = add_test_alert(&mut db, ops(), "me").await.unwrap();
    assert_eq!(claim_alerts(&mut db, 1).await.unwrap()[0].id, new, "what was never tried goes first");
}

#[tokio::test]
async fn an_alert_that_cannot_be_read_is_given_up_and_the_others_are_sent() {
    let database = database().await;
    let mut db = one(&database).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let ops = Notifier { connection: "ops".into(), ..Notifier::default() };
        ids.push(add_test_alert(&mut db, ops, "me").await.unwrap());
    }
    for (id, set) in ids.iter().zip(["facts = '[7]'", "notifier = '{\"to\": \"me\"}'", "kind = 'full_moon'"]) {
        sqlx::raw_sql("alter table alert drop constraint if exists alert_kind_check").execute(&mut db).await.unwrap();
        let text = format!("update alert set {set} where id = {id}");
        sqlx::query(sqlx::AssertSqlSafe(text)).execute(&mut db).await.unwrap();
    }
    let claimed = claim_alerts(&mut db, 10).await.unwrap();
    assert_eq!(claimed.iter().map(|alert| alert.id).collect::<Vec<_>>(), ids[3..], "the one that can be read");
    let given_up = "select count(*) from alert where state = 'failed' and ended_at is not null and tries = 1
        and problem = 'what is stored of this alert cannot be read'";
    assert_eq!(number(&mut db, given_up).await, 3);
    assert!(claim_alerts(&mut db, 10).await.unwrap().is_empty(), "they are not tried again");
    // Lists omit alert kinds that this binary does not have.
    sqlx::query("delete from alert where kind = 'full_moon'").execute(&mut db).await.unwrap();
    let seen: Vec<_> = all(&mut db).await.into_iter().map(|row| (row.id, row.state)).collect();
    assert_eq!(seen, [(ids[0], AlertState::Failed), (ids[1], AlertState::Failed), (ids[3], AlertState::Waiting)]);
}

fn deadlines() -> Value {
    let of = |from: &str, ms: u64| json!({ "from": from, "after_ms": ms, "notify": [{ "connection": "ops" }] });
    json!({ "deadlines": [of("queued", 1), of("started", 1), of("logical_date", 3_600_000), of("queued", 3_600_000)] })
}

#[tokio::test]
async fn a_deadline_rings_once_and_only_for_a_run_that_is_late() {
    let database = database().await;
    let (mut db, mut other) = (one(&database).await, one(&database).await);
    let version = register(&mut db, &[told_of_everything(&deadlines())]).await[0].version_id;
    let hours_ago: DateTime<Utc> =
        sqlx::query_scalar("select now() - interval '2 hours'").fetch_one(&mut db).await.unwrap();
    let (mut versions, date) = (Versions::default(), hours_ago);
    let new = NewRun { logical_date: Some(date), ..NewRun::manual("sales", TriggeredBy::Test) };
    create_run(&mut db, Locks::begin(), &mut versions, &new).await.unwrap();
    let dateless = trigger(&mut db, &mut versions, "sales").await;
    assert!(dateless.hints().contains(&orch_store::hint::Hint::Due), "schedulers learn of its time");
    assert_eq!(number(&mut db, "select count(*) from deadline").await, 7, "without a date there is none to count from");
    let (one, two) = tokio::join!(ring(&mut db, &versions, 100), ring(&mut other, &versions, 100));
    let missed = one.unwrap().missed.len() + two.unwrap().missed.len();
    assert_eq!(missed, 5, "each is seen by one scheduler");
    assert_eq!(ring(&mut db, &versions, 100).await.unwrap().looked, 0, "and once");
    let told = kinds(&mut db).await;
    assert_eq!((told.len(), told[0]), (5, AlertKind::DeadlineMissed));
    // A deadline is met if its run ended in time, however late it is checked.
    Hands::new(&database, &[version], LEASE).await.work_off().await;
    sqlx::query("update deadline set due_at = now() where state = 'open'").execute(&mut db).await.unwrap();
    assert_eq!(ring(&mut db, &versions, 100).await.unwrap().missed, []);
    assert_eq!(number(&mut db, "select count(*) from deadline where state = 'met'").await, 2);
    // Users can list the state of each deadline, and the runs that missed one.
    let rows = DEADLINES.rows(&mut db, &Search::default().and(by::RUN.is(dateless.id))).await.unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row.nth, row.words(), row.standing().as_str())).collect();
    let (queued, started) = ("1 ms after it was queued".to_string(), "1 ms after it started".to_string());
    assert_eq!(told, [(0, queued, "missed"), (1, started, "missed"), (3, "1 h after it was queued".into(), "met")]);
    let missed = Search::default().and(by::MISSED.is_so(true)).and(by::DAG_ID.is("sales"));
    assert_eq!(DEADLINES.count(&mut db, &missed).await.unwrap(), 5);
    assert_eq!(DEADLINES.rows(&mut db, &missed.page(4, 10)).await.unwrap().len(), 1);
    assert_eq!(late_runs(&mut db, &[dateless.id, Uuid::nil()]).await.unwrap(), [dateless.id]);
    let late = Search::default().and(run::by::LATE.holds());
    assert_eq!(RUNS.rows(&mut db, &late).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_deadline_from_the_start_waits_for_it() {
    let database = database().await;
    let mut db = one(&database).await;
    let spec =
        told_of_everything(&json!({ "deadlines": [{ "from": "started", "after_ms": 1 }], "max_active_runs": 1 }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let mut versions = Versions::default();
    trigger(&mut db, &mut versions, "sales").await;
    trigger(&mut db, &mut versions, "sales").await;
    assert_eq!(ring(&mut db, &versions, 100).await.unwrap().missed.len(), 1, "the second is queued");
    Hands::new(&database, &[version], LEASE).await.work_off().await;
    orch_store::run::start_queued_runs(&mut db, Locks::begin(), &mut versions, "sales").await.unwrap();
    let rung = ring(&mut db, &versions, 100).await.unwrap();
    assert_eq!(rung.missed.len(), 1);
}

#[tokio::test]
async fn stale_assets_and_failed_checks_are_told_once() {
    let database = database().await;
    let mut db = one(&database).await;
    register(&mut db, &[told_of_everything(&json!({}))]).await;
    let (versions, run) = (Versions::default(), trigger(&mut db, &mut Versions::default(), "sales").await.id);
    let check = |outcome| CheckResult {
        name: "id is unique".into(),
        kind: "unique".into(),
        policy: CheckPolicy::Fail,
        outcome,
        rows: 10,
        bad: 2,
        sample: String::new(),
    };
    let outcomes = [CheckOutcome::Pass, CheckOutcome::Warn, CheckOutcome::Fail, CheckOutcome::Quarantined];
    let trail = CheckTrail::new(&Ctx::test(), "s3://b/orders", outcomes.map(check).to_vec());
    keep_checks(&mut db, &trail).await.unwrap();
    sqlx::query("update asset_check set run = $1").bind(run).execute(&mut db).await.unwrap();
    assert_eq!(tell_of_checks(&mut db, &versions, 100).await.unwrap(), 2);
    assert_eq!(tell_of_checks(&mut db, &versions, 100).await.unwrap(), 0);
    assert_eq!(kinds(&mut db).await, [AlertKind::CheckFailed; 2]);
    sqlx::query("update asset set fresh_until = now() - interval '1 second', created_at = now() - interval '1 hour'")
        .execute(&mut db)
        .await
        .unwrap();
    assert_eq!(tell_of_stale(&mut db, &versions, 100).await.unwrap().len(), 1);
    assert_eq!(tell_of_stale(&mut db, &versions, 100).await.unwrap().len(), 0);
    let stale = all(&mut db).await.pop().unwrap();
    assert_eq!((stale.kind, stale.facts.asset.as_deref()), (AlertKind::AssetStale, Some("s3://b/orders")));
}

#[tokio::test]
async fn old_alerts_go_but_not_one_that_waits() {
    let database = database().await;
    let mut db = one(&database).await;
    let ops = || Notifier { connection: Uuid::now_v7().to_string(), ..Notifier::default() };
    for _ in 0..2 {
        add_test_alert(&mut db, ops(), "me").await.unwrap();
    }
    let claimed = claim_alerts(&mut db, 1).await.unwrap().remove(0);
    alert_sent(&mut db, &claimed).await.unwrap();
    sqlx::query("update alert set at = now() - interval '100 days'").execute(&mut db).await.unwrap();
    retire(&mut db, &Retention::default()).await.unwrap();
    assert_eq!(all(&mut db).await.into_iter().map(|row| row.state).collect::<Vec<_>>(), [AlertState::Waiting]);
}
