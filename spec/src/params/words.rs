//! The words that a schema of params may use. One with another word is refused when its DAG is loaded: a rule that nothing
//! checks would look as if it held.

use crate::names::closest;
use crate::pattern::compile;
use serde_json::{Map, Value};

/// Judged by `violations`.
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

/// They say something to people or to forms, and allow and forbid nothing. The last four are Airflow's.
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

/// What in a schema cannot be judged: what is wrong, and what to do about it.
pub fn unjudged(schema: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(schema, schema, &mut Vec::new(), &mut found);
    found
}

fn walk<'a>(root: &'a Value, schema: &'a Value, path: &mut Vec<&'a str>, found: &mut Vec<(String, String)>) {
    let Value::Object(words) = schema else { return };
    let place = |path: &[&str]| if path.is_empty() { String::new() } else { format!(" at `{}`", path.join(".")) };
    for (word, value) in words {
        let problem = match (word.as_str(), value) {
            ("pattern", Value::String(pattern)) => compile(pattern).err().map(|error| {
                (
                    format!("`{pattern}` cannot be used as a regular expression: {error}"),
                    "write it in the syntax of the crate regex-lite, with fewer repetitions".into(),
                )
            }),
            ("$ref", Value::String(to)) if to.strip_prefix('#').and_then(|to| root.pointer(to)).is_none() => {
                Some((format!("`$ref` leads to `{to}`, which is not in the schema"), "put it below `$defs`".into()))
            }
            (known, _) if JUDGED.contains(&known) || NOTES.contains(&known) || known.starts_with("x-") => None,
            (unknown, _) => Some((format!("`{unknown}` is a rule that is not checked here"), meant(unknown))),
        };
        found.extend(problem.map(|(what, hint)| (format!("{what}{}", place(path)), hint)));
    }
    for (word, below) in words {
        match (word.as_str(), below) {
            ("properties" | "patternProperties" | "$defs" | "definitions", Value::Object(named)) => {
                each(root, word, named, path, found);
            }
            ("items" | "additionalProperties", below) => inside(root, word, below, path, found),
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(all)) => {
                all.iter().for_each(|one| inside(root, word, one, path, found));
            }
            _ => {}
        }
    }
}

fn each<'a>(
    root: &'a Value,
    word: &'a str,
    named: &'a Map<String, Value>,
    path: &mut Vec<&'a str>,
    found: &mut Vec<(String, String)>,
) {
    path.push(word);
    named.iter().for_each(|(name, schema)| inside(root, name, schema, path, found));
    path.pop();
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

fn meant(unknown: &str) -> String {
    match closest(unknown, JUDGED.into_iter().chain(NOTES)) {
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
            found[0].starts_with("`(` cannot be used as a regular expression")
                && found[0].contains("at `properties.day`")
        );
        assert!(found[1].contains("`contains` is a rule that is not checked here at `properties.rows.items`"));
        assert_eq!(
            found[2],
            "`patern` is a rule that is not checked here at `properties.table` (did you mean `pattern`?)"
        );
        assert!(found[3].contains("`$ref` leads to `#/$defs/Target`, which is not in the schema at `properties.to`"));
    }
}
