//! The keywords that a schema of params may use, and the form of their values. A schema with another keyword is
//! rejected when its DAG is loaded, because an unchecked rule would appear to hold.

use super::equal::whole;
use super::python::PythonRegex;
use super::rewrite::{Inner, resolve};
use crate::names::closest;
use serde_json::Value;

/// Keywords that `violations` checks.
const JUDGED: [&str; 29] = [
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "required",
    "type",
    "uniqueItems",
    "$defs",
    "definitions",
];

/// Rules of JSON Schema that `violations` does not check.
const UNSUPPORTED: [&str; 19] = [
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$vocabulary",
    "additionalItems",
    "contains",
    "contentSchema",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "maxContains",
    "minContains",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// Formats that `violations` checks, and notes such as `uri` that forms use.
const FORMATS: [&str; 16] = [
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "idn-email",
    "ipv4",
    "ipv6",
    "iri",
    "json-pointer",
    "multiline",
    "time",
    "uri",
    "uri-reference",
    "uri-template",
    "uuid",
];

/// Formats that Airflow checks and `violations` does not.
const UNSUPPORTED_FORMATS: [&str; 2] = ["idn-hostname", "regex"];

const TYPES: [&str; 7] = ["string", "number", "integer", "boolean", "array", "object", "null"];

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Notes for readers and forms, which neither allow nor forbid anything. The last four are Airflow's.
const NOTES: [&str; 16] = [
    "$comment",
    "$id",
    "$schema",
    "contentEncoding",
    "contentMediaType",
    "default",
    "deprecated",
    "description",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
    "custom_html_form",
    "description_md",
    "section",
    "values_display",
];

/// Returns whether this entry of an object is a rule of JSON Schema. Other objects often have the keys `format` and
/// `required`, too, so `required` does not count, and `format` only with a format of JSON Schema.
pub fn is_rule(key: &str, value: &Value) -> bool {
    match key {
        "format" => {
            value.as_str().is_some_and(|format| FORMATS.contains(&format) || UNSUPPORTED_FORMATS.contains(&format))
        }
        "required" => false,
        _ => JUDGED.contains(&key) || UNSUPPORTED.contains(&key),
    }
}

/// Returns the kind of schemas that the value of a keyword contains.
pub(super) fn inner(word: &str) -> Inner {
    match word {
        "properties" | "patternProperties" | "$defs" | "definitions" => Inner::Named,
        "anyOf" | "oneOf" | "allOf" | "prefixItems" => Inner::Listed,
        "items" | "additionalProperties" => Inner::One,
        _ => Inner::Nothing,
    }
}

/// Returns what in a schema cannot be checked, as a message and a hint for each problem.
pub fn unjudged(schema: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(schema, schema, &mut Vec::new(), &mut found);
    found
}

fn walk<'a>(root: &'a Value, schema: &'a Value, path: &mut Vec<&'a str>, found: &mut Vec<(String, String)>) {
    let place = |path: &[&str]| if path.is_empty() { String::new() } else { format!(" at `{}`", path.join(".")) };
    let words = match schema {
        Value::Object(words) => words,
        Value::Bool(_) => return,
        other => {
            let what = format!("{} is not a schema{}", super::schema::kind(other), place(path));
            return found.push((what, "write an object such as `{type: string}`, or `true`".into()));
        }
    };
    for (word, value) in words {
        let problem = problem_of(root, word, value, path);
        found.extend(problem.map(|(what, hint)| (format!("{what}{}", place(path)), hint)));
    }
    for (word, below) in words {
        match (inner(word), below) {
            (Inner::Named, Value::Object(named)) => {
                path.push(word);
                named.iter().for_each(|(name, schema)| inside(root, name, schema, path, found));
                path.pop();
            }
            (Inner::Listed, Value::Array(all)) => all.iter().for_each(|one| inside(root, word, one, path, found)),
            (Inner::One, below) if !below.is_array() => inside(root, word, below, path, found),
            _ => {}
        }
    }
}

fn inside<'a>(
    root: &'a Value,
    name: &'a str,
    schema: &'a Value,
    path: &mut Vec<&'a str>,
    found: &mut Vec<(String, String)>,
) {
    path.push(name);
    walk(root, schema, path, found);
    path.pop();
}

/// Returns the problem of a single keyword, with a hint.
fn problem_of(root: &Value, word: &str, value: &Value, path: &[&str]) -> Option<(String, String)> {
    let unusable = |word: &str, pattern: &str| {
        let error = PythonRegex::new(pattern).err()?;
        let hint = "write it in the syntax of the crate regex-lite, with fewer repetitions";
        Some((format!("`{word}`: `{pattern}` cannot be used as a regular expression: {error}"), hint.into()))
    };
    if let Some(expected) = expected(word, value) {
        let shown = super::schema::truncate_json(value);
        return Some((format!("`{word}` is {shown}"), format!("the value of `{word}` must be {expected}")));
    }
    match (word, value) {
        ("pattern", Value::String(pattern)) => unusable(word, pattern),
        ("patternProperties", Value::Object(named)) => named.keys().find_map(|pattern| unusable(word, pattern)),
        ("$ref", Value::String(to)) if resolve(root, to).is_none() => {
            let hint = "put it below `$defs` of the same param and write `#/$defs/NAME`";
            Some((format!("`$ref` leads to `{to}`, which is not in the schema"), hint.into()))
        }
        ("format", Value::String(format)) if UNSUPPORTED_FORMATS.contains(&format.as_str()) => Some((
            format!("`format` is `{format}`, which orch cannot check"),
            "remove it, and check the value in a task".into(),
        )),
        ("$schema", Value::String(draft)) if draft.trim_end_matches('#') != DRAFT => {
            Some((format!("`$schema` is `{draft}`"), format!("remove it: schemas are read as `{DRAFT}`")))
        }
        // An `$id` further inside would change the targets of references.
        ("$id", _) if path.len() > 2 => Some(("`$id` is inside a param".into(), "remove it".into())),
        (known, _) if JUDGED.contains(&known) || NOTES.contains(&known) || known.starts_with("x-") => None,
        (unknown, _) => Some((format!("`{unknown}` is a rule that is not checked here"), meant(unknown))),
    }
}

/// Returns the form that the value of a keyword must have. `None` if it has that form.
fn expected(word: &str, value: &Value) -> Option<&'static str> {
    let is_type = |one: &Value| one.as_str().is_some_and(|name| TYPES.contains(&name));
    let is_text = |one: &Value| one.is_string();
    let listed = |is_right: &dyn Fn(&Value) -> bool| value.as_array().is_some_and(|all| all.iter().all(is_right));
    let (fits, expected) = match word {
        "type" => {
            let several = listed(&is_type) && value != &Value::Array(Vec::new());
            (
                is_type(value) || several,
                "a type or a list of types: string, number, integer, boolean, array, object, null",
            )
        }
        "enum" | "examples" => (value.is_array(), "a list of values"),
        "required" => (listed(&is_text), "a list of names of `properties`, beside `properties`"),
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => (value.is_number(), "a number"),
        "multipleOf" => (value.as_f64() > Some(0.0), "a number greater than 0"),
        "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
            (value.as_number().and_then(whole) >= Some(0), "a whole number, 0 or more")
        }
        "uniqueItems" | "deprecated" | "readOnly" | "writeOnly" => (value.is_boolean(), "`true` or `false`"),
        "pattern" | "format" | "title" | "description" | "$ref" | "$id" | "$schema" | "$comment" => {
            (value.is_string(), "a string")
        }
        _ => match inner(word) {
            Inner::Named => (value.is_object(), "an object with a schema for each name"),
            Inner::Listed => (value.as_array().is_some_and(|all| !all.is_empty()), "a list of schemas, not empty"),
            Inner::One if word == "items" => (!value.is_array(), "one schema; use `prefixItems` for a schema by index"),
            Inner::One | Inner::Nothing => return None,
        },
    };
    (!fits).then_some(expected)
}

fn meant(unknown: &str) -> String {
    let similar = closest(unknown, JUDGED.into_iter().chain(NOTES)).filter(|_| !UNSUPPORTED.contains(&unknown));
    match similar {
        Some(known) => format!("did you mean `{known}`?"),
        None => "leave it out and check the value in a task, or begin its name with `x-` to keep it as a note".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_judged_is_named_with_its_place() {
        let schema = json!({ "type": "object", "x-team": 1, "properties": {
            "table": { "type": "string", "patern": "^a", "section": "Where from" },
            "day": { "type": "string", "pattern": "(" },
            "rows": { "items": { "contains": { "const": 1 } } },
            "to": { "$ref": "#/$defs/Target" },
        } });
        let found: Vec<String> = unjudged(&schema).into_iter().map(|(what, hint)| format!("{what} ({hint})")).collect();
        assert_eq!(found.len(), 4, "{found:#?}");
        assert!(
            found[0].starts_with("`pattern`: `(` cannot be used as a regular expression")
                && found[0].contains("at `properties.day`")
        );
        assert!(found[1].contains("`contains` is a rule that is not checked here at `properties.rows.items`"));
        assert_eq!(
            found[2],
            "`patern` is a rule that is not checked here at `properties.table` (did you mean `pattern`?)"
        );
        assert!(found[3].contains("`$ref` leads to `#/$defs/Target`, which is not in the schema at `properties.to`"));
    }

    #[test]
    fn values_of_another_form_are_named_with_the_right_one() {
        for (schema, expected) in [
            (
                json!({ "type": "strng" }),
                "`type` is \"strng\" (the value of `type` must be a type or a list of types: ",
            ),
            (json!({ "type": [] }), "`type` is []"),
            (json!({ "minimum": "1" }), "`minimum` is \"1\" (the value of `minimum` must be a number)"),
            (json!({ "exclusiveMinimum": true }), "`exclusiveMinimum` is true"),
            (json!({ "required": true }), "`required` is true"),
            (json!({ "enum": "a" }), "`enum` is \"a\""),
            (json!({ "minLength": -1 }), "`minLength` is -1"),
            (json!({ "maxItems": 1.5 }), "`maxItems` is 1.5"),
            (json!({ "multipleOf": 0 }), "`multipleOf` is 0"),
            (json!({ "anyOf": [] }), "`anyOf` is []"),
            (json!({ "uniqueItems": "yes" }), "`uniqueItems` is \"yes\""),
            (
                json!({ "items": [true] }),
                "`items` is [true] (the value of `items` must be one schema; use `prefixItems`",
            ),
            (json!({ "items": 5 }), "an integer is not a schema at `items`"),
            (json!({ "properties": { "a": "string" } }), "a string is not a schema at `properties.a`"),
            (json!({ "format": "regex" }), "`format` is `regex`, which orch cannot check"),
            (
                json!({ "$schema": "http://json-schema.org/draft-07/schema#" }),
                "`$schema` is `http://json-schema.org/draft-07",
            ),
            (json!({ "patternProperties": { "(": true } }), "`patternProperties`: `(` cannot be used"),
            (json!({ "not": true }), "`not` is a rule that is not checked here (leave it out"),
        ] {
            let found: Vec<String> =
                unjudged(&schema).into_iter().map(|(what, hint)| format!("{what} ({hint})")).collect();
            assert!(found.len() == 1 && found[0].starts_with(expected), "{schema}: {found:#?}");
        }
        let right = json!({ "type": ["string", "null"], "maxLength": 2.0, "items": false, "$schema": DRAFT, "multipleOf": 0.5 });
        assert_eq!(unjudged(&right), []);
    }
}
