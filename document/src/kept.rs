//! Files of connections and variables in Airflow's three formats (JSON, YAML and lines for the environment), and of
//! pools in JSON and YAML. Airflow reads these files, and Airflow's exports can be read here.

use crate::yaml::{self, node};
use orch_sdk::task::{BadConnection, Connection};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    Json,
    Yaml,
    /// Lines with `NAME=value`.
    Env,
}

/// The form of a connection in an environment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serialization {
    Json,
    Uri,
}

/// A problem of a file. The message contains no values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDocument {
    #[error("`{name}` has none of the extensions .json, .yaml, .yml and .env")]
    Ending { name: String },
    #[error("`{name}` cannot be read: {problem}")]
    Form { name: String, problem: String },
    #[error("`{name}`: {source}")]
    Connection { name: String, source: BadConnection },
}

#[derive(Clone, PartialEq, Eq)]
pub struct WrittenVariable {
    pub value: String,
    pub description: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(expecting = "an object")]
pub struct WrittenPool {
    pub slots: i32,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub include_deferred: bool,
}

#[derive(Clone)]
pub struct Document<'a> {
    /// Name of the file in errors.
    name: String,
    format: FileFormat,
    text: &'a str,
}

impl FileFormat {
    pub const ALL: [FileFormat; 3] = [FileFormat::Json, FileFormat::Yaml, FileFormat::Env];

    /// Returns the name of the format, which is also its file extension.
    pub const fn as_str(self) -> &'static str {
        match self {
            FileFormat::Json => "json",
            FileFormat::Yaml => "yaml",
            FileFormat::Env => "env",
        }
    }

    pub const fn label(self) -> &'static str {
        match self {
            FileFormat::Json => "JSON",
            FileFormat::Yaml => "YAML",
            FileFormat::Env => "Environment",
        }
    }

    /// Returns the format of a file by its extension.
    pub fn of(path: &Path) -> Option<FileFormat> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        match ending.as_deref() {
            Some("json") => Some(FileFormat::Json),
            Some("yaml" | "yml") => Some(FileFormat::Yaml),
            Some("env") => Some(FileFormat::Env),
            _ => path.file_name().filter(|name| *name == ".env").map(|_| FileFormat::Env),
        }
    }
}

impl<'a> Document<'a> {
    pub fn new(name: impl Into<String>, format: FileFormat, text: &'a str) -> Self {
        Document { name: name.into(), format, text }
    }

    /// Creates a document whose format is given by the file extension.
    pub fn of_file(path: &Path, text: &'a str) -> Result<Self, BadDocument> {
        let name = path.display().to_string();
        match FileFormat::of(path) {
            Some(format) => Ok(Document { name, format, text }),
            None => Err(BadDocument::Ending { name }),
        }
    }

    /// Returns the connections by id. A connection is a URI, or an object with its parts.
    pub fn connections(&self) -> Result<BTreeMap<String, Connection>, BadDocument> {
        let mut found = BTreeMap::new();
        for (id, value) in self.object()? {
            let read = match &value {
                // In an environment file, both forms are strings.
                Value::String(text) => Connection::parse(&id, text),
                Value::Object(fields) => Connection::from_object(&id, fields),
                Value::Array(one) if one.len() == 1 => match &one[0] {
                    Value::Object(fields) => Connection::from_object(&id, fields),
                    other => Connection::parse(&id, other.as_str().unwrap_or_default()),
                },
                _ => {
                    let problem = format!("connection `{id}` is neither a URI nor an object, or is there twice");
                    return Err(self.bad(problem));
                }
            };
            found.insert(id, read.map_err(|source| BadDocument::Connection { name: self.name.clone(), source })?);
        }
        Ok(found)
    }

    /// Returns the variables by key. An object with a `value` may also have a `description`; values that are not
    /// strings are stored as JSON.
    pub fn variables(&self) -> Result<BTreeMap<String, WrittenVariable>, BadDocument> {
        let text_of = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
        let written = |value: Value| match &value {
            Value::Object(fields) if fields.contains_key("value") => WrittenVariable {
                value: text_of(&fields["value"]),
                description: fields.get("description").and_then(Value::as_str).map(String::from),
            },
            other => WrittenVariable { value: text_of(other), description: None },
        };
        Ok(self.object()?.into_iter().map(|(key, value)| (key, written(value))).collect())
    }

    /// Returns the pools by name.
    pub fn pools(&self) -> Result<BTreeMap<String, WrittenPool>, BadDocument> {
        let written = |(name, value): (String, Value)| match WrittenPool::deserialize(&value) {
            Ok(pool) => Ok((name, pool)),
            Err(error) => Err(self.bad(format!(
                "pool `{}` is not an object such as {{\"slots\": 4, \"description\": \"\"}}: {error}",
                name.escape_debug()
            ))),
        };
        match self.format {
            FileFormat::Env => Err(self.bad("a line of the environment cannot hold a pool: use .json or .yaml".into())),
            FileFormat::Json | FileFormat::Yaml => self.object()?.into_iter().map(written).collect(),
        }
    }

    pub fn bad(&self, problem: String) -> BadDocument {
        BadDocument::Form { name: self.name.clone(), problem }
    }

    fn object(&self) -> Result<Map<String, Value>, BadDocument> {
        let value = match self.format {
            // The message of the parser could contain parts of the input, so only the line is reported.
            FileFormat::Json => {
                serde_json::from_str(self.text).map_err(|error| self.bad(not_json(self.text, &error)))?
            }
            FileFormat::Yaml => {
                let documents = node::read("", self.text.as_bytes()).map_err(|refused| self.bad(unread(refused)))?;
                documents.first().map_or(Value::Null, node::Node::json)
            }
            FileFormat::Env => return lines(self.text).map_err(|problem| self.bad(problem)),
        };
        match value {
            Value::Object(fields) => Ok(fields),
            _ => Err(self.bad("it is not an object with names and values".into())),
        }
    }
}

/// Writes connections like Airflow's `connections export`. `serialization` only applies to environment files.
pub fn write_connections(all: &[Connection], format: FileFormat, serialization: Serialization) -> String {
    let line = |connection: &Connection| match serialization {
        Serialization::Json => format!("{}={}\n", connection.id, connection.to_json()),
        Serialization::Uri => format!("{}={}\n", connection.id, connection.to_uri()),
    };
    let object = |connection: &Connection| (connection.id.clone(), Value::Object(connection.to_object()));
    match format {
        FileFormat::Env => all.iter().map(line).collect(),
        FileFormat::Json | FileFormat::Yaml => write_object(all.iter().map(object).collect(), format),
    }
}

/// Writes variables like Airflow's `variables export`, in JSON. Values that are JSON are written as JSON; strings that
/// would be read as JSON stay strings.
pub fn write_variables(all: impl IntoIterator<Item = (String, WrittenVariable)>) -> String {
    let entry = |(key, variable): (String, WrittenVariable)| {
        let value = match serde_json::from_str(&variable.value) {
            Ok(Value::String(_)) | Err(_) => Value::String(variable.value),
            Ok(value) => value,
        };
        let has_value = value.as_object().is_some_and(|fields| fields.contains_key("value"));
        let entry = if variable.description.is_some() || has_value {
            json!({ "value": value, "description": variable.description })
        } else {
            value
        };
        (key, entry)
    };
    write_object(all.into_iter().map(entry).collect(), FileFormat::Json)
}

fn write_object(fields: Map<String, Value>, format: FileFormat) -> String {
    if format == FileFormat::Yaml {
        return yaml::object(&fields.iter().map(|(name, value)| (name.as_str(), value)).collect::<Vec<_>>());
    }
    serde_json::to_string_pretty(&Value::Object(fields)).expect("JSON values can be written as JSON") + "\n"
}

/// Returns a message for a text that is not JSON, without quoting it.
fn not_json(text: &str, error: &serde_json::Error) -> String {
    match (error.is_eof(), missing_end(text)) {
        (true, Some(end)) => {
            format!("it breaks off after line {}: a closing `{end}` is missing", text.trim_end().lines().count())
        }
        (true, None) => "it is empty or breaks off".into(),
        (false, _) => format!("line {} is not JSON", error.line()),
    }
}

/// Returns the character that closes the innermost string, list or object that is open at the end of a JSON text.
fn missing_end(json: &str) -> Option<char> {
    let (mut open, mut in_text, mut escaped) = (Vec::new(), false, false);
    for letter in json.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            _ if in_text => {}
            '{' => open.push('}'),
            '[' => open.push(']'),
            '}' | ']' => {
                open.pop();
            }
            _ => {}
        }
    }
    if in_text { Some('"') } else { open.pop() }
}

/// Reads lines with `NAME=value`. Each name may appear once.
fn lines(text: &str) -> Result<Map<String, Value>, String> {
    let mut found = Map::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        if name.trim().is_empty() || value.is_empty() {
            return Err(format!("line {} is not `NAME=value`", number + 1));
        }
        if found.insert(name.trim().into(), Value::from(value)).is_some() {
            return Err(format!("line {} names `{}` once more", number + 1, name.trim()));
        }
    }
    Ok(found)
}

/// Replaces the message of the reader, which could contain a key, by one with only the line. Problems of the file as a
/// whole keep their message.
fn unread((mark, message, _): node::Unreadable) -> String {
    match mark {
        node::Mark::NONE => message,
        node::Mark { line, .. } => {
            format!("line {line} is not YAML, names a key twice, or unfolds and nests further than files may")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<BTreeMap<String, Connection>, BadDocument> {
        Document::of_file(Path::new(name), text)?.connections()
    }

    #[test]
    fn all_formats_say_the_same() {
        let json = r#"{"a": "x://me:p%20w@h/", "b": {"conn_type": "y", "port": 5, "extra": "{\"k\": [1]}"}}"#;
        // The output of PyYAML.
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
    fn json_that_breaks_off_is_told_with_what_is_missing() {
        for (text, expected) in [
            ("{\"a\": \"x://h\"\n", "it breaks off after line 1: a closing `}` is missing"),
            ("{\"a\": [\"}\\\"{\",\n1", "it breaks off after line 2: a closing `]` is missing"),
            ("{\"a\": \"x", "it breaks off after line 1: a closing `\"` is missing"),
            ("", "it is empty or breaks off"),
            ("{\"a\": 1,\n}", "line 2 is not JSON"),
        ] {
            let error = read("c.json", text).expect_err(text).to_string();
            assert_eq!(error, format!("`c.json` cannot be read: {expected}"));
        }
    }

    #[test]
    fn a_file_that_nests_or_unfolds_without_end_is_refused() {
        let unfolds: Vec<_> = (1..30).map(|n| format!("a{n}: &a{n} [*a{m}, *a{m}]\n", m = n - 1)).collect();
        for text in
            [format!("a0: &a0 x\n{}", unfolds.concat()), format!("a: {}", "[".repeat(10_000)), "a: 1\na: 2\n".into()]
        {
            let file = Document::new("v.yaml", FileFormat::Yaml, &text);
            let error = file.variables().err().expect("it is refused").to_string();
            assert!(error.contains("is not YAML, names a key twice, or unfolds"), "{error}");
        }
        let deep = format!("{{\"a\": {}", "[".repeat(100_000));
        assert!(Document::new("v.json", FileFormat::Json, &deep).variables().is_err());
    }

    #[test]
    fn variables_may_be_json_and_carry_a_description() {
        let text = r#"{"a": "x", "b": {"value": {"n": 1}, "description": "d"}, "c": [1, 2], "d": "{\"value\": 1}"}"#;
        let found = Document::of_file(Path::new("v.json"), text).expect("it ends well").variables().expect("JSON");
        let value = |key: &str| found[key].value.as_str();
        assert_eq!([value("a"), value("b"), value("c"), value("d")], ["x", "{\"n\":1}", "[1,2]", "{\"value\": 1}"]);
        assert_eq!(found["b"].description.as_deref(), Some("d"));
    }
}
