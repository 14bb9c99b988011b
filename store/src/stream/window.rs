//! Open windows of streams. An open window still accepts records.

use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::PgConnection;
use std::time::Duration;

/// A time window of a stream that still accepts records.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenWindow {
    /// Values of the grouping columns, as a JSON array of strings.
    pub key: String,
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    pub state: Value,
}

/// A time span that selects all windows of a key that overlap or touch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSpan {
    pub key: String,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

/// Changes to the windows of a stream, stored with one commit of the stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WindowChanges {
    /// Windows that are new or contain additional records.
    pub written: Vec<OpenWindow>,
    /// Windows to delete because they were merged into other windows, by key and start time.
    pub merged: Vec<(String, DateTime<Utc>)>,
    /// Maximum event time by partition.
    pub watermarks: Vec<(i32, DateTime<Utc>)>,
    /// Windows that end at or before this time are closed and accept no more records. `None` if the event time of some
    /// partitions is not known well enough to close windows.
    pub closed_before: Option<DateTime<Utc>>,
    /// Time for which a closed window is kept. During this time, a record may belong to the closed window and to a
    /// later one.
    pub kept: Duration,
}

#[boxed]
pub async fn open_windows(db: &mut PgConnection, stream: &str, spans: &[WindowSpan]) -> StoreResult<Vec<OpenWindow>> {
    let keys: Vec<String> = spans.iter().map(|span| span.key.clone()).collect();
    let (from, to): (Vec<_>, Vec<_>) = spans.iter().map(|span| (span.from, span.to)).unzip();
    let rows = sqlx::query_as!(
        OpenWindow,
        r#"select w.key, w.window_start as start, w.window_end as "end", w.state
        from unnest($2::text[], $3::timestamptz[], $4::timestamptz[]) as s (key, start, stop)
        join stream_window w on w.stream = $1 and w.key = s.key and w.window_start <= s.stop and w.window_end >= s.start
        order by w.key, w.window_start"#,
        stream,
        &keys,
        &from,
        &to
    );
    Ok(rows.fetch_all(db).await?)
}

/// Stores window changes. Must run after `commit_stream` in the same transaction, because only `commit_stream` checks
/// the fencing token.
#[boxed]
pub async fn commit_windows(tx: &mut PgConnection, stream: &str, changes: &WindowChanges) -> StoreResult<()> {
    let (keys, starts): (Vec<_>, Vec<_>) = changes.merged.iter().cloned().unzip();
    if !keys.is_empty() {
        let merged = sqlx::query!(
            "delete from stream_window w using unnest($2::text[], $3::timestamptz[]) as m (key, start)
            where w.stream = $1 and w.key = m.key and w.window_start = m.start",
            stream,
            &keys,
            &starts
        );
        merged.execute(&mut *tx).await?;
    }
    let column = |of: fn(&OpenWindow) -> DateTime<Utc>| changes.written.iter().map(of).collect::<Vec<_>>();
    let keys: Vec<String> = changes.written.iter().map(|window| window.key.clone()).collect();
    let states: Vec<Value> = changes.written.iter().map(|window| window.state.clone()).collect();
    let (partitions, watermarks): (Vec<_>, Vec<_>) = changes.watermarks.iter().copied().unzip();
    sqlx::query_file!(
        "queries/stream/windows.sql",
        stream,
        &keys,
        &column(|window| window.start),
        &column(|window| window.end),
        &states,
        &partitions,
        &watermarks
    )
    .execute(&mut *tx)
    .await?;
    if let Some(closed) = changes.closed_before {
        sqlx::query_file!("queries/stream/close_windows.sql", stream, closed, changes.kept.as_secs_f64())
            .execute(tx)
            .await?;
    }
    Ok(())
}

/// Deletes all windows and watermarks of a stream that restarts from another position.
pub(super) async fn forget_windows(tx: &mut PgConnection, stream: &str) -> StoreResult<()> {
    sqlx::query!("delete from stream_window where stream = $1", stream).execute(&mut *tx).await?;
    sqlx::query!("update stream_partition set watermark = null where stream = $1 and watermark is not null", stream)
        .execute(&mut *tx)
        .await?;
    sqlx::query!("update stream set closed_before = null where name = $1 and closed_before is not null", stream)
        .execute(tx)
        .await?;
    Ok(())
}
