//! Readers: the positions of tasks that read topics. A reader advances in the transaction that records the success of
//! the task.
//!
//! The fence of a reader is its epoch together with the offsets that an attempt has found. If two attempts have read
//! the same records, only one advances the reader. If a user moves the reader meanwhile, no attempt does.

use crate::{StoreError, StoreResult, boxed, stream::Reset};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::PgConnection;

/// The state of a reader at the start of an attempt. The default is a reader that has read nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReaderState {
    pub epoch: i64,
    /// `None` if the reader has read nothing so far.
    pub topic_identity: Option<String>,
    pub seek_to: Option<Reset>,
    /// Next offsets by partition.
    pub positions: Vec<(i32, i64)>,
}

/// The move of a reader by an attempt that has read records.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    pub reader: String,
    pub connection: String,
    pub topic: String,
    pub topic_identity: String,
    /// Epoch of the reader at the start of the attempt.
    pub epoch: i64,
    pub dag_id: String,
    pub task_id: String,
    pub run_id: String,
    /// All partitions of the topic.
    pub partitions: Vec<MoveOf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoveOf {
    pub partition: i32,
    /// Offset of the reader at the start of the attempt, or `None` if it had none for this partition.
    pub found: Option<i64>,
    pub next_offset: i64,
    /// End offset of the partition, when last seen.
    pub end_offset: i64,
}

/// Position of a reader in one partition.
#[derive(Debug, Clone, PartialEq)]
pub struct ReaderRow {
    pub name: String,
    pub connection: String,
    pub topic: String,
    pub partition: i32,
    pub next_offset: i64,
    pub end_offset: i64,
    pub seek_to: Option<Value>,
    /// The task that last moved the reader.
    pub dag_id: String,
    pub task_id: String,
    pub run_id: String,
    pub moved_at: DateTime<Utc>,
}

/// Returns the reader with this name. A new reader has read nothing.
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

/// Moves a reader, in the transaction that records a success. Returns `false` if it was moved meanwhile, and nothing
/// may be recorded then.
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

/// Returns the readers of one topic or of all topics, by name and partition.
#[boxed]
pub async fn list_readers(db: &mut PgConnection, topic: Option<&str>) -> StoreResult<Vec<ReaderRow>> {
    Ok(sqlx::query_file_as!(ReaderRow, "queries/topic/readers.sql", topic).fetch_all(db).await?)
}

/// Sets the position at which the next attempt starts. Running attempts no longer move the reader. Returns `false` if
/// it does not exist.
#[boxed]
pub async fn seek_reader(tx: &mut PgConnection, name: &str, to: &Reset) -> StoreResult<bool> {
    let to = serde_json::to_value(to).map_err(|error| StoreError::Sql(sqlx::Error::Encode(error.into())))?;
    let sought = sqlx::query!("update topic_reader set seek_to = $2, epoch = epoch + 1 where name = $1", name, to);
    Ok(sought.execute(tx).await?.rows_affected() > 0)
}

/// Deletes a reader. The next attempt starts as for a new reader. Returns `false` if the reader does not exist.
#[boxed]
pub async fn delete_reader(tx: &mut PgConnection, name: &str) -> StoreResult<bool> {
    let deleted = sqlx::query!("delete from topic_reader where name = $1", name);
    Ok(deleted.execute(tx).await?.rows_affected() > 0)
}
