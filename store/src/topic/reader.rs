//! Tasks that read topics: where they have got to. A reader moves in the transaction that records the success of the task.
//!
//! The epoch of a reader and the offsets that a try has found are its fence: of two tries that have read the same records one moves the
//! reader, and what a person moves meanwhile is moved by no try.

use crate::{StoreError, StoreResult, boxed, stream::Reset};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::PgConnection;

/// A reader as a try finds it. The default is one that has not read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReaderState {
    pub epoch: i64,
    /// `None`: it has read nothing so far.
    pub topic_identity: Option<String>,
    pub seek_to: Option<Reset>,
    /// Next offsets by partition.
    pub positions: Vec<(i32, i64)>,
}

/// What a try has read.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    pub reader: String,
    pub connection: String,
    pub topic: String,
    pub topic_identity: String,
    /// Of the reader as it was found.
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
    /// Where the reader was found; `None`: it did not know the partition.
    pub found: Option<i64>,
    pub next_offset: i64,
    /// Of the topic, as last seen.
    pub end_offset: i64,
}

/// Where a reader is in one partition.
#[derive(Debug, Clone, PartialEq)]
pub struct ReaderRow {
    pub name: String,
    pub connection: String,
    pub topic: String,
    pub partition: i32,
    pub next_offset: i64,
    pub end_offset: i64,
    pub seek_to: Option<Value>,
    /// Who moved it last.
    pub dag_id: String,
    pub task_id: String,
    pub run_id: String,
    pub moved_at: DateTime<Utc>,
}

/// The reader of a name; one that is new has read nothing.
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

/// Moves a reader within the transaction that records a success. `false`: it was moved meanwhile, and nothing may be recorded.
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

/// By name and partition; of one topic, or of all.
#[boxed]
pub async fn list_readers(db: &mut PgConnection, topic: Option<&str>) -> StoreResult<Vec<ReaderRow>> {
    Ok(sqlx::query_file_as!(ReaderRow, "queries/topic/readers.sql", topic).fetch_all(db).await?)
}

/// The next try begins there, and what one of before has read moves nothing. `false`: there is no such reader.
#[boxed]
pub async fn seek_reader(tx: &mut PgConnection, name: &str, to: &Reset) -> StoreResult<bool> {
    let to = serde_json::to_value(to).map_err(|error| StoreError::Sql(sqlx::Error::Encode(error.into())))?;
    let sought = sqlx::query!("update topic_reader set seek_to = $2, epoch = epoch + 1 where name = $1", name, to);
    Ok(sought.execute(tx).await?.rows_affected() > 0)
}

/// Its next try begins as that of a new one. `false`: there is no such reader.
#[boxed]
pub async fn delete_reader(tx: &mut PgConnection, name: &str) -> StoreResult<bool> {
    let deleted = sqlx::query!("delete from topic_reader where name = $1", name);
    Ok(deleted.execute(tx).await?.rows_affected() > 0)
}
