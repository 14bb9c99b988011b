//! Files of connections and variables in Airflow's three formats, told apart by their ending: `.json`, `.yaml`/`.yml`,
//! `.env`. Airflow's own exports are such files.

use orch_core::task::{BadConnection, Connection};
use serde_json::{Map, Number, Value};
use std::collections::BTreeMap;
use std::path::Path;
use yaml_rust2::{Yaml, YamlLoader};

/// What is wrong with a file. Says nothing of its values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDocument {
    #[error("`{path}` has none of the endings .json, .yaml, .yml and .env")]
    Ending { path: String },
    #[error("`{path}` cannot be read: {problem}")]
    Form { path: String, problem: String },
    #[error("`{path}`: {source}")]
    Connection { path: String, source: BadConnection },
}

/// A variable with what people say about it.
#[derive(Clone, PartialEq, Eq)]
pub struct WrittenVariable {
    pub value: String,
    pub description: Option<String>,
}

/// By id. A connection is a URI, or an object with its parts.
pub fn connections(path: &Path, text: &str) -> Result<BTreeMap<String, Connection>, BadDocument> {
    let name = || path.display().to_string();
    let mut found = BTreeMap::new();
    for (id, value) in object(path, text)? {
        let read = match &value {
            // In a file for the environment either form is a text.
            Value::String(text) => Connection::parse(&id, text),
            Value::Object(fields) => Connection::from_object(&id, fields),
            Value::Array(one) if one.len() == 1 => match &one[0] {
                Value::Object(fields) => Connection::from_object(&id, fields),
                other => Connection::parse(&id, other.as_str().unwrap_or_default()),
            },
            _ => {
                let problem = format!("connection `{id}` is neither a URI nor an object, or stands there twice");
                return Err(BadDocument::Form { path: name(), problem });
            }
        };
        found.insert(id, read.map_err(|source| BadDocument::Connection { path: name(), source })?);
    }
    Ok(found)
}

/// By key. An object with a `value` may carry a `description`; what is no text is kept as JSON.
pub fn variables(path: &Path, text: &str) -> Result<BTreeMap<String, WrittenVariable>, BadDocument> {
    let text_of = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    let written = |value: Value| match &value {
        Value::Object(fields) if fields.contains_key("value") => WrittenVariable {
            value: text_of(&fields["value"]),
            description: fields.get("description").and_then(Value::as_str).map(String::from),
        },
        other => WrittenVariable { value: text_of(other), description: None },
    };
    Ok(object(path, text)?.into_iter().map(|(key, value)| (key, written(value))).collect())
}

fn object(path: &Path, text: &str) -> Result<Map<String, Value>, BadDocument> {
    let bad = |problem: String| BadDocument::Form { path: path.display().to_string(), problem };
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let value = match ending.as_str() {
        // The text of a parser's error could show what stands there: the line is enough.
        "json" => serde_json::from_str(text).map_err(|error| bad(format!("line {} is no JSON", error.line())))?,
        "yaml" | "yml" => {
            let read = YamlLoader::load_from_str(text);
            let documents = read.map_err(|error| bad(format!("line {} is no YAML", error.marker().line())))?;
            json(documents.first().unwrap_or(&Yaml::Null)).ok_or_else(|| bad("it has a key that is no text".into()))?
        }
        "env" => return lines(text).map_err(bad),
        _ if path.file_name().is_some_and(|name| name == ".env") => return lines(text).map_err(bad),
        _ => return Err(BadDocument::Ending { path: path.display().to_string() }),
    };
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(bad("it is no object with names and values".into())),
    }
}

/// `NAME=value`, each name once.
fn lines(text: &str) -> Result<Map<String, Value>, String> {
    let mut found = Map::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        if name.trim().is_empty() || value.is_empty() {
            return Err(format!("line {} is no `NAME=value`", number + 1));
        }
        if found.insert(name.trim().into(), Value::from(value)).is_some() {
            return Err(format!("line {} names `{}` once more", number + 1, name.trim()));
        }
    }
    Ok(found)
}

fn json(yaml: &Yaml) -> Option<Value> {
    Some(match yaml {
        Yaml::Null | Yaml::BadValue | Yaml::Alias(_) => Value::Null,
        Yaml::Boolean(is) => Value::Bool(*is),
        Yaml::Integer(number) => Value::from(*number),
        Yaml::Real(text) => {
            let number = text.parse().ok().and_then(Number::from_f64);
            number.map_or_else(|| Value::from(text.as_str()), Value::Number)
        }
        Yaml::String(text) => Value::from(text.as_str()),
        Yaml::Array(items) => Value::Array(items.iter().map(json).collect::<Option<_>>()?),
        Yaml::Hash(fields) => {
            let field = |(name, value): (&Yaml, &Yaml)| {
                let name = match name {
                    Yaml::String(name) => name.clone(),
                    Yaml::Integer(number) => number.to_string(),
                    Yaml::Boolean(is) => is.to_string(),
                    _ => return None,
                };
                Some((name, json(value)?))
            };
            Value::Object(fields.iter().map(field).collect::<Option<_>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<BTreeMap<String, Connection>, BadDocument> {
        connections(Path::new(name), text)
    }

    #[test]
    fn all_formats_say_the_same() {
        let json = r#"{"a": "x://me:p%20w@h/", "b": {"conn_type": "y", "port": 5, "extra": "{\"k\": [1]}"}}"#;
        // As PyYAML writes it.
        let yaml = "a: x://me:p%20w@h/\nb:\n  conn_type: y\n  description: null\n  extra: '{\"k\": [1]}'\n  port: 5\n";
        let env =
            "# exported\na=x://me:p%20w@h/\n\nb={\"conn_type\": \"y\", \"port\": 5, \"extra\": \"{\\\"k\\\": [1]}\"}\n";
        let expected = read("c.json", json).expect("JSON");
        assert_eq!(expected["a"].password.as_deref(), Some("p w"));
        assert_eq!((expected["b"].port, &expected["b"].extra["k"]), (Some(5), &serde_json::json!([1])));
        assert_eq!(read("c.yaml", yaml).expect("YAML"), expected);
        assert_eq!(read("c.YML", yaml).expect("YAML"), expected);
        assert_eq!(read("c.env", env).expect("lines"), expected);
    }

    #[test]
    fn what_is_wrong_is_told_without_what_stands_there() {
        for (name, text) in [
            ("c.json", "{\"a\": \"x://hush"),
            ("c.json", "[\"hush\"]"),
            ("c.json", "{\"a\": \"hush\"}"),
            ("c.yaml", "a: [hush"),
            ("c.yaml", "a: 'x://me:hush@h:port'"),
            ("c.env", "hush"),
            ("c.env", "a=x://h\na=x://hush"),
            ("c.txt", "a: hush"),
        ] {
            let error = read(name, text).expect_err(text).to_string();
            assert!(error.starts_with(&format!("`{name}`")) && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn variables_may_be_json_and_carry_a_description() {
        let text = r#"{"a": "x", "b": {"value": {"n": 1}, "description": "d"}, "c": [1, 2], "d": "{\"value\": 1}"}"#;
        let found = variables(Path::new("v.json"), text).expect("JSON");
        let value = |key: &str| found[key].value.as_str();
        assert_eq!([value("a"), value("b"), value("c"), value("d")], ["x", "{\"n\":1}", "[1,2]", "{\"value\": 1}"]);
        assert_eq!(found["b"].description.as_deref(), Some("d"));
    }
}
