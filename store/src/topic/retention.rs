//! Deletes records that are older than the retention of their topic, in batches.

use super::{Topic, offset_at};
use crate::{StoreResult, boxed};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

/// Maximum number of records that one transaction deletes.
const BATCH: i64 = 10_000;
/// Maximum total size of the records that one transaction deletes, in bytes; the last record may exceed it. Large
/// values are stored in pieces of 2 kB, so without this limit a batch of large records would exceed the statement
/// timeout.
const BATCH_BYTES: i64 = 32 * 1024 * 1024;

/// Deletes records that are older than the retention of their topic, and records of deleted topics. Returns the number
/// of deleted records. If a partition causes an error, the other partitions are still cleaned, and the first error is
/// returned at the end.
#[boxed]
pub async fn drop_old_records(db: &mut PgConnection) -> StoreResult<i64> {
    let mut dropped = drop_orphans(db).await;
    let kept = sqlx::query!(
        r#"select t.topic_no, t.partitions, p.partition, p.first_offset,
          now() - t.retention_hours * interval '1 hour' as "horizon!"
        from topic t join topic_partition p using (topic_no)
        where t.retention_hours > 0 and p.first_offset < p.next_offset order by t.topic_no, p.partition"#
    );
    for row in kept.fetch_all(&mut *db).await? {
        let topic = Topic { no: row.topic_no, partitions: row.partitions };
        let of_one = match offset_at(db, &topic, row.partition, row.horizon).await {
            Ok(end) => drop_below(db, &topic, row.partition, row.first_offset, end).await,
            Err(error) => Err(error),
        };
        dropped = match (dropped, of_one) {
            (Ok(before), Ok(many)) => Ok(before + many),
            (Err(first), _) | (Ok(_), Err(first)) => Err(first),
        };
    }
    dropped
}

/// Deletes records below an offset, and advances the partition's first offset in the same transaction. A reader that
/// starts at the first offset therefore always finds a record or the end of the partition.
async fn drop_below(
    db: &mut PgConnection,
    topic: &Topic,
    partition: i16,
    mut first: i64,
    end: i64,
) -> StoreResult<i64> {
    let before = first;
    while first < end {
        let mut tx = db.begin().await?;
        let next = end_of_batch(&mut tx, topic, partition, first, end).await?;
        sqlx::query!(
            "update topic_partition set first_offset = $3 where topic_no = $1 and partition = $2 and first_offset < $3",
            topic.no,
            partition,
            next
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "delete from topic_record where topic_no = $1 and partition = $2 and record_offset < $3",
            topic.no,
            partition,
            next
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        first = next;
    }
    Ok(first - before)
}

/// Returns the end offset (exclusive) of the batch of records that starts at `first`. Reads the sizes of the values but
/// not the values.
async fn end_of_batch(db: &mut PgConnection, topic: &Topic, partition: i16, first: i64, end: i64) -> StoreResult<i64> {
    let next = sqlx::query_scalar(
        "select coalesce(max(record_offset) + 1, $4) from (
          select record_offset, sum(bytes) over (order by record_offset) - bytes as bytes_before from (
            select record_offset, coalesce(octet_length(key), 0)::bigint + coalesce(octet_length(value), 0)
              + coalesce(pg_column_size(headers), 0) as bytes
            from topic_record where topic_no = $1 and partition = $2 and record_offset >= $3 and record_offset < $4
            order by record_offset limit $5) sized) counted
        where bytes_before < $6",
    );
    let next = next.bind(topic.no).bind(partition).bind(first).bind(end).bind(BATCH).bind(BATCH_BYTES);
    Ok(next.fetch_one(db).await?)
}

/// Deletes the records of deleted topics. A writer that looked up a topic just before its deletion may still append a
/// record, which the next pass deletes.
async fn drop_orphans(db: &mut PgConnection) -> StoreResult<i64> {
    let mut dropped = 0;
    let orphans = sqlx::query!(
        "select p.topic_no, p.partition, p.first_offset, p.next_offset from topic_partition p
        where not exists (select from topic t where t.topic_no = p.topic_no)"
    );
    for row in orphans.fetch_all(&mut *db).await? {
        let topic = Topic { no: row.topic_no, partitions: 0 };
        dropped += drop_below(db, &topic, row.partition, row.first_offset, row.next_offset).await?;
        sqlx::query!(
            "delete from topic_partition where topic_no = $1 and partition = $2 and first_offset = next_offset",
            row.topic_no,
            row.partition
        )
        .execute(&mut *db)
        .await?;
    }
    Ok(dropped)
}
