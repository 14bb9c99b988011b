//! Converts the JSON schema of a DAG's params to the fields of a trigger form, and the submitted form to a conf.
//!
//! Typed values are neither lost nor guessed: text that is not a number stays text, and schema validation reports the
//! error.

use crate::extract::Form;
use orch_spec::params::Violation;
use serde_json::{Map, Value, json};

/// A param as a form field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) title: String,
    /// Type and range, such as `integer 1–10,000`.
    pub(crate) kind: String,
    pub(crate) help: String,
    pub(crate) is_required: bool,
    pub(crate) input: Input,
    pub(crate) error: Option<String>,
    default: Option<Value>,
    may_be_null: bool,
}

/// Kind of form control with its value. Texts are kept as they were sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Input {
    Switch {
        on: bool,
    },
    /// Few choices are radio buttons, many are a select. The second value is true for the selected choice.
    Radio {
        choices: Vec<(String, bool)>,
    },
    Select {
        choices: Vec<(String, bool)>,
    },
    Checks {
        choices: Vec<(String, bool)>,
    },
    Line {
        text: String,
        kind: &'static str,
    },
    Number {
        text: String,
        whole: bool,
    },
    /// One element per line.
    Lines {
        text: String,
        numbers: bool,
    },
    Json {
        text: String,
    },
}

/// Maximum number of choices that fit next to each other.
const MOST_RADIOS: usize = 6;
/// Prefix of the params' names in the form.
const PREFIX: &str = "p.";

/// Returns the fields with the values of `conf`. A param that is missing there has its default.
pub(crate) fn fields(schema: &Value, conf: &Map<String, Value>) -> Vec<Field> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Vec::new() };
    let required = schema.get("required").and_then(Value::as_array);
    let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|n| n == name));
    let order = |name: &String| (!is_required(name), name.clone());
    let mut names: Vec<&String> = properties.keys().collect();
    // The order of JSON objects is not preserved, so required params come first and the rest is sorted by name.
    names.sort_by_key(|name| order(name));
    names.into_iter().map(|name| field(schema, name, &properties[name], conf.get(name), is_required(name))).collect()
}

fn field(root: &Value, name: &str, declared: &Value, value: Option<&Value>, is_required: bool) -> Field {
    let (schema, may_be_null) = resolved(root, declared);
    let of = |word: &str| declared.get(word).or_else(|| schema.get(word));
    let default = of("default").cloned();
    let value = value.or(default.as_ref());
    let text = |word: &str| of(word).and_then(Value::as_str).unwrap_or_default().to_string();
    Field {
        name: name.into(),
        title: Some(text("title")).filter(|title| !title.is_empty()).unwrap_or_else(|| title(name)),
        kind: kind(root, schema, may_be_null),
        help: text("description"),
        input: input(root, schema, value, may_be_null),
        error: None,
        is_required: is_required && default.is_none(),
        default,
        may_be_null,
    }
}

/// Resolves `$ref` and nullable unions. Returns the schema of a property, and true if the value can be null.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> (&'a Value, bool) {
    let (mut schema, mut may_be_null) = (schema, false);
    for _ in 0..8 {
        if let Some(place) = schema.get("$ref").and_then(Value::as_str).and_then(|place| place.strip_prefix('#')) {
            let Some(target) = root.pointer(place) else { break };
            schema = target;
            continue;
        }
        let any = ["anyOf", "oneOf"].into_iter().find_map(|word| schema.get(word)?.as_array());
        match any.map(|any| any.iter().partition::<Vec<&Value>, _>(|one| one["type"] == "null")) {
            Some((nulls, rest)) if nulls.len() == 1 && rest.len() == 1 => (schema, may_be_null) = (rest[0], true),
            _ => break,
        }
    }
    (schema, may_be_null || types(schema).contains(&"null"))
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn main_type(schema: &Value) -> &str {
    types(schema).into_iter().find(|kind| *kind != "null").unwrap_or_default()
}

/// Returns the values of an enum, which is a list or one variant per value with a description.
fn words_of(schema: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().map(String::from);
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words.iter().filter(|word| !word.is_null()).map(text).collect();
    }
    let variants = ["anyOf", "oneOf"].into_iter().find_map(|word| schema.get(word)?.as_array())?;
    variants.iter().map(|variant| text(variant.get("const")?)).collect()
}

fn input(root: &Value, schema: &Value, value: Option<&Value>, may_be_null: bool) -> Input {
    let said = value.filter(|value| !value.is_null());
    let text = || match said {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    if let Some(words) = words_of(schema) {
        let choices = words.into_iter().map(|word| {
            let chosen = said.is_some_and(|said| said == &json!(word));
            (word, chosen)
        });
        let choices: Vec<_> = choices.collect();
        let few = choices.len() <= MOST_RADIOS && !may_be_null;
        return if few { Input::Radio { choices } } else { Input::Select { choices } };
    }
    match main_type(schema) {
        "boolean" if !may_be_null => Input::Switch { on: said == Some(&json!(true)) },
        "integer" => Input::Number { text: text(), whole: true },
        "number" => Input::Number { text: text(), whole: false },
        "string" => {
            let kind = if schema["format"] == "date" { "date" } else { "text" };
            Input::Line { text: text(), kind }
        }
        "array" => list(root, schema, said),
        _ => Input::Json { text: said.map(|said| format!("{said:#}")).unwrap_or_default() },
    }
}

fn list(root: &Value, schema: &Value, said: Option<&Value>) -> Input {
    let items = schema.get("items").map_or(&Value::Null, |items| resolved(root, items).0);
    let elements = said.and_then(Value::as_array).cloned().unwrap_or_default();
    if let Some(words) = words_of(items) {
        let choices = words.into_iter().map(|word| {
            let chosen = elements.contains(&json!(word));
            (word, chosen)
        });
        return Input::Checks { choices: choices.collect() };
    }
    let line = |element: &Value| match element {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match main_type(items) {
        kind @ ("string" | "integer" | "number") => {
            let lines: Vec<_> = elements.iter().map(line).collect();
            Input::Lines { text: lines.join("\n"), numbers: kind != "string" }
        }
        _ => Input::Json { text: said.map(|said| format!("{said:#}")).unwrap_or_default() },
    }
}

fn title(name: &str) -> String {
    let words = name.replace(['_', '-'], " ");
    let mut chars = words.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn kind(root: &Value, schema: &Value, may_be_null: bool) -> String {
    let mut said = match (words_of(schema), main_type(schema)) {
        (Some(_), _) => "enum".to_string(),
        (None, "array") => {
            let items = schema.get("items").map_or(&Value::Null, |items| resolved(root, items).0);
            format!("[{}]", if words_of(items).is_some() { "enum" } else { main_type(items) })
        }
        (None, "") => "JSON".into(),
        (None, kind) => kind.into(),
    };
    let bound = |word: &str| schema.get(word).and_then(Value::as_f64).map(|bound| bound.to_string());
    let bounds = match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => format!(" {least}–{most}"),
        (Some(least), None) => format!(" ≥ {least}"),
        (None, Some(most)) => format!(" ≤ {most}"),
        (None, None) => String::new(),
    };
    said.push_str(&bounds);
    if may_be_null {
        said.push_str(", may be empty");
    }
    said
}

impl Field {
    /// Returns the name of the field in the form.
    pub(crate) fn key(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }

    /// Returns the typed value, or `None` if it is empty or equal to the default.
    fn read(&self, form: &Form) -> Option<Value> {
        let key = self.key();
        let typed = form.text(&key).unwrap_or_default();
        let value = match &self.input {
            Input::Switch { .. } => json!(form.text(&key).is_some()),
            Input::Checks { choices } => {
                let chosen: Vec<_> = form.all(&key).collect();
                json!(
                    choices
                        .iter()
                        .map(|(word, _)| word)
                        .filter(|word| chosen.contains(&word.as_str()))
                        .collect::<Vec<_>>()
                )
            }
            Input::Lines { numbers, .. } => {
                let lines = typed.lines().map(str::trim).filter(|line| !line.is_empty());
                lines.map(|line| if *numbers { number(line) } else { json!(line) }).collect()
            }
            _ if typed.is_empty() => self.empty()?,
            Input::Number { .. } => number(typed.trim()),
            // Text that is not valid JSON becomes a string, which schema validation then rejects.
            Input::Json { .. } => serde_json::from_str(typed).unwrap_or_else(|_| json!(typed)),
            Input::Radio { .. } | Input::Select { .. } | Input::Line { .. } => json!(typed),
        };
        (Some(&value) != self.default.as_ref()).then_some(value)
    }

    /// Returns null where null is allowed and not the default, or `""` for a text with a nonempty default.
    fn empty(&self) -> Option<Value> {
        let has_words = |default: &Value| !default.is_null() && default != "";
        match &self.default {
            Some(default) if self.may_be_null && !default.is_null() => Some(Value::Null),
            Some(default) if matches!(self.input, Input::Line { .. }) && has_words(default) => Some(json!("")),
            _ => None,
        }
    }
}

fn number(text: &str) -> Value {
    match serde_json::from_str::<Value>(text) {
        Ok(value @ Value::Number(_)) => value,
        _ => json!(text),
    }
}

/// Returns the conf of a submitted form, without values that equal their defaults.
pub(crate) fn typed(schema: &Value, form: &Form) -> Map<String, Value> {
    let blank = fields(schema, &Map::new());
    blank.iter().filter_map(|field| Some((field.name.clone(), field.read(form)?))).collect()
}

/// Adds each violation to its field, at most one per field, and returns those that belong to no field.
pub(crate) fn complain(fields: &mut [Field], wrong: &[Violation]) -> Vec<String> {
    let mut rest = Vec::new();
    for violation in wrong {
        let (name, inner) = violation.path.split_once('.').unwrap_or((&violation.path, ""));
        let hint = violation.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        let place = if inner.is_empty() { "This".to_string() } else { format!("`{inner}`") };
        match fields.iter_mut().find(|field| field.name == name) {
            Some(field) if field.error.is_none() => field.error = Some(format!("{place} {}{hint}.", violation.what)),
            Some(_) => {}
            None => rest.push(format!("{violation}{hint}")),
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Value {
        json!({ "required": ["table"], "properties": {
            "table": { "type": "string", "description": "Which one" },
            "limit": { "type": "integer", "minimum": 1, "maximum": 10_000, "default": 100 },
            "region": { "$ref": "#/$defs/Region", "default": "europe" },
            "dry_run": { "type": "boolean", "default": true },
            "since": { "anyOf": [{ "type": "string", "format": "date" }, { "type": "null" }], "default": null },
            "names": { "type": "array", "items": { "type": "string" }, "default": [] },
            "regions": { "type": "array", "items": { "$ref": "#/$defs/Region" }, "default": ["asia"] },
            "deep": { "type": "object", "default": {} },
        }, "$defs": { "Region": { "type": "string", "enum": ["europe", "asia"] } } })
    }

    fn read(pairs: &[(&str, &str)]) -> Value {
        Value::Object(typed(&schema(), &Form::of(pairs)))
    }

    const DEFAULTS: [(&str, &str); 5] =
        [("p.limit", "100"), ("p.region", "europe"), ("p.dry_run", "on"), ("p.regions", "asia"), ("p.deep", "{}")];

    #[test]
    fn a_form_that_was_not_touched_says_nothing() {
        assert_eq!(read(&DEFAULTS), json!({}));
    }

    #[test]
    fn what_is_typed_has_the_type_of_its_param() {
        let typed = [
            ("p.table", "orders"),
            ("p.limit", " 7 "),
            ("p.region", "asia"),
            ("p.since", "2026-11-20"),
            ("p.names", "Ann\r\n\r\n Bob "),
            ("p.regions", "europe"),
            ("p.regions", "asia"),
            ("p.deep", "{\"a\": [1]}"),
            ("p.other", "x"),
        ];
        let expected = json!({ "table": "orders", "limit": 7, "region": "asia", "since": "2026-11-20", "dry_run": false,
            "names": ["Ann", "Bob"], "regions": ["europe", "asia"], "deep": { "a": [1] } });
        assert_eq!(read(&typed), expected);
    }

    #[test]
    fn what_does_not_fit_stays_as_it_was_typed() {
        let conf = typed(&schema(), &Form::of(&[("p.limit", "many"), ("p.deep", "{"), ("p.dry_run", "on")]));
        assert_eq!((&conf["limit"], &conf["deep"]), (&json!("many"), &json!("{")));
        let mut shown = fields(&schema(), &conf);
        let wrong = orch_spec::params::violations(&schema(), &Value::Object(conf));
        assert_eq!(complain(&mut shown, &wrong), Vec::<String>::new());
        let limit = shown.iter().find(|field| field.name == "limit").unwrap();
        assert_eq!(limit.input, Input::Number { text: "many".into(), whole: true });
        assert_eq!(limit.error.as_deref(), Some("This is a string, not an integer."));
        assert_eq!((shown[0].name.as_str(), shown[0].is_required), ("table", true), "what must be said comes first");
        assert!(shown[0].error.is_some());
    }

    #[test]
    fn kinds_are_said_in_short() {
        let shown = fields(&schema(), &Map::new());
        let kind = |name: &str| shown.iter().find(|field| field.name == name).map(|field| field.kind.as_str());
        assert_eq!(kind("limit"), Some("integer 1–10000"));
        assert_eq!(kind("regions"), Some("[enum]"));
        assert_eq!(kind("since"), Some("string, may be empty"));
    }
}
