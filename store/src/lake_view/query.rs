//! SQL queries over the lake and their results, streamed or collected.

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

/// Maximum size of the text of a query, which bounds the work of the parser.
pub const MOST_SQL_BYTES: usize = 64 * 1024;

/// A value as JSON. Dates, times and decimals are strings as SQL formats them, and bytes are hexadecimal.
pub type Cell = Value;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Query {
    pub sql: String,
    pub limits: QueryLimits,
    /// Values of the parameters in `sql`, by the name after the `$`.
    #[serde(default)]
    pub values: SqlValues,
}

pub type SqlValues = BTreeMap<String, SqlValue>;

/// A value that is bound to a parameter of a query. It is never parsed as SQL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SqlValue {
    Null,
    Boolean(bool),
    Integer(i64),
    /// Always finite.
    Number(f64),
    Text(String),
    Date(NaiveDate),
    Timestamp(NaiveDateTime),
}

impl Query {
    pub fn new(sql: impl Into<String>, limits: QueryLimits) -> Query {
        Query { sql: sql.into(), limits, values: SqlValues::new() }
    }
}

/// The inputs that the result of a query depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// The tables that the query reads, each with the location of its current metadata, which changes with each commit.
    /// The location is `None` if the lake has no such table.
    pub tables: Vec<(TableId, Option<String>)>,
    /// A function in the query that returns a different value on each call, if there is one. The result of such a query
    /// cannot be cached.
    pub changing: Option<String>,
}

/// Limits of one query. The lake itself limits memory and the number of concurrent queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryLimits {
    /// Maximum number of rows. Further rows are not read, and the result reports that there were more.
    pub rows: usize,
    /// Approximate maximum size of all rows as JSON.
    pub bytes: usize,
    pub time: Duration,
}

/// Limits for interactive use, on a page or in a terminal.
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
#[schemars(rename = "Seen")] // name of the schema in the OpenAPI document
pub struct ScanProgress {
    /// Files that were read, of those that the tables are made of.
    pub files: u64,
    pub of_files: u64,
    /// Their size as they lie there.
    pub bytes: u64,
}

/// A batch of rows, each with a cell for every column.
pub type Chunk = Vec<Vec<Cell>>;

/// The rows of a running query.
pub trait QueryRows: Send {
    fn columns(&self) -> &[ResultColumn];

    /// Returns the next rows, or `None` after the last one. The rows never exceed the limits of the query.
    fn next(&mut self) -> Pin<Box<dyn Future<Output = LakeResult<Option<Chunk>>> + Send + '_>>;

    /// Returns true if there were more rows than the limits allow. Valid only after `next` has returned `None`.
    fn is_cut(&self) -> bool;

    fn seen(&self) -> ScanProgress;
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Answer")] // name of the schema in the OpenAPI document
pub struct QueryAnswer {
    pub columns: Vec<ResultColumn>,
    pub rows: Vec<Vec<Cell>>,
    /// There were more rows than the limits.
    pub more: bool,
    pub duration_ms: f64,
    pub seen: ScanProgress,
}

/// Collects all rows of a query. The limits of the query bound them.
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

/// Returns the approximate size of a cell as JSON, in bytes.
pub fn cell_bytes(cell: &Cell) -> usize {
    match cell {
        Value::String(text) => text.len() + 2,
        Value::Array(_) | Value::Object(_) => cell.to_string().len(),
        _ => 8,
    }
}
