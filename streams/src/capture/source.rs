//! Interface that each kind of source database implements: its log position, its snapshot, and its changes as records.
//! `run` contains the code that is the same for all databases.

use super::Capture;
use super::envelope::RowChange;
use super::lot::Lot;
use chrono::{DateTime, Utc};
use orch_sdk::task::{Connection, TaskResult};
use orch_store::stream::{CapturePosition, LogPosition, StreamCheckpoint, WithinTransaction};
use orch_store::topic::NewRecord;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a capture starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// Reads all rows first.
    Snapshot {
        /// True if the topics already contain rows of an earlier snapshot.
        is_again: bool,
    },
    Changes,
}

/// Log position after the changes that were added to the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) at: LogPosition,
    pub(super) lsn: u64,
    pub(super) within: Option<WithinTransaction>,
    pub(super) missing: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct CaptureRequest {
    pub(super) stream: String,
    pub(super) capture: Arc<Capture>,
    pub(super) connection: Connection,
    /// Creation time of the stream.
    pub(super) since: DateTime<Utc>,
}

/// A session with the database whose changes are captured.
pub(super) trait Source: Sized + Send {
    /// A message that the server sends while the capture follows its changes.
    type Sent: Send;
    /// A column value of a row.
    type Cell: Send;

    /// Opens a session. Error messages contain a hint for the user.
    fn open(request: CaptureRequest) -> impl Future<Output = TaskResult<Self>> + Send;

    /// Returns the identity of the database and its log. Positions are valid only within one identity.
    fn identity(&self) -> String;

    /// Returns the end of the database's log as of the last poll.
    fn written(&self) -> u64;

    /// Decides whether to take a snapshot or to resume. Returns a fatal error if changes are or would be lost, because
    /// a user must decide then.
    fn decide(&mut self, left: &StreamCheckpoint) -> impl Future<Output = TaskResult<Begin>> + Send;

    /// Finds the tables, prepares them for a snapshot, and returns the number of each table.
    ///
    /// # Errors
    /// Returns a retryable error if a table does not exist or cannot be captured.
    fn find_tables(&mut self) -> impl Future<Output = TaskResult<BTreeMap<String, u32>>> + Send;

    /// Returns the position of a capture before its first snapshot.
    fn before_snapshot(&self) -> LogPosition;

    /// Starts a consistent snapshot and returns its log position. The capture follows changes from this position.
    fn begin_snapshot(&mut self) -> impl Future<Output = TaskResult<Reached>> + Send;

    fn begin_table(&mut self, name: &str) -> impl Future<Output = TaskResult<()>> + Send;

    /// Returns the next row of the table in the snapshot, or `None` after the last row.
    fn next_row(&mut self) -> impl Future<Output = TaskResult<Option<Vec<Self::Cell>>>> + Send;

    fn end_snapshot(&mut self) -> impl Future<Output = TaskResult<()>> + Send;

    /// Builds a snapshot record: a row, the TRUNCATE before the rows of a table, or the message that makes mirrors copy
    /// it.
    fn record(&self, table: &str, change: RowChange<Self::Cell>, of: OfSnapshot) -> TaskResult<NewRecord>;

    /// Finds the tables of the earlier snapshot again after a restart.
    ///
    /// # Errors
    /// Returns a fatal error if the topics lack rows or changes of a table.
    fn resume(&mut self, known: &CapturePosition) -> impl Future<Output = TaskResult<Reached>> + Send;

    /// Makes the server send changes from this position.
    fn follow(&mut self, from: &CapturePosition) -> impl Future<Output = TaskResult<()>> + Send;

    /// Returns the next message of the server. Cancel-safe: dropping the future loses nothing.
    fn next(&mut self) -> impl Future<Output = TaskResult<Self::Sent>> + Send;

    /// Adds the changes of a message to the batch. Returns a fatal error if a row is too large or if the server has
    /// switched to a different log.
    fn take(&mut self, sent: Self::Sent, now_ms: i64, lot: &mut Lot) -> impl Future<Output = TaskResult<()>> + Send;

    fn reached(&self) -> Reached;

    /// Confirms to the server that changes up to this position are committed.
    fn confirm(&mut self, lsn: u64) -> impl Future<Output = TaskResult<()>> + Send;

    /// Runs at every tick. Makes the server send a message, so that an idle server can be distinguished from a dead
    /// one, and reads the end of the server's log.
    fn poll_log_end(&mut self) -> impl Future<Output = TaskResult<()>> + Send;

    /// Advances the position past changes of tables that are not captured. Returns false if there are none.
    fn pass_over(&mut self) -> impl Future<Output = TaskResult<bool>> + Send;
}

/// Metadata of a snapshot record.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfSnapshot {
    pub(super) now_ms: i64,
    /// Value of Debezium's field `snapshot`: `true` or `last`.
    pub(super) place: &'static str,
}

/// Builds the checkpoint of a capture in this phase.
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
