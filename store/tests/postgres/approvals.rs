//! Approvals: a question exists together with the wait of its attempt, accepts one response, is answered with its
//! default after a timeout, and is withdrawn if the attempt ends.

use crate::fixture::{Hands, dag, database, later, number, one, register, states, trigger};
use orch_core::alert::{TryAsks, of_question};
use orch_core::select::Selection;
use orch_core::transition::Selected;
use orch_sdk::task::{OnTimeout, WaitEnd};
use orch_spec::DagSpec;
use orch_spec::approval::{ApprovalInput, Question};
use orch_spec::state::TaskState;
use orch_store::alert::{ALERTS, AlertRow, claim_alerts, retry_alert};
use orch_store::approval::{APPROVALS, Stand, answer_approval, approval, by, open_question};
use orch_store::clear::{ClearScope, clear_instances};
use orch_store::doctor::vitals;
use orch_store::due::wake_waiting;
use orch_store::list::{Compare, Search};
use orch_store::locks::Locks;
use orch_store::run::{MoveRun, move_run};
use orch_store::step::{EndedTry, Lease, NewWait, Request, Stepper};
use orch_store::version::Versions;
use orch_store::watch::{Watcher, resumed, take_due};
use orch_test_support::TestDb;
use serde_json::{Map, json};
use sqlx::postgres::PgConnection;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const LEASE: Duration = Duration::from_mins(1);
const WEEK_MS: i64 = 7 * 24 * 3_600_000;

fn question() -> Question {
    Question { assigned_users: vec!["ann".into()], defaults: Some(vec!["Reject".into()]), ..Question::approval("Go?") }
}

fn given(option: &str) -> ApprovalInput {
    ApprovalInput { chosen_options: vec![option.into()], params_input: Map::new() }
}

/// Returns the outcome of an attempt that waits up to one week for an answer, with its question and its alert.
fn asking(lease: Lease, version: i32, question: &Question) -> EndedTry {
    let fallback = question.fallback().map(|given| serde_json::to_string(&given).expect("it is JSON"));
    let on_timeout = if fallback.is_some() { OnTimeout::Resume } else { OnTimeout::Fail };
    let text = serde_json::to_string(question).expect("it is JSON");
    let request = Request { task_id: "a".into(), fallback: fallback.map(Into::into) };
    let wait = NewWait { timeout_ms: Some(WEEK_MS), on_timeout, ..NewWait::for_answer(text, request) };
    let asks = TryAsks { attempt: lease.attempt, lease_no: lease.lease_no, try_number: 1, map_index: -1, question };
    EndedTry {
        next: Some(later(lease.attempt, version, Some(wait))),
        alerts: of_question("d", &spec().tasks[0], asks),
        ..EndedTry::new(lease, TaskState::AwaitingInput)
    }
}

async fn ask(hands: &mut Hands, lease: Lease, version: i32, question: &Question) {
    assert!(hands.record(asking(lease, version, question)).await);
}

fn spec() -> Arc<DagSpec> {
    let callbacks = json!({ "on_awaiting_input": [{ "connection": "team" }] });
    dag(json!({ "dag_id": "d", "tasks": [{ "task_id": "a", "kind": "approval", "callbacks": callbacks }] }))
}

async fn asked(database: &TestDb, question: &Question) -> (Hands, Uuid, Lease, i32) {
    let mut db = one(database).await;
    let version = register(&mut db, &[spec()]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
    let mut hands = Hands::new(database, &[version], LEASE).await;
    let lease = hands.claim(1).await[0].lease;
    ask(&mut hands, lease, version, question).await;
    (hands, run, lease, version)
}

/// Simulates that `ms` milliseconds pass, by moving all stored timestamps back.
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
    let any = Search::default;
    let (no_users, other) = (Vec::<String>::new(), "nothing");
    for (search, expected) in [
        (any().and(by::OPEN.is_so(true)).and(by::ANSWERED.is_so(false)), 1),
        (any().and(by::OPEN.is_so(false)), 0),
        (any().and(by::ANSWERED.is_so(true)), 0),
        (any().and(by::DAG_ID.is("other")), 0),
        (
            any()
                .and(by::SUBJECT_SEARCH.contains([other, "gO"]))
                .and(by::TRY.is(1))
                .and(by::MAP_INDEX.is(-1))
                .and(by::LAST.holds()),
            1,
        ),
        (any().and(by::SUBJECT_SEARCH.begins([other, "gO"])), 0),
        (any().and(by::SUBJECT_SEARCH.begins([other, "Go"])).and(by::TASK_ID.is("a")), 1),
        (any().and(by::BODY_SEARCH.contains(["%"])), 0),
        (any().and(by::STATE.is("awaiting_input")), 1),
        (any().and(by::STATE.any_of(["awaiting_input", "success"])), 1),
        (any().and(by::STATE.is("success")), 0),
        (any().and(by::ANSWERED_BY_ID.any_of(no_users)), 0),
        // `pass` has moved `asked_at` back since `row` was read.
        (any().and(by::ASKED_AT.compare(Compare::AtLeast, row.asked_at)), 0),
        (any().and(by::ASKED_AT.compare(Compare::Below, row.asked_at)).and(by::RUN_ID.is(row.run_id)), 1),
    ] {
        assert_eq!(APPROVALS.count(&mut db, &search).await.unwrap(), expected, "{search:?}");
        assert_eq!(APPROVALS.rows(&mut db, &search).await.unwrap().len() as i64, expected, "{search:?}");
    }
}

#[tokio::test]
async fn an_open_question_is_not_overdue_until_its_time_is_over() {
    let database = database().await;
    let mut db = one(&database).await;
    asked(&database, &question()).await;
    pass(&mut db, 60_000).await;
    let found = vitals(&mut db).await.unwrap();
    assert_eq!((found.overdue, found.oldest_overdue_secs), (0, None));
    pass(&mut db, WEEK_MS).await;
    let found = vitals(&mut db).await.unwrap();
    assert!(found.overdue == 1 && found.oldest_overdue_secs.is_some_and(|secs| secs > 59.0), "{found:?}");
}

async fn told(db: &mut PgConnection) -> Vec<AlertRow> {
    let mut all = ALERTS.rows(db, &Search::default()).await.expect("a list");
    all.reverse();
    all
}

#[tokio::test]
async fn who_is_asked_is_told_once_for_each_question() {
    let database = database().await;
    let (mut hands, run, lease, version) = asked(&database, &question()).await;
    let mut db = one(&database).await;
    let first = told(&mut db).await.pop().expect("it is told");
    let asked = first.facts.asked.clone().expect("with the question");
    let row = approval(&mut db, lease.attempt).await.unwrap().expect("it is there");
    assert_eq!((asked.id, asked.until, first.facts.reason.as_str()), (lease.attempt, row.give_up_at, "Go?"));
    assert_eq!(
        (asked.assigned_users, asked.options),
        (vec!["ann".to_string()], vec!["Approve".into(), "Reject".into()])
    );
    // If an outcome is recorded twice or under an outdated lease, no second alert is sent.
    let mut stranger = asking(lease, version, &question());
    stranger.lease.lease_no += 7;
    stranger.alerts[0].key += "of a stranger";
    assert!(!hands.record(stranger).await && !hands.record(asking(lease, version, &question())).await);
    assert_eq!(told(&mut db).await.len(), 1);
    // After a user's response, the worker that continues the attempt is lost and another worker continues it. The user
    // is not asked again.
    assert!(answer_approval(&mut db, lease.attempt, &given("Approve"), "ann").await.unwrap().is_some());
    assert_eq!(wake_waiting(&mut db, 10).await.unwrap(), 1);
    let again = hands.claim(1).await[0].lease;
    assert_eq!((again.attempt, told(&mut db).await.len()), (lease.attempt, 1));
    // The same attempt may ask another question, and so may the next attempt.
    ask(&mut hands, again, version, &Question::approval("Really?")).await;
    assert_eq!(told(&mut db).await.len(), 2);
    let tasks = vec![Selected { task: 0, index: None }];
    let wish = ClearScope { selection: Selection { tasks, ..Selection::default() }, ..ClearScope::default() };
    clear_instances(&mut db, &Locks::begin().runs(), &mut Stepper::default(), &mut Versions::default(), run, &wish)
        .await
        .unwrap();
    let anew = hands.claim(1).await[0].lease;
    ask(&mut hands, anew, version, &question()).await;
    let all = told(&mut db).await;
    let ids: Vec<_> = all.iter().filter_map(|row| row.facts.asked.as_ref()).map(|asked| asked.id).collect();
    assert_eq!(ids, [lease.attempt, lease.attempt, anew.attempt]);
    // Retrying the alert does not extend the deadline for the answer.
    retry_alert(&mut db, first.id).await.unwrap();
    let sent = claim_alerts(&mut db, 10).await.unwrap().into_iter().find(|one| one.id == first.id).expect("it is due");
    assert_eq!(sent.facts.asked.and_then(|asked| asked.until), row.give_up_at);
}

#[tokio::test]
async fn questions_are_ordered_by_all_that_is_shown_of_them() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[spec()]).await[0].version_id;
    let mut hands = Hands::new(&database, &[version], LEASE).await;
    let mut attempts = Vec::new();
    for subject in ["b", "a", "c"] {
        trigger(&mut db, &mut Versions::default(), "d").await;
        let lease = hands.claim(1).await[0].lease;
        ask(&mut hands, lease, version, &Question { subject: subject.into(), ..question() }).await;
        attempts.push(lease.attempt);
    }
    answer_approval(&mut db, attempts[1], &given("Approve"), "zoe").await.unwrap();
    answer_approval(&mut db, attempts[2], &given("Approve"), "ann").await.unwrap();
    assert_eq!(wake_waiting(&mut db, 10).await.unwrap(), 2);
    let again = hands.claim(10).await;
    let third = again.iter().find(|claimed| claimed.lease.attempt == attempts[2]).expect("it goes on");
    assert!(hands.end(third.lease, TaskState::Success).await);
    for (name, ascending, descending) in [
        ("ti_id", "bac", "cab"),
        ("created_at", "bac", "cab"),
        ("subject", "abc", "cba"),
        // Rows without a value are last in both orders.
        ("responded_at", "acb", "cab"),
        ("responded_by_user_name", "cab", "acb"),
        ("run_after", "bac", "cab"),
        ("dag_id", "bac", "cab"),
        ("task_display_name", "bac", "cab"),
        ("rendered_map_index", "bac", "cab"),
        ("task_instance_operator", "bac", "cab"),
        // The states are awaiting_input, running and success.
        ("task_instance_state", "bac", "cab"),
    ] {
        let column = APPROVALS.columns.iter().find(|column| column.is_sorted && column.name == name).unwrap();
        for (order, expected) in [(column.ascending(), ascending), (column.descending(), descending)] {
            let found = APPROVALS.rows(&mut db, &Search::default().by(order)).await.unwrap();
            let subjects: String = found.iter().map(|row| row.question.subject.as_str()).collect();
            assert_eq!(subjects, expected, "{name} {:?}", order.direction);
        }
    }
    let by_subject = by::SUBJECT_SEARCH.ascending();
    for (states, expected) in [(&["success"][..], "c"), (&["running", "success"], "ac"), (&["failed"], "")] {
        let search = Search::default().and(by::STATE.any_of(states.iter().copied())).by(by_subject);
        let found = APPROVALS.find(&mut db, &search).await.unwrap();
        assert_eq!(found.rows.iter().map(|row| row.question.subject.as_str()).collect::<String>(), expected);
        assert_eq!(APPROVALS.count(&mut db, &search).await.unwrap(), expected.len() as i64);
    }
    let answered_by = |user: &str| Search::default().and(by::ANSWERED_BY_ID.is(user));
    assert_eq!(APPROVALS.count(&mut db, &answered_by("zoe")).await.unwrap(), 1);
    assert_eq!(APPROVALS.count(&mut db, &answered_by("bob")).await.unwrap(), 0);
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
    let wish = ClearScope { selection: Selection { tasks, ..Selection::default() }, ..ClearScope::default() };
    clear_instances(&mut db, &Locks::begin().runs(), &mut Stepper::default(), &mut versions, run, &wish).await.unwrap();
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
    let moved = move_run(&mut db, &Locks::begin().runs(), &mut Versions::default(), run, to).await.unwrap();
    assert_eq!(moved, MoveRun::Moved);
    let open = open_question(&mut db, run, "a", -1).await.unwrap().expect("it is open");
    assert_eq!(open.attempt, lease.attempt);
    assert!(answer_approval(&mut db, lease.attempt, &given("Approve"), "ann").await.unwrap().is_some());
    assert_eq!(wake_waiting(&mut db, 10).await.unwrap(), 1);
}
