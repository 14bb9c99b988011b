//! Streams as files: each document contains one stream. In a folder of DAG files, they are the files named
//! `….stream.yaml`.
//!
//! The content is data. The process that runs streams checks expressions and types.

use crate::dashboard::{is_name, texts};
use crate::file::{Problems, millis_of, notifiers, problem_at, read_stream, stem};
use crate::yaml::node::{Node, NodeKind};
use orch_spec::Notifier;
use orch_spec::check::FileProblem;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) const STARTS: &[&str] = &["earliest", "latest"];
pub(crate) const POLICIES: &[&str] = &["quarantine", "warn", "fail"];
pub(crate) const RUNS: &[&str] = &["record", "batch", "key"];
pub(crate) const DATABASES: &[&str] = &["postgres", "mysql"];
/// Kind in the names of files.
const KIND: &str = "stream";
const OF_THE_LAKE: &[&str] = &["partition_by", "sort_by", "properties"];
const NOT_FOR_RUNS: &[&str] = &[
    "shares",
    "columns",
    "where",
    "key",
    "newest_by",
    "windows",
    "delete_on_tombstone",
    "changes",
    "snapshot_from",
    "partition_by",
    "sort_by",
    "properties",
];
const NOT_FOR_CAPTURES: &[&str] = &[
    "topic",
    "shares",
    "start",
    "fields",
    "ignore_unknown_fields",
    "numbers_as_text",
    "changes",
    "columns",
    "where",
    "contract",
    "table",
    "postgres",
    "runs",
    "key",
    "newest_by",
    "partition_by",
    "sort_by",
    "properties",
    "windows",
    "delete_on_tombstone",
    "snapshot_from",
];
const TYPES: &str = "types are `text`, `integer`, `number`, `decimal(10, 2)`, `boolean`, `date`, `timestamp` and `local_timestamp`; \
     `{…}` is an object with fields, `[…]` a list of one type. Within `{…}` quote what has a comma";

#[expect(clippy::struct_excessive_bools, reason = "each is a key of the file")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamFile {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub description: String,
    pub connection: Option<String>,
    #[serde(default)]
    pub topic: String,
    pub partitions: Option<u32>,
    pub shares: Option<u32>,
    #[serde(default)]
    pub start: Start,
    /// In the order of the file, like columns and measures.
    #[serde(skip_deserializing)]
    pub fields: Vec<(String, FieldType)>,
    #[serde(default)]
    pub ignore_unknown_fields: bool,
    #[serde(default)]
    pub numbers_as_text: bool,
    #[serde(default, deserialize_with = "flag_or_object")]
    pub changes: Option<Changes>,
    #[serde(skip_deserializing)]
    pub columns: Vec<(String, String)>,
    #[serde(rename = "where")]
    pub filter: Option<String>,
    #[serde(default)]
    pub contract: Vec<Check>,
    pub table: Option<String>,
    pub postgres: Option<PostgresTable>,
    pub runs: Option<RunsOf>,
    #[serde(default, deserialize_with = "texts")]
    pub key: Vec<String>,
    pub newest_by: Option<String>,
    #[serde(default, deserialize_with = "texts")]
    pub partition_by: Vec<String>,
    #[serde(default, deserialize_with = "texts")]
    pub sort_by: Vec<String>,
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
    pub windows: Option<Windows>,
    #[serde(default)]
    pub delete_on_tombstone: bool,
    pub capture: Option<Capture>,
    pub snapshot_from: Option<PostgresTable>,
    #[serde(default, deserialize_with = "time")]
    pub commit_every: Option<Duration>,
    #[serde(skip_deserializing, skip_serializing_if = "Vec::is_empty")]
    pub on_failure: Vec<Notifier>,
    #[serde(default)]
    pub paused: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    #[default]
    Earliest,
    Latest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    Text,
    Integer,
    Number,
    Decimal(u8, i8),
    Boolean,
    Date,
    Timestamp,
    /// A timestamp without a time zone.
    LocalTimestamp,
    List(Box<FieldType>),
    Object(Vec<(String, FieldType)>),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Changes {
    pub decimals_as_bytes: bool,
    pub times_in_milliseconds: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    #[serde(default, deserialize_with = "texts")]
    pub not_null: Vec<String>,
    pub between: Option<Between>,
    #[serde(default, deserialize_with = "texts")]
    pub unique: Vec<String>,
    pub fresh: Option<Fresh>,
    pub or: Option<Policy>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    Quarantine,
    Warn,
    Fail,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Between {
    pub column: String,
    pub least: Option<Value>,
    pub most: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fresh {
    pub column: String,
    #[serde(default, deserialize_with = "time")]
    pub within: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresTable {
    pub connection: String,
    pub table: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunsOf {
    pub dag: String,
    #[serde(default)]
    pub per: Per,
    pub most_open: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    #[default]
    Record,
    Batch,
    Key,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    #[serde(default, deserialize_with = "time")]
    pub tumbling: Option<Duration>,
    pub hopping: Option<Hopping>,
    #[serde(default, deserialize_with = "time")]
    pub session: Option<Duration>,
    #[serde(default, deserialize_with = "texts")]
    pub by: Vec<String>,
    pub at: String,
    #[serde(default, deserialize_with = "time")]
    pub allow_late: Option<Duration>,
    #[serde(skip_deserializing)]
    pub measures: Vec<(String, Measure)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hopping {
    #[serde(default, deserialize_with = "time")]
    pub size: Option<Duration>,
    #[serde(default, deserialize_with = "time")]
    pub every: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    Count,
    Sum(String),
    Average(String),
    Least(String),
    Greatest(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    pub database: Database,
    pub connection: String,
    #[serde(deserialize_with = "texts")]
    pub tables: Vec<String>,
    pub topics: Option<String>,
    pub slot: Option<String>,
    pub publication: Option<String>,
    #[serde(default)]
    pub snapshot_by_mirrors: bool,
    pub server_id: Option<u32>,
    #[serde(default)]
    pub leave_out: BTreeMap<String, OneOrMore>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Database {
    Postgres,
    Mysql,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneOrMore(#[serde(deserialize_with = "texts")] pub Vec<String>);

pub fn is_stream_file(name: &str) -> bool {
    stem(name, KIND).is_some()
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let said = Option::<Value>::deserialize(from)?;
    Ok(said.as_ref().and_then(millis_of).map(Duration::from_millis))
}

/// Reads an object. `true` is an object without keys, `false` is `None`.
fn flag_or_object<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Changes>, D::Error> {
    match Value::deserialize(from)? {
        Value::Bool(said) => Ok(said.then(Changes::default)),
        object => serde_json::from_value(object).map(Some).map_err(serde::de::Error::custom),
    }
}

impl StreamFile {
    /// Reads a stream in YAML or JSON, or returns every problem with its line and column.
    pub fn read(file: &str, bytes: &[u8]) -> Result<StreamFile, Vec<FileProblem>> {
        let document = &read_stream(file, bytes)?;
        let read = serde_json::from_value(document.json());
        let mut stream: StreamFile =
            read.map_err(|error| vec![problem_at(file, document.mark, error.to_string(), "see the guide of streams")])?;
        if stream.name.is_empty() {
            stream.name = stem(file, KIND).unwrap_or_default().into();
        }
        let mut problems = Problems { file, found: Vec::new() };
        stream.fields = types(document.get("fields"), &mut problems);
        stream.columns = texts_of(document.get("columns"));
        stream.partition_by = whole_calls(stream.partition_by);
        stream.on_failure = notifiers(document, "on_failure");
        if let Some(windows) = &mut stream.windows {
            windows.measures =
                measures(document.get("windows").and_then(|windows| windows.get("measures")), &mut problems);
        }
        stream.check(document, &mut problems);
        if problems.found.is_empty() { Ok(stream) } else { Err(problems.found) }
    }

    /// Reports the problems that the table of keys cannot detect.
    fn check(&self, document: &Node, problems: &mut Problems<'_>) {
        let mark_of = |key: &str| document.get(key).map_or(document.mark, |node| node.mark);
        if !is_name(&self.name) {
            let message = format!("`{}` is not a name for a stream", self.name);
            problems.add(mark_of("name"), message, "write `name:` with letters, digits, `_` and `-`");
        }
        let foreign: (&str, &[&str], &str) = match (&self.capture, &self.runs, &self.table) {
            (Some(_), _, _) => ("capture", NOT_FOR_CAPTURES, "leave it out, and read the topics by another stream"),
            (None, Some(_), _) => ("runs", NOT_FOR_RUNS, "leave it out: a run gets the record as it is"),
            (None, None, None) => ("postgres", OF_THE_LAKE, "leave it out: it is for tables of the lake"),
            (None, None, Some(_)) => ("table", &[], ""),
        };
        let (with, keys, hint) = foreign;
        for (key, _) in document.entries().iter().filter(|(key, _)| keys.contains(&key.text.as_str())) {
            problems.add(key.mark, format!("`{}` is not allowed in a stream with `{with}`", key.text), hint);
        }
        if self.capture.is_none() {
            self.check_reader(document, problems);
        }
        if let Some(windows) = &self.windows {
            let shapes = [windows.tumbling.is_some(), windows.hopping.is_some(), windows.session.is_some()];
            if count(shapes) != 1 {
                let hint = "write one of `tumbling`, `hopping` and `session`";
                problems.add(mark_of("windows"), "`windows` needs exactly one shape", hint);
            }
        }
        let checks = document.get("contract").map_or(&[][..], Node::items);
        for (check, node) in self.contract.iter().zip(checks) {
            let rules =
                [!check.not_null.is_empty(), check.between.is_some(), !check.unique.is_empty(), check.fresh.is_some()];
            if count(rules) != 1 {
                let hint = "write one of `not_null`, `between`, `unique` and `fresh` into each";
                problems.add(node.mark, "a check needs exactly one rule", hint);
            }
            if check.fresh.is_some() && check.or == Some(Policy::Quarantine) {
                problems.add(node.mark, "`fresh` cannot quarantine single rows", "write `or: warn` or `or: fail`");
            }
        }
    }

    /// Checks a stream that reads a topic.
    fn check_reader(&self, document: &Node, problems: &mut Problems<'_>) {
        let is_keyed = !self.key.is_empty() && self.windows.is_none() && self.changes.is_none();
        let has_own_key = self.windows.is_some() && (!self.key.is_empty() || self.changes.is_some());
        let is_mirror = self.changes.is_some() && !self.key.is_empty();
        let rules = [
            ("topic", self.topic.is_empty(), "a stream needs a `topic`", "name the topic that it reads"),
            (
                "fields",
                document.get("fields").is_none() && self.runs.is_none(),
                "a stream needs `fields`",
                "say what its records are: `fields: {city: text}`",
            ),
            (
                "delete_on_tombstone",
                self.delete_on_tombstone && !(is_keyed && self.key.len() == 1),
                "`delete_on_tombstone` needs a key of one column",
                "write `key`, without `windows` and `changes`",
            ),
            (
                "newest_by",
                self.newest_by.is_some() && !is_keyed,
                "`newest_by` needs a table with one row for each key",
                "write `key`, without `windows` and `changes`",
            ),
            (
                if self.columns.is_empty() { "where" } else { "columns" },
                is_mirror && (!self.columns.is_empty() || self.filter.is_some()),
                "a mirror has the rows of its source as they are",
                "leave out `columns` and `where`; or leave out `key`: then each change is a row",
            ),
            (
                "windows",
                has_own_key,
                "`windows` set the key themselves",
                "leave out `key` and `changes`: the key is `by` and `window_start`",
            ),
        ];
        self.check_sinks(document, problems);
        for (key, _, message, hint) in rules.into_iter().filter(|(_, is_wrong, ..)| *is_wrong) {
            problems.add(document.get(key).map_or(document.mark, |node| node.mark), message, hint);
        }
    }

    /// Checks that records have exactly one destination.
    fn check_sinks(&self, document: &Node, problems: &mut Problems<'_>) {
        let sinks =
            [("table", self.table.is_some()), ("postgres", self.postgres.is_some()), ("runs", self.runs.is_some())];
        let given: Vec<&str> = sinks.into_iter().filter(|(_, is_given)| *is_given).map(|(key, _)| key).collect();
        match given.as_slice() {
            [_] => {}
            [] => {
                let message = "a stream needs one of `table`, `postgres` and `runs`";
                problems.add(document.mark, message, "add for example `table: weather.readings`: where its rows go");
            }
            [first, second, ..] => {
                let mark = document.get(second).map_or(document.mark, |node| node.mark);
                let message = format!("the stream has both `{first}` and `{second}`");
                problems.add(mark, message, "keep one of them; to write to both, add a second stream file");
            }
        }
    }
}

fn count<const N: usize>(are_there: [bool; N]) -> usize {
    are_there.into_iter().filter(|is_there| *is_there).count()
}

/// Returns names and texts in the order of the file.
fn texts_of(node: Option<&Node>) -> Vec<(String, String)> {
    let entries = node.map_or(&[][..], Node::entries);
    entries.iter().map(|(key, node)| (key.text.clone(), written(node))).collect()
}

/// Returns a value as text. Values that are not strings are JSON.
fn written(node: &Node) -> String {
    node.text().map_or_else(|| node.json().to_string(), str::to_owned)
}

fn types(node: Option<&Node>, problems: &mut Problems<'_>) -> Vec<(String, FieldType)> {
    let entries = node.map_or(&[][..], Node::entries);
    let typed = entries.iter().map(|(key, node)| Some((key.text.clone(), field_type(&key.text, node, problems)?)));
    typed.flatten().collect()
}

fn field_type(name: &str, node: &Node, problems: &mut Problems<'_>) -> Option<FieldType> {
    let found = match &node.kind {
        NodeKind::Map(entries) if !entries.is_empty() => return Some(FieldType::Object(types(Some(node), problems))),
        NodeKind::List(items) => match items.as_slice() {
            [inner] => return field_type(name, inner, problems).map(|inner| FieldType::List(Box::new(inner))),
            _ => None,
        },
        _ => node.text().and_then(plain_type),
    };
    if found.is_none() {
        problems.add(node.mark, format!("field `{name}` has the unknown type `{}`", written(node)), TYPES);
    }
    found
}

fn measures(node: Option<&Node>, problems: &mut Problems<'_>) -> Vec<(String, Measure)> {
    let mut measures = Vec::new();
    for (key, node) in node.map_or(&[][..], Node::entries) {
        match node.text().and_then(measure) {
            Some(measure) => measures.push((key.text.clone(), measure)),
            None => {
                let hint = "measures are `count`, `sum(x)`, `average(x)`, `least(x)` and `greatest(x)`";
                problems.add(node.mark, format!("`{}` has the unknown measure `{}`", key.text, written(node)), hint);
            }
        }
    }
    measures
}

fn plain_type(word: &str) -> Option<FieldType> {
    Some(match word {
        "text" => FieldType::Text,
        "integer" => FieldType::Integer,
        "number" => FieldType::Number,
        "boolean" => FieldType::Boolean,
        "date" => FieldType::Date,
        "timestamp" => FieldType::Timestamp,
        "local_timestamp" => FieldType::LocalTimestamp,
        other => {
            let (precision, scale) = argument(other, "decimal")?.split_once(',')?;
            let (precision, scale): (u8, i8) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            let fits = (1..=38).contains(&precision) && (0..=38).contains(&scale) && scale.unsigned_abs() <= precision;
            return fits.then_some(FieldType::Decimal(precision, scale));
        }
    })
}

fn measure(text: &str) -> Option<Measure> {
    if text == "count" {
        return Some(Measure::Count);
    }
    let (name, _) = text.split_once('(')?;
    let of = argument(text, name)?.to_owned();
    match name.trim() {
        "sum" => Some(Measure::Sum(of)),
        "average" => Some(Measure::Average(of)),
        "least" => Some(Measure::Least(of)),
        "greatest" => Some(Measure::Greatest(of)),
        _ => None,
    }
}

/// Joins the parts of calls. YAML splits `[day(at), bucket(16, id)]` at each comma.
fn whole_calls(parts: Vec<String>) -> Vec<String> {
    let mut whole: Vec<String> = Vec::new();
    for part in parts {
        match whole.last_mut().filter(|last| last.matches('(').count() > last.matches(')').count()) {
            Some(last) => *last = format!("{last}, {part}"),
            None => whole.push(part),
        }
    }
    whole
}

/// Returns the text in the brackets of `name(…)`.
pub fn argument<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let inner = text.trim().strip_prefix(name)?.trim_start().strip_prefix('(')?.strip_suffix(')')?.trim();
    (!inner.is_empty()).then_some(inner)
}

#[cfg(test)]
mod tests;
