//! What a kind of database has to do so that its changes are captured: its position, its snapshot, and its changes as records. `run`
//! does the rest, which is the same for all.

use super::Capture;
use super::envelope::RowChange;
use super::lot::Lot;
use chrono::{DateTime, Utc};
use orch_sdk::task::{Connection, TaskResult};
use orch_store::stream::{CapturePosition, LogPosition, StreamCheckpoint, WithinTransaction};
use orch_store::topic::NewRecord;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How a capture begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// All rows are read.
    Snapshot {
        /// Rows of an earlier one are in the topics.
        is_again: bool,
    },
    Changes,
}

/// How far the changes are that were taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) at: LogPosition,
    pub(super) lsn: u64,
    pub(super) within: Option<WithinTransaction>,
    pub(super) missing: Vec<String>,
}

/// What a source is opened for.
#[derive(Debug, Clone)]
pub(super) struct CaptureRequest {
    pub(super) stream: String,
    pub(super) capture: Arc<Capture>,
    pub(super) connection: Connection,
    /// When the stream was declared first.
    pub(super) since: DateTime<Utc>,
}

/// A session at a database whose changes are captured.
pub(super) trait Source: Sized + Send {
    /// What the server sends while changes are followed.
    type Sent: Send;
    /// A value of a row.
    type Cell: Send;

    /// # Errors
    /// With what a person can do about it.
    fn open(request: CaptureRequest) -> impl Future<Output = TaskResult<Self>> + Send;

    /// The database and its log. In another one positions mean something else.
    fn identity(&self) -> String;

    /// Up to where the log is written, as last seen.
    fn written(&self) -> u64;

    /// # Errors
    /// A fatal one when changes are lost, or would be: a person says what to do.
    fn decide(&mut self, left: &StreamCheckpoint) -> impl Future<Output = TaskResult<Begin>> + Send;

    /// Finds the tables and makes them ready for a snapshot. Gives their numbers.
    ///
    /// # Errors
    /// One that is tried again: a table is not there, or cannot be captured.
    fn find_tables(&mut self) -> impl Future<Output = TaskResult<BTreeMap<String, u32>>> + Send;

    /// Where the capture is before its first snapshot has begun.
    fn before_snapshot(&self) -> LogPosition;

    /// Takes the snapshot with which the changes begin, and says where that is.
    fn begin_snapshot(&mut self) -> impl Future<Output = TaskResult<Reached>> + Send;

    fn begin_table(&mut self, name: &str) -> impl Future<Output = TaskResult<()>> + Send;

    /// The next row of the table; `None` after the last one.
    fn next_row(&mut self) -> impl Future<Output = TaskResult<Option<Vec<Self::Cell>>>> + Send;

    fn end_snapshot(&mut self) -> impl Future<Output = TaskResult<()>> + Send;

    /// What the snapshot tells of a table: its rows, that it is empty before they follow, or that mirrors copy it.
    fn record(&self, table: &str, change: RowChange<Self::Cell>, of: OfSnapshot) -> TaskResult<NewRecord>;

    /// Finds the tables again that a snapshot has read.
    ///
    /// # Errors
    /// A fatal one: rows or changes of a table are in no topic.
    fn resume(&mut self, known: &CapturePosition) -> impl Future<Output = TaskResult<Reached>> + Send;

    /// From here on the server sends changes.
    fn follow(&mut self, from: &CapturePosition) -> impl Future<Output = TaskResult<()>> + Send;

    /// What the server sends next. A call that is dropped has lost nothing.
    fn next(&mut self) -> impl Future<Output = TaskResult<Self::Sent>> + Send;

    /// # Errors
    /// Fatal ones: a row is too large, or the log is not the one that was read before.
    fn take(&mut self, sent: Self::Sent, now_ms: i64, lot: &mut Lot) -> impl Future<Output = TaskResult<()>> + Send;

    fn reached(&self) -> Reached;

    /// What was taken is written down up to there.
    fn confirm(&mut self, lsn: u64) -> impl Future<Output = TaskResult<()>> + Send;

    /// Called at every tick. Makes the server send something, so that a quiet one can be told from one that is gone, and reads
    /// how far its log is written.
    fn poll_log_end(&mut self) -> impl Future<Output = TaskResult<()>> + Send;

    /// Moves over what is not captured. `false` if there is nothing of the kind.
    fn pass_over(&mut self) -> impl Future<Output = TaskResult<bool>> + Send;
}

/// What is said of a record of a snapshot.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfSnapshot {
    pub(super) now_ms: i64,
    /// `true` or `last`.
    pub(super) place: &'static str,
}

/// What the database has of a capture that was written down in this phase, for tests.
#[cfg(test)]
pub(super) fn left(
    identity: &str,
    at: LogPosition,
    phase: Option<orch_store::stream::CapturePhase>,
) -> StreamCheckpoint {
    let capture = phase.map(|phase| CapturePosition {
        phase,
        at,
        lsn: 100,
        within: None,
        tables: BTreeMap::new(),
        snapshots: 1,
        missing: Vec::new(),
        lag_ms: None,
        in_kafka: false,
    });
    StreamCheckpoint {
        created_at: DateTime::UNIX_EPOCH,
        topic_identity: Some(identity.into()),
        reset_to: None,
        positions: Vec::new(),
        watermarks: Vec::new(),
        closed_before: None,
        capture,
    }
}
