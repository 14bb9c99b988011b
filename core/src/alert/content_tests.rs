//! The content of every kind of alert: all its facts, its message and its link.

use super::*;
use chrono::DateTime;
use orch_spec::DeadlineFrom;
use serde_json::{Value, json};

fn notifiers() -> Value {
    json!([{ "connection": "chat" }])
}

fn dag() -> DagSpec {
    let callbacks = json!({ "on_success": notifiers(), "on_failure": notifiers(), "on_retry": notifiers(),
        "on_skipped": notifiers(), "on_awaiting_input": notifiers(), "on_stale": notifiers(),
        "on_failed_check": notifiers() });
    let task = json!({ "task_id": "load", "kind": "rust", "callbacks": callbacks });
    let spec = json!({ "dag_id": "sales", "tasks": [task], "callbacks": callbacks, "run_timeout_ms": 90_000 });
    serde_json::from_value(spec).expect("a DAG")
}

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("a timestamp")
}

/// Asserts that there is one alert, and checks its kind, all its facts and the page that it links to.
fn check(alerts: &[NewAlert], kind: AlertKind, run_id: Option<&str>, facts: &Value, link: &str) {
    let [alert] = alerts else { panic!("one alert, not {alerts:?}") };
    assert_eq!(alert.kind, kind);
    assert_eq!(&serde_json::to_value(&alert.facts).expect("JSON"), facts, "{kind}");
    let own = Notifier { message: Some("{link}".into()), ..alert.notifier.clone() };
    let facts = Facts { address: "https://orch.example.com".into(), ..alert.facts.clone() };
    let sent = message((&alert.key, kind), &own, &facts, (run_id, None), at());
    let link = format!("https://orch.example.com{link}");
    assert_eq!((&sent.text, &sent.fields["link"]), (&link, &json!(link)), "{kind}");
}

#[test]
fn alerts_of_attempts_have_all_facts() {
    let causes = ["no answer".into(), "timeout".into()];
    for (state, kind) in [
        (TaskState::Success, AlertKind::TaskSuccess),
        (TaskState::Failed, AlertKind::TaskFailed),
        (TaskState::UpForRetry, AlertKind::TaskRetry),
        (TaskState::Skipped, AlertKind::TaskSkipped),
    ] {
        let end = TryEnd { attempt: Uuid::nil(), try_number: 2, map_index: 3, state, causes: &causes };
        let facts = |index: Option<i32>| {
            let mut facts = json!({ "dag_id": "sales", "task_id": "load", "try_number": 2, "state": state.to_string(),
                "reason": "no answer: timeout" });
            if let Some(index) = index {
                facts["map_index"] = json!(index);
            }
            facts
        };
        let task = &dag().tasks[0];
        let link = "/dags/sales/runs/r%201/tasks/load";
        check(&of_try("sales", task, end), kind, Some("r 1"), &facts(Some(3)), &format!("{link}/3"));
        check(
            &of_try("sales", task, TryEnd { map_index: 0, ..end }),
            kind,
            Some("r 1"),
            &facts(Some(0)),
            &format!("{link}/0"),
        );
        check(&of_try("sales", task, TryEnd { map_index: -1, ..end }), kind, Some("r 1"), &facts(None), link);
    }
}

#[test]
fn alerts_of_questions_have_all_facts() {
    let question = Question::approval("Publish?");
    let asks = |map_index| {
        let asks = TryAsks { attempt: Uuid::nil(), lease_no: 1, try_number: 2, map_index, question: &question };
        of_question("sales", &dag().tasks[0], asks)
    };
    let asked = json!({ "id": Uuid::nil(), "subject": "Publish?", "body": "", "options": ["Approve", "Reject"],
        "assigned_users": [] });
    let mut facts = json!({ "dag_id": "sales", "task_id": "load", "try_number": 2, "state": "awaiting_input",
        "reason": "Publish?", "asked": asked });
    let (kind, link) = (AlertKind::TaskAwaitingInput, format!("/approvals/{}", Uuid::nil()));
    check(&asks(-1), kind, Some("r1"), &facts, &link);
    facts["map_index"] = json!(0);
    check(&asks(0), kind, Some("r1"), &facts, &link);
}

#[test]
fn alerts_of_runs_deadlines_and_assets_have_all_facts() {
    let (spec, run) = (dag(), Uuid::nil());
    let link = "/dags/sales/runs/r1";
    let ended = |state| of_run(&spec, run, 1, state);
    let facts = |state: &str| json!({ "dag_id": "sales", "state": state });
    check(&ended(RunState::Success), AlertKind::RunSuccess, Some("r1"), &facts("success"), link);
    check(&ended(RunState::Failed), AlertKind::RunFailed, Some("r1"), &facts("failed"), link);
    let facts =
        json!({ "dag_id": "sales", "state": "failed", "reason": "it did not finish within its timeout of 90 s" });
    check(&of_timed_out_run(&spec, run, 1), AlertKind::RunFailed, Some("r1"), &facts, link);
    let notify = serde_json::from_value(notifiers()).expect("notifiers");
    let deadline = Deadline { from: DeadlineFrom::Started, after_ms: 90_000, notify, extra: serde_json::Map::new() };
    let facts = json!({ "dag_id": "sales", "state": "running", "reason": "not over 90 s after it started" });
    let alerts = of_deadline("sales", (0, &deadline), run, RunState::Running);
    check(&alerts, AlertKind::DeadlineMissed, Some("r1"), &facts, link);
    let facts = json!({ "dag_id": "sales", "state": "stale", "reason": "no update since 2027-01-15T08:00:00+00:00",
        "asset": "s3://b/orders" });
    let alerts = of_stale_asset(&spec, "s3://b/orders", at());
    check(&alerts, AlertKind::AssetStale, None, &facts, "/assets?q=s3%3A%2F%2Fb%2Forders");
    for map_index in [-1, 0] {
        let failed = FailedCheck {
            id: 4,
            uri: "s3://b/orders".into(),
            name: "id is unique".into(),
            outcome: "fail".into(),
            bad: 2,
            rows: 10,
            task_id: "load".into(),
            map_index,
            try_number: 3,
        };
        let mut facts = json!({ "dag_id": "sales", "task_id": "load", "try_number": 3, "state": "fail",
            "reason": "id is unique: 2 of 10 rows", "asset": "s3://b/orders" });
        let mut link = format!("{link}/tasks/load");
        if map_index == 0 {
            facts["map_index"] = json!(0);
            link.push_str("/0");
        }
        check(&of_failed_check(&spec, &failed), AlertKind::CheckFailed, Some("r1"), &facts, &link);
    }
}

#[test]
fn alerts_of_streams_and_tests_have_all_facts() {
    let notifiers: Vec<Notifier> = serde_json::from_value(notifiers()).expect("notifiers");
    for (waits_for_restart, state) in [(true, "failed"), (false, "retrying")] {
        let stream = StoppedStream {
            name: "clicks".into(),
            topic: "shop".into(),
            records: "partition 0, offset 17".into(),
            failures: 6,
            waits_for_restart,
        };
        let facts = json!({ "state": state, "reason": "no such column", "stream": stream });
        let alerts = of_stopped_stream(&notifiers, &stream, 1, "no such column");
        check(&alerts, AlertKind::StreamStopped, None, &facts, "/streams/clicks");
    }
    let alert = test(notifiers[0].clone(), Uuid::nil(), "ann");
    let facts = json!({ "reason": "ann wanted to see whether it arrives" });
    check(&[alert], AlertKind::Test, None, &facts, "/alerts");
}

fn failed(count: i64, tasks: &[(&str, i32, i16, &str)]) -> FailedTasks {
    let task = |(id, index, number, cause): &(&str, i32, i16, &str)| {
        let causes = if cause.is_empty() { Vec::new() } else { vec![(*cause).to_string()] };
        FailedTask::new((*id).into(), *index, *number, &causes)
    };
    FailedTasks { count, first: tasks.iter().map(task).collect() }
}

fn of_failed_run(failed: FailedTasks, template: Option<&str>) -> Message {
    let mut alert = of_run(&dag(), Uuid::nil(), 1, RunState::Failed).remove(0);
    alert.facts.add_failures(failed);
    let stored: Facts = serde_json::from_value(serde_json::to_value(&alert.facts).expect("JSON")).expect("facts");
    assert_eq!(stored, alert.facts, "it is stored and read unchanged");
    let notifier = Notifier { message: template.map(Into::into), ..alert.notifier.clone() };
    let facts = Facts { address: "https://orch.example.com/".into(), ..stored };
    message((&alert.key, alert.kind), &notifier, &facts, (Some("r1"), None), at())
}

#[test]
fn a_failed_run_names_task_reason_attempt_number_of_failures_and_link() {
    let link = "https://orch.example.com/dags/sales/runs/r1";
    let one = of_failed_run(failed(1, &[("load", -1, 3, "no answer")]), None);
    assert_eq!(one.subject, "`sales`, run `r1` failed: task `load` on attempt 3");
    assert_eq!(one.text, format!("{}\nno answer\n{link}", one.subject));
    let tasks = [("load", 4, 2, "no answer"), ("load", 7, 1, "gone"), ("count", -1, 0, "")];
    let several = of_failed_run(failed(12, &tasks), None);
    assert_eq!(several.subject, "`sales`, run `r1` failed: 12 tasks, first `load` [4] on attempt 2");
    let others = "Also failed: `load` [7], `count` and 9 more";
    assert_eq!(several.text, format!("{}\nno answer\n{others}\n{link}", several.subject));
    let fields = &several.fields;
    assert_eq!(
        (&fields["task_id"], &fields["map_index"], &fields["try_number"], &fields["reason"], &fields["failed_tasks"]),
        (&json!("load"), &json!(4), &json!(2), &json!("no answer"), &json!(12))
    );
    let failures = json!([{ "task_id": "load", "map_index": 4, "try_number": 2, "reason": "no answer" },
        { "task_id": "load", "map_index": 7, "try_number": 1, "reason": "gone" }, { "task_id": "count" }]);
    assert_eq!((&fields["failures"], &fields["link"]), (&failures, &json!(link)));
    let own = "{task_id} {map_index} {try_number} {failed_tasks} {reason} {link}";
    assert_eq!(of_failed_run(failed(12, &tasks), Some(own)).text, format!("load 4 2 12 no answer {link}"));
    let none = of_failed_run(failed(0, &[]), None);
    assert_eq!(none.text, format!("`sales`, run `r1` failed\n{link}"));
}

#[test]
fn values_cannot_mention_a_channel_in_slack() {
    let tasks = [("load", -1, 1, "<!channel> a & b")];
    let usual = of_failed_run(failed(1, &tasks), None);
    assert!(usual.text.contains("<!channel> a & b"), "{}", usual.text);
    assert!(usual.slack_text.contains("\n&lt;!channel&gt; a &amp; b\n"), "{}", usual.slack_text);
    let own = of_failed_run(failed(1, &tasks), Some("<!here> {reason}"));
    assert_eq!(own.slack_text, "<!here> &lt;!channel&gt; a &amp; b", "the template itself may contain markup");
}

/// Checks that the samples in the guide equal the messages that a chat, an e-mail and a webhook receive.
#[test]
fn the_guide_shows_what_arrives() {
    let guide = include_str!("../../../docs/guides/alerts.md");
    let run: Uuid = "0199d3a4-8c5e-7d2f-9c1b-3f1e2d4c5b6a".parse().expect("an id");
    let sent = |failed: FailedTasks| {
        let mut alert = of_run(&dag(), run, 7, RunState::Failed).remove(0);
        alert.facts.add_failures(failed);
        let facts = Facts { address: "https://orch.example.com".into(), ..alert.facts.clone() };
        let at = "2026-11-29T06:00:12Z".parse().expect("a timestamp");
        let run_id = Some("manual__2026-11-29T06:00:00+00:00");
        message((&alert.key, alert.kind), &alert.notifier, &facts, (run_id, None), at)
    };
    let tasks = [
        ("load_orders", -1, 3, "no answer from the shop"),
        ("load_items", 4, 1, "no answer"),
        ("load_items", 7, 1, "no answer"),
    ];
    let several = sent(failed(3, &tasks));
    assert!(guide.contains(&format!("```text\n{}\n```", several.text)), "{}", several.text);
    let one = sent(failed(1, &tasks[..1]));
    let mut body = one.fields.clone();
    (body["subject"], body["text"]) = (json!(one.subject), json!(one.text));
    let sample = guide.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a sample");
    assert_eq!(serde_json::from_str::<Value>(sample).expect("JSON"), body);
}
