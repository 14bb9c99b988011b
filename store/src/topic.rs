//! The built-in log, a message log like Kafka's: topics with partitions, in which each record has an offset. A record
//! becomes visible when the transaction that appended it commits.
//!
//! Offsets in a partition have no gaps and increase in commit order, because a writer locks the row of the partition
//! until its transaction commits. After a reader has seen an offset, no lower offset can appear.

mod bytes;
mod partitioner;
mod produce;
pub mod reader;
mod retention;

pub use partitioner::partition_of;
pub use produce::{NewRecord, Placed, Produce, ProduceError, produce, produce_as_writer, refuse_captured};
pub use retention::drop_old_records;

use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::postgres::PgConnection;

/// Maximum size of a record in bytes: key and value together.
pub const MOST_RECORD_BYTES: usize = 1_000_000;
/// Maximum number of records that a search for a key scans. A limit is needed because keys have no index.
pub const KEYS_LOOKED_AT: i64 = 100_000;
/// Maximum number of records that one read returns.
const MOST_READ: i64 = 10_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Number of the topic. It is never reused for another topic.
    pub no: i32,
    pub partitions: i16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRow {
    pub partition: i16,
    /// Offset of the oldest record that is still stored.
    pub first_offset: i64,
    /// Offset that the next record will get.
    pub next_offset: i64,
    pub last_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRow {
    pub offset: i64,
    pub at: DateTime<Utc>,
    #[serde(with = "bytes")]
    pub key: Option<Vec<u8>>,
    /// Value of the record, or `None` for a tombstone, which means that its key was deleted.
    #[serde(with = "bytes")]
    pub value: Option<Vec<u8>>,
    pub headers: Option<Value>,
}

#[derive(Debug, Clone, Copy)]
pub struct ReadFrom {
    pub partition: i16,
    pub offset: i64,
    pub most: i64,
    /// Maximum total size of keys and values in bytes. The first record is always returned, even if it is larger.
    pub most_bytes: i64,
}

#[boxed]
pub async fn get_topic(db: &mut PgConnection, name: &str) -> StoreResult<Option<Topic>> {
    Ok(sqlx::query_as!(Topic, r#"select topic_no as "no!", partitions as "partitions!" from find_topic($1)"#, name)
        .fetch_optional(db)
        .await?)
}

/// Returns the names of all topics to which a record has been appended. The list is not paginated, because users create
/// topics one by one.
#[boxed]
pub async fn topics_with_records(db: &mut PgConnection) -> StoreResult<Vec<String>> {
    let names = sqlx::query_scalar!(
        "select name from topic t
        where exists (select from topic_partition p where p.topic_no = t.topic_no and p.next_offset > 0) order by name"
    );
    Ok(names.fetch_all(db).await?)
}

/// Returns the topic with this name. If it does not exist, creates it with `partitions` partitions.
#[boxed]
pub async fn ensure_topic(db: &mut PgConnection, name: &str, partitions: i16) -> StoreResult<Topic> {
    loop {
        if let Some(topic) = get_topic(db, name).await? {
            return Ok(topic);
        }
        sqlx::query!("insert into topic (name, partitions) values ($1, $2) on conflict do nothing", name, partitions)
            .execute(&mut *db)
            .await?;
    }
}

/// Returns all partitions of a topic, including partitions without records.
#[boxed]
pub async fn list_partitions(db: &mut PgConnection, topic: &Topic) -> StoreResult<Vec<PartitionRow>> {
    Ok(sqlx::query_as!(
        PartitionRow,
        r#"select n::smallint as "partition!", coalesce(p.first_offset, 0) as "first_offset!",
          coalesce(p.next_offset, 0) as "next_offset!", p.last_at as "last_at?"
        from generate_series(0, $2::integer - 1) n left join topic_partition p on p.topic_no = $1 and p.partition = n
        order by n"#,
        topic.no,
        i32::from(topic.partitions)
    )
    .fetch_all(db)
    .await?)
}

#[boxed]
pub async fn read_records(db: &mut PgConnection, topic: &Topic, from: ReadFrom) -> StoreResult<Vec<RecordRow>> {
    let most = from.most.clamp(0, MOST_READ);
    let read = sqlx::query_file_as!(
        RecordRow,
        "queries/topic/read.sql",
        topic.no,
        from.partition,
        from.offset,
        most,
        from.most_bytes
    );
    Ok(read.fetch_all(db).await?)
}

/// Returns the newest records with a key, sorted from oldest to newest. Searches only the last [`KEYS_LOOKED_AT`]
/// records of the key's partition.
#[boxed]
pub async fn find_key(
    db: &mut PgConnection,
    topic: &Topic,
    partition: i16,
    key: &[u8],
    most: i64,
) -> StoreResult<Vec<RecordRow>> {
    let most = most.clamp(0, MOST_READ);
    let looked_at = KEYS_LOOKED_AT;
    let found =
        sqlx::query_file_as!(RecordRow, "queries/topic/find_key.sql", topic.no, partition, key, looked_at, most);
    Ok(found.fetch_all(db).await?)
}

/// Returns the start offset for reading the last `back` records of a partition.
#[boxed]
pub async fn newest_offset(db: &mut PgConnection, topic: &Topic, partition: i16, back: i64) -> StoreResult<i64> {
    let offset = sqlx::query_scalar!(
        r#"select greatest(first_offset, next_offset - $3) as "offset!" from topic_partition
        where topic_no = $1 and partition = $2"#,
        topic.no,
        partition,
        back
    );
    Ok(offset.fetch_optional(db).await?.unwrap_or(0))
}

/// Returns the offset of the first record whose timestamp is at or after `at`. If no such record exists, returns the
/// offset that the next record will get.
#[boxed]
pub async fn offset_at(db: &mut PgConnection, topic: &Topic, partition: i16, at: DateTime<Utc>) -> StoreResult<i64> {
    Ok(sqlx::query_file_scalar!("queries/topic/offset_at.sql", topic.no, partition, at).fetch_one(db).await?)
}

/// Returns the error message for a partition number that does not exist in the topic.
pub fn no_such_partition(partition: i64, many: usize) -> String {
    format!("there is no partition {partition}: the topic has {many}, from 0")
}

/// Returns the error message for an offset whose record has been deleted.
pub fn no_longer_kept(offset: i64, partition: i64, first: i64) -> String {
    format!("offset {offset} of partition {partition} is gone: the oldest record that is kept has offset {first}")
}
