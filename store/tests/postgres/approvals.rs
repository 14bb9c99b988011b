//! Questions: there with their wait, answered once, timed out to their defaults, taken back with what asked them.

use crate::fixture::{Hands, dag, database, number, one, register, states, trigger};
use orch_core::approval::{ANSWER, Given, Question};
use orch_core::select::Selection;
use orch_core::state::TaskState;
use orch_core::task::{OnTimeout, WaitEnd};
use orch_core::transition::Selected;
use orch_store::approval::{
    ApprovalFilter, Stand, answer_approval, approval, count_approvals, list_approvals, open_question,
};
use orch_store::clear::{ClearWish, clear_instances};
use orch_store::due::wake_waiting;
use orch_store::run::{MoveRun, move_run};
use orch_store::step::{Ended, Lease, NewWait, NextTry, Request, Stepper};
use orch_store::version::Versions;
use orch_store::watch::{Watcher, resumed, take_due};
use orch_test_support::TestDb;
use serde_json::{Map, json};
use sqlx::postgres::PgConnection;
use std::time::Duration;
use uuid::Uuid;

const LEASE: Duration = Duration::from_mins(1);
const WEEK_MS: i64 = 7 * 24 * 3_600_000;

fn question() -> Question {
    Question { assigned_users: vec!["ann".into()], defaults: Some(vec!["Reject".into()]), ..Question::approval("Go?") }
}

fn given(option: &str) -> Given {
    Given { chosen_options: vec![option.into()], params_input: Map::new() }
}

async fn ask(hands: &mut Hands, lease: Lease, version: i32, question: &Question) {
    let fallback = question.fallback().map(|given| serde_json::to_string(&given).expect("it is JSON"));
    let wait = NewWait {
        condition: Some((ANSWER.into(), serde_json::to_string(question).expect("it is JSON"))),
        wake_in_ms: 0,
        wake_at: None,
        poke_ms: 0,
        timeout_ms: Some(WEEK_MS),
        on_timeout: if fallback.is_some() { OnTimeout::Resume } else { OnTimeout::Fail },
        carried: None,
        asks: Some(Request { task_id: "a".into(), fallback }),
    };
    let next =
        NextTry { attempt: lease.attempt, wake_in_ms: 1, version, queue: 1, priority: 1, wait: Some(Box::new(wait)) };
    let ended = Ended {
        lease,
        state: TaskState::AwaitingInput,
        list_len: None,
        skip: Vec::new(),
        rev: 0,
        next: Some(next),
        outputs: Vec::new(),
        failure: None,
        touched: None,
        alerts: Vec::new(),
    };
    assert!(hands.record(ended).await);
}

async fn asked(database: &TestDb, question: &Question) -> (Hands, Uuid, Lease, i32) {
    let mut db = one(database).await;
    let spec = dag(json!({ "dag_id": "d", "tasks": [{ "task_id": "a", "kind": "approval" }] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
    let mut hands = Hands::new(database, &[version], LEASE).await;
    let lease = hands.claim(1).await[0].lease;
    ask(&mut hands, lease, version, question).await;
    (hands, run, lease, version)
}

/// As if so much time had passed.
async fn pass(db: &mut PgConnection, ms: i64) {
    for sql in [
        "update waiting set give_up_at = give_up_at - $1 * interval '1 ms', wake_at = wake_at - $1 * interval '1 ms'",
        "update approval set give_up_at = give_up_at - $1 * interval '1 ms', asked_at = asked_at - $1 * interval '1 ms'",
    ] {
        sqlx::query(sql).bind(ms).execute(&mut *db).await.expect("the clock goes on");
    }
}

#[tokio::test]
async fn a_question_is_open_and_nobody_looks() {
    let database = database().await;
    let (_, run, lease, _) = asked(&database, &question()).await;
    let mut db = one(&database).await;
    assert_eq!(states(&mut db, run).await, ["a awaiting_input"]);
    let row = open_question(&mut db, run, "a", -1).await.unwrap().expect("it is open");
    assert_eq!((row.attempt, row.stand, row.question.clone()), (lease.attempt, Stand::Open, question()));
    let watcher = Watcher { worker: 1, queues: vec![1], kinds: vec!["file".into(), "sql".into()], lease: LEASE };
    assert!(take_due(&mut db, &watcher, 10).await.unwrap().is_empty());
    pass(&mut db, WEEK_MS - 60_000).await;
    assert_eq!(wake_waiting(&mut db, 10).await.unwrap(), 0, "its time is not over");
    for (filter, expected) in [
        (ApprovalFilter { is_open: Some(true), ..ApprovalFilter::default() }, 1),
        (ApprovalFilter { is_answered: Some(true), ..ApprovalFilter::default() }, 0),
        (ApprovalFilter { dag_id: Some("other".into()), ..ApprovalFilter::default() }, 0),
        (ApprovalFilter { subject: Some("GO".into()), try_no: Some(1), ..ApprovalFilter::default() }, 1),
        (ApprovalFilter { asked_from: Some(row.asked_at), ..ApprovalFilter::default() }, 0),
    ] {
        assert_eq!(count_approvals(&mut db, &filter).await.unwrap(), expected, "{filter:?}");
        assert_eq!(list_approvals(&mut db, &filter, (0, 10)).await.unwrap().len() as i64, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn of_two_answers_at_once_one_counts() {
    let database = database().await;
    let (mut hands, run, lease, _) = asked(&database, &question()).await;
    let (mut ann, mut bob) = (one(&database).await, one(&database).await);
    let (yes, no) = (given("Approve"), given("Reject"));
    let (first, second) = tokio::join!(
        answer_approval(&mut ann, lease.attempt, &yes, "ann"),
        answer_approval(&mut bob, lease.attempt, &no, "bob")
    );
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(first.is_some() != second.is_some(), "{first:?} {second:?}");
    let row = approval(&mut ann, lease.attempt).await.unwrap().expect("it is there");
    let (by, answer) = if first.is_some() { ("ann", yes) } else { ("bob", no) };
    assert_eq!((row.stand, row.given_by.as_deref(), row.given), (Stand::Answered, Some(by), Some(answer.clone())));
    assert_eq!(answer_approval(&mut ann, lease.attempt, &answer, "ann").await.unwrap(), None);
    assert!(open_question(&mut ann, run, "a", -1).await.unwrap().is_none());
    assert_eq!(wake_waiting(&mut ann, 10).await.unwrap(), 1);
    let again = hands.claim(1).await[0].lease;
    assert_eq!((again.attempt, again.lease_no), (lease.attempt, 2), "the same try goes on");
    let WaitEnd::Met(met) = resumed(&mut ann, again).await.unwrap().expect("it waited").end else {
        panic!("it was answered")
    };
    assert_eq!((&met["chosen_options"], &met["responded_by_user"]), (&json!(answer.chosen_options), &json!(by)));
    assert_eq!(met["timed_out"], false);
}

#[tokio::test]
async fn after_its_time_the_defaults_are_the_answer() {
    let database = database().await;
    let (mut hands, _, lease, _) = asked(&database, &question()).await;
    let mut db = one(&database).await;
    pass(&mut db, WEEK_MS + 1).await;
    assert_eq!(answer_approval(&mut db, lease.attempt, &given("Approve"), "ann").await.unwrap(), None, "too late");
    assert_eq!(wake_waiting(&mut db, 10).await.unwrap(), 1);
    let row = approval(&mut db, lease.attempt).await.unwrap().expect("it is there");
    assert_eq!((row.stand, row.given, row.given_by), (Stand::TimedOut, Some(given("Reject")), None));
    let again = hands.claim(1).await[0].lease;
    let WaitEnd::Met(met) = resumed(&mut db, again).await.unwrap().expect("it waited").end else {
        panic!("it has defaults")
    };
    assert_eq!((&met["chosen_options"], &met["timed_out"]), (&json!(["Reject"]), &json!(true)));
}

#[tokio::test]
async fn without_defaults_its_time_fails_it() {
    let database = database().await;
    let (mut hands, _, lease, _) = asked(&database, &Question::approval("Go?")).await;
    let mut db = one(&database).await;
    pass(&mut db, WEEK_MS + 1).await;
    assert_eq!(wake_waiting(&mut db, 10).await.unwrap(), 1);
    let row = approval(&mut db, lease.attempt).await.unwrap().expect("it is there");
    assert_eq!((row.stand, row.given), (Stand::TimedOut, None));
    let again = hands.claim(1).await[0].lease;
    let end = resumed(&mut db, again).await.unwrap().expect("it waited").end;
    assert_eq!(end, WaitEnd::TimedOut(OnTimeout::Fail));
}

#[tokio::test]
async fn a_clear_takes_a_question_back_and_the_new_try_asks_anew() {
    let database = database().await;
    let (mut hands, run, lease, version) = asked(&database, &question()).await;
    let mut db = one(&database).await;
    let mut versions = Versions::default();
    let tasks = vec![Selected { task: 0, index: None }];
    let wish = ClearWish { selection: Selection { tasks, ..Selection::default() }, ..ClearWish::default() };
    clear_instances(&mut db, &mut Stepper::default(), &mut versions, run, &wish).await.unwrap();
    let row = approval(&mut db, lease.attempt).await.unwrap().expect("it is history");
    assert_eq!(row.stand, Stand::TakenBack);
    assert_eq!(answer_approval(&mut db, lease.attempt, &given("Approve"), "ann").await.unwrap(), None);
    let again = hands.claim(1).await[0].lease;
    assert_ne!(again.attempt, lease.attempt);
    ask(&mut hands, again, version, &question()).await;
    let open = open_question(&mut db, run, "a", -1).await.unwrap().expect("it asks again");
    assert_eq!((open.attempt, open.try_no), (again.attempt, 2));
    assert_eq!(number(&mut db, "select count(*) from approval").await, 2);
}

#[tokio::test]
async fn a_question_stays_open_when_its_run_moves_to_a_new_version() {
    let database = database().await;
    let (_, run, lease, _) = asked(&database, &question()).await;
    let mut db = one(&database).await;
    let spec = dag(
        json!({ "dag_id": "d", "tasks": [{ "task_id": "0", "kind": "rust" }, { "task_id": "a", "kind": "approval" }] }),
    );
    let to = register(&mut db, &[spec]).await[0].version_id;
    let moved = move_run(&mut db, &mut Versions::default(), run, to).await.unwrap();
    assert_eq!(moved, MoveRun::Moved);
    let open = open_question(&mut db, run, "a", -1).await.unwrap().expect("it is open");
    assert_eq!(open.attempt, lease.attempt);
    assert!(answer_approval(&mut db, lease.attempt, &given("Approve"), "ann").await.unwrap().is_some());
    assert_eq!(wake_waiting(&mut db, 10).await.unwrap(), 1);
}
