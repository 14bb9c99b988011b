//! A question in SQL, and what comes back: rows as they are made, or all of them with a bound.

use super::{LakeResult, TableId};
use crate::boxed;
use chrono::{NaiveDate, NaiveDateTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// Longer ones are attacks on whoever parses them.
pub const MOST_SQL_BYTES: usize = 64 * 1024;

/// One value as JSON. Dates and times are text as SQL writes them, decimals text, bytes hexadecimal.
pub type Cell = Value;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Query {
    pub sql: String,
    pub limits: QueryLimits,
    /// What the text names as `$name`.
    #[serde(default)]
    pub values: SqlValues,
}

pub type SqlValues = BTreeMap<String, SqlValue>;

/// A value beside the text of a query: it is never read as SQL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SqlValue {
    Null,
    Boolean(bool),
    Integer(i64),
    /// Finite.
    Number(f64),
    Text(String),
    Date(NaiveDate),
    Timestamp(NaiveDateTime),
}

impl Query {
    /// A query without values.
    pub fn new(sql: impl Into<String>, limits: QueryLimits) -> Query {
        Query { sql: sql.into(), limits, values: SqlValues::new() }
    }
}

/// What the answer of a query depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// Each table it reads, and where its newest metadata are: another place with each commit. `None`: the lake has no such table.
    pub tables: Vec<(TableId, Option<String>)>,
    /// A function that gives another value each time, if there is one: such an answer cannot be kept.
    pub changing: Option<String>,
}

/// What one query may cost. Memory and how many run at once are the lake's own limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryLimits {
    /// More are not read: the answer says that there were more.
    pub rows: usize,
    /// Of all rows as JSON, about.
    pub bytes: usize,
    pub time: Duration,
}

/// For people at a page or a terminal.
impl Default for QueryLimits {
    fn default() -> Self {
        QueryLimits { rows: 1_000, bytes: 8 << 20, time: Duration::from_secs(30) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResultColumn {
    pub name: String,
    /// As SQL calls it.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Can be drawn and is written to the right.
    pub is_number: bool,
}

/// What a query has looked at so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Seen")] // the name in the API's description
pub struct ScanProgress {
    /// Files that were read, of those that the tables are made of.
    pub files: u64,
    pub of_files: u64,
    /// Their size as they lie there.
    pub bytes: u64,
}

/// Some rows, each with a cell for every column.
pub type Chunk = Vec<Vec<Cell>>;

/// The rows of a running query.
pub trait QueryRows: Send {
    fn columns(&self) -> &[ResultColumn];

    /// `None`: that was all. Never more rows, or bytes of them, than the query's limits allow.
    fn next(&mut self) -> Pin<Box<dyn Future<Output = LakeResult<Option<Chunk>>> + Send + '_>>;

    /// Whether there were more rows than the limits; known when the rows have ended.
    fn is_cut(&self) -> bool;

    fn seen(&self) -> ScanProgress;
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Answer")] // the name in the API's description
pub struct QueryAnswer {
    pub columns: Vec<ResultColumn>,
    pub rows: Vec<Vec<Cell>>,
    /// There were more rows than the limits.
    pub more: bool,
    pub duration_ms: f64,
    pub seen: ScanProgress,
}

/// All rows. The limits of the query bound them.
#[boxed]
pub async fn collect_answer(mut rows: Box<dyn QueryRows>, began: Instant) -> LakeResult<QueryAnswer> {
    let mut kept = Vec::new();
    while let Some(chunk) = rows.next().await? {
        kept.extend(chunk);
    }
    Ok(QueryAnswer {
        columns: rows.columns().to_vec(),
        rows: kept,
        more: rows.is_cut(),
        duration_ms: began.elapsed().as_secs_f64() * 1e3,
        seen: rows.seen(),
    })
}

/// What a cell takes as JSON, about.
pub fn cell_bytes(cell: &Cell) -> usize {
    match cell {
        Value::String(text) => text.len() + 2,
        Value::Array(_) | Value::Object(_) => cell.to_string().len(),
        _ => 8,
    }
}
