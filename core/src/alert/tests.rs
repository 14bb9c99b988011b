//! Tests of which alerts are created, their messages, and which templates are rejected. Two lines per case.

use super::*;
use chrono::DateTime;
use orch_spec::DeadlineFrom;
use orch_spec::template::{FIELDS, check_template};
use serde_json::{Value, json};

fn dag(callbacks: &Value) -> DagSpec {
    let task = json!({ "task_id": "load", "kind": "rust", "callbacks": callbacks });
    let spec = json!({ "dag_id": "sales", "tasks": [task], "callbacks": callbacks });
    serde_json::from_value(spec).expect("a dag")
}

fn everybody() -> DagSpec {
    let to = |who: &str| json!([{ "connection": who }, { "connection": "all" }]);
    dag(&json!({ "on_success": to("glad"), "on_failure": to("sad"), "on_retry": to("busy"), "on_skipped": to("idle"),
        "on_stale": to("stale"), "on_failed_check": to("bad"), "on_awaiting_input": to("asked") }))
}

/// Checks the kind and connection of each alert, in order.
fn check(alerts: &[NewAlert], expected: &str) {
    let found: Vec<String> = alerts.iter().map(|one| format!("{} {}", one.kind, one.notifier.connection)).collect();
    assert_eq!(found.join(", "), expected);
    let mut keys: Vec<&str> = alerts.iter().map(|one| one.key.as_str()).collect();
    keys.dedup();
    assert_eq!(keys.len(), alerts.len(), "each has a key of its own");
}

fn of_state(state: TaskState) -> Vec<NewAlert> {
    let causes = ["no answer".into(), "timeout".into()];
    let end = TryEnd { attempt: Uuid::nil(), try_number: 2, map_index: 3, state, causes: &causes };
    of_try("sales", &everybody().tasks[0], end)
}

#[test]
fn the_end_of_a_try_tells_whoever_waits_for_it() {
    check(&of_state(TaskState::Success), "task_success glad, task_success all");
    check(&of_state(TaskState::Failed), "task_failed sad, task_failed all");
    check(&of_state(TaskState::UpForRetry), "task_retry busy, task_retry all");
    check(&of_state(TaskState::Skipped), "task_skipped idle, task_skipped all");
}

#[test]
fn what_is_no_end_and_what_never_ran_tells_nobody() {
    let silent = [
        TaskState::Running,
        TaskState::Deferred,
        TaskState::AwaitingInput,
        TaskState::UpForReschedule,
        TaskState::UpstreamFailed,
    ];
    silent.into_iter().for_each(|state| check(&of_state(state), ""));
}

#[test]
fn a_run_tells_when_it_is_over_and_again_when_it_was_cleared() {
    let of = |rev, state| of_run(&everybody(), Uuid::nil(), rev, state);
    check(&of(7, RunState::Success), "run_success glad, run_success all");
    check(&of(7, RunState::Failed), "run_failed sad, run_failed all");
    check(&of(7, RunState::Running), "");
    assert_eq!(of(7, RunState::Failed), of(7, RunState::Failed), "told twice it is the same");
    assert_ne!(of(7, RunState::Failed)[0].key, of(9, RunState::Failed)[0].key);
}

#[test]
fn assets_and_checks_tell_the_dag() {
    let at = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
    check(&of_stale_asset(&everybody(), "s3://b/orders", at), "asset_stale stale, asset_stale all");
    let failed = FailedCheck {
        id: 4,
        uri: "s3://b/orders".into(),
        name: "id is unique".into(),
        outcome: "fail".into(),
        bad: 2,
        rows: 10,
        task_id: "load".into(),
        map_index: -1,
        try_number: 1,
    };
    let told = of_failed_check(&everybody(), &failed);
    check(&told, "check_failed bad, check_failed all");
    assert_eq!(told[0].facts.reason, "id is unique: 2 of 10 rows");
}

#[test]
fn a_deadline_says_what_it_counted_from() {
    let notify = everybody().callbacks.on_failure;
    let deadline = Deadline { from: DeadlineFrom::Started, after_ms: 90_000, notify, extra: serde_json::Map::new() };
    let told = of_deadline("sales", (1, &deadline), Uuid::nil(), RunState::Running);
    check(&told, "deadline_missed sad, deadline_missed all");
    assert_eq!(told[0].facts.reason, "not over 90 s after it started");
    assert_eq!(told[0].key, format!("deadline_missed/{}/1/0", Uuid::nil()));
}

fn element(index: i32, reason: &str) -> Facts {
    let task_id = Some("load".into());
    Facts { dag_id: "sales".into(), task_id, map_index: Some(index), reason: reason.into(), ..Facts::default() }
}

#[test]
fn elements_are_gathered_unless_somebody_wants_each() {
    let gathers = |alerts: Vec<NewAlert>| alerts.into_iter().map(|alert| alert.gather).collect::<Vec<_>>();
    let of = |nth: usize, who: &str| Some(format!("task_failed/load/{nth}/{who}"));
    assert_eq!(gathers(of_state(TaskState::Failed)), [of(0, "sad"), of(1, "all")]);
    let mut each = everybody();
    each.tasks[0].callbacks.on_failure[0].each = true;
    let end = TryEnd { attempt: Uuid::nil(), try_number: 1, map_index: 0, state: TaskState::Failed, causes: &[] };
    assert_eq!(gathers(of_try("sales", &each.tasks[0], end)), [None, of(1, "all")]);
    assert_eq!(gathers(of_try("sales", &each.tasks[0], TryEnd { map_index: -1, ..end })), [None, None]);
    assert_eq!(gathers(of_run(&each, Uuid::nil(), 1, RunState::Failed)), [None, None]);
}

#[test]
fn many_elements_are_one_message_that_names_a_few() {
    assert_eq!(gathered(1, &[element(3, "no answer")]), element(3, "no answer"), "one alone is told as it is");
    let facts: Vec<Facts> = (2..9).map(|index| element(index, "no answer\nat all")).collect();
    let told = gathered(10_000, &facts);
    assert_eq!(told.elements, Some(Elements { count: 10_000, first: vec![2, 3, 4, 5, 6] }));
    let said =
        message(("k", AlertKind::TaskFailed), &Notifier::default(), &told, (Some("r1"), None), DateTime::UNIX_EPOCH);
    assert_eq!(said.subject, "10000 elements of task `load` of `sales`, run `r1` failed");
    let link = "/dags/sales/runs/r1?task=load&state=failed";
    let end = format!("failed\n[2], [3], [4], [5], [6] no answer\nand 9995 more\n{link}");
    assert!(said.text.ends_with(&end), "{}", said.text);
    assert_eq!(said.fields["elements"], json!({ "count": 10_000, "first": [2, 3, 4, 5, 6] }));
    let own = Notifier { message: Some("{count}: {map_index}".into()), ..Notifier::default() };
    let own =
        |facts: &Facts| message(("k", AlertKind::TaskFailed), &own, facts, (None, None), DateTime::UNIX_EPOCH).text;
    assert_eq!((own(&told), own(&facts[0])), ("10000: 2, 3, 4, 5, 6, …".into(), "1: 2".into()));
    let others = gathered(3, &[element(1, "gone"), element(2, "full"), element(7, "gone")]);
    assert_eq!(others.reason, "[1], [7] gone\n[2] full");
    // Two attempts of the same element are listed once.
    let twice = gathered(2, &[element(4, ""), element(4, "")]);
    assert_eq!((twice.reason.as_str(), twice.elements.expect("two").first), ("[4]", vec![4]));
}

fn words(subject: Option<&str>, text: Option<&str>) -> (String, String) {
    let told = &of_state(TaskState::Failed)[0];
    let notifier =
        Notifier { subject: subject.map(Into::into), message: text.map(Into::into), ..told.notifier.clone() };
    let at = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
    let said = message((&told.key, told.kind), &notifier, &told.facts, (Some("r1"), Some(at)), at);
    assert_eq!((&said.fields["dag_id"], &said.fields["map_index"]), (&json!("sales"), &json!(3)));
    (said.subject, said.text)
}

fn asks(lease_no: i32, question: &Question) -> Vec<NewAlert> {
    let asks = TryAsks { attempt: Uuid::nil(), lease_no, try_number: 1, map_index: -1, question };
    of_question("sales", &everybody().tasks[0], asks)
}

fn question() -> Question {
    let assigned_users = vec!["ann".into(), "bob".into()];
    Question { body: Some("It goes to all.".into()), assigned_users, ..Question::approval("Publish?") }
}

#[test]
fn a_question_tells_whoever_waits_for_it_and_again_only_if_it_is_another() {
    check(&asks(1, &question()), "task_awaiting_input asked, task_awaiting_input all");
    assert_eq!(asks(1, &question()), asks(1, &question()), "told twice it is the same");
    assert_ne!(asks(1, &question())[0].key, asks(3, &question())[0].key);
    let long = Question { body: Some("é".repeat(MOST_BODY_CHARS + 1)), ..question() };
    let asked = asks(1, &long).remove(0).facts.asked.expect("with the question");
    assert_eq!(asked.body.chars().count(), MOST_BODY_CHARS);
}

#[test]
fn a_question_is_told_with_the_way_to_its_answer() {
    let at = DateTime::from_timestamp(1_800_000_000, 0);
    let mut told = asks(1, &question()).remove(0);
    told.facts.asked.as_mut().expect("with the question").until = at;
    let said = |template: Option<&str>, facts: &Facts| {
        let notifier = Notifier { message: template.map(Into::into), ..told.notifier.clone() };
        message((&told.key, told.kind), &notifier, facts, (Some("r1"), None), at.expect("a time"))
    };
    let link = format!("/approvals/{}", Uuid::nil());
    let usual = said(None, &told.facts);
    assert_eq!(usual.subject, "task `load` of `sales`, run `r1` waits for an answer");
    let lines = [
        usual.subject.as_str(),
        "Publish?",
        "It goes to all.",
        "It asks ann, bob, until 2027-01-15T08:00:00+00:00: Approve, Reject",
        &format!("Answer it: {link}"),
    ];
    assert_eq!(usual.text, lines.join("\n"));
    let known = Facts { address: "https://orch.example.com/".into(), ..told.facts.clone() };
    let own = said(Some("{subject} {body} {options} {asked} {deadline} {link}"), &known);
    let link = format!("https://orch.example.com{link}");
    assert_eq!(own.text, format!("Publish? It goes to all. Approve, Reject ann, bob 2027-01-15T08:00:00+00:00 {link}"));
    assert_eq!((&own.fields["link"], &own.fields["asked"]), (&json!(link), &json!(["ann", "bob"])));
    assert_eq!((&own.fields["subject"], &own.fields["reason"]), (&json!("Publish?"), &json!("Publish?")));
    // The facts survive a round trip through JSON.
    let kept: Facts = serde_json::from_str(&serde_json::to_string(&told.facts).expect("JSON")).expect("facts");
    assert_eq!(kept, told.facts);
    // An alert that is not about a question has no question, but still has a link.
    let facts = Facts { asked: None, ..told.facts.clone() };
    assert_eq!(said(Some("[{subject}{deadline}{asked}]{link}"), &facts).text, "[]/dags/sales/runs/r1/tasks/load");
}

#[test]
fn words_are_the_usual_ones_or_a_template() {
    let usual = "task `load` [3] of `sales`, run `r1` (attempt 2) failed";
    let link = "/dags/sales/runs/r1/tasks/load/3";
    assert_eq!(words(None, None), (usual.into(), format!("{usual}\nno answer: timeout\n{link}")));
    let own = words(Some("{dag_id}:\n{state}"), Some("{{{task_id}}} {reason}"));
    assert_eq!(own, ("sales: failed".into(), "{load} no answer: timeout".into()));
}

#[test]
fn a_template_names_fields_and_nothing_else() {
    let wrong = |text: &str| check_template(text).expect_err("it is wrong");
    assert_eq!(check_template("{dag_id} {{ok}} {reason}"), Ok(()));
    assert_eq!(wrong("{password}"), "`{password}` is no field of an alert");
    assert_eq!(wrong("100 } "), "a `}` stands alone: write it twice");
    assert_eq!(wrong("{dag_id"), "a `{` stands alone: write it twice");
    FIELDS.into_iter().for_each(|field| assert_eq!(check_template(&format!("{{{field}}}")), Ok(())));
}

#[test]
fn an_alert_is_sent_again_and_again_for_a_day() {
    let (secs, hours) = (Duration::from_secs, Duration::from_hours);
    assert_eq!(again_in(1, secs(0)), Some(secs(1)));
    assert_eq!(again_in(4, secs(20)), Some(secs(8)));
    assert_eq!(again_in(30, hours(20)), Some(LONGEST_PAUSE));
    assert_eq!(again_in(300, hours(24)), None);
    let tries_in_an_hour = (1..).scan(secs(0), |age, tries| {
        *age += again_in(tries, *age)?;
        (*age < hours(1)).then_some(*age)
    });
    assert_eq!(tries_in_an_hour.count(), 19, "a receiver that was down for an hour is not flooded");
}

fn refused(callbacks: &Value, deadlines: &Value) -> Vec<String> {
    let mut spec = dag(callbacks);
    spec.deadlines = serde_json::from_value(deadlines.clone()).expect("deadlines");
    orch_spec::check::problems(&spec).into_iter().map(|problem| problem.message).collect()
}

#[test]
fn start_up_refuses_what_could_tell_nobody() {
    let of_task = |list: &str| refused(&json!({ list: [{ "connection": "chat" }] }), &json!([]));
    assert_eq!(of_task("on_success"), [""; 0]);
    assert_eq!(of_task("on_retry"), ["a run is neither tried again nor skipped"]);
    assert_eq!(of_task("on_stale"), ["a task is not told of its assets"]);
    assert_eq!(of_task("on_awaiting_input"), ["a run asks no one"]);
    let told = refused(&json!({ "on_failure": [{ "connection": "" }] }), &json!([]));
    assert!(told.len() == 2 && told[0].starts_with("a notifier names no connection"), "{told:?}");
    let told = refused(&json!({ "on_failure": [{ "connection": "chat", "message": "{secret}" }] }), &json!([]));
    assert_eq!(told[0], "the words of a notifier: `{secret}` is no field of an alert");
    let told = refused(&json!({}), &json!([{ "from": "started", "after_ms": 0 }]));
    assert_eq!(told, ["a deadline is 0 ms after `started`"]);
}
