//! Tests of the overlap policy: whether a run may start while other runs are active. Each case has two lines.

use orch_core::overlap::{ActiveRun, Begin, begin, has_policy, keys};
use orch_spec::DagSpec;
use serde_json::{Value, json};

fn dag(overlap: &str, concurrency: &Value) -> DagSpec {
    let spec = json!({ "dag_id": "d", "overlap": overlap, "concurrency": concurrency,
        "tasks": [{ "task_id": "t", "kind": "rust" }] });
    serde_json::from_value(spec).expect("a spec")
}

fn plain(overlap: &str) -> DagSpec {
    dag(overlap, &json!([]))
}

/// Returns a DAG with at most one run per customer.
fn by_customer(overlap: &str) -> DagSpec {
    dag(overlap, &json!([{ "key": "customer", "most": 1 }]))
}

/// Parses a run: `acme` is an active run for that customer, `-` an active run without a customer, `(acme)` a backfill
/// run.
fn running_of(spec: &DagSpec, text: &str) -> ActiveRun {
    let name = text.trim_matches(['(', ')']);
    let conf = if name == "-" { json!({}) } else { json!({ "customer": name }) };
    ActiveRun { keys: keys(spec, Some(&conf)), is_backfill: text.starts_with('(') }
}

/// Checks the decision about the last run in `runs`, for a DAG that allows `most` runs.
#[track_caller]
fn check(spec: &DagSpec, most: usize, runs: &str, expected: &str) {
    let mut runs: Vec<ActiveRun> = runs.split_whitespace().map(|text| running_of(spec, text)).collect();
    let new = runs.pop().expect("one that would begin");
    let said = match begin(spec, most, &runs, &new) {
        Begin::Now => "now".into(),
        Begin::Wait => "wait".into(),
        Begin::Skip => "skip".into(),
        Begin::Cancel(places) => format!("cancel {places:?}"),
    };
    assert_eq!(said, expected);
}

#[test]
fn without_a_place_it_waits_is_skipped_or_takes_the_oldest_ones() {
    check(&plain("queue"), 1, "- -", "wait");
    check(&plain("skip"), 1, "- -", "skip");
    check(&plain("cancel_running"), 1, "- -", "cancel [0]");
    check(&plain("cancel_running"), 2, "- - -", "cancel [0]");
    // More runs are active than the limit allows, because it was higher when they started.
    check(&plain("cancel_running"), 2, "- - - - -", "cancel [0, 1, 2]");
}

#[test]
fn with_a_place_it_begins() {
    for overlap in ["queue", "skip", "cancel_running"] {
        check(&plain(overlap), 1, "-", "now");
        check(&plain(overlap), 3, "- - -", "now");
        check(&by_customer(overlap), 9, "acme bolt -", "now");
        check(&by_customer(overlap), 9, "acme bolt cork", "now");
    }
}

#[test]
fn runs_of_a_value_are_counted_by_themselves() {
    check(&by_customer("queue"), 9, "acme bolt acme", "wait");
    check(&by_customer("skip"), 9, "acme bolt acme", "skip");
    check(&by_customer("cancel_running"), 9, "bolt acme acme", "cancel [1]");
    check(&dag("queue", &json!([{ "key": "customer", "most": 2 }])), 9, "acme acme", "now");
    check(&dag("queue", &json!([{ "key": "customer", "most": 2 }])), 9, "acme acme acme", "wait");
}

#[test]
fn what_has_no_value_is_not_limited_by_it() {
    check(&by_customer("queue"), 9, "- - - -", "now");
    check(&by_customer("queue"), 3, "- - - -", "wait");
}

#[test]
fn both_limits_hold() {
    check(&by_customer("queue"), 2, "acme bolt cork", "wait");
    check(&by_customer("cancel_running"), 2, "acme bolt cork", "cancel [0]");
    // The run that is cancelled because of the DAG's limit also frees the customer's slot.
    check(&by_customer("cancel_running"), 2, "acme bolt acme", "cancel [0]");
    check(&by_customer("cancel_running"), 2, "bolt acme acme", "cancel [0, 1]");
}

#[test]
fn backfills_have_a_limit_of_their_own_wait_and_are_waited_for() {
    check(&plain("skip"), 1, "(-) (-) -", "now");
    check(&plain("skip"), 1, "- (-)", "now");
    check(&by_customer("skip"), 9, "acme (acme)", "wait");
    check(&by_customer("cancel_running"), 9, "acme (acme)", "wait");
    check(&by_customer("queue"), 9, "(acme) acme", "wait");
    check(&by_customer("cancel_running"), 9, "(acme) acme", "wait");
}

#[test]
fn values_are_those_of_the_params_with_their_defaults() {
    let mut spec = dag("queue", &json!([{ "key": "customer.id", "most": 1 }, { "key": "region", "most": 1 }]));
    assert_eq!(keys(&spec, Some(&json!({ "customer": { "id": 7 }, "region": null }))), [Some("7".into()), None]);
    spec.params_schema = Some(json!({ "properties": { "region": { "default": "eu" } } }));
    assert_eq!(keys(&spec, None), [None, Some(r#""eu""#.into())]);
    // A number and a string count as different values of a key.
    assert_ne!(keys(&spec, Some(&json!({ "region": 1 }))), keys(&spec, Some(&json!({ "region": "1" }))));
}

#[test]
fn a_dag_that_says_nothing_is_not_asked_about() {
    assert!(!has_policy(&plain("queue")));
    assert!(has_policy(&plain("skip")) && has_policy(&by_customer("queue")));
    let silent: DagSpec = serde_json::from_value(json!({ "dag_id": "d", "tasks": [] })).expect("a spec");
    assert_eq!(silent.version(), DagSpec { overlap: orch_spec::Overlap::Queue, ..silent.clone() }.version());
    assert!(!serde_json::to_string(&silent).expect("JSON").contains("overlap"), "versions of before stay the same");
}
