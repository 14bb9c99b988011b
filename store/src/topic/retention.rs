//! Records that were kept long enough go, a few at a time.

use super::{Topic, offset_at};
use crate::{StoreResult, boxed};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

/// Records that go in one transaction.
const BATCH: i64 = 10_000;

/// Drops records that are older than their topic keeps them, and those of deleted topics. Gives how many.
#[boxed]
pub async fn drop_old_records(db: &mut PgConnection) -> StoreResult<i64> {
    let mut dropped = drop_orphans(db).await?;
    let kept = sqlx::query!(
        r#"select t.topic_no, t.partitions, p.partition, p.first_offset,
          now() - t.retention_hours * interval '1 hour' as "horizon!"
        from topic t join topic_partition p using (topic_no)
        where t.retention_hours > 0 and p.first_offset < p.next_offset order by t.topic_no, p.partition"#
    );
    for row in kept.fetch_all(&mut *db).await? {
        let topic = Topic { no: row.topic_no, partitions: row.partitions };
        let end = offset_at(db, &topic, row.partition, row.horizon).await?;
        dropped += drop_below(db, &topic, row.partition, row.first_offset, end).await?;
    }
    Ok(dropped)
}

/// The first offset moves in the transaction that deletes: whoever reads from it finds a record, or the end.
async fn drop_below(
    db: &mut PgConnection,
    topic: &Topic,
    partition: i16,
    mut first: i64,
    end: i64,
) -> StoreResult<i64> {
    let before = first;
    while first < end {
        let next = end.min(first + BATCH);
        let mut tx = db.begin().await?;
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

/// A writer that found the topic just before it was deleted may still add to it: its records go in the next round.
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
