//! The interface of a lake for the web server and the command line, independent of how tables are stored: lists, parts
//! of a table, and SQL. This crate has no implementation; a binary provides it.
//!
//! Results are data for users, as JSON: decimals, and 64-bit counts beyond 2⁵³, stay exact as text or number.

mod answers;
mod chart;
mod history;
mod query;
mod table;
mod text;

pub use answers::{AnswerKey, Answers, Kept};
pub use chart::is_time;
pub use history::HISTORY;
pub use query::{
    Cell, Chunk, MOST_SQL_BYTES, Query, QueryAnswer, QueryLimits, QueryRows, ResultColumn, ScanProgress, Sources,
    SqlValue, SqlValues, cell_bytes, collect_answer,
};
pub use table::{
    CHART, ColumnRange, DataFile, FileKind, LakePage, LakeTable, MadeBy, PartitionColumn, PartitionRow, RefKind,
    SnapshotRef, SnapshotRow, TableColumn, TableId, TableRow, TableTotals, quarantine_of,
};
pub use text::{cell_text, csv_head, csv_line, escape_formulas, row_object};

use crate::boxed;
use orch_sdk::task::{BoxFuture, Connection, TaskResult};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Error of a lake. The message may continue with a line `hint: …`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LakeError {
    /// The table, snapshot or file does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The query is invalid: the SQL cannot be parsed, or would change something.
    #[error("{0}")]
    Refused(String),
    /// A limit of time or memory was reached before there was a result.
    #[error("{0}")]
    TooDear(String),
    /// The maximum number of queries is running.
    #[error("{0}")]
    Busy(String),
    /// The query was cancelled on request.
    #[error("the query was cancelled")]
    Cancelled,
    /// The catalog or the storage cannot be reached, or its data is damaged. The message is for admins and the log.
    #[error("{0}")]
    Unavailable(String),
    /// The process that runs queries has ended, or cannot be started.
    #[error("{0}")]
    Broken(String),
}

impl LakeError {
    /// Returns the error of a query that exceeded its time limit.
    pub fn too_long(time: Duration) -> Self {
        LakeError::TooDear(format!(
            "the query took longer than {} s and was ended\nhint: ask for less, by the columns of a partition or an index, or give it more time",
            time.as_secs_f64()
        ))
    }
}

pub type LakeResult<T> = Result<T, LakeError>;

/// Read-only access to a lake.
pub trait LakeView: Send + Sync {
    /// Returns the location of the tables without secrets, as in "tables in `file:///data/lake`".
    fn place(&self) -> BoxFuture<LakeResult<String>>;

    /// Returns all tables by name, with the metadata of their newest snapshot.
    fn tables(&self) -> BoxFuture<LakeResult<Vec<TableRow>>>;

    fn table(&self, id: TableId) -> BoxFuture<LakeResult<LakeTable>>;

    /// Returns the snapshots, newest first.
    fn snapshots(&self, id: TableId, page: LakePage) -> BoxFuture<LakeResult<Vec<SnapshotRow>>>;

    /// Returns the files of a snapshot (`None`: the newest), by path.
    fn files(&self, id: TableId, snapshot: Option<i64>, page: LakePage) -> BoxFuture<LakeResult<Vec<DataFile>>>;

    /// Returns the partitions of the newest snapshot, by their values.
    fn partitions(&self, id: TableId, page: LakePage) -> BoxFuture<LakeResult<Vec<PartitionRow>>>;

    /// Returns what these queries read, and its current location: the same sources give the same result. Each query has
    /// its own result or error, in order.
    fn sources(&self, queries: Vec<Query>) -> BoxFuture<LakeResult<Vec<LakeResult<Sources>>>>;

    /// Starts a query, whose rows arrive as they are computed. It ends with `stop`, or when its rows are dropped.
    fn query(&self, query: Query, stop: CancellationToken) -> BoxFuture<LakeResult<Box<dyn QueryRows>>>;
}

/// Opens the lake. Called for each use, so the function must cache what it opened.
pub type OpenLake = dyn Fn() -> BoxFuture<LakeResult<Arc<dyn LakeView>>> + Send + Sync;

/// Access of a process to its lake, if it has one.
#[derive(Clone, Default)]
pub struct LakeDoor(Option<Arc<OpenLake>>);

impl LakeDoor {
    pub fn new(open: Arc<OpenLake>) -> Self {
        LakeDoor(Some(open))
    }

    /// For a binary without a lake.
    pub fn none() -> Self {
        LakeDoor(None)
    }

    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    #[boxed]
    pub async fn open(&self) -> LakeResult<Arc<dyn LakeView>> {
        match &self.0 {
            Some(open) => open().await,
            None => Err(LakeError::NotFound(
                "this server has no tables: they come with a bundle, and none is beside it\nhint: build `orch-pipelines` with \
                 `make build`, or name a bundle with `ORCH_BUNDLE`; a binary of your own has them with `Binary::lake`"
                    .into(),
            )),
        }
    }
}

/// Looks up a connection by its id.
pub type FindConnection = dyn Fn(&str) -> BoxFuture<TaskResult<Connection>> + Send + Sync;

type OpenBy = dyn Fn(Arc<FindConnection>) -> BoxFuture<LakeResult<Arc<dyn LakeView>>> + Send + Sync;

/// Opener of a lake, with connections that the running process looks up. Most binaries have none.
#[derive(Clone, Default)]
pub struct LakeSource(Option<Arc<OpenBy>>);

impl LakeSource {
    /// `open` is called for each use, and caches what it opened as long as the connections are the same.
    pub fn new(
        open: impl Fn(Arc<FindConnection>) -> BoxFuture<LakeResult<Arc<dyn LakeView>>> + Send + Sync + 'static,
    ) -> Self {
        LakeSource(Some(Arc::new(open)))
    }

    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the access for a process that looks connections up by `find`.
    pub fn door(&self, find: Arc<FindConnection>) -> LakeDoor {
        let Some(open) = self.0.clone() else { return LakeDoor::none() };
        LakeDoor::new(Arc::new(move || open(find.clone())))
    }
}

impl fmt::Debug for LakeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "LakeSource" } else { "no LakeSource" })
    }
}

impl fmt::Debug for LakeDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_there() { "LakeDoor" } else { "LakeDoor(none)" })
    }
}
