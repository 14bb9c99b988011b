//! Readers of topics. A reader stores the offsets up to which tasks have read a topic. It advances in the same
//! transaction that records the success of the task.
//!
//! The fencing token of a reader is its epoch plus the offsets at the start of the attempt. If two attempts have read
//! the same records, only one can advance the reader. If a user moves the reader in the meantime, neither can.

use crate::{StoreError, StoreResult, boxed, stream::Reset};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::PgConnection;

/// State of a reader at the start of an attempt. The default value is a reader that has not read anything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReaderState {
    pub epoch: i64,
    /// Identity of the topic, or `None` if the reader has not read anything.
    pub topic_identity: Option<String>,
    pub seek_to: Option<Reset>,
    /// Next offset to read, by partition.
    pub positions: Vec<(i32, i64)>,
}

/// New offsets for a reader, from an attempt that has read records.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    pub reader: String,
    pub connection: String,
    pub topic: String,
    pub topic_identity: String,
    /// Epoch of the reader at the start of the attempt, as a fencing token.
    pub epoch: i64,
    pub dag_id: String,
    pub task_id: String,
    pub run_id: String,
    /// New offsets for all partitions of the topic.
    pub partitions: Vec<MoveOf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoveOf {
    pub partition: i32,
    /// Offset of the reader at the start of the attempt, or `None` if the reader had no offset for this partition.
    pub found: Option<i64>,
    pub next_offset: i64,
    /// End offset of the partition, as last fetched.
    pub end_offset: i64,
}

/// The position of a reader in one partition of its topic.
#[derive(Debug, Clone, PartialEq)]
pub struct ReaderRow {
    pub name: String,
    pub connection: String,
    pub topic: String,
    pub partition: i32,
    pub next_offset: i64,
    pub end_offset: i64,
    pub seek_to: Option<Value>,
    /// Id of the DAG whose task advanced the reader last.
    pub dag_id: String,
    pub task_id: String,
    pub run_id: String,
    pub moved_at: DateTime<Utc>,
}

/// Returns the state of the reader with this name. If it does not exist, returns the state of a reader that has not
/// read anything.
#[boxed]
pub async fn find_reader(db: &mut PgConnection, name: &str) -> StoreResult<ReaderState> {
    let row = sqlx::query!(
        r#"select r.epoch, r.topic_identity, r.seek_to,
          coalesce(array_agg(p.partition order by p.partition) filter (where p.partition is not null), '{}') as "partitions!",
          coalesce(array_agg(p.next_offset order by p.partition) filter (where p.partition is not null), '{}') as "offsets!"
        from topic_reader r left join topic_reader_partition p on p.reader = r.name where r.name = $1 group by r.name"#,
        name
    );
    let Some(row) = row.fetch_optional(db).await? else { return Ok(ReaderState::default()) };
    let seek_to = row.seek_to.map(serde_json::from_value).transpose();
    let seek_to = seek_to.map_err(|error| StoreError::corrupt(format!("where reader `{name}` is to go: {error}")))?;
    let positions = row.partitions.into_iter().zip(row.offsets).collect();
    Ok(ReaderState { epoch: row.epoch, topic_identity: Some(row.topic_identity), seek_to, positions })
}

/// Advances a reader in the transaction that records the success of the task. Returns `false` if the reader was moved
/// concurrently; the caller must then roll back.
#[boxed]
pub async fn move_reader(tx: &mut PgConnection, to: &Move) -> StoreResult<bool> {
    let partitions: Vec<i32> = to.partitions.iter().map(|one| one.partition).collect();
    let found: Vec<Option<i64>> = to.partitions.iter().map(|one| one.found).collect();
    let stops: Vec<i64> = to.partitions.iter().map(|one| one.next_offset).collect();
    let ends: Vec<i64> = to.partitions.iter().map(|one| one.end_offset).collect();
    Ok(sqlx::query_scalar!(
        r#"select move_reader($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) as "moved!""#,
        to.reader,
        to.epoch,
        to.connection,
        to.topic,
        to.topic_identity,
        to.dag_id,
        to.task_id,
        to.run_id,
        &partitions,
        &found as &[Option<i64>],
        &stops,
        &ends
    )
    .fetch_one(tx)
    .await?)
}

/// Returns the readers of `topic`, or of all topics if it is `None`, sorted by name and partition.
#[boxed]
pub async fn list_readers(db: &mut PgConnection, topic: Option<&str>) -> StoreResult<Vec<ReaderRow>> {
    Ok(sqlx::query_file_as!(ReaderRow, "queries/topic/readers.sql", topic).fetch_all(db).await?)
}

/// Sets the position at which the next attempt starts to read. Attempts that are already running can no longer advance
/// the reader. Returns `false` if the reader does not exist.
#[boxed]
pub async fn seek_reader(tx: &mut PgConnection, name: &str, to: &Reset) -> StoreResult<bool> {
    let to = serde_json::to_value(to).map_err(|error| StoreError::Sql(sqlx::Error::Encode(error.into())))?;
    let sought = sqlx::query!("update topic_reader set seek_to = $2, epoch = epoch + 1 where name = $1", name, to);
    Ok(sought.execute(tx).await?.rows_affected() > 0)
}

/// Deletes a reader, so that the next attempt starts as a new reader. Returns `false` if the reader does not exist.
#[boxed]
pub async fn delete_reader(tx: &mut PgConnection, name: &str) -> StoreResult<bool> {
    let deleted = sqlx::query!("delete from topic_reader where name = $1", name);
    Ok(deleted.execute(tx).await?.rows_affected() > 0)
}
