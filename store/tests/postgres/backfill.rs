//! Backfills: all dates are planned at the start, runs are created a few at a time, and users can change a running
//! backfill.

use crate::fixture::{Hands, dag, database, hot, number, one, register, states, trigger};
use chrono::{DateTime, Utc};
use orch_core::backfill::{Action, BackfillRequest, Dates, Reason, Reprocess, Step};
use orch_spec::state::{RunType, TaskState};
use orch_store::backfill::{
    BackfillRow, BackfillTasks, CancelBackfill, CreateBackfill, NewBackfill, cancel_backfill, create_backfill,
    due_backfills, get_backfill, list_dates, pace, pause_backfill, plan_backfill,
};
use orch_store::dag::{pause, unpause};
use orch_store::locks::Locks;
use orch_store::run::{cancel_run, get_run};
use orch_store::version::Versions;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use std::time::Duration;
use tokio::task::JoinSet;
use uuid::Uuid;

const LEASE: Duration = Duration::from_mins(1);

fn at(day: u32) -> DateTime<Utc> {
    format!("2026-01-{day:02}T00:00:00Z").parse().expect("a date")
}

/// A DAG with one run per day, `a -> b`.
fn daily(more: &Value) -> Value {
    let mut spec = json!({ "dag_id": "d", "schedule": { "cron": { "expression": "0 0 * * *", "timezone": "UTC" } },
        "end": "2025-01-01T00:00:00Z",
        "tasks": [{ "task_id": "a", "kind": "rust" }, { "task_id": "b", "kind": "rust", "after": ["a"] }] });
    let fields = more.as_object().expect("an object").clone();
    spec.as_object_mut().expect("an object").extend(fields);
    spec
}

fn new(from: u32, to: u32) -> NewBackfill {
    NewBackfill {
        dag_id: "d".into(),
        wish: BackfillRequest {
            dates: Dates::Range { from: at(from), to: at(to), step: None },
            reprocess: Reprocess::None,
            backwards: false,
        },
        conf: None,
        max_active_runs: 2,
        latest: true,
        part: None,
        user: Some("ada".into()),
    }
}

fn reprocess(mut new: NewBackfill, reprocess: Reprocess) -> NewBackfill {
    new.wish.reprocess = reprocess;
    new
}

async fn create(db: &mut PgConnection, new: &NewBackfill) -> i32 {
    match create_backfill(db, &mut Versions::default(), new).await.expect("it is created") {
        CreateBackfill::Done(id) => id,
        other => panic!("{other:?}"),
    }
}

/// Runs scheduler rounds until no backfill has anything left to do.
async fn go(db: &mut PgConnection) {
    for _ in 0..100 {
        let due = due_backfills(db, 100).await.expect("a list");
        if due.is_empty() {
            return;
        }
        for id in due {
            pace(db, Locks::begin(), &mut Versions::default(), id, 3).await.expect("a pace");
        }
    }
    panic!("it is due for ever");
}

async fn row(db: &mut PgConnection, id: i32) -> BackfillRow {
    get_backfill(db, id).await.expect("a row").expect("a backfill")
}

/// Returns the states of all dates, for example `1 success, 2 running, 3 planned`.
async fn said(db: &mut PgConnection, id: i32) -> String {
    let dates = list_dates(db, id, 0, 1_000).await.expect("dates");
    let one = |d: &orch_store::backfill::BackfillDate| {
        let why = d.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        format!("{} {}{why}", d.logical_date.format("%-d"), d.state)
    };
    dates.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn runs_come_a_few_at_a_time_and_the_end_is_noted() {
    let database = database().await;
    let (mut db, mut versions) = (one(&database).await, Versions::default());
    let version = register(&mut db, &[dag(daily(&json!({ "max_active_runs": 1 })))]).await[0].version_id;
    // The DAG's limit of active runs does not apply to the runs of a backfill.
    let live = trigger(&mut db, &mut versions, "d").await;
    assert!(live.started);
    let id = create(&mut db, &NewBackfill { conf: Some(json!({ "x": 1 })), ..new(1, 5) }).await;
    go(&mut db).await;
    assert_eq!(said(&mut db, id).await, "1 running, 2 running, 3 planned, 4 planned, 5 planned");
    let run = get_run(&mut db, "d", "backfill__2026-01-01T00:00:00+00:00").await.unwrap().expect("it is there");
    assert_eq!((run.run_type, run.logical_date, run.conf), (RunType::Backfill, Some(at(1)), Some(json!({ "x": 1 }))));
    // Backfill runs do not count towards the DAG's limit of active runs: another manual run waits only for the first
    // manual run.
    assert!(!trigger(&mut db, &mut versions, "d").await.started);
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    let first = hands.claim(1).await;
    assert_eq!(first[0].lease.run, live.id, "a live run is more urgent");
    assert!(hands.end(first[0].lease, TaskState::Success).await);
    while row(&mut db, id).await.completed_at.is_none() {
        hands.work_off().await;
        go(&mut db).await;
    }
    assert_eq!(said(&mut db, id).await, "1 success, 2 success, 3 success, 4 success, 5 success");
    let row = row(&mut db, id).await;
    assert_eq!((row.total(), row.over(), row.success, row.created_by.as_deref()), (5, 5, 5, Some("ada")));
    assert_eq!(number(&mut db, "select count(*) from dag_run where run_type = 'backfill'").await, 5);
}

#[tokio::test]
async fn retries_and_what_follows_stay_below_live_runs() {
    let database = database().await;
    let (mut db, mut versions) = (one(&database).await, Versions::default());
    let version = register(&mut db, &[dag(daily(&json!({})))]).await[0].version_id;
    create(&mut db, &new(1, 1)).await;
    go(&mut db).await;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    let first = hands.claim(1).await;
    assert!(hands.end(first[0].lease, TaskState::Success).await);
    let live = trigger(&mut db, &mut versions, "d").await;
    assert_eq!(hands.claim(1).await[0].lease.run, live.id);
    assert_eq!(number(&mut db, "select count(*) from ready where priority < -1000000000").await, 1);
}

#[tokio::test]
async fn what_is_there_is_left_or_run_again_as_one_of_the_backfill() {
    let database = database().await;
    let (mut db, mut versions) = (one(&database).await, Versions::default());
    let version = register(&mut db, &[dag(daily(&json!({})))]).await[0].version_id;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    create(&mut db, &NewBackfill { max_active_runs: 9, ..new(1, 3) }).await;
    go(&mut db).await;
    // The first run fails, the second succeeds, and the third is still running.
    let runs: Vec<Uuid> =
        sqlx::query_scalar("select id from dag_run order by logical_date").fetch_all(&mut db).await.unwrap();
    cancel_run(&mut db, &Locks::begin().runs(), &mut versions, runs[0]).await.unwrap();
    for claimed in hands.claim(10).await {
        if claimed.lease.run == runs[1] {
            assert!(hands.end(claimed.lease, TaskState::Success).await);
        }
    }
    let last = hands.claim(1).await;
    assert_eq!(last[0].lease.run, runs[1]);
    assert!(hands.end(last[0].lease, TaskState::Success).await);
    go(&mut db).await;
    let planned = plan_backfill(&mut db, &mut versions, &reprocess(new(1, 4), Reprocess::Failed)).await.unwrap();
    let CreateBackfill::Done(planned) = planned else { panic!("{planned:?}") };
    let actions: Vec<Action> = planned.dates.iter().map(|(_, action)| *action).collect();
    let skip = Action::Skip;
    assert_eq!(actions, [Action::Rerun, skip(Reason::AlreadyExists), skip(Reason::InFlight), Action::Create]);
    let none = create(&mut db, &new(1, 3)).await;
    let failed = create(
        &mut db,
        &NewBackfill { conf: Some(json!({ "again": true })), ..reprocess(new(1, 4), Reprocess::Failed) },
    )
    .await;
    go(&mut db).await;
    assert_eq!(
        said(&mut db, none).await,
        "1 skipped (already exists), 2 skipped (already exists), 3 skipped (in flight)"
    );
    assert!(row(&mut db, none).await.completed_at.is_some());
    assert_eq!(said(&mut db, failed).await, "1 running, 2 skipped (already exists), 3 skipped (in flight), 4 running");
    let again = get_run(&mut db, "d", "backfill__2026-01-01T00:00:00+00:00").await.unwrap().expect("it is there");
    assert_eq!((again.id, again.conf), (runs[0], Some(json!({ "again": true }))));
    assert_eq!(states(&mut db, runs[0]).await, ["a queued", "b none"]);
    assert_eq!(number(&mut db, "select count(*) from ready where priority > -1000000000").await, 0);
}

#[tokio::test]
async fn dates_of_any_dag_may_be_named_and_gone_through_backwards() {
    let database = database().await;
    let mut db = one(&database).await;
    register(&mut db, &[dag(json!({ "dag_id": "d", "tasks": [{ "task_id": "a", "kind": "rust" }] }))]).await;
    let refused = create_backfill(&mut db, &mut Versions::default(), &new(1, 3)).await.unwrap();
    assert!(matches!(refused, CreateBackfill::Cannot(_)), "{refused:?}");
    let mut each = new(1, 1);
    each.wish.dates = Dates::Each(vec![at(9), at(4)]);
    let each = create(&mut db, &each).await;
    let mut steps = new(1, 1);
    steps.wish.dates = Dates::Range { from: at(1), to: at(3), step: Some(Step::Daily) };
    steps.wish.backwards = true;
    let steps = create(&mut db, &steps).await;
    go(&mut db).await;
    assert_eq!(said(&mut db, each).await, "4 running, 9 running");
    assert_eq!(said(&mut db, steps).await, "3 running, 2 running, 1 planned");
}

#[tokio::test]
async fn a_part_of_the_tasks_runs_and_the_rest_is_removed() {
    let database = database().await;
    let (mut db, mut versions) = (one(&database).await, Versions::default());
    let version = register(&mut db, &[dag(daily(&json!({})))]).await[0].version_id;
    let part = |regex: &str, upstream| Some(BackfillTasks { regex: regex.into(), upstream });
    let only = create(&mut db, &NewBackfill { part: part("^b$", false), ..new(1, 1) }).await;
    let with = create(&mut db, &NewBackfill { part: part("^b$", true), ..new(2, 2) }).await;
    let none = create_backfill(&mut db, &mut versions, &NewBackfill { part: part("^x$", true), ..new(3, 3) }).await;
    assert!(matches!(none, Ok(CreateBackfill::NoTask)));
    let bad = create_backfill(&mut db, &mut versions, &NewBackfill { part: part("(", true), ..new(3, 3) }).await;
    assert!(matches!(bad, Ok(CreateBackfill::BadRegex(_))));
    go(&mut db).await;
    let runs: Vec<Uuid> =
        sqlx::query_scalar("select id from dag_run order by logical_date").fetch_all(&mut db).await.unwrap();
    assert_eq!(states(&mut db, runs[0]).await, ["a removed", "b queued"]);
    assert_eq!(states(&mut db, runs[1]).await, ["a queued", "b none"]);
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    hands.work_off().await;
    go(&mut db).await;
    assert_eq!((said(&mut db, only).await, said(&mut db, with).await), ("1 success".into(), "2 success".into()));
    assert_eq!(states(&mut db, runs[0]).await, ["a removed", "b success"]);
}

#[tokio::test]
async fn nothing_begins_while_it_or_its_dag_is_paused() {
    let database = database().await;
    let mut db = one(&database).await;
    register(&mut db, &[dag(daily(&json!({})))]).await;
    let id = create(&mut db, &new(1, 3)).await;
    assert!(pause_backfill(&mut db, id, true).await.unwrap());
    go(&mut db).await;
    assert_eq!(said(&mut db, id).await, "1 planned, 2 planned, 3 planned");
    assert!(pause_backfill(&mut db, id, false).await.unwrap());
    pause(&mut db, &Locks::begin(), &["d".into()]).await.unwrap();
    go(&mut db).await;
    assert!(row(&mut db, id).await.dag_is_paused);
    assert_eq!(number(&mut db, "select count(*) from dag_run").await, 0);
    unpause(&mut db, Locks::begin(), &["d".into()]).await.unwrap();
    go(&mut db).await;
    assert_eq!(said(&mut db, id).await, "1 running, 2 running, 3 planned");
}

#[tokio::test]
async fn cancelled_it_gets_no_more_runs_and_what_runs_goes_on_or_is_stopped() {
    let database = database().await;
    let (mut db, mut versions) = (one(&database).await, Versions::default());
    let version = register(&mut db, &[dag(daily(&json!({})))]).await[0].version_id;
    let (mild, strict) = (create(&mut db, &new(1, 3)).await, create(&mut db, &new(11, 13)).await);
    go(&mut db).await;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    assert_eq!(hands.claim(10).await.len(), 4);
    let done = cancel_backfill(&mut db, Locks::begin(), &mut versions, mild, false).await.unwrap();
    assert_eq!(done, CancelBackfill::Cancelled { dropped: 1, ended: 0 });
    assert_eq!(said(&mut db, mild).await, "1 running, 2 running, 3 dropped (the backfill was cancelled)");
    assert_eq!(number(&mut db, "select count(*) from stop_order").await, 0);
    let done = cancel_backfill(&mut db, Locks::begin(), &mut versions, strict, true).await.unwrap();
    assert_eq!(done, CancelBackfill::Cancelled { dropped: 1, ended: 2 });
    assert_eq!(said(&mut db, strict).await, "11 failed, 12 failed, 13 dropped (the backfill was cancelled)");
    assert_eq!(number(&mut db, "select count(*) from stop_order").await, 2);
    assert_eq!(
        cancel_backfill(&mut db, Locks::begin(), &mut versions, strict, true).await.unwrap(),
        CancelBackfill::Over
    );
    assert_eq!(
        cancel_backfill(&mut db, Locks::begin(), &mut versions, 99, true).await.unwrap(),
        CancelBackfill::NoSuchBackfill
    );
    assert!(!pause_backfill(&mut db, strict, true).await.unwrap());
    go(&mut db).await;
    assert_eq!(number(&mut db, "select count(*) from dag_run").await, 4);
}

/// Several schedulers process a backfill concurrently, and some of them lose their connection at arbitrary points.
#[tokio::test]
async fn schedulers_that_die_in_the_middle_neither_lose_nor_double_a_run() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[dag(daily(&json!({})))]).await[0].version_id;
    let ids = [create(&mut db, &new(1, 20)).await, create(&mut db, &new(15, 31)).await];
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    let mut round = 0;
    loop {
        round += 1;
        assert!(round < 500, "it does not come to an end");
        let mut schedulers = JoinSet::new();
        for scheduler in 0..4_u32 {
            let mut db = hot(&database).await;
            schedulers.spawn(async move {
                let work = async {
                    for id in ids {
                        // A scheduler that conflicts with another one gets an error, after which the scheduler loop
                        // retries.
                        let paced = pace(&mut db, Locks::begin(), &mut Versions::default(), id, 3).await;
                        assert!(paced.as_ref().is_ok_and(|_| true) || paced.is_err_and(|e| e.passes()));
                    }
                };
                let dies_after = Duration::from_micros(u64::from(scheduler * 700 + round % 9 * 150));
                // Dropping the future interrupts the current statement or transaction.
                drop(tokio::time::timeout(if scheduler == 0 { LEASE } else { dies_after }, work).await);
            });
        }
        schedulers.join_all().await;
        hands.work_off().await;
        go(&mut db).await;
        if due_backfills(&mut db, 1).await.unwrap().is_empty()
            && number(&mut db, "select count(*) from backfill where completed_at is null").await == 0
        {
            break;
        }
    }
    assert_eq!(number(&mut db, "select count(*) from dag_run").await, 31);
    assert_eq!(number(&mut db, "select count(distinct logical_date) from dag_run where state = 'success'").await, 31);
    assert_eq!(number(&mut db, "select count(*) from backfill_run where state = 'success'").await, 31);
    assert_eq!(number(&mut db, "select count(*) from backfill_run where state = 'skipped'").await, 6);
    assert_eq!(number(&mut db, "select count(distinct run) from backfill_run").await, 31);
}
