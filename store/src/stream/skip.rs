//! Records that a user told a stream to quarantine without reading them.

use super::{Lease, restart_stream};
use crate::{StoreResult, boxed};
use sqlx::postgres::PgConnection;

/// A record that a stream does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedRecord {
    pub partition: i32,
    pub offset: i64,
    /// The user who skipped it.
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

/// Returns the records of its topic that the stream of a lease skips. Users add them one by one, so they are few.
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
