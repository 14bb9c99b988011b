//! Validates a value against a JSON Schema, with Airflow's results (`tests/oracle/params.json`). Unsupported keywords
//! are rejected when the DAG is loaded (`words`), so no rule is silently left unchecked. Only formats that Airflow
//! checks are checked; others are notes.

mod text;

use super::equal::{canonical, compare, equal, is_multiple, whole};
use super::rewrite::resolve;
use crate::names::closest;
use serde_json::{Map, Value};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{self, Write};
use text::Patterns;

/// Maximum depth of nested schemas, including those that a `$ref` names. Each level takes some stack.
const MAX_DEPTH: usize = 200;
/// Maximum number of steps of one validation, about 0.2 s. A conf of 1 MB has at most 500,000 values, and most schemas
/// take one step for each.
const MAX_STEPS: usize = 1_000_000;
/// Maximum number of collected violations. More would add no information.
const MAX_VIOLATIONS: usize = 1_000;
/// Maximum number of characters of a value in a message.
const MAX_SHOWN: usize = 60;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Names of fields and indexes of lists, separated by dots. Empty for the value itself.
    pub path: String,
    /// Problem as a predicate: `is missing`, `is a string, not an integer`.
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

/// Returns what `schema` does not allow in `value`, at most 1,000 violations. It is a single one if the validation
/// takes too many steps.
pub fn violations(schema: &Value, value: &Value) -> Vec<Violation> {
    let mut judge = Judge::new(schema);
    judge.judge(schema, value, 0);
    if judge.steps <= MAX_STEPS {
        return judge.found;
    }
    let hint = "nest the value less deep, or give the schema fewer alternatives that refer to each other";
    let what = format!("takes more than {MAX_STEPS} steps to check");
    vec![Violation { path: String::new(), what, hint: Some(hint.into()) }]
}

/// Returns the type of a value for a message.
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
    patterns: Patterns<'a>,
    path: Vec<String>,
    found: Vec<Violation>,
    steps: usize,
    /// Results of schemas that a `$ref` names, by the addresses of schema and value. Without them, alternatives that
    /// refer to each other would be validated 2^depth times.
    referred: HashMap<(*const Value, *const Value), Vec<Violation>>,
}

impl<'a> Judge<'a> {
    fn new(root: &'a Value) -> Judge<'a> {
        let (patterns, path, found, referred) = (Patterns::default(), Vec::new(), Vec::new(), HashMap::new());
        Judge { root, patterns, path, found, steps: 0, referred }
    }

    /// Counts `work` steps. Returns `false` if the validation must end.
    fn may_go_on(&mut self, work: usize) -> bool {
        self.steps = self.steps.saturating_add(work);
        self.steps <= MAX_STEPS && self.found.len() < MAX_VIOLATIONS
    }

    fn judge(&mut self, schema: &'a Value, value: &Value, depth: usize) {
        // Patterns and messages take time in proportion to the length of a text.
        let work = 1 + value.as_str().map_or(0, |text| text.len() / 64);
        if !self.may_go_on(work) {
            return;
        }
        let words = match schema {
            Value::Bool(false) => return self.say("is not allowed", None),
            Value::Object(words) if depth < MAX_DEPTH => words,
            Value::Object(_) => return self.say("is nested too deep to be checked", None),
            _ => return,
        };
        if let Some(referred) = words.get("$ref").and_then(Value::as_str).and_then(|to| self.resolve(to)) {
            self.judge_referred(referred, value, depth + 1);
        }
        if let Some(types) = words.get("type")
            && !fits_type(types, value)
        {
            // Other violations of a value of the wrong type add no information.
            return self.say(format!("is {}, not {}", kind(value), type_names(types)), None);
        }
        self.choices(words, value);
        self.alternatives(words, value, depth);
        match value {
            Value::Object(fields) => self.object(words, fields, depth),
            Value::Array(items) => self.list(words, items, depth),
            Value::String(text) => {
                self.length(words, "minLength", "maxLength", text.chars().count(), "character");
                // A pattern takes up to a microsecond per byte.
                if words.contains_key("pattern") && !self.may_go_on(text.len() / 4) {
                    return;
                }
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

    /// Validates a value only once per schema, even if several references lead to it. A schema that refers back to
    /// itself for the same value allows it.
    fn judge_referred(&mut self, schema: &'a Value, value: &Value, depth: usize) {
        let key = (std::ptr::from_ref(schema), std::ptr::from_ref(value));
        if let Some(known) = self.referred.get(&key) {
            let known = known.clone();
            self.steps = self.steps.saturating_add(known.len());
            return self.found.extend(known);
        }
        self.referred.insert(key, Vec::new());
        let found = self.apart(|judge| judge.judge(schema, value, depth));
        self.found.extend(found.iter().cloned());
        self.referred.insert(key, found);
    }

    /// Returns the violations of a part of the validation.
    fn apart(&mut self, part: impl FnOnce(&mut Self)) -> Vec<Violation> {
        let before = std::mem::take(&mut self.found);
        part(self);
        std::mem::replace(&mut self.found, before)
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
        resolve(self.root, to)
    }

    /// Checks `enum` and `const`.
    fn choices(&mut self, words: &Map<String, Value>, value: &Value) {
        let constant = words.get("const").map(std::slice::from_ref);
        let listed = words.get("enum").and_then(Value::as_array).map(Vec::as_slice);
        for allowed in [constant, listed].into_iter().flatten() {
            if self.may_go_on(allowed.len()) && !allowed.iter().any(|one| equal(one, value)) {
                self.say(format!("is {}, not {}", truncate_json(value), one_of(allowed)), meant(value, allowed));
            }
        }
    }

    /// Checks `allOf`, `anyOf` and `oneOf`. Schemas of Rust types have no `oneOf` (`of_rust_type`), so it is strict.
    fn alternatives(&mut self, words: &'a Map<String, Value>, value: &Value, depth: usize) {
        let listed = |word: &str| words.get(word).and_then(Value::as_array);
        for schema in listed("allOf").into_iter().flatten() {
            self.judge(schema, value, depth + 1);
        }
        for (schemas, max_fitting) in [(listed("anyOf"), usize::MAX), (listed("oneOf"), 1)] {
            if let Some(schemas) = schemas {
                self.fitting(schemas, max_fitting, value, depth);
            }
        }
    }

    /// Requires that at least one of `schemas` allows the value, and at most `max_fitting` of them.
    fn fitting(&mut self, schemas: &'a [Value], max_fitting: usize, value: &Value, depth: usize) {
        let mut attempts: Vec<(bool, Vec<Violation>)> = Vec::new();
        let mut fitting = 0;
        for schema in schemas {
            let found = self.apart(|judge| judge.judge(schema, value, depth + 1));
            if found.is_empty() {
                fitting += 1;
                if fitting > max_fitting {
                    let what = format!("is {}, which fits more than one of its alternatives", truncate_json(value));
                    return self.say(what, Some("`oneOf` allows exactly one; `anyOf` allows several".into()));
                }
                if max_fitting == usize::MAX {
                    return;
                }
            }
            attempts.push((carries_tag_of(schema, value), found));
        }
        if fitting > 0 {
            return;
        }
        let choices: Option<Vec<&Value>> =
            schemas.iter().map(choices_of).collect::<Option<Vec<_>>>().map(|c| c.concat());
        if let Some(choices) = choices {
            let choices: Vec<Value> = choices.into_iter().cloned().collect();
            return self.say(format!("is {}, not {}", truncate_json(value), one_of(&choices)), meant(value, &choices));
        }
        // `Option<T>` is T or null. The value is not null, so violations of the null alternative are irrelevant.
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
            if !self.may_go_on(1) {
                return;
            }
            self.at(name, |judge| judge.say("is missing", None));
        }
        for (name, field) in fields {
            let patterns = words.get("patternProperties").and_then(Value::as_object).map_or(0, Map::len);
            if !self.may_go_on(patterns * (1 + name.len() / 64)) {
                return;
            }
            let own = known.and_then(|known| known.get(name));
            let schemas: Vec<&Value> = own.into_iter().chain(self.patterns.of_field(words, name)).collect();
            for schema in &schemas {
                self.at(name, |judge| judge.judge(schema, field, depth + 1));
            }
            match (schemas.first(), words.get("additionalProperties")) {
                (Some(_), _) => {}
                (None, Some(Value::Bool(false))) => {
                    self.may_go_on(known.map_or(0, Map::len));
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
        let mut is_repeated = |item: &Value| {
            let text = canonical(item);
            self.may_go_on(text.len() / 64);
            !seen.insert(text)
        };
        if words.get("uniqueItems") == Some(&Value::Bool(true))
            && let Some(index) = items.iter().position(&mut is_repeated)
        {
            self.at(index.to_string(), |judge| judge.say("is there twice", None));
        }
        let places = words.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (index, item) in items.iter().enumerate() {
            if !self.may_go_on(0) {
                return;
            }
            if let Some(schema) = places.get(index).or_else(|| words.get("items")) {
                self.at(index.to_string(), |judge| judge.judge(schema, item, depth + 1));
            }
        }
    }

    fn length(&mut self, words: &Map<String, Value>, least: &str, most: &str, length: usize, unit: &str) {
        let whole_number = |limit: &Value| u64::try_from(whole(limit.as_number()?)?).ok();
        let limit = |word: &str| words.get(word).and_then(whole_number);
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
        type Broken = fn(Ordering) -> bool;
        let limits: [(&str, Broken, &str); 4] = [
            ("minimum", Ordering::is_lt, "less than"),
            ("maximum", Ordering::is_gt, "more than"),
            ("exclusiveMinimum", Ordering::is_le, "not more than"),
            ("exclusiveMaximum", Ordering::is_ge, "not less than"),
        ];
        if let Some(Value::Number(step)) = words.get("multipleOf").filter(|step| step.as_f64() > Some(0.0))
            && !is_multiple(number, step)
        {
            self.say(format!("is {number}, not a multiple of {step}"), None);
        }
        for (word, is_broken, text) in limits {
            if let Some(Value::Number(limit)) = words.get(word)
                && compare(number, limit).is_some_and(is_broken)
            {
                self.say(format!("is {number}, {text} {limit}"), None);
            }
        }
    }
}

/// Returns the values that a schema lists.
fn choices_of(schema: &Value) -> Option<Vec<&Value>> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(only), _) => Some(vec![only]),
        (None, Some(Value::Array(listed))) => Some(listed.iter().collect()),
        _ => None,
    }
}

/// Returns true if the constant fields of the value select this alternative.
fn carries_tag_of(schema: &Value, value: &Value) -> bool {
    let properties = schema.get("properties").and_then(Value::as_object);
    let mut constants =
        properties.into_iter().flatten().filter_map(|(name, p)| Some((name, p.get("const")?))).peekable();
    constants.peek().is_some()
        && constants.all(|(name, constant)| value.get(name).is_some_and(|found| equal(found, constant)))
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

pub(super) fn truncate_json(value: &Value) -> String {
    let mut head = Head(Vec::new());
    let is_whole = serde_json::to_writer(&mut head, value).is_ok();
    let text = String::from_utf8_lossy(&head.0);
    if is_whole && text.chars().count() <= MAX_SHOWN {
        text.into_owned()
    } else {
        text.chars().take(MAX_SHOWN).chain(['…']).collect()
    }
}

/// Keeps the start of a text and rejects the rest, because a value can have a megabyte.
struct Head(Vec<u8>);

impl Write for Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A character has at most 4 bytes.
        let free = 4 * MAX_SHOWN + 4 - self.0.len();
        self.0.extend(&bytes[..bytes.len().min(free)]);
        if bytes.len() > free { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
mod tests;
