//! Positions of streams that capture the changes of a database, in the log of that database. A position advances in the
//! transaction that appends the records, so each change is in its topic exactly once.

use crate::{StoreError, StoreResult, boxed};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnection;
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturePosition {
    pub phase: CapturePhase,
    /// Further data that the source needs to find its position again.
    #[serde(flatten)]
    pub at: LogPosition,
    /// Everything that was committed before this position is in the topics. In bytes of the log: the LSN of Postgres,
    /// or for a binlog the bytes of all its files, starting with the file of the first snapshot.
    pub lsn: u64,
    /// The next transaction, if a part of it is in the topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<WithinTransaction>,
    /// Tables that were read, with their ids. A table that is created again has a different id. MySQL has no ids; its
    /// tables have 0.
    pub tables: BTreeMap<String, u32>,
    /// Number of times that all tables were read from the beginning.
    pub snapshots: u32,
    /// Entries of `tables` that no longer exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Time from the commit of the newest change to its record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<i64>,
    /// The topics are in Kafka, not in the built-in log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_kafka: bool,
}

impl CapturePosition {
    /// Returns the position in the notation of the source.
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
    /// A replication slot of Postgres. The server keeps its log from the slot's position on.
    Slot {
        slot: String,
    },
}

/// A position between two transactions of MySQL or MariaDB.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinlogPosition {
    pub file: String,
    pub pos: u64,
    /// For MariaDB, the GTID of the last committed transaction of each domain. Empty if it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub gtid: String,
    /// Columns of the tables at this position, because the log may not describe them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, Vec<BinlogColumn>>,
}

/// A column as `information_schema` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinlogColumn {
    pub name: String,
    /// Complete type, such as `int(10) unsigned`.
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// The column is part of the primary key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_key: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapturePhase {
    /// Existing rows are read. An interrupted snapshot starts again.
    Snapshot,
    Changes,
}

/// A transaction that is larger than one commit of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithinTransaction {
    /// Position of its commit, or for a binlog the position where it begins.
    pub commit_lsn: u64,
    /// Number of its first changes, which are in the topics.
    pub changes: u64,
}

/// Stores the position. Must run after `start_stream` or `commit_stream` in the same transaction, which check the
/// fencing token.
#[boxed]
pub async fn set_capture(tx: &mut PgConnection, stream: &str, position: &CapturePosition) -> StoreResult<()> {
    let position =
        serde_json::to_value(position).map_err(|error| StoreError::Sql(sqlx::Error::Encode(error.into())))?;
    sqlx::query!("update stream set capture = $2 where name = $1", stream, position).execute(tx).await?;
    Ok(())
}
