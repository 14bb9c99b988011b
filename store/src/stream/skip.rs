//! Records that a stream must skip: a user has requested that they be quarantined without being processed.

use super::{Lease, restart_stream};
use crate::{StoreResult, boxed};
use sqlx::postgres::PgConnection;

/// A record that a stream quarantines without processing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedRecord {
    pub partition: i32,
    pub offset: i64,
    /// Name of the user who requested the skip.
    pub username: String,
}

/// Adds a record to skip and restarts the stream. Idempotent. Returns `false` if the stream does not exist.
#[boxed]
pub async fn skip_record(tx: &mut PgConnection, name: &str, record: &SkippedRecord) -> StoreResult<bool> {
    sqlx::query!(
        "insert into stream_skip (stream, topic_identity, partition, record_offset, username)
        select name, topic_identity, $2, $3, $4 from stream where name = $1 and topic_identity is not null
        on conflict do nothing",
        name,
        record.partition,
        record.offset,
        record.username
    )
    .execute(&mut *tx)
    .await?;
    restart_stream(tx, name).await
}

/// Returns the records that the stream must skip in its current topic. The result is not paginated, because users add
/// such records one by one.
#[boxed]
pub async fn skipped_records(db: &mut PgConnection, lease: &Lease) -> StoreResult<Vec<SkippedRecord>> {
    let skipped = sqlx::query_as!(
        SkippedRecord,
        r#"select partition, record_offset as "offset", username from stream_skip
        join stream on name = stream_skip.stream and stream.topic_identity = stream_skip.topic_identity where name = $1"#,
        lease.name
    );
    Ok(skipped.fetch_all(db).await?)
}
