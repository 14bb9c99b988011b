//! Streams that capture the changes of a database: where they are in its log. The position moves in the transaction that appends the
//! records, so each change is in its topic once.

use crate::{StoreError, StoreResult};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnection;
use std::collections::BTreeMap;

/// Where a capture is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturePosition {
    pub phase: CapturePhase,
    /// Of the server, whose log is kept from there on.
    pub slot: String,
    /// All that was committed before is in the topics.
    pub lsn: u64,
    /// The next transaction, if a part of it is in the topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<WithinTransaction>,
    /// Those that were read, with their numbers: a table that is created again has another one.
    pub tables: BTreeMap<String, u32>,
    /// How often all tables were read from the beginning.
    pub snapshots: u32,
    /// Of `tables`, those that are no longer there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// From the commit of the newest change to its record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<i64>,
}

impl CapturePosition {
    /// The position in the log, as Postgres writes it.
    pub fn shown(&self) -> String {
        format!("{:X}/{:X}", self.lsn >> 32, self.lsn & 0xffff_ffff)
    }
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
    /// Where its commit lies.
    pub commit_lsn: u64,
    /// Its first changes, which are in the topics.
    pub changes: u64,
}

/// After `start_stream` or `commit_stream`, in the same transaction: that is the fence.
pub async fn set_capture(tx: &mut PgConnection, stream: &str, position: &CapturePosition) -> StoreResult<()> {
    let position =
        serde_json::to_value(position).map_err(|error| StoreError::Sql(sqlx::Error::Encode(error.into())))?;
    sqlx::query!("update stream set capture = $2 where name = $1", stream, position).execute(tx).await?;
    Ok(())
}
