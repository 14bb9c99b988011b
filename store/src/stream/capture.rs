//! Positions of change data capture (CDC) streams in the log of the captured database. A position advances in the same
//! transaction that appends the records, so each change is in its topic exactly once.

use crate::{StoreError, StoreResult, boxed};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnection;
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturePosition {
    pub phase: CapturePhase,
    /// Source-specific data that is needed to resume from the position.
    #[serde(flatten)]
    pub at: LogPosition,
    /// All transactions that were committed before this position are in the topics. For Postgres, the LSN. For a MySQL
    /// or MariaDB binlog, the number of bytes since the start of the binlog file in which the first snapshot was taken,
    /// across all files.
    pub lsn: u64,
    /// Progress within the next transaction, if some of its changes are already in the topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<WithinTransaction>,
    /// Tables that the stream has read, with their ids. A table that is dropped and created again has a different id.
    /// MySQL has no table ids; its tables have id 0.
    pub tables: BTreeMap<String, u32>,
    /// Number of snapshots: times that all existing rows of all tables were read.
    pub snapshots: u32,
    /// Names in `tables` whose tables no longer exist in the database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Delay between the commit of the newest change in the database and its record in the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<i64>,
    /// True if the topics are in Kafka, false if they are in the built-in log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_kafka: bool,
}

impl CapturePosition {
    /// Formats the position in the notation of the source database.
    pub fn format_position(&self) -> String {
        match &self.at {
            LogPosition::Slot { .. } => format!("{:X}/{:X}", self.lsn >> 32, self.lsn & 0xffff_ffff),
            LogPosition::Binlog(at) if at.gtid.is_empty() => format!("{}:{}", at.file, at.pos),
            LogPosition::Binlog(at) => format!("{}:{} ({})", at.file, at.pos, at.gtid),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LogPosition {
    Binlog(BinlogPosition),
    /// A logical replication slot of Postgres. The server retains its log from the slot's position on.
    Slot {
        slot: String,
    },
}

/// A position between two transactions in a MySQL or MariaDB binlog.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinlogPosition {
    pub file: String,
    pub pos: u64,
    /// For MariaDB, the GTID of the last committed transaction in each replication domain. Empty if unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub gtid: String,
    /// Columns of the captured tables at this position. They are stored because the binlog may not describe them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, Vec<BinlogColumn>>,
}

/// A table column, as described by `information_schema`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinlogColumn {
    pub name: String,
    /// Complete SQL type, such as `int(10) unsigned`.
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// True if the column belongs to the primary key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_key: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapturePhase {
    /// The existing rows of the tables are being read. If this is interrupted, it starts again from the first row.
    Snapshot,
    Changes,
}

/// Progress within a transaction that is too large for a single commit of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithinTransaction {
    /// Position of the transaction's commit. For a binlog, the position at which the transaction begins.
    pub commit_lsn: u64,
    /// Number of changes of the transaction, counted from its start, that are already in the topics.
    pub changes: u64,
}

/// Stores the position of a change data capture (CDC) stream. Must run in the same transaction after `start_stream` or
/// `commit_stream`, because only these check the fencing token.
#[boxed]
pub async fn set_capture(tx: &mut PgConnection, stream: &str, position: &CapturePosition) -> StoreResult<()> {
    let position =
        serde_json::to_value(position).map_err(|error| StoreError::Sql(sqlx::Error::Encode(error.into())))?;
    sqlx::query!("update stream set capture = $2 where name = $1", stream, position).execute(tx).await?;
    Ok(())
}
