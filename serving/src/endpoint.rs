//! Declaration of a published query, in Rust or in a file.

use crate::postgres::numbered;
use crate::values::read_value;
use orch_document::file::{FileProblem, read_endpoint};
use orch_document::folder::problem_of_file;
use orch_lake::TableName;
use orch_lake_sql::{Reads, reads_of};
use orch_sdk::task::{TaskResult, fatal};
use orch_store::lake_view::{SqlValue, SqlValues};
use orch_store::user::Role;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Hint for problems without a more specific one.
pub(crate) const HINT: &str = "correct the file: it is read again when it changes";
/// Maximum number of rows in a response.
const MOST_ROWS: usize = 100_000;
const MOST_SECONDS: u64 = 300;
/// Parameter of every endpoint that selects the format of the response.
pub(crate) const FORMAT: &str = "format";

/// A published query and its path.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// HTTP path, such as `/api/v1/trips/recent`.
    pub path: String,
    /// Description in one or two sentences for the documentation.
    pub about: String,
    /// Minimum role of callers.
    #[serde(default)]
    pub role: Role,
    #[serde(default)]
    pub params: Vec<Param>,
    /// Id of the connection to the Postgres database that runs the query. `None` queries the lake.
    #[serde(default)]
    pub connection: Option<String>,
    /// A single `select`, which refers to each parameter as `$name`.
    pub sql: String,
    /// Columns of the response, in the order of the query.
    pub columns: Vec<Column>,
    #[serde(default)]
    pub shape: Shape,
    /// Timeout of the query.
    #[serde(default = "usual_seconds")]
    pub timeout_seconds: u64,
}

fn usual_seconds() -> u64 {
    10
}

/// Shape of a JSON response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// `{"success", "message", "data": [rows], "timestamp"}`
    #[default]
    Rows,
    /// The first row as an object.
    Row,
}

/// A value that a caller sends.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    pub name: String,
    #[serde(rename = "type")]
    pub data_type: ParamType,
    #[serde(default)]
    pub about: String,
    #[serde(default)]
    pub required: bool,
    /// Value of a parameter that is not sent. Without `default` and `default_sql`, it is null.
    #[serde(default)]
    pub default: Option<serde_json::Value>,
    /// SQL query that returns the default value, such as `select max(day) from taxi.trips`. Mutually exclusive with
    /// `default` and `required`.
    #[serde(default)]
    pub default_sql: Option<String>,
    #[serde(default)]
    pub minimum: Option<f64>,
    #[serde(default)]
    pub maximum: Option<f64>,
    #[serde(default)]
    pub one_of: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamType {
    Integer,
    Number,
    Text,
    Boolean,
    /// `2026-11-20`
    Date,
    /// `2026-11-20T06:00:00`
    Timestamp,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    pub name: String,
    #[serde(rename = "type")]
    pub data_type: ColumnType,
    #[serde(default)]
    pub about: String,
    /// Columns of each entry of a list.
    #[serde(default)]
    pub of: Vec<Column>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    Integer,
    Number,
    Text,
    Boolean,
    Date,
    Timestamp,
    /// A list of objects.
    List,
}

impl Endpoint {
    /// Reads a published query that is written in YAML or JSON. `file` is its name in error messages.
    ///
    /// # Errors
    /// Returns a fatal error with the problems of the file, their lines and columns.
    pub fn read(file: &str, text: &str) -> TaskResult<Endpoint> {
        Endpoint::parse(file, text.as_bytes()).map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(with_place).collect();
            fatal(format!("endpoint `{file}`: {}", problems.join("\n")))
        })
    }

    /// Parses and checks an endpoint file, and returns its problems.
    pub(crate) fn parse(file: &str, bytes: &[u8]) -> Result<Endpoint, Vec<FileProblem>> {
        let of_file = |text: &str| vec![problem_of_file(file, text, HINT)];
        let value = read_endpoint(file, bytes)?;
        let endpoint: Endpoint = serde_json::from_value(value).map_err(|error| of_file(&error.to_string()))?;
        endpoint.check().map_err(|text| of_file(&text))?;
        Ok(endpoint)
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }

    pub(crate) fn most_rows(&self) -> usize {
        if self.shape == Shape::Row { 1 } else { MOST_ROWS }
    }

    /// Returns true if callers can select the format: it returns rows, and no parameter is named `format`.
    pub(crate) fn has_formats(&self) -> bool {
        self.shape == Shape::Rows && self.params.iter().all(|param| param.name != FORMAT)
    }

    /// Returns the parameters without a value that have a `default_sql`, with that query.
    pub(crate) fn defaults_to_ask(&self, values: &SqlValues) -> Vec<(&Param, &str)> {
        let missing = self.params.iter().filter(|param| !values.contains_key(&param.name));
        missing.filter_map(|param| Some((param, param.default_sql.as_deref()?))).collect()
    }

    /// Returns the tables of the lake that the query and the queries of defaults read.
    pub(crate) fn reads(&self) -> Result<Reads, String> {
        let values: SqlValues = self.params.iter().map(|param| (param.name.clone(), SqlValue::Null)).collect();
        let mut reads = reads_of(&self.sql, &values).map_err(|error| error.to_string())?;
        for param in &self.params {
            if let Some(sql) = &param.default_sql {
                let of_default = reads_of(sql, &SqlValues::new());
                let of_default = of_default.map_err(|error| format!("`default_sql` of `{}`: {error}", param.name))?;
                reads.tables.extend(of_default.tables);
                reads.changing = reads.changing.or(of_default.changing);
            }
        }
        Ok(reads)
    }

    /// Checks the declaration.
    ///
    /// # Errors
    /// Returns the first problem.
    pub fn check(&self) -> Result<(), String> {
        let segments = self.path.strip_prefix('/').ok_or("`path` begins with `/`")?;
        let is_plain = |segment: &str| {
            !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if !segments.split('/').all(is_plain) {
            return Err(format!("`{}` is no path: letters, digits, `-`, `_` and `.` between slashes", self.path));
        }
        if !(1..=MOST_SECONDS).contains(&self.timeout_seconds) {
            return Err(format!("`timeout_seconds` is 1 to {MOST_SECONDS}"));
        }
        names(self.params.iter().map(|param| &param.name))?;
        check_columns(&self.columns)?;
        self.params.iter().try_for_each(Param::check)?;
        if self.connection.is_some() {
            // The server enforces that these queries are read-only.
            self.params
                .iter()
                .filter_map(|param| param.default_sql.as_deref())
                .try_for_each(|sql| numbered(sql, &[]).map(drop))?;
            return numbered(&self.sql, &self.params).map(drop);
        }
        let reads = self.reads()?;
        if let Some(word) = reads.changing {
            return Err(format!(
                "`{word}` gives another answer while the tables stay the same, so the answer could not be kept\nhint: take a \
                 parameter, and give it a `default_sql` such as `select max(day) from …`"
            ));
        }
        if reads.tables.is_empty() {
            return Err("`sql` reads no table".into());
        }
        Ok(())
    }
}

/// Formats a problem with its position in the file and its hint.
fn with_place(problem: &FileProblem) -> String {
    let FileProblem { line, column, message, hint, .. } = problem;
    if *line == 0 {
        format!("{message}\nhint: {hint}")
    } else {
        format!("line {line}, column {column}: {message}\nhint: {hint}")
    }
}

fn check_columns(columns: &[Column]) -> Result<(), String> {
    if columns.is_empty() {
        return Err("`columns` names no column".into());
    }
    names(columns.iter().map(|column| &column.name))?;
    for column in columns {
        match column.data_type {
            ColumnType::List => check_columns(&column.of).map_err(|problem| format!("`{}`: {problem}", column.name))?,
            _ if !column.of.is_empty() => return Err(format!("`{}` is no list, so it has no `of`", column.name)),
            _ => {}
        }
    }
    Ok(())
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> Result<(), String> {
    let mut known = BTreeSet::new();
    for name in names {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(format!("`{name}` is no name: letters, digits and `_`"));
        }
        if !known.insert(name) {
            return Err(format!("`{name}` is there twice"));
        }
    }
    Ok(())
}

impl Param {
    fn check(&self) -> Result<(), String> {
        let wrong = |problem: &str| Err(format!("parameter `{}`: {problem}", self.name));
        let is_number = matches!(self.data_type, ParamType::Integer | ParamType::Number);
        if !is_number && (self.minimum.is_some() || self.maximum.is_some()) {
            return wrong("only numbers have `minimum` and `maximum`");
        }
        if self.data_type != ParamType::Text && !self.one_of.is_empty() {
            return wrong("only texts have `one_of`");
        }
        let ways = [self.required, self.default.is_some(), self.default_sql.is_some()];
        if ways.into_iter().filter(|way| *way).count() > 1 {
            return wrong("`required`, `default` and `default_sql` exclude each other");
        }
        match &self.default {
            Some(value) => match read_value(self, &text_of(value)) {
                Ok(_) => Ok(()),
                Err(problem) => wrong(&format!("`default`: {}", problem.msg)),
            },
            None => Ok(()),
        }
    }
}

/// Converts a value of a file to the text that a caller would send.
pub(crate) fn text_of(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// An endpoint with the tables that it reads.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    pub(crate) endpoint: Endpoint,
    pub(crate) tables: Vec<TableName>,
}

pub(crate) type ByPath = BTreeMap<String, Arc<Published>>;

impl Published {
    /// Checks an endpoint and finds its tables.
    pub(crate) fn new(endpoint: Endpoint) -> Result<Published, String> {
        endpoint.check()?;
        let tables = endpoint.reads().map(|reads| reads.tables.into_iter().collect()).unwrap_or_default();
        Ok(Published { endpoint, tables })
    }
}

/// Maps endpoints by their paths. Returns a fatal error if one is invalid or two have the same path.
pub(crate) fn by_path(endpoints: Vec<Endpoint>) -> TaskResult<ByPath> {
    let mut found = ByPath::new();
    for endpoint in endpoints {
        let path = endpoint.path.clone();
        let published = Published::new(endpoint).map_err(|problem| fatal(format!("endpoint `{path}`: {problem}")))?;
        if found.insert(path.clone(), published.into()).is_some() {
            return Err(fatal(format!("there are two endpoints `{path}`")));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONES: &str = "
path: /api/v1/zones
about: Zones by trips
params:
  - {name: day, type: date, default_sql: select max(day) from taxi.trips}
  - {name: limit, type: integer, minimum: 1, maximum: 500, default: 50}
sql: select zone, count(*) as trips from taxi.trips where day = $day group by 1 order by 2 desc limit $limit
columns:
  - {name: zone, type: text, about: Its name}
  - {name: trips, type: integer}
";

    #[test]
    fn an_endpoint_is_read_from_a_file() {
        let read = Endpoint::read("zones.yaml", ZONES).unwrap();
        assert_eq!((read.role, read.shape, read.timeout_seconds), (Role::Viewer, Shape::Rows, 10));
        assert_eq!(read.reads().unwrap().tables.iter().map(ToString::to_string).collect::<Vec<_>>(), ["taxi.trips"]);
        assert_eq!(read.columns[0].about, "Its name");
    }

    #[test]
    fn what_is_wrong_with_an_endpoint_is_told_with_its_file() {
        for (from, to, words) in [
            (
                "about:",
                "abuot:",
                "unknown key `abuot` in a published query\nhint: a published query has the keys `path`, `about`",
            ),
            ("/api/v1/zones", "api/v1/zones", "begins with `/`"),
            ("/api/v1/zones", "/api/{zone}", "is no path"),
            ("$limit", "$limti", "`$limti` has no value"),
            (
                "type: date,",
                "type: day,",
                "line 5, column 23: `type` cannot be `day`\nhint: write one of `integer`, `number`, `text`",
            ),
            ("default: 50", "default: 501", "parameter `limit`: `default`"),
            ("default: 50", "default: 50, required: true", "exclude each other"),
            ("name: limit", "name: day", "`day` is there twice"),
            ("day = $day", "day = current_date", "`current_date` gives another answer"),
            ("from taxi.trips where", "from trips where", "has no namespace"),
            ("select max(day)", "delete", "is refused"),
            (
                "  - {name: zone, type: text, about: Its name}",
                "  - {name: zone, type: list}",
                "`zone`: `columns` names no column",
            ),
            ("path:", "path: [", "zones.yaml"),
        ] {
            assert!(ZONES.contains(from), "{from}");
            let error = Endpoint::read("zones.yaml", &ZONES.replace(from, to)).unwrap_err().to_string();
            assert!(error.starts_with("endpoint `zones.yaml`: ") && error.contains(words), "{to}: {error}");
        }
        let twice = || Endpoint::read("zones.yaml", ZONES).unwrap();
        assert!(by_path(vec![twice(), twice()]).unwrap_err().to_string().contains("two endpoints `/api/v1/zones`"));
    }
}
