//! Streams that capture the changes of a database: where they are in its log. The position moves in the transaction that appends the
//! records, so each change is in its topic once.

use crate::{StoreError, StoreResult, boxed};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnection;
use std::collections::BTreeMap;

/// Where a capture is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturePosition {
    pub phase: CapturePhase,
    /// What else the source needs to find the place again.
    #[serde(flatten)]
    pub at: LogPosition,
    /// All that was committed before is in the topics. In bytes of the log: of Postgres its own number, of a binlog counted over its
    /// files, from the one in which the first snapshot was taken.
    pub lsn: u64,
    /// The next transaction, if a part of it is in the topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<WithinTransaction>,
    /// Those that were read, with their numbers: a table that is created again has another one. Tables of MySQL have none, and 0 here.
    pub tables: BTreeMap<String, u32>,
    /// How often all tables were read from the beginning.
    pub snapshots: u32,
    /// Of `tables`, those that are no longer there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// From the commit of the newest change to its record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<i64>,
    /// Its topics are in Kafka, not in the built-in log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_kafka: bool,
}

impl CapturePosition {
    /// The position in the log, as the source writes it.
    pub fn format_position(&self) -> String {
        match &self.at {
            LogPosition::Slot { .. } => format!("{:X}/{:X}", self.lsn >> 32, self.lsn & 0xffff_ffff),
            LogPosition::Binlog(at) if at.gtid.is_empty() => format!("{}:{}", at.file, at.pos),
            LogPosition::Binlog(at) => format!("{}:{} ({})", at.file, at.pos, at.gtid),
        }
    }
}

/// A place in the log of a source, by its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LogPosition {
    Binlog(BinlogPosition),
    /// Of Postgres: the server keeps its log from there on.
    Slot {
        slot: String,
    },
}

/// A place between two transactions of MySQL or MariaDB.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinlogPosition {
    pub file: String,
    pub pos: u64,
    /// What was committed before, of MariaDB: the last number of each domain. Empty where it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub gtid: String,
    /// How rows of the tables look at this place. The log itself need not say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, Vec<BinlogColumn>>,
}

/// A column as `information_schema` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinlogColumn {
    pub name: String,
    /// With length, sign and words: `int(10) unsigned`.
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// Of the primary key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_key: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapturePhase {
    /// Rows that were there are read. Cut off, it begins again.
    Snapshot,
    Changes,
}

/// A transaction that is larger than a commit of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithinTransaction {
    /// Where its commit lies. In a binlog, where the transaction begins.
    pub commit_lsn: u64,
    /// Its first changes, which are in the topics.
    pub changes: u64,
}

/// After `start_stream` or `commit_stream`, in the same transaction: that is the fence.
#[boxed]
pub async fn set_capture(tx: &mut PgConnection, stream: &str, position: &CapturePosition) -> StoreResult<()> {
    let position =
        serde_json::to_value(position).map_err(|error| StoreError::Sql(sqlx::Error::Encode(error.into())))?;
    sqlx::query!("update stream set capture = $2 where name = $1", stream, position).execute(tx).await?;
    Ok(())
}
