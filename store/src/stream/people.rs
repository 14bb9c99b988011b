//! Streams from the user's side: list, pause, resume, restart, move and delete them.

use crate::list::{Cell, Column, ListPage, Search};
use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::postgres::PgConnection;
use std::str::FromStr;

#[derive(Debug, Clone, PartialEq)]
pub struct StreamRow {
    pub name: String,
    pub bundle: String,
    /// Version of the declaration, or `None` if the bundle no longer declares the stream.
    pub version: Option<String>,
    pub spec: Value,
    pub is_paused: bool,
    pub epoch: i64,
    pub process: Option<String>,
    pub is_leased: bool,
    pub started_at: Option<DateTime<Utc>>,
    /// Number of failures since the stream's last commit.
    pub failures: i32,
    pub error: Option<String>,
    pub failed_at: Option<DateTime<Utc>>,
    pub retry_at: Option<DateTime<Utc>>,
    pub waits_for_restart: bool,
    pub reset_to: Option<Value>,
    pub commits: i64,
    pub records: i64,
    pub quarantined: i64,
    pub last_commit_at: Option<DateTime<Utc>>,
    pub last_record_at: Option<DateTime<Utc>>,
    /// Number of records that are in the topic but not yet in the table.
    pub lag: i64,
    pub partitions: i32,
    pub records_last_hour: i64,
    /// Identity of the topic, or `None` if the stream has not started to read it.
    pub topic_identity: Option<String>,
    /// Position of a change data capture (CDC) stream; `None` for other streams.
    pub capture: Option<Value>,
}

/// State of a stream, as in Kafka Connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamState {
    Running,
    Paused,
    /// The stream stopped with an error. It is retried later, or waits until a user restarts it.
    Failed,
    /// No process runs the stream.
    Unassigned,
}

impl StreamState {
    pub const ALL: [StreamState; 4] =
        [StreamState::Running, StreamState::Paused, StreamState::Failed, StreamState::Unassigned];

    pub fn name(self) -> &'static str {
        match self {
            StreamState::Running => "running",
            StreamState::Paused => "paused",
            StreamState::Failed => "failed",
            StreamState::Unassigned => "unassigned",
        }
    }
}

impl FromStr for StreamState {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        StreamState::ALL.into_iter().find(|state| state.name() == word).ok_or(())
    }
}

impl StreamRow {
    pub fn state(&self) -> StreamState {
        match () {
            () if self.is_paused => StreamState::Paused,
            // After a failure, a stream that a process has acquired again counts as running until it fails again.
            () if self.is_leased => StreamState::Running,
            () if self.failures > 0 => StreamState::Failed,
            () => StreamState::Unassigned,
        }
    }

    /// Returns true if the stream's topic is in the built-in log, not in a Kafka cluster.
    pub fn reads_log(&self) -> bool {
        self.topic_identity.as_deref().is_some_and(|identity| identity.starts_with("log:"))
    }

    /// Returns the name of the connection to the Kafka cluster that contains the topic, or `None` if the topic is not
    /// in Kafka.
    pub fn cluster(&self) -> Option<&str> {
        self.topic_identity.as_deref().filter(|identity| identity.starts_with("kafka/"))?;
        self.spec["connection"].as_str()
    }

    pub fn topic(&self) -> &str {
        self.spec["topic"].as_str().unwrap_or_default()
    }

    pub fn table(&self) -> &str {
        self.spec["table"].as_str().unwrap_or_default()
    }

    /// Returns the number of shares of the stream. A share is a group of partitions that one process reads.
    pub fn shares(&self) -> i32 {
        self.spec["shares"].as_i64().and_then(|many| i32::try_from(many).ok()).unwrap_or(1)
    }

    /// Returns true for a change data capture (CDC) stream, which reads a database and writes topics.
    pub fn is_capture(&self) -> bool {
        !self.spec["captures"].is_null()
    }

    /// Returns the alternative name of the stream as a connector in the Kafka Connect API, if the declaration sets one.
    pub fn connector(&self) -> Option<&str> {
        self.spec["connector"].as_str()
    }

    /// Returns the lake table that the stream writes, or `None` if the stream writes to the database of a connection
    /// instead.
    pub fn lake_table(&self) -> Option<&str> {
        self.spec["table_connection"].is_null().then(|| self.table())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionOfStream {
    pub partition: i32,
    pub next_offset: i64,
    pub end_offset: i64,
    /// Identifier of the process that reads the partition: the name of its worker, and a suffix that is unique per
    /// process.
    pub process: Option<String>,
}

impl PartitionOfStream {
    /// Returns the name of the worker that reads the partition.
    pub fn worker(&self) -> Option<&str> {
        Some(self.process.as_deref()?.rsplit_once(':')?.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamMinute {
    pub minute: DateTime<Utc>,
    pub records: i64,
    pub quarantined: i64,
    pub lag: i64,
}

/// A request to move a stream to another position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// The partition to move, or `None` for all partitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    pub to: ResetTo,
    /// If true, the rows of the table are deleted in the same transaction, so that the table is rebuilt from the
    /// records.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_table: bool,
}

impl Reset {
    /// Returns true if the request rereads all partitions from the beginning and keeps the rows of the table.
    pub fn is_anew(&self) -> bool {
        self.to == ResetTo::Earliest && self.partition.is_none() && !self.empty_table
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetTo {
    /// The oldest record that the topic still stores.
    Earliest,
    /// The end of the topic, so that only new records are read.
    Latest,
    Offset(i64),
    /// The first record whose timestamp is equal to or later than this one.
    Time(DateTime<Utc>),
}

/// Stream columns by which users may filter or sort. The number of streams is small and their state is not a database
/// column, so all streams are loaded and then filtered in memory.
pub mod by {
    use crate::list::Filter::{AnyOf, Pattern, Prefix};
    use crate::list::{Column, Words};

    const STATES: Words = Words { noun: "state", words: &["running", "paused", "failed", "unassigned"] };

    pub const NAME: Column = Column::text("name", "").by(&[Pattern, Prefix]).sorted();

    pub const ALL: &[Column] = &[
        NAME,
        Column::words("state", "", STATES).by(&[AnyOf]).about("In one of these states").sorted(),
        Column::text("topic", "").sorted(),
        Column::text("table", "").sorted(),
        Column::whole("lag", "").sorted(),
        Column::whole("records", "").sorted(),
        Column::whole("records_last_hour", "").sorted(),
        Column::moment("last_commit_at", "").sorted(),
    ];
}

impl StreamRow {
    fn cell(&self, column: &Column) -> Cell<'_> {
        match column.name {
            "name" => self.name.as_str().into(),
            "state" => self.state().name().into(),
            "topic" => self.topic().into(),
            "table" => self.table().into(),
            "lag" => self.lag.into(),
            "records" => self.records.into(),
            "records_last_hour" => self.records_last_hour.into(),
            "last_commit_at" => self.last_commit_at.into(),
            _ => Cell::Nothing,
        }
    }
}

/// Returns the streams that match the search, sorted by name by default.
#[boxed]
pub async fn find_streams(db: &mut PgConnection, search: &Search) -> StoreResult<ListPage<StreamRow>> {
    Ok(search.pick(read(db, None).await?, StreamRow::cell))
}

/// A stream that is stopped because of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedStream {
    pub name: String,
    pub error: String,
    pub failed_at: DateTime<Utc>,
    /// If true, the stream stays stopped until a user restarts it. If false, it is retried automatically.
    pub waits_for_restart: bool,
}

/// Returns the failed streams. The stream that has been failed for the longest time comes first.
#[boxed]
pub async fn failed_streams(db: &mut PgConnection, limit: i64) -> StoreResult<Vec<FailedStream>> {
    let failed = sqlx::query_as!(
        FailedStream,
        r#"select name, error as "error!", failed_at as "failed_at!", coalesce(retry_at = 'infinity', false) as "waits_for_restart!"
        from stream where error is not null and failed_at is not null and version is not null and not is_paused
        order by failed_at limit $1"#,
        limit
    );
    Ok(failed.fetch_all(db).await?)
}

#[boxed]
pub async fn get_stream(db: &mut PgConnection, name: &str) -> StoreResult<Option<StreamRow>> {
    Ok(read(db, Some(name)).await?.pop())
}

/// Returns the stream whose name or Kafka Connect connector name is `name`.
#[boxed]
pub async fn stream_of_connector(db: &mut PgConnection, name: &str) -> StoreResult<Option<StreamRow>> {
    match get_stream(db, name).await? {
        Some(row) => Ok(Some(row)),
        None => Ok(read(db, None).await?.into_iter().find(|row| row.connector() == Some(name))),
    }
}

/// Returns the names of all other streams that write to the same table.
#[boxed]
pub async fn others_of_table(db: &mut PgConnection, of: &StreamRow) -> StoreResult<Vec<String>> {
    let is_other = |row: &StreamRow| {
        row.name != of.name
            && row.table() == of.table()
            && row.spec["table_connection"] == of.spec["table_connection"]
            && !of.table().is_empty()
    };
    Ok(read(db, None).await?.into_iter().filter(is_other).map(|row| row.name).collect())
}

async fn read(db: &mut PgConnection, name: Option<&str>) -> StoreResult<Vec<StreamRow>> {
    Ok(sqlx::query_file_as!(StreamRow, "queries/stream/list.sql", name).fetch_all(db).await?)
}

#[boxed]
pub async fn partitions_of_stream(db: &mut PgConnection, name: &str) -> StoreResult<Vec<PartitionOfStream>> {
    Ok(sqlx::query_file_as!(PartitionOfStream, "queries/stream/partitions.sql", name).fetch_all(db).await?)
}

/// Returns the per-minute statistics of a stream for the last `minutes`, the oldest first. Minutes without a commit
/// have no row.
#[boxed]
pub async fn minutes_of_stream(db: &mut PgConnection, name: &str, minutes: i32) -> StoreResult<Vec<StreamMinute>> {
    Ok(sqlx::query_as!(
        StreamMinute,
        "select minute, records, quarantined, lag from stream_minute
        where stream = $1 and minute > now() - $2::integer * interval '1 minute' order by minute",
        name,
        minutes
    )
    .fetch_all(db)
    .await?)
}

/// Pauses a stream. Records that the stream has read but not committed are read again after it resumes. Returns `false`
/// if the stream does not exist.
#[boxed]
pub async fn pause_stream(tx: &mut PgConnection, name: &str) -> StoreResult<bool> {
    let paused = sqlx::query!(
        "update stream set is_paused = true, epoch = epoch + 1, process = null, lease_until = null, updated_at = now()
        where name = $1",
        name
    );
    Ok(paused.execute(tx).await?.rows_affected() > 0)
}

/// Resumes a paused stream. If the stream has failed, it is retried immediately.
#[boxed]
pub async fn resume_stream(tx: &mut PgConnection, name: &str) -> StoreResult<bool> {
    let resumed =
        sqlx::query!("update stream set is_paused = false, retry_at = null, updated_at = now() where name = $1", name);
    Ok(resumed.execute(tx).await?.rows_affected() > 0)
}

/// Restarts a stream: its process loses the lease, and the stream starts again from its last commit.
#[boxed]
pub async fn restart_stream(db: &mut PgConnection, name: &str) -> StoreResult<bool> {
    start_again(db, name, None).await
}

/// Moves a stream to another position: its process loses the lease, and the stream starts again at `to`. This works
/// even if the stream's topic was deleted and created again.
#[boxed]
pub async fn reset_stream(db: &mut PgConnection, name: &str, to: &Reset) -> StoreResult<bool> {
    let to = serde_json::to_value(to).map_err(|error| crate::StoreError::Sql(sqlx::Error::Encode(error.into())))?;
    start_again(db, name, Some(to)).await
}

/// Must remain a single statement. Otherwise a process could start the stream between two statements, read from the old
/// position and discard the new one.
async fn start_again(db: &mut PgConnection, name: &str, reset_to: Option<Value>) -> StoreResult<bool> {
    let restarted = sqlx::query!(
        "update stream set reset_to = coalesce($2, reset_to), epoch = epoch + 1, process = null, lease_until = null, failures = 0,
          error = null, failed_at = null, retry_at = null, updated_at = now()
        where name = $1",
        name,
        reset_to
    );
    Ok(restarted.execute(db).await?.rows_affected() > 0)
}

/// Deletes a stream that no bundle declares, and keeps its table. Returns `false` if the stream does not exist or is
/// still declared.
#[boxed]
pub async fn delete_stream(tx: &mut PgConnection, name: &str) -> StoreResult<bool> {
    let deleted = sqlx::query!("delete from stream where name = $1 and version is null", name);
    Ok(deleted.execute(tx).await?.rows_affected() > 0)
}

/// Deletes per-minute statistics that are too old for the charts, which show one day.
#[boxed]
pub async fn drop_old_minutes(db: &mut PgConnection) -> StoreResult<u64> {
    let dropped = sqlx::query!("delete from stream_minute where minute < now() - interval '25 hours'");
    let dropped = dropped.execute(&mut *db).await?.rows_affected();
    super::share::forget_processes(db).await?;
    Ok(dropped)
}
