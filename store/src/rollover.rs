//! Moves old logs from the database to the archive. The archive has a folder per week, with a subfolder per run that
//! contains one or more objects. Afterwards the week's log partition is dropped, or only emptied if the week still has
//! runs. If a user requests an archived log, it is recalled: copied back into the database for a day.

use crate::{
    StoreError, StoreResult,
    archive::{Archive, ArchiveDoor, ArchiveError, Pack, PackLine, holds, unpack},
    boxed,
    clean::{Change, Cleaned, Mark, RowDisposal, leaf_is_there, patiently},
    leaf::Leaf,
    log::Chunk,
    narrow,
    partition::{Runs, Week, has_runs, weeks_before},
};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::AssertSqlSafe;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// Maximum number of log chunks that one query reads. A chunk has up to 64 kB.
const CHUNKS: i64 = 200;
/// Name of the folder in the archive that contains the logs.
const FOLDER: &str = "logs";

/// Writes the logs of old weeks to the archive, then drops their partitions. Skips weeks with active runs. Idempotent:
/// a repeated pass writes the same objects. A partition is dropped only after all of its rows have been written.
pub(crate) async fn roll_over_logs(
    db: &mut PgConnection,
    archive: &dyn Archive,
    before: DateTime<Utc>,
    actor: &str,
) -> StoreResult<Vec<Cleaned>> {
    let mut done = Vec::new();
    for week in weeks_before(db, before).await? {
        let leaf = week.leaf("log_chunk");
        if week.sunday > before
            || !leaf_is_there(db, &leaf).await?
            || has_runs(db, &week, Runs::TalkingSince(before)).await?
        {
            continue;
        }
        done.extend(roll_over(db, archive, &week, &leaf, actor).await?);
    }
    Ok(done)
}

/// Archives the logs of one week. Returns `None` if there was nothing to do, or if rows were added concurrently; the
/// partition then stays until the next pass.
async fn roll_over(
    db: &mut PgConnection,
    archive: &dyn Archive,
    week: &Week,
    leaf: &str,
    actor: &str,
) -> StoreResult<Option<Cleaned>> {
    let mut writer = Writer { archive, week: Leaf::at(week.monday), pack: None, seen: PartitionDigest::default() };
    let mut after = (Uuid::nil(), Uuid::nil(), i32::MIN, i32::MIN);
    loop {
        let rows = chunks_after(db, leaf, after).await?;
        let Some(last) = rows.last() else { break };
        after = (last.run, last.attempt, last.lease_no, last.seq);
        for row in rows {
            writer.add(row).await?;
        }
    }
    let seen = writer.finish().await?;
    let stays = has_runs(db, week, Runs::Any).await?;
    if seen.rows == 0 && stays {
        return Ok(None);
    }
    let place = format!("{}/{FOLDER}/{}", archive.place(), Leaf::at(week.monday));
    let note = Mark {
        actor,
        table: "log_chunk",
        week: Some(week.monday.date_naive()),
        how: if seen.rows > 0 { RowDisposal::RolledOver } else { RowDisposal::Dropped },
        rows: Some(seen.rows),
        place: (seen.rows > 0).then_some(&*place),
    };
    // Lock out writers of this partition from the final check until the partition is dropped. Other partitions stay
    // writable.
    let change = Change {
        lock: Some(format!("lock table {leaf} in share mode")),
        only_if: Some(format!(
            "select count(*) = {} and coalesce(bit_xor({MARK}), 0) = ({}) from {leaf}",
            seen.rows, seen.marks
        )),
        ..if stays { Change::empty(leaf) } else { Change::drop(leaf) }
    };
    if patiently(db, &change, &note).await? {
        return Ok(Some(note.cleaned()));
    }
    tracing::info!(leaf, "old logs were written while they were rolled over: they wait for the next turn");
    Ok(None)
}

#[derive(Debug, sqlx::FromRow)]
struct Row {
    run: Uuid,
    attempt: Uuid,
    lease_no: i32,
    seq: i32,
    lines: i32,
    created_at: DateTime<Utc>,
    body: String,
    mark: i64,
}

/// Digest that shows whether the rows of a partition have changed. Chunks may be added or deleted, but they are never
/// modified after their run has ended.
#[derive(Debug, Clone, Copy, Default)]
struct PartitionDigest {
    rows: i64,
    marks: i64,
}

const MARK: &str = "hashtextextended(concat_ws(' ', attempt, lease_no, seq), 0)";

async fn chunks_after(db: &mut PgConnection, leaf: &str, after: (Uuid, Uuid, i32, i32)) -> StoreResult<Vec<Row>> {
    let text = format!(
        "select run, attempt, lease_no::integer, seq, lines, created_at, body, {MARK} as mark from {leaf}
        where (run, attempt, lease_no, seq) > ($1, $2, $3, $4) order by run, attempt, lease_no, seq limit $5"
    );
    let rows = sqlx::query_as(AssertSqlSafe(text)).bind(after.0).bind(after.1).bind(after.2).bind(after.3).bind(CHUNKS);
    Ok(rows.fetch_all(db).await?)
}

struct Writer<'a> {
    archive: &'a dyn Archive,
    week: Leaf,
    pack: Option<Pack>,
    seen: PartitionDigest,
}

impl Writer<'_> {
    async fn add(&mut self, row: Row) -> StoreResult<()> {
        self.seen = PartitionDigest { rows: self.seen.rows + 1, marks: self.seen.marks ^ row.mark };
        if self.pack.as_ref().is_some_and(|pack| !pack.takes(row.run, row.attempt)) {
            self.put().await?;
        }
        let Row { run, attempt, lease_no, seq, lines, created_at, body, .. } = row;
        let pack = self.pack.get_or_insert_with(|| Pack::new(run, attempt));
        pack.add(&PackLine { attempt, lease_no, seq, lines, created_at, body }).map_err(|e| StoreError::packing(&e))
    }

    async fn put(&mut self) -> StoreResult<()> {
        if let Some(pack) = self.pack.take() {
            let (run, name, packed) = pack.finish().map_err(|e| StoreError::packing(&e))?;
            self.archive.put(format!("{}/{name}", folder(self.week, run)), packed).await?;
        }
        Ok(())
    }

    async fn finish(mut self) -> StoreResult<PartitionDigest> {
        self.put().await?;
        Ok(self.seen)
    }
}

fn folder(week: Leaf, run: Uuid) -> String {
    format!("{FOLDER}/{week}/{run}")
}

/// Where the log of an attempt is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogStorage {
    /// The log is in the database, or the attempt has no log.
    Here,
    /// The log was copied from the archive back to the database, and stays there for a day.
    Recalled { place: String },
    /// The log is in the archive, but this process is configured without one.
    Away { place: String },
}

/// Copies the log of an attempt back to the database if it was moved to the archive. Runs that were created less than a
/// week ago need no query, because their logs have not been moved yet.
///
/// # Errors
/// Returns an error if the archive cannot be read or if the archived log is damaged.
#[boxed]
pub async fn recall(
    db: &mut PgConnection,
    archive: &ArchiveDoor,
    run: Uuid,
    attempt: Uuid,
    now: DateTime<Utc>,
) -> StoreResult<LogStorage> {
    let made = Leaf::moment(run);
    if now - made < TimeDelta::weeks(1) {
        return Ok(LogStorage::Here);
    }
    let rolled = sqlx::query!(
        r#"select (select c.place from cleanup c where c.how = 'rolled over' and c.week = date_trunc('week', $3::timestamptz at time zone 'UTC')::date
            order by c.id desc limit 1) as "place?",
          exists (select from log_chunk where run = $1 and attempt = $2) as "is_here!",
          exists (select from recalled_log where run = $1 and attempt = $2) as "is_recalled!""#,
        run,
        attempt,
        made
    )
    .fetch_one(&mut *db)
    .await?;
    let Some(place) = rolled.place.filter(|_| !rolled.is_here) else { return Ok(LogStorage::Here) };
    if rolled.is_recalled {
        return Ok(LogStorage::Recalled { place });
    }
    let Some(archive) = archive.open().await? else { return Ok(LogStorage::Away { place }) };
    let folder = folder(Leaf::at(made), run);
    let keys: Vec<String> = archive.list(folder).await?.into_iter().filter(|key| holds(key, attempt)).collect();
    let mut is_found = false;
    for key in keys {
        let packed = archive.get(key.clone()).await?;
        // Unpack on a blocking thread: decompressing a large object would block an async thread too long.
        let chunks = tokio::task::spawn_blocking(move || unpack(&key, &packed, attempt)).await;
        let chunks = chunks.map_err(|error| ArchiveError(format!("an old log was not unpacked: {error}")))??;
        is_found |= !chunks.is_empty();
        put_back(db, run, attempt, &chunks).await?;
    }
    Ok(if is_found { LogStorage::Recalled { place } } else { LogStorage::Here })
}

async fn put_back(db: &mut PgConnection, run: Uuid, attempt: Uuid, chunks: &[Chunk]) -> StoreResult<()> {
    let mut tx = db.begin().await?;
    for chunks in chunks.chunks(narrow::size(CHUNKS)) {
        sqlx::query!(
            "insert into recalled_log (run, attempt, lease_no, seq, lines, created_at, body)
            select $1, $2, c.* from unnest($3::integer[], $4::integer[], $5::integer[], $6::timestamptz[], $7::text[]) c
            on conflict do nothing",
            run,
            attempt,
            &chunks.iter().map(|c| c.lease_no).collect::<Vec<_>>(),
            &chunks.iter().map(|c| c.seq).collect::<Vec<_>>(),
            &chunks.iter().map(|c| c.lines).collect::<Vec<_>>(),
            &chunks.iter().map(|c| c.created_at).collect::<Vec<_>>(),
            &chunks.iter().map(|c| c.body.clone()).collect::<Vec<_>>()
        )
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Deletes logs that were recalled from the archive more than a day ago. They stay in the archive and can be recalled
/// again.
pub(crate) async fn forget_recalled(db: &mut PgConnection) -> StoreResult<()> {
    sqlx::query!("delete from recalled_log where recalled_at < now() - interval '1 day'").execute(db).await?;
    Ok(())
}
