//! Tests of invalid questions, of valid and invalid answers, and of the tasks that answers select.

use super::*;
use serde_json::json;

fn question(of: &Value) -> Question {
    let mut fields = json!({ "subject": "Deploy?", "options": ["a", "b", "c"] });
    fields.as_object_mut().expect("an object").extend(of.as_object().expect("an object").clone());
    serde_json::from_value(fields).expect("a question")
}

fn given(chosen: &[&str], input: &Value) -> ApprovalInput {
    let chosen_options = chosen.iter().map(|option| (*option).to_string()).collect();
    ApprovalInput { chosen_options, params_input: input.as_object().expect("an object").clone() }
}

fn schema() -> Value {
    json!({ "type": "object", "required": ["rows"], "additionalProperties": false, "properties": {
        "rows": { "type": "integer", "minimum": 1, "default": 10 }, "why": { "type": "string" } } })
}

/// `Err` contains a part of the expected message.
fn check(of: &Value, chosen: &[&str], input: &Value, expected: Result<Value, &str>) {
    let found = question(of).answered(given(chosen, input));
    match (found, expected) {
        (Ok(found), Ok(expected)) => assert_eq!(json!(found.params_input), expected, "{of}"),
        (Err(refused), Err(words)) => assert!(refused.to_string().contains(words), "{of}: {refused}"),
        (found, expected) => panic!("{of} {chosen:?}: {found:?}, not {expected:?}"),
    }
}

#[test]
fn an_answer_is_one_of_the_options_and_what_the_form_asks_for() {
    check(&json!({}), &["a"], &json!({}), Ok(json!({})));
    check(&json!({}), &[], &json!({}), Err("nothing is chosen: choose one of a, b, c"));
    check(&json!({}), &["d"], &json!({}), Err("`d` is no option"));
    check(&json!({}), &["a", "b"], &json!({}), Err("only one option"));
    check(&json!({ "multiple": true }), &["a", "b"], &json!({}), Ok(json!({})));
    check(&json!({ "multiple": true }), &["a", "a"], &json!({}), Err("only one"));
    check(&json!({}), &["a"], &json!({ "rows": 1 }), Err("`rows` is not asked for"));
    check(&json!({ "params": schema() }), &["a"], &json!({}), Ok(json!({ "rows": 10 })));
    check(&json!({ "params": schema() }), &["a"], &json!({ "rows": 3 }), Ok(json!({ "rows": 3 })));
    check(&json!({ "params": schema() }), &["a"], &json!({ "rows": 0 }), Err("rows"));
    check(&json!({ "params": schema() }), &["a"], &json!({ "row": 1 }), Err("row"));
}

#[test]
fn a_question_that_is_none_is_told() {
    for (of, words) in [
        (json!({ "subject": " " }), "the subject is empty"),
        (json!({ "subject": "x".repeat(501) }), "more than 500"),
        (json!({ "options": [] }), "0 options"),
        (json!({ "options": ["a", "a"] }), "named twice"),
        (json!({ "defaults": ["d"] }), "its defaults: `d` is no option"),
        (json!({ "defaults": ["a", "b"] }), "its defaults: only one option"),
        (json!({ "defaults": [] }), "its defaults: nothing is chosen"),
        (json!({ "follow": { "d": "t" } }), "`follow` names `d`"),
        (json!({ "params": 3 }), "no JSON Schema"),
    ] {
        let problem = question(&of).check().expect_err("it is none");
        assert!(problem.contains(words), "{of}: {problem}");
    }
    assert_eq!(question(&json!({ "defaults": ["a"], "follow": { "a": "t" } })).check(), Ok(()));
    assert_eq!(Question::approval("Go?").check(), Ok(()));
}

#[test]
fn without_an_answer_the_defaults_are_taken_or_nothing_is() {
    assert_eq!(question(&json!({})).fallback(), None);
    let asked = question(&json!({ "defaults": ["b"], "params": schema() }));
    assert_eq!(asked.fallback(), Some(given(&["b"], &json!({ "rows": 10 }))));
    let form = question(&json!({ "options": [] })).sent();
    assert_eq!((form.options.clone(), form.fallback()), (vec![OK.into()], Some(given(&[OK], &json!({})))));
    assert_eq!(question(&json!({})).sent().fallback(), None, "options that were named have no default of their own");
}

#[test]
fn who_is_named_answers_and_nobody_else() {
    let (runs, reads) = (|name| Person { name, may_start_runs: true }, |name| Person { name, may_start_runs: false });
    let open = question(&json!({}));
    assert_eq!(open.asks(runs("zoe")), Ok(()));
    assert_eq!(open.asks(reads("zoe")), Err(Refused::MayNotRun { user: "zoe".into() }));
    let asked = question(&json!({ "assigned_users": ["ann", "bob"] }));
    assert_eq!((asked.asks(runs("bob")), asked.asks(reads("bob"))), (Ok(()), Ok(())), "whatever the role");
    for zoe in [runs("zoe"), reads("zoe")] {
        assert_eq!(asked.asks(zoe).expect_err("she is not").to_string(), "`zoe` is not asked: one of ann, bob is");
    }
}

#[test]
fn an_answer_leads_somewhere() {
    let output = json!({ "chosen_options": ["a", "b"] });
    assert_eq!(followed(&json!({}), &output), None);
    assert_eq!(followed(&json!({ "follow": { "a": "load" } }), &output), Some(vec!["load".into(), "b".into()]));
    assert!(
        is_rejected(&json!({ "chosen_options": [REJECT] })) && !is_rejected(&json!({ "chosen_options": [APPROVE] }))
    );
}
