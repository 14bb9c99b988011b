//! What the web server and the command line need of a lake, without knowing how tables are kept: lists, a table's parts,
//! and SQL. The lake itself is a room that the engine never sees; whoever puts a binary together hands one in.
//!
//! All of it is data for people. Values come as JSON: decimals and 64-bit counts beyond 2⁵³ stay exact as text or number.

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

/// Why a lake did not answer. A text may go on in a line `hint: …`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LakeError {
    /// No such table, snapshot or file.
    #[error("{0}")]
    NotFound(String),
    /// The question is wrong: SQL that cannot be read, or that would change something.
    #[error("{0}")]
    Refused(String),
    /// A limit was reached before there was an answer: time, memory.
    #[error("{0}")]
    TooDear(String),
    /// As many queries run as may.
    #[error("{0}")]
    Busy(String),
    /// Somebody said so.
    #[error("the query was cancelled")]
    Cancelled,
    /// The catalog or the storage cannot be reached, or what lies there is damaged. The reason is for admins and the log.
    #[error("{0}")]
    Unavailable(String),
    /// The process that answers ended, or cannot be started.
    #[error("{0}")]
    Broken(String),
}

impl LakeError {
    /// A query that was ended after so long.
    pub fn too_long(time: Duration) -> Self {
        LakeError::TooDear(format!(
            "the query took longer than {} s and was ended\nhint: ask for less, by the columns of a partition or an index, or give it more time",
            time.as_secs_f64()
        ))
    }
}

pub type LakeResult<T> = Result<T, LakeError>;

/// A lake as people look at it. Nothing here changes anything.
pub trait LakeView: Send + Sync {
    /// Where the tables are, without secrets: as in "tables in `file:///data/lake`".
    fn place(&self) -> BoxFuture<LakeResult<String>>;

    /// All tables by name, with what their newest snapshot says of them.
    fn tables(&self) -> BoxFuture<LakeResult<Vec<TableRow>>>;

    fn table(&self, id: TableId) -> BoxFuture<LakeResult<LakeTable>>;

    /// Newest first.
    fn snapshots(&self, id: TableId, page: LakePage) -> BoxFuture<LakeResult<Vec<SnapshotRow>>>;

    /// The files that a snapshot is made of (none named: the newest), by path.
    fn files(&self, id: TableId, snapshot: Option<i64>, page: LakePage) -> BoxFuture<LakeResult<Vec<DataFile>>>;

    /// The partitions of the newest snapshot, by their values.
    fn partitions(&self, id: TableId, page: LakePage) -> BoxFuture<LakeResult<Vec<PartitionRow>>>;

    /// What these queries read, and where that is now: the same sources give the same answer. In their order; a text that cannot be read
    /// is told alone.
    fn sources(&self, queries: Vec<Query>) -> BoxFuture<LakeResult<Vec<LakeResult<Sources>>>>;

    /// Begins a query; its rows come as they are made. It ends with `stop`, or when its rows are dropped.
    fn query(&self, query: Query, stop: CancellationToken) -> BoxFuture<LakeResult<Box<dyn QueryRows>>>;
}

/// Opens the lake when somebody first looks; asked each time, so whoever makes one keeps what it opened.
pub type OpenLake = dyn Fn() -> BoxFuture<LakeResult<Arc<dyn LakeView>>> + Send + Sync;

/// The way of a process to its lake, if it has one.
#[derive(Clone, Default)]
pub struct LakeDoor(Option<Arc<OpenLake>>);

impl LakeDoor {
    pub fn new(open: Arc<OpenLake>) -> Self {
        LakeDoor(Some(open))
    }

    /// Of a binary that was put together without a lake.
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

/// How a binary opens its lake: by connections, which whoever runs it looks up. Nothing of most binaries.
#[derive(Clone, Default)]
pub struct LakeSource(Option<Arc<OpenBy>>);

impl LakeSource {
    /// `open` is asked each time somebody looks; it keeps what it opened as long as the connections are the same.
    pub fn new(
        open: impl Fn(Arc<FindConnection>) -> BoxFuture<LakeResult<Arc<dyn LakeView>>> + Send + Sync + 'static,
    ) -> Self {
        LakeSource(Some(Arc::new(open)))
    }

    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// The way there for a process that finds connections so.
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
