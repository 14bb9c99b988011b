//! Judges a value by a JSON schema: the words that `#[derive(JsonSchema)]` writes, and those that people write in DAG files. Other
//! words are refused when the DAG is loaded (`words`), so nothing here is silently left unchecked. Of `format` only dates, times,
//! UUIDs, addresses of mail and of machines are judged, as JSON Schema leaves it open.

mod text;

use crate::names::closest;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::fmt;
use std::rc::Rc;
use text::Patterns;

/// A schema that refers to itself around a value of some depth; JSON that was parsed is no deeper than 128.
const MAX_DEPTH: usize = 200;

/// One thing in a value that its schema does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Names of fields and places in lists, with dots; empty for the value itself.
    pub path: String,
    /// What is wrong with it: `is missing`, `is a string, not an integer`.
    pub what: String,
    pub hint: Option<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "it {}", self.what),
            path => write!(f, "`{path}` {}", self.what),
        }
    }
}

/// Everything about `value` that `schema` does not allow.
pub fn violations(schema: &Value, value: &Value) -> Vec<Violation> {
    let mut judge = Judge { root: schema, patterns: Rc::default(), path: Vec::new(), found: Vec::new() };
    judge.judge(schema, value, 0);
    judge.found
}

/// What a value is, for a sentence.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if is_integer(number) => "an integer",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

struct Judge<'a> {
    root: &'a Value,
    patterns: Rc<Patterns<'a>>,
    path: Vec<String>,
    found: Vec<Violation>,
}

impl<'a> Judge<'a> {
    fn judge(&mut self, schema: &'a Value, value: &Value, depth: usize) {
        let words = match schema {
            Value::Bool(false) => return self.say("is not allowed", None),
            Value::Object(words) if depth < MAX_DEPTH => words,
            _ => return,
        };
        if let Some(referred) = words.get("$ref").and_then(Value::as_str).and_then(|to| self.resolve(to)) {
            self.judge(referred, value, depth + 1);
        }
        if let Some(types) = words.get("type")
            && !fits_type(types, value)
        {
            // What else is wrong with a value of another type says nothing new.
            return self.say(format!("is {}, not {}", kind(value), type_names(types)), None);
        }
        self.choices(words, value);
        self.alternatives(words, value, depth);
        match value {
            Value::Object(fields) => self.object(words, fields, depth),
            Value::Array(items) => self.list(words, items, depth),
            Value::String(text) => {
                self.length(words, "minLength", "maxLength", text.chars().count(), "character");
                self.found.extend(self.patterns.unlike(words, text).map(|what| Violation {
                    path: self.path.join("."),
                    what,
                    hint: None,
                }));
            }
            Value::Number(number) => self.range(words, number),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn say(&mut self, what: impl Into<String>, hint: Option<String>) {
        self.found.push(Violation { path: self.path.join("."), what: what.into(), hint });
    }

    fn at(&mut self, name: impl Into<String>, judge: impl FnOnce(&mut Self)) {
        self.path.push(name.into());
        judge(self);
        self.path.pop();
    }

    fn resolve(&self, to: &str) -> Option<&'a Value> {
        self.root.pointer(to.strip_prefix('#')?)
    }

    /// `enum` and `const`.
    fn choices(&mut self, words: &Map<String, Value>, value: &Value) {
        let constant = words.get("const").map(std::slice::from_ref);
        let listed = words.get("enum").and_then(Value::as_array).map(Vec::as_slice);
        for allowed in [constant, listed].into_iter().flatten() {
            if !allowed.contains(value) {
                self.say(format!("is {}, not {}", truncate_json(value), one_of(allowed)), meant(value, allowed));
            }
        }
    }

    /// `allOf`, `anyOf`, `oneOf`. A value that fits several of `oneOf` is let through: serde takes the first.
    fn alternatives(&mut self, words: &'a Map<String, Value>, value: &Value, depth: usize) {
        let listed = |word: &str| words.get(word).and_then(Value::as_array);
        for schema in listed("allOf").into_iter().flatten() {
            self.judge(schema, value, depth + 1);
        }
        for schemas in ["anyOf", "oneOf"].into_iter().filter_map(listed) {
            self.any_of(schemas, value, depth);
        }
    }

    fn any_of(&mut self, schemas: &'a [Value], value: &Value, depth: usize) {
        let mut attempts: Vec<(bool, Vec<Violation>)> = Vec::new();
        for schema in schemas {
            let mut alone =
                Judge { root: self.root, patterns: self.patterns.clone(), path: self.path.clone(), found: Vec::new() };
            alone.judge(schema, value, depth + 1);
            if alone.found.is_empty() {
                return;
            }
            attempts.push((carries_tag_of(schema, value), alone.found));
        }
        let choices: Option<Vec<&Value>> =
            schemas.iter().map(choices_of).collect::<Option<Vec<_>>>().map(|c| c.concat());
        if let Some(choices) = choices {
            let choices: Vec<Value> = choices.into_iter().cloned().collect();
            return self.say(format!("is {}, not {}", truncate_json(value), one_of(&choices)), meant(value, &choices));
        }
        // `Option<T>` is T or null, and null is not what was given.
        let is_null = |schema: &Value| schema.get("type").is_some_and(|name| name == "null");
        let of_a_type = |(schema, _): &(&Value, &(bool, Vec<Violation>))| !is_null(schema);
        let candidates: Vec<_> = schemas.iter().zip(&attempts).filter(of_a_type).map(|(_, attempt)| attempt).collect();
        let tagged = candidates.iter().find(|(tagged, _)| *tagged);
        match (tagged, candidates.as_slice()) {
            (Some((_, found)), _) | (None, [(_, found)]) => self.found.extend(found.iter().cloned()),
            (None, [_, ..]) => {
                self.say(format!("is {}, which fits none of its alternatives", truncate_json(value)), None);
            }
            (None, []) => {}
        }
    }

    fn object(&mut self, words: &'a Map<String, Value>, fields: &Map<String, Value>, depth: usize) {
        self.length(words, "minProperties", "maxProperties", fields.len(), "field");
        let known = words.get("properties").and_then(Value::as_object);
        let required = words.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        for name in required.filter(|name| !fields.contains_key(*name)) {
            self.at(name, |judge| judge.say("is missing", None));
        }
        for (name, field) in fields {
            let property = known.and_then(|known| known.get(name)).or_else(|| self.patterns.of_field(words, name));
            match (property, words.get("additionalProperties")) {
                (Some(schema), _) => self.at(name, |judge| judge.judge(schema, field, depth + 1)),
                (None, Some(Value::Bool(false))) => {
                    let hint = unknown_field(name, known);
                    self.at(name, |judge| judge.say("is not known", Some(hint)));
                }
                (None, Some(schema)) => self.at(name, |judge| judge.judge(schema, field, depth + 1)),
                (None, None) => {}
            }
        }
    }

    fn list(&mut self, words: &'a Map<String, Value>, items: &[Value], depth: usize) {
        self.length(words, "minItems", "maxItems", items.len(), "element");
        let mut seen = HashSet::new();
        if words.get("uniqueItems") == Some(&Value::Bool(true))
            && let Some(index) = items.iter().position(|item| !seen.insert(item.to_string()))
        {
            self.at(index.to_string(), |judge| judge.say("is there twice", None));
        }
        let places = words.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (index, item) in items.iter().enumerate() {
            if let Some(schema) = places.get(index).or_else(|| words.get("items")) {
                self.at(index.to_string(), |judge| judge.judge(schema, item, depth + 1));
            }
        }
    }

    fn length(&mut self, words: &Map<String, Value>, least: &str, most: &str, length: usize, unit: &str) {
        let limit = |word: &str| words.get(word).and_then(Value::as_u64);
        let units = |count: u64| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
        let length = length as u64;
        if let Some(least) = limit(least).filter(|least| length < *least) {
            self.say(format!("has {}, at least {least} needed", units(length)), None);
        }
        if let Some(most) = limit(most).filter(|most| length > *most) {
            self.say(format!("has {}, at most {most} allowed", units(length)), None);
        }
    }

    fn range(&mut self, words: &Map<String, Value>, number: &serde_json::Number) {
        type Broken = fn(f64, f64) -> bool;
        let limits: [(&str, Broken, &str); 4] = [
            ("minimum", |n, limit| n < limit, "less than"),
            ("maximum", |n, limit| n > limit, "more than"),
            ("exclusiveMinimum", |n, limit| n <= limit, "not more than"),
            ("exclusiveMaximum", |n, limit| n >= limit, "not less than"),
        ];
        let Some(value) = number.as_f64() else { return };
        let step = words.get("multipleOf").and_then(Value::as_f64).filter(|step| *step > 0.0);
        if let Some(step) = step.filter(|step| (value / step - (value / step).round()).abs() > 1e-9) {
            self.say(format!("is {number}, not a multiple of {step}"), None);
        }
        for (word, is_broken, text) in limits {
            let limit = words.get(word).filter(|limit| limit.as_f64().is_some_and(|limit| is_broken(value, limit)));
            if let Some(limit) = limit {
                self.say(format!("is {number}, {text} {limit}"), None);
            }
        }
    }
}

/// The values of a schema that lists them.
fn choices_of(schema: &Value) -> Option<Vec<&Value>> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(only), _) => Some(vec![only]),
        (None, Some(Value::Array(listed))) => Some(listed.iter().collect()),
        _ => None,
    }
}

/// The value says by a constant field that it means this alternative.
fn carries_tag_of(schema: &Value, value: &Value) -> bool {
    let properties = schema.get("properties").and_then(Value::as_object);
    let mut constants =
        properties.into_iter().flatten().filter_map(|(name, p)| Some((name, p.get("const")?))).peekable();
    constants.peek().is_some() && constants.all(|(name, constant)| value.get(name) == Some(constant))
}

fn is_integer(number: &serde_json::Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn fits_type(types: &Value, value: &Value) -> bool {
    match types {
        Value::Array(types) => types.iter().any(|one| fits_type(one, value)),
        Value::String(name) => match name.as_str() {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "integer" => value.as_number().is_some_and(is_integer),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            _ => true,
        },
        _ => true,
    }
}

fn type_names(types: &Value) -> String {
    let name = |one: &Value| match one.as_str().unwrap_or_default() {
        "array" => "a list".to_owned(),
        "null" => "null".to_owned(),
        name if name.starts_with(['a', 'e', 'i', 'o', 'u']) => format!("an {name}"),
        name => format!("a {name}"),
    };
    match types {
        Value::Array(types) => types.iter().map(name).collect::<Vec<_>>().join(" or "),
        one => name(one),
    }
}

fn truncate_json(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 { text } else { text.chars().take(60).chain(['…']).collect() }
}

fn one_of(allowed: &[Value]) -> String {
    match allowed {
        [only] => only.to_string(),
        many => format!("one of {}", many.iter().map(Value::to_string).collect::<Vec<_>>().join(", ")),
    }
}

fn meant(value: &Value, allowed: &[Value]) -> Option<String> {
    let near = closest(value.as_str()?, allowed.iter().filter_map(Value::as_str))?;
    Some(format!("did you mean \"{near}\"?"))
}

fn unknown_field(name: &str, known: Option<&Map<String, Value>>) -> String {
    let known: Vec<&str> = known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
    match closest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "leave it out: nothing is known here".into(),
        None => format!("known are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::JsonSchema;
    use serde_json::json;

    /// Where things are made.
    #[derive(JsonSchema)]
    #[serde(rename_all = "snake_case")]
    #[expect(dead_code, reason = "only its schema is of interest")]
    enum Region {
        Europe,
        /// With a comment of its own it is a `const` of a `oneOf`.
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

    /// A good value with some fields changed.
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
            (
                json!({ "pattern": "^[a-z]+$" }),
                json!("abc"),
                json!("a1"),
                "it is \"a1\", which does not match `^[a-z]+$`",
            ),
            (json!({ "format": "date" }), json!("2026-11-22"), json!("22.11."), "it is \"22.11.\", not a date"),
            (
                json!({ "format": "date-time" }),
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
            (json!({ "format": "email" }), json!("a@b.c"), json!("@b"), "it is \"@b\", not an email"),
            (json!({ "multipleOf": 0.1 }), json!(0.3), json!(0.25), "it is 0.25, not a multiple of 0.1"),
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
        let mut judge = Judge { root: &schema, patterns: Rc::default(), path: Vec::new(), found: Vec::new() };
        judge.judge(&schema, &values, 0);
        assert_eq!(judge.found, []);
        assert_eq!(judge.patterns.compiled(), 2);
    }

    #[test]
    fn a_schema_that_turns_in_a_circle_ends() {
        let schema = json!({ "$ref": "#" });
        assert_eq!(violations(&schema, &json!(1)), []);
        assert_eq!(violations(&json!(false), &json!(1))[0].to_string(), "it is not allowed");
    }
}
