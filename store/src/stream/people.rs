//! Streams as people see and steer them.

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
    /// `None`: its bundle no longer declares it.
    pub version: Option<String>,
    pub spec: Value,
    pub is_paused: bool,
    pub epoch: i64,
    pub process: Option<String>,
    pub is_leased: bool,
    pub started_at: Option<DateTime<Utc>>,
    /// Since the last commit.
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
    /// Records that are in the topic and not yet in the table.
    pub lag: i64,
    pub partitions: i32,
    pub records_last_hour: i64,
    /// `None`: it has not begun to read.
    pub topic_identity: Option<String>,
    /// Of a stream that captures the changes of a database: where it is there.
    pub capture: Option<Value>,
}

/// What a stream does, in the words of Kafka Connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamState {
    Running,
    Paused,
    /// It is tried again later, or waits for a restart.
    Failed,
    /// No process runs it.
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
            // One that was taken again after a failure runs until it fails or commits.
            () if self.is_leased => StreamState::Running,
            () if self.failures > 0 => StreamState::Failed,
            () => StreamState::Unassigned,
        }
    }

    /// Whether its topic is one of the built-in log.
    pub fn reads_log(&self) -> bool {
        self.topic_identity.as_deref().is_some_and(|identity| identity.starts_with("log:"))
    }

    /// The connection to the cluster that its topic is in, if it is in one.
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

    /// Into how many its partitions are dealt out.
    pub fn shares(&self) -> i32 {
        self.spec["shares"].as_i64().and_then(|many| i32::try_from(many).ok()).unwrap_or(1)
    }

    /// Its source is a database, and its topics are what it writes.
    pub fn is_capture(&self) -> bool {
        !self.spec["captures"].is_null()
    }

    /// Its second name in the API of Kafka Connect.
    pub fn connector(&self) -> Option<&str> {
        self.spec["connector"].as_str()
    }

    /// `None`: the table is in the database of a connection.
    pub fn lake_table(&self) -> Option<&str> {
        self.spec["table_connection"].is_null().then(|| self.table())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionOfStream {
    pub partition: i32,
    pub next_offset: i64,
    pub end_offset: i64,
    /// That reads it now: the name of a worker, and what tells its processes apart.
    pub process: Option<String>,
}

impl PartitionOfStream {
    /// The name of the worker that reads it now.
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

/// Where a stream is to go on reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    pub to: ResetTo,
    /// The rows that are there go in the same moment: the table is built anew from what is read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_table: bool,
}

impl Reset {
    /// All from the beginning, and nothing besides.
    pub fn is_anew(&self) -> bool {
        self.to == ResetTo::Earliest && self.partition.is_none() && !self.empty_table
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetTo {
    /// The oldest record that is kept.
    Earliest,
    /// What comes from now on.
    Latest,
    Offset(i64),
    /// The first record that is not older.
    Time(DateTime<Utc>),
}

/// The columns of streams that people may ask by. There are as many streams as people declare, and their state is known in
/// the program only: all are read, and picked in memory.
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

/// By name, if nothing else is said.
#[boxed]
pub async fn find_streams(db: &mut PgConnection, search: &Search) -> StoreResult<ListPage<StreamRow>> {
    Ok(search.pick(read(db, None).await?, StreamRow::cell))
}

/// A stream that does not run because of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedStream {
    pub name: String,
    pub error: String,
    pub failed_at: DateTime<Utc>,
    /// Otherwise it is tried again by itself.
    pub waits_for_restart: bool,
}

/// The longest first.
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

/// The stream with this name, or with this second name in the API of Kafka Connect.
#[boxed]
pub async fn stream_of_connector(db: &mut PgConnection, name: &str) -> StoreResult<Option<StreamRow>> {
    match get_stream(db, name).await? {
        Some(row) => Ok(Some(row)),
        None => Ok(read(db, None).await?.into_iter().find(|row| row.connector() == Some(name))),
    }
}

/// The names of other streams that write into the table of this one.
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

/// Of the last `minutes`, oldest first. Minutes without a commit have no row.
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

/// `false`: there is no such stream. What it has read and not committed is read again later.
#[boxed]
pub async fn pause_stream(tx: &mut PgConnection, name: &str) -> StoreResult<bool> {
    let paused = sqlx::query!(
        "update stream set is_paused = true, epoch = epoch + 1, process = null, lease_until = null, updated_at = now()
        where name = $1",
        name
    );
    Ok(paused.execute(tx).await?.rows_affected() > 0)
}

/// Also what failed is tried at once.
#[boxed]
pub async fn resume_stream(tx: &mut PgConnection, name: &str) -> StoreResult<bool> {
    let resumed =
        sqlx::query!("update stream set is_paused = false, retry_at = null, updated_at = now() where name = $1", name);
    Ok(resumed.execute(tx).await?.rows_affected() > 0)
}

/// Takes the stream from its process. It starts again from its last commit.
#[boxed]
pub async fn restart_stream(db: &mut PgConnection, name: &str) -> StoreResult<bool> {
    start_again(db, name, None).await
}

/// Takes the stream from its process. It starts again from another place, even if its topic was deleted and created again.
#[boxed]
pub async fn reset_stream(db: &mut PgConnection, name: &str, to: &Reset) -> StoreResult<bool> {
    let to = serde_json::to_value(to).map_err(|error| crate::StoreError::Sql(sqlx::Error::Encode(error.into())))?;
    start_again(db, name, Some(to)).await
}

/// Must stay a single statement: a process that starts the stream in between would begin at the old place and forget the new one.
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

/// Only what no bundle declares goes; its table stays. `false`: there is no such stream, or a bundle declares it.
#[boxed]
pub async fn delete_stream(tx: &mut PgConnection, name: &str) -> StoreResult<bool> {
    let deleted = sqlx::query!("delete from stream where name = $1 and version is null", name);
    Ok(deleted.execute(tx).await?.rows_affected() > 0)
}

/// Charts show a day.
#[boxed]
pub async fn drop_old_minutes(db: &mut PgConnection) -> StoreResult<u64> {
    let dropped = sqlx::query!("delete from stream_minute where minute < now() - interval '25 hours'");
    let dropped = dropped.execute(&mut *db).await?.rows_affected();
    super::share::forget_processes(db).await?;
    Ok(dropped)
}
