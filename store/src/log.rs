//! Task logs, stored in chunks while the attempts run. The key of a chunk is (run, attempt, lease, seq). Chunks are
//! never modified, but if a log grows too long, chunks in its middle are replaced by a gap line.

use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

#[derive(Debug, Clone)]
pub struct NewChunk {
    pub run: Uuid,
    pub attempt: Uuid,
    pub lease_no: i32,
    /// Number of the chunk within its lease, starting at 0.
    pub seq: i32,
    pub lines: i32,
    /// Log lines, each a JSON object that ends with a newline.
    pub body: String,
}

/// A range of chunks that was removed from a log that had grown too long. One line replaces the range.
#[derive(Debug, Clone)]
pub struct LeftOut {
    pub run: Uuid,
    pub attempt: Uuid,
    pub lease_no: i32,
    pub first: i32,
    pub last: i32,
    /// Number of lines in the removed range. Line numbers after the range stay the same.
    pub lines: i32,
    /// The line that replaces the removed range.
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    pub lease_no: i32,
    pub seq: i32,
    /// Number of original lines that the chunk represents. It is larger than the number of lines in `body` if the chunk
    /// replaces a removed range.
    pub lines: i32,
    pub created_at: DateTime<Utc>,
    pub body: String,
}

impl Chunk {
    pub fn place(&self) -> LogCursor {
        LogCursor { lease_no: self.lease_no, seq: self.seq }
    }
}

/// Position of a chunk in the log of an attempt. A read with this cursor continues after that chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogCursor {
    pub lease_no: i32,
    pub seq: i32,
}

impl LogCursor {
    pub const START: LogCursor = LogCursor { lease_no: 0, seq: -1 };
}

/// Stores log chunks, which may belong to different attempts. Idempotent: chunks that are already stored are skipped.
#[boxed]
pub async fn append(db: &mut PgConnection, chunks: &[NewChunk]) -> StoreResult<()> {
    if chunks.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into log_chunk (run, attempt, lease_no, seq, lines, body)
        select c.* from unnest($1::uuid[], $2::uuid[], $3::integer[], $4::integer[], $5::integer[], $6::text[]) c
        on conflict do nothing",
        &chunks.iter().map(|c| c.run).collect::<Vec<_>>(),
        &chunks.iter().map(|c| c.attempt).collect::<Vec<_>>(),
        &chunks.iter().map(|c| c.lease_no).collect::<Vec<_>>(),
        &chunks.iter().map(|c| c.seq).collect::<Vec<_>>(),
        &chunks.iter().map(|c| c.lines).collect::<Vec<_>>(),
        // Remove NUL characters, because Postgres cannot store them in text. Valid JSON lines contain none.
        &chunks.iter().map(|c| c.body.replace('\0', "")).collect::<Vec<_>>()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Replaces a range of chunks by one line. A later call with a longer range extends the replaced range.
#[boxed]
pub async fn leave_out(db: &mut PgConnection, gap: &LeftOut) -> StoreResult<()> {
    sqlx::query!(
        "with gone as (delete from log_chunk where run = $1 and attempt = $2 and lease_no = $3 and seq > $4 and seq <= $5)
        update log_chunk set body = $6, lines = $7 where run = $1 and attempt = $2 and lease_no = $3 and seq = $4",
        gap.run,
        gap.attempt,
        gap.lease_no,
        gap.first,
        gap.last,
        gap.text,
        gap.lines
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Returns the chunks of an attempt after a cursor, in order. The chunks have at most `most_bytes` bytes in total, but
/// at least one chunk is returned.
#[boxed]
pub async fn read(
    db: &mut PgConnection,
    run: Uuid,
    attempt: Uuid,
    after: LogCursor,
    most_bytes: i64,
) -> StoreResult<Vec<Chunk>> {
    let chunks = sqlx::query_as!(
        Chunk,
        r#"select lease_no as "lease_no!", seq as "seq!", lines as "lines!", created_at as "created_at!", body as "body!"
        from (select c.*, sum(octet_length(body)) over (order by lease_no, seq) - octet_length(body) as bytes_before
          from (select * from kept_log where run = $1 and attempt = $2 and (lease_no, seq) > ($3, $4)
            order by lease_no, seq limit 1000) c) counted
        where bytes_before < greatest($5::bigint, 1) order by lease_no, seq"#,
        run,
        attempt,
        after.lease_no,
        after.seq,
        most_bytes
    );
    Ok(chunks.fetch_all(db).await?)
}

/// Returns the last chunks of an attempt in order, as the start of following a log.
#[boxed]
pub async fn tail(db: &mut PgConnection, run: Uuid, attempt: Uuid, most: i64) -> StoreResult<Vec<Chunk>> {
    let chunks = sqlx::query_as!(
        Chunk,
        r#"select lease_no as "lease_no!", seq as "seq!", lines as "lines!", created_at as "created_at!", body as "body!"
        from kept_log where run = $1 and attempt = $2 order by lease_no desc, seq desc limit $3"#,
        run,
        attempt,
        most.clamp(0, 1_000)
    );
    let mut chunks = chunks.fetch_all(db).await?;
    chunks.reverse();
    Ok(chunks)
}

/// Returns the position of the last stored chunk, or `None` if the log is still empty.
#[boxed]
pub async fn end(db: &mut PgConnection, run: Uuid, attempt: Uuid) -> StoreResult<Option<LogCursor>> {
    let place = sqlx::query_as!(
        LogCursor,
        r#"select lease_no as "lease_no!", seq as "seq!" from kept_log where run = $1 and attempt = $2
        order by lease_no desc, seq desc limit 1"#,
        run,
        attempt
    );
    Ok(place.fetch_optional(db).await?)
}

/// Counts the lines of a log up to and including the chunk at `place`, without reading the log text.
#[boxed]
pub async fn lines_upto(db: &mut PgConnection, run: Uuid, attempt: Uuid, place: LogCursor) -> StoreResult<i64> {
    let lines = sqlx::query_scalar!(
        r#"select coalesce(sum(lines), 0) as "lines!" from kept_log
        where run = $1 and attempt = $2 and (lease_no, seq) <= ($3, $4)"#,
        run,
        attempt,
        place.lease_no,
        place.seq
    );
    Ok(lines.fetch_one(db).await?)
}

/// A section of a log, with the number of lines before it and the total number of lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    pub before: i64,
    pub total: i64,
    pub chunks: Vec<Chunk>,
}

macro_rules! window {
    ($db:expr, $wanted:literal, $run:expr, $attempt:expr, $line:expr, $least_lines:expr, $most_bytes:expr) => {{
        let rows = sqlx::query!(
            r#"with counted as (
              select lease_no, seq, sum(lines) over w as upto, sum(lines) over w - lines as before,
                sum(octet_length(body)) over w as bytes, octet_length(body) as own, sum(lines) over () as total
              from kept_log where run = $1 and attempt = $2 window w as (order by lease_no, seq)
            ), "#
                + $wanted
                + r#"
            select w.lease_no as "lease_no!", w.seq as "seq!", l.lines as "lines!", l.created_at as "created_at!",
              l.body as "body!", w.before::bigint as "before!", w.total::bigint as "total!"
            from wanted w join kept_log l on l.run = $1 and l.attempt = $2 and l.lease_no = w.lease_no and l.seq = w.seq
            where w.distance < $4 or w.away < $5::bigint order by 1, 2 limit 1000"#,
            $run,
            $attempt,
            $line,
            $most_bytes.max(1),
            $least_lines
        )
        .fetch_all($db)
        .await?;
        let (before, total) = rows.first().map_or((0, 0), |row| (row.before, row.total));
        let chunks = rows.into_iter().map(|row| Chunk {
            lease_no: row.lease_no,
            seq: row.seq,
            lines: row.lines,
            created_at: row.created_at,
            body: row.body,
        });
        Ok(Window { before, total, chunks: chunks.collect() })
    }};
}

/// Returns the chunks that start with the one containing line `first` (counted from 1). The chunks have at most
/// `most_bytes` bytes in total, but always at least `least_lines` lines.
#[boxed]
pub async fn window(
    db: &mut PgConnection,
    run: Uuid,
    attempt: Uuid,
    first: i64,
    least_lines: i64,
    most_bytes: i64,
) -> StoreResult<Window> {
    window!(
        db,
        "wanted as (
          select c.*, bytes - own - min(bytes - own) over () as distance, before + 1 - $3::bigint as away
          from counted c where upto >= $3::bigint)",
        run,
        attempt,
        first,
        least_lines,
        most_bytes
    )
}

/// Returns the chunks that end with the one containing the line before `end`. The chunks have at most `most_bytes`
/// bytes in total, but at least one chunk is returned. If `end` is beyond the last line, the section ends at the end of
/// the log.
#[boxed]
pub async fn window_until(
    db: &mut PgConnection,
    run: Uuid,
    attempt: Uuid,
    end: i64,
    most_bytes: i64,
) -> StoreResult<Window> {
    window!(
        db,
        "wanted as (
          select c.*, max(bytes) over () - bytes as distance, $3::bigint - 1 - upto as away
          from counted c where before + 1 < $3::bigint)",
        run,
        attempt,
        end,
        1,
        most_bytes
    )
}
