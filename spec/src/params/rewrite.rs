//! Rewrites whole schemas: schemas of Rust types accept the first alternative that fits, as serde does, and schemas of
//! single params refer to their own `$defs`.

use serde_json::{Map, Value, json};

/// Value of `x-format` for dates with times that chrono must parse. Airflow does not check the format `date-time`.
pub(super) const RUST_DATE_TIME: &str = "rfc3339";

/// Returns the schema of a Rust type with `anyOf` in place of each `oneOf`, because serde takes the first variant that
/// fits, even if several fit. A `date-time` must have the form that chrono parses.
pub fn of_rust_type(mut schema: Value) -> Value {
    each_schema(&mut schema, &mut |words| {
        if words.get("format").is_some_and(|format| format == "date-time") {
            words.insert("x-format".into(), RUST_DATE_TIME.into());
        }
        let Some(one) = words.remove("oneOf") else { return };
        if words.contains_key("anyOf") {
            let all = words.entry("allOf").or_insert_with(|| json!([]));
            all.as_array_mut().into_iter().for_each(|all| all.push(json!({ "anyOf": one })));
        } else {
            words.insert("anyOf".into(), one);
        }
    });
    schema
}

/// Returns the schema of the param `name` as part of the schema of all params. Its references are changed to its path
/// in that schema.
pub fn embedded(name: &str, mut schema: Value) -> Value {
    let root = format!("#/properties/{}", escaped(name));
    each_ref(&mut schema, &|to| {
        let rest = to.strip_prefix('#').filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        Some(format!("{root}{rest}"))
    });
    schema
}

/// Reverses [`embedded`]. Returns `None` if the schema refers to something outside of the param.
pub fn extracted(name: &str, mut schema: Value) -> Option<Value> {
    let root = format!("#/properties/{}", escaped(name));
    let inside =
        |to: &str| to.strip_prefix(&root).filter(|rest| rest.is_empty() || rest.starts_with('/')).map(String::from);
    let mut all_inside = true;
    each_schema(&mut schema, &mut |words| {
        let to = words.get("$ref").and_then(Value::as_str);
        all_inside &= to.is_none_or(|to| inside(to).is_some());
    });
    each_ref(&mut schema, &|to| inside(to).map(|rest| format!("#{rest}")));
    all_inside.then_some(schema)
}

/// Returns the schema that a reference within the document points to.
pub(super) fn resolve<'a>(root: &'a Value, to: &str) -> Option<&'a Value> {
    root.pointer(&percent_decoded(to.strip_prefix('#')?)?)
}

/// Escapes a name for a JSON pointer in a URI fragment.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1").replace('%', "%25")
}

fn percent_decoded(text: &str) -> Option<String> {
    let Some((before, after)) = text.split_once('%') else { return Some(text.into()) };
    let mut bytes = before.as_bytes().to_vec();
    for part in after.split('%') {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend(part.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

fn each_ref(schema: &mut Value, change: &impl Fn(&str) -> Option<String>) {
    each_schema(schema, &mut |words| {
        if let Some(Value::String(to)) = words.get_mut("$ref")
            && let Some(changed) = change(to)
        {
            *to = changed;
        }
    });
}

/// Calls `change` with this schema and all schemas in it. Values such as `default` and `const` are not schemas.
fn each_schema(schema: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    let Value::Object(words) = schema else { return };
    change(words);
    for (word, below) in words {
        match (super::words::inner(word), below) {
            (Inner::Named, Value::Object(named)) => named.values_mut().for_each(|one| each_schema(one, change)),
            (Inner::Listed, Value::Array(listed)) => listed.iter_mut().for_each(|one| each_schema(one, change)),
            (Inner::One, below) => each_schema(below, change),
            _ => {}
        }
    }
}

/// The kind of schemas that the value of a keyword contains.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Inner {
    /// Schemas by name.
    Named,
    /// A list of schemas.
    Listed,
    /// A single schema.
    One,
    /// No schemas.
    Nothing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_of_rust_types_are_any_of() {
        let schema = json!({
            "properties": { "oneOf": { "oneOf": [{ "const": "a" }], "default": { "oneOf": [1] } } },
            "$defs": { "both": { "anyOf": [true], "oneOf": [false] } },
        });
        let expected = json!({
            "properties": { "oneOf": { "anyOf": [{ "const": "a" }], "default": { "oneOf": [1] } } },
            "$defs": { "both": { "anyOf": [true], "allOf": [{ "anyOf": [false] }] } },
        });
        assert_eq!(of_rust_type(schema), expected);
    }

    #[test]
    fn references_lead_to_the_defs_of_their_param() {
        let own = json!({
            "$ref": "#/$defs/code", "$defs": { "code": { "minLength": 2 } },
            "items": { "$ref": "#" }, "default": { "$ref": "#/x" },
        });
        for name in ["airport", "a/b~c%d ü"] {
            let whole = json!({ "properties": { name: embedded(name, own.clone()) } });
            let param = &whole["properties"][name];
            let to = |schema: &Value| resolve(&whole, schema["$ref"].as_str().expect("a reference")).cloned();
            assert_eq!(to(param), Some(json!({ "minLength": 2 })), "{param}");
            assert_eq!(to(&param["items"]).as_ref(), Some(param));
            assert_eq!(param["default"], own["default"]);
            assert_eq!(extracted(name, param.clone()).as_ref(), Some(&own));
        }
        assert_eq!(extracted("a", json!({ "$ref": "#/$defs/shared" })), None);
        assert_eq!(extracted("a", json!({ "$ref": "#/properties/ab" })), None);
        assert_eq!(percent_decoded("/a%20b%C3%BC"), Some("/a bü".into()));
        assert_eq!(percent_decoded("/a%2"), None);
    }
}
