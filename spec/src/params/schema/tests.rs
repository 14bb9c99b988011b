//! Tests of the values that schemas allow and reject, of the messages, and that every validation ends.

use super::*;
use schemars::JsonSchema;
use serde_json::json;

/// A region of production.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is of interest")]
enum Region {
    Europe,
    /// A variant with a comment is a `const` of a `oneOf`.
    America,
}

#[derive(JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is of interest")]
enum Target {
    Table { name: String },
    File { path: String, rows: u32 },
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of interest")]
struct Nested {
    #[schemars(length(min = 2, max = 3))]
    code: String,
    next: Option<Box<Nested>>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is of interest")]
struct Params {
    region: Region,
    regions: Vec<Region>,
    #[schemars(range(min = 1, max = 10))]
    limit: u32,
    share: Option<f64>,
    target: Option<Target>,
    nested: Option<Nested>,
    labels: std::collections::BTreeMap<String, i32>,
    pair: Option<(String, u8)>,
}

fn good() -> Value {
    json!({ "region": "europe", "regions": [], "limit": 3, "labels": {} })
}

/// Returns the violations of a valid value with some fields changed.
fn wrong(change: Value) -> Vec<String> {
    let schema = serde_json::to_value(schemars::schema_for!(Params)).expect("a schema is JSON");
    let mut value = good();
    let Value::Object(change) = change else { panic!("fields") };
    value.as_object_mut().expect("fields").extend(change);
    violations(&schema, &value)
        .into_iter()
        .map(|v| v.hint.iter().fold(v.to_string(), |text, hint| format!("{text} ({hint})")))
        .collect()
}

#[test]
fn a_value_of_the_type_is_let_through() {
    assert_eq!(wrong(json!({})), [""; 0]);
    let rich = json!({
        "region": "america", "regions": ["europe", "america"], "share": 0.5, "labels": { "a": 1 },
        "target": { "kind": "file", "path": "/x", "rows": 7 }, "pair": ["a", 1],
        "nested": { "code": "ab", "next": { "code": "abc", "next": null } },
    });
    assert_eq!(wrong(rich), [""; 0]);
    assert_eq!(wrong(json!({ "share": null, "target": null, "nested": null })), [""; 0]);
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (change, expected) in [
        (json!({ "limit": "3" }), "`limit` is a string, not an integer"),
        (json!({ "limit": 0 }), "`limit` is 0, less than 1"),
        (json!({ "limit": 11 }), "`limit` is 11, more than 10"),
        (json!({ "limit": 2.5 }), "`limit` is a number, not an integer"),
        (json!({ "share": "half" }), "`share` is a string, not a number or null"),
        (
            json!({ "region": "eurpe" }),
            r#"`region` is "eurpe", not one of "europe", "america" (did you mean "europe"?)"#,
        ),
        (json!({ "regions": ["europe", 7] }), r#"`regions.1` is 7, not one of "europe", "america""#),
        (json!({ "labels": { "a": true } }), "`labels.a` is a boolean, not an integer"),
        (json!({ "limitt": 4 }), "`limitt` is not known (did you mean `limit`?)"),
        (json!({ "nested": { "code": "abcd" } }), "`nested.code` has 4 characters, at most 3 allowed"),
        (
            json!({ "nested": { "code": "ab", "next": { "code": "x" } } }),
            "`nested.next.code` has 1 character, at least 2 needed",
        ),
        (json!({ "pair": ["a", "b"] }), "`pair.1` is a string, not an integer"),
    ] {
        assert_eq!(wrong(change.clone()), [expected], "{change}");
    }
    let nothing = violations(&serde_json::to_value(schemars::schema_for!(Params)).expect("JSON"), &json!({}));
    assert_eq!(nothing.len(), 4);
    assert_eq!(nothing[0].to_string(), "`region` is missing");
}

#[test]
fn of_several_alternatives_the_nearest_is_explained() {
    let told = wrong(json!({ "target": { "kind": "file", "path": "/x", "rows": "many" } }));
    assert_eq!(told, ["`target.rows` is a string, not an integer"]);
    assert!(!wrong(json!({ "target": { "kind": "folder" } })).is_empty());
    assert!(!wrong(json!({ "target": 5 })).is_empty());
}

#[test]
fn words_of_dag_files_are_judged_too() {
    for (schema, good, bad, expected) in [
        (json!({ "pattern": "^[a-z]+$" }), json!("abc"), json!("a1"), "it is \"a1\", which does not match `^[a-z]+$`"),
        (json!({ "format": "date" }), json!("2026-11-22"), json!("22.11."), "it is \"22.11.\", not a date"),
        (
            json!({ "format": "date-time", "x-format": "rfc3339" }),
            json!("2026-11-22T10:00:00Z"),
            json!("soon"),
            "it is \"soon\", not a date-time",
        ),
        (
            json!({ "format": "uuid" }),
            json!("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
            json!("x"),
            "it is \"x\", not a uuid",
        ),
        (json!({ "format": "email" }), json!("a@b.c"), json!("b"), "it is \"b\", not an email"),
        (json!({ "format": "duration" }), json!("PT5M"), json!("5m"), "it is \"5m\", not a duration"),
        (json!({ "format": "date" }), json!("2026-02-03"), json!("2026-2-3"), "it is \"2026-2-3\", not a date"),
        (json!({ "format": "date-time" }), json!("2026-11-22T10:00:00"), json!(null), ""),
        (json!({ "multipleOf": 0.5 }), json!(1.5), json!(0.25), "it is 0.25, not a multiple of 0.5"),
        (json!({ "const": 5 }), json!(5.0), json!(5.5), "it is 5.5, not 5"),
        (
            json!({ "oneOf": [{ "type": "integer" }, { "minimum": 2 }] }),
            json!(2.5),
            json!(2),
            "it is 2, which fits more than one of its alternatives",
        ),
        (json!({ "uniqueItems": true }), json!([1, 2]), json!([1, 2, 1]), "`2` is there twice"),
        (json!({ "minProperties": 1 }), json!({ "a": 1 }), json!({}), "it has 0 fields, at least 1 needed"),
        (json!({ "format": "multiline" }), json!("any"), json!(null), ""),
    ] {
        assert_eq!(violations(&schema, &good), [], "{schema}");
        let found: Vec<String> = violations(&schema, &bad).iter().map(ToString::to_string).collect();
        assert_eq!(found.join("; "), expected, "{schema}");
    }
}

#[test]
fn a_pattern_is_compiled_once_for_all_values() {
    let schema = json!({ "items": { "anyOf": [{ "pattern": "^a" }, { "pattern": "^b" }] } });
    let values: Vec<String> = (0..100).map(|n| format!("b{n}")).collect();
    let values = json!(values);
    let mut judge = Judge::new(&schema);
    judge.judge(&schema, &values, 0);
    assert_eq!(judge.found, []);
    assert_eq!(judge.patterns.compiled(), 2);
}

/// Runs a validation that took seconds to years before there were limits.
fn soon(schema: &Value, value: &Value) -> Vec<Violation> {
    let began = std::time::Instant::now();
    let found = violations(schema, value);
    assert!(began.elapsed() < std::time::Duration::from_millis(100), "{:?}", began.elapsed());
    found
}

#[test]
fn alternatives_that_refer_to_each_other_are_judged_once_for_each_value() {
    let next = json!({ "$ref": "#/$defs/any" });
    let link = |kind: &str| json!({ "type": "object", "properties": { "kind": { "const": kind }, "next": next } });
    let schema = json!({ "$ref": "#/$defs/any", "$defs": {
        "any": { "anyOf": [{ "type": "null" }, { "$ref": "#/$defs/a" }, { "$ref": "#/$defs/b" }] },
        "a": link("a"), "b": link("b"),
    } });
    let nested = |kind: &str, end: Value| (0..40).fold(end, |next, _| json!({ "kind": kind, "next": next }));
    assert_eq!(soon(&schema, &nested("b", Value::Null)), []);
    assert!(!soon(&schema, &nested("b", json!(1))).is_empty());
    assert!(!soon(&schema, &nested("c", Value::Null)).is_empty());
    let deep = (0..60).fold(Value::Null, |next, _| json!({ "kind": "b", "next": next }));
    assert!(!soon(&schema, &deep).is_empty(), "what is too deep to be checked is refused");
    // Without `$defs`: every level has two alternatives, and both lead to the root.
    let schema = json!({ "type": "object", "additionalProperties": { "anyOf": [{ "$ref": "#" }, { "$ref": "#" }] } });
    assert!(!soon(&schema, &(0..60).fold(json!(1), |next, _| json!({ "a": next }))).is_empty());
    assert_eq!(soon(&schema, &(0..60).fold(json!({}), |next, _| json!({ "a": next }))), []);
}

#[test]
fn references_that_double_are_judged_once() {
    let both = |to: &str| json!({ "allOf": [{ "$ref": to }, { "$ref": to }] });
    let mut names = serde_json::Map::new();
    for level in 0..60 {
        names.insert(format!("a{level}"), both(&format!("#/$defs/a{}", level + 1)));
    }
    names.insert("a60".into(), json!({ "type": "integer" }));
    let schema = json!({ "$ref": "#/$defs/a0", "$defs": names });
    assert_eq!(soon(&schema, &json!(1)), []);
    // Each `allOf` doubles the violations as well.
    assert!(soon(&schema, &json!("x")).len() >= MAX_VIOLATIONS);
    assert_eq!(soon(&both("#"), &json!("x")), []);
}

#[test]
fn a_validation_of_too_many_steps_ends_with_that_reason() {
    let alternatives: Vec<Value> = (0..500).rev().map(|n| json!({ "minimum": n })).collect();
    let schema = json!({ "items": { "anyOf": alternatives } });
    let found = violations(&schema, &json!(vec![0; 5_000]));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].to_string(), "it takes more than 1000000 steps to check");
    assert_eq!(violations(&schema, &json!([0, 500])), []);
    assert_eq!(violations(&schema, &json!([0, -1])).len(), 1);
    // The largest list that a conf can contain, with an ordinary schema.
    assert_eq!(violations(&json!({ "items": { "type": "integer" } }), &json!(vec![0; 500_000])), []);
}

#[test]
fn long_values_are_shown_in_part() {
    let long = "ü".repeat(1_000);
    assert_eq!(truncate_json(&json!(long)).chars().count(), MAX_SHOWN + 1);
    let exact = "x".repeat(MAX_SHOWN - 2);
    assert_eq!(truncate_json(&json!(exact)), format!("\"{exact}\""));
    assert!(truncate_json(&json!(vec![long; 100])).ends_with('…'));
}

#[test]
fn a_schema_that_turns_in_a_circle_ends() {
    let schema = json!({ "$ref": "#" });
    assert_eq!(violations(&schema, &json!(1)), []);
    assert_eq!(violations(&json!(false), &json!(1))[0].to_string(), "it is not allowed");
}

#[test]
fn a_pattern_that_is_too_large_is_refused_and_matches_nothing() {
    let schema = json!({ "properties": { "name": { "type": "string", "pattern": "a{100}{1000}" } } });
    let unjudged = crate::params::unjudged(&schema);
    assert!(unjudged[0].0.contains("cannot be used as a regular expression"), "{unjudged:?}");
    let began = std::time::Instant::now();
    assert_eq!(violations(&schema, &json!({ "name": "a".repeat(10_000) })).len(), 1);
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
}
