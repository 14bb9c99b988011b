//! The interface of a data lake for the web server and the command line: lists of tables, the contents of a table, and
//! SQL queries. It does not depend on how tables are stored. This crate has no implementation; a binary provides it.
//!
//! Results are JSON for users. Decimals, and 64-bit counts beyond 2⁵³, keep their exact value as text or number.

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

/// Error of a data lake. The message may continue with a line `hint: …`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LakeError {
    /// The table, snapshot or file does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The query is invalid: the SQL cannot be parsed, or would change something.
    #[error("{0}")]
    Refused(String),
    /// The query reached a limit of time or memory before it had a result.
    #[error("{0}")]
    TooDear(String),
    /// The maximum number of concurrent queries is already running.
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

/// Read-only access to a data lake.
pub trait LakeView: Send + Sync {
    /// Returns the location of the tables without secrets, as in "tables in `file:///data/lake`".
    fn place(&self) -> BoxFuture<LakeResult<String>>;

    /// Returns all tables, sorted by name, with the metadata of their newest snapshot.
    fn tables(&self) -> BoxFuture<LakeResult<Vec<TableRow>>>;

    fn table(&self, id: TableId) -> BoxFuture<LakeResult<LakeTable>>;

    /// Returns the snapshots of a table, newest first.
    fn snapshots(&self, id: TableId, page: LakePage) -> BoxFuture<LakeResult<Vec<SnapshotRow>>>;

    /// Returns the files of a snapshot, sorted by path. If `snapshot` is `None`, uses the newest one.
    fn files(&self, id: TableId, snapshot: Option<i64>, page: LakePage) -> BoxFuture<LakeResult<Vec<DataFile>>>;

    /// Returns the partitions in the newest snapshot of a table, sorted by their values.
    fn partitions(&self, id: TableId, page: LakePage) -> BoxFuture<LakeResult<Vec<PartitionRow>>>;

    /// Returns which tables each query reads, with their current locations. A query whose sources have not changed
    /// returns the same result. Each query has its own result or error, in the order of `queries`.
    fn sources(&self, queries: Vec<Query>) -> BoxFuture<LakeResult<Vec<LakeResult<Sources>>>>;

    /// Starts a query whose rows arrive as they are computed. Cancelling `stop` or dropping the rows ends the query.
    fn query(&self, query: Query, stop: CancellationToken) -> BoxFuture<LakeResult<Box<dyn QueryRows>>>;
}

/// Function that opens the lake. It is called for each use, so it must cache the opened lake.
pub type OpenLake = dyn Fn() -> BoxFuture<LakeResult<Arc<dyn LakeView>>> + Send + Sync;

/// A process's access to its lake. Empty if the process has no lake.
#[derive(Clone, Default)]
pub struct LakeDoor(Option<Arc<OpenLake>>);

impl LakeDoor {
    pub fn new(open: Arc<OpenLake>) -> Self {
        LakeDoor(Some(open))
    }

    /// Returns the access of a binary that has no lake.
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

/// Opens a lake with connections that the running process looks up. Empty in most binaries, which have no lake.
#[derive(Clone, Default)]
pub struct LakeSource(Option<Arc<OpenBy>>);

impl LakeSource {
    /// `open` is called for each use. It caches the opened lake until the connections change.
    pub fn new(
        open: impl Fn(Arc<FindConnection>) -> BoxFuture<LakeResult<Arc<dyn LakeView>>> + Send + Sync + 'static,
    ) -> Self {
        LakeSource(Some(Arc::new(open)))
    }

    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the lake access of a process that looks up connections with `find`.
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
