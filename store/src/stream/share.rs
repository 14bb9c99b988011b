//! Shares of a stream. A share is a group of partitions that one process reads. Each such process reads records, writes
//! them to files and hands the files over as batches. Only the process that owns the stream publishes batches, so the
//! table has a single writer regardless of the number of readers.
//!
//! A share has two fencing tokens: the epoch of its stream, and a term that is incremented for each new reader. A batch
//! with an outdated epoch or term is rejected.

use super::{Covered, Lease, NewStream};
use crate::{StoreError, StoreResult, boxed};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::PgConnection;
use std::time::Duration;

/// Maximum number of batches that are published in one transaction.
const AT_ONCE: i64 = 64;

/// Lease on a share (a group of partitions), with the two fencing tokens under which a process reads it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ShareLease {
    pub stream: Lease,
    pub share: i32,
    pub term: i64,
}

/// The heartbeat of a process about the shares (groups of partitions) that it reads.
#[derive(Debug, Clone, Copy)]
pub struct ShareBeat<'a> {
    pub bundle: &'a str,
    pub process: &'a str,
    /// Streams whose partitions this process is able to read.
    pub offered: &'a [NewStream],
    pub held: &'a [ShareLease],
    pub lease: Duration,
}

/// Response to a heartbeat of a reader: the shares (groups of partitions) that the process may read until its next
/// heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharesBeaten {
    pub kept: Vec<ShareLease>,
    pub taken: Vec<ShareLease>,
}

/// Divides a stream into `shares` shares (groups of partitions), which other processes can then acquire.
///
/// # Errors
/// Returns `StoreError::FenceLost` if this epoch no longer owns the stream.
#[boxed]
pub async fn open_shares(db: &mut PgConnection, lease: &Lease, shares: i32) -> StoreResult<()> {
    let opened = sqlx::query_file_scalar!("queries/stream/open_shares.sql", lease.name, lease.epoch, shares);
    if opened.fetch_one(db).await? == 1 { Ok(()) } else { Err(StoreError::FenceLost) }
}

/// Renews the leases of a process on its shares (groups of partitions), and acquires shares that no process reads, up
/// to a fair number per stream. A held share that the response does not contain has been lost.
#[boxed]
pub async fn beat_shares(db: &mut PgConnection, beat: &ShareBeat<'_>) -> StoreResult<SharesBeaten> {
    let names: Vec<String> = beat.offered.iter().map(|stream| stream.name.clone()).collect();
    let versions: Vec<String> = beat.offered.iter().map(|stream| stream.version.clone()).collect();
    let streams: Vec<String> = beat.held.iter().map(|held| held.stream.name.clone()).collect();
    let shares: Vec<i32> = beat.held.iter().map(|held| held.share).collect();
    let epochs: Vec<i64> = beat.held.iter().map(|held| held.stream.epoch).collect();
    let terms: Vec<i64> = beat.held.iter().map(|held| held.term).collect();
    let rows = sqlx::query_file!(
        "queries/stream/beat_shares.sql",
        beat.bundle,
        beat.process,
        &names,
        &versions,
        &streams,
        &shares,
        &epochs,
        &terms,
        beat.lease.as_secs_f64()
    );
    let mut beaten = SharesBeaten::default();
    for row in rows.fetch_all(db).await? {
        let lease =
            ShareLease { stream: Lease { name: row.stream, epoch: row.epoch }, share: row.share, term: row.term };
        if row.is_new { beaten.taken.push(lease) } else { beaten.kept.push(lease) }
    }
    Ok(beaten)
}

/// The stored position of a share (a group of partitions), from which a new reader continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceOfShare {
    pub topic_identity: String,
    /// Next offset to read, by partition.
    pub positions: Vec<(i32, i64)>,
}

/// Returns the stored position of a share (a group of partitions). Returns `None` if the topic has no partition for the
/// share, or if the caller's term (fencing token) no longer owns the share.
#[boxed]
pub async fn place_of_share(
    db: &mut PgConnection,
    lease: &ShareLease,
    shares: i32,
) -> StoreResult<Option<PlaceOfShare>> {
    let rows = sqlx::query_file!(
        "queries/stream/positions_of_share.sql",
        lease.stream.name,
        lease.stream.epoch,
        lease.share,
        lease.term,
        shares
    );
    let rows = rows.fetch_all(db).await?;
    let positions = rows.iter().map(|row| (row.partition, row.next_offset)).collect();
    Ok(rows.into_iter().next().map(|row| PlaceOfShare { topic_identity: row.topic_identity, positions }))
}

/// A batch to hand over: the offsets that a reader has read, and the files into which it wrote the records.
#[derive(Debug, Clone, PartialEq)]
pub struct NewLot {
    pub covered: Vec<Covered>,
    /// Number of records in the batch, including quarantined ones.
    pub records: i64,
    pub quarantined: i64,
    pub last_record_at: Option<DateTime<Utc>>,
    pub files: Value,
}

/// Hands over a batch for publication. Returns the number of unpublished batches of the same share (group of
/// partitions).
///
/// # Errors
/// Returns `StoreError::FenceLost` if the caller's term (fencing token) no longer owns the share. The files of the
/// batch are then never published.
#[boxed]
pub async fn hand_over(db: &mut PgConnection, lease: &ShareLease, lot: &NewLot) -> StoreResult<i64> {
    let covered = serde_json::to_value(&lot.covered).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let waiting = sqlx::query_file_scalar!(
        "queries/stream/hand_over.sql",
        lease.stream.name,
        lease.stream.epoch,
        lease.share,
        lease.term,
        covered,
        lot.records,
        lot.quarantined,
        lot.last_record_at,
        lot.files
    );
    waiting.fetch_optional(db).await?.ok_or(StoreError::FenceLost)
}

/// Returns the number of batches that readers of a share (group of partitions) have handed over and that are not yet
/// published.
#[boxed]
pub async fn waiting_of_share(db: &mut PgConnection, lease: &ShareLease) -> StoreResult<i64> {
    let waiting = sqlx::query_scalar!(
        r#"select count(*) as "waiting!" from stream_lot where stream = $1 and epoch = $2 and share = $3"#,
        lease.stream.name,
        lease.stream.epoch,
        lease.share
    );
    Ok(waiting.fetch_one(db).await?)
}

#[derive(Debug, Clone, PartialEq)]
pub struct WaitingLot {
    pub id: i64,
    pub lot: NewLot,
}

/// Returns the oldest unpublished batches of a stream across all its shares, in the order in which they were handed
/// over.
#[boxed]
pub async fn waiting_lots(db: &mut PgConnection, lease: &Lease) -> StoreResult<Vec<WaitingLot>> {
    let rows = sqlx::query!(
        "select id, covered, records, quarantined, last_record_at, files from stream_lot
        where stream = $1 and epoch = $2 order by id limit $3",
        lease.name,
        lease.epoch,
        AT_ONCE
    );
    let mut lots = Vec::new();
    for row in rows.fetch_all(db).await? {
        let covered = serde_json::from_value(row.covered).map_err(|error| sqlx::Error::Decode(error.into()))?;
        let (records, quarantined, last_record_at) = (row.records, row.quarantined, row.last_record_at);
        let lot = NewLot { covered, records, quarantined, last_record_at, files: row.files };
        lots.push(WaitingLot { id: row.id, lot });
    }
    Ok(lots)
}

/// Deletes batches in the same transaction that publishes their records.
///
/// # Errors
/// Returns `StoreError::FenceLost` if one of the batches no longer exists. The caller must then roll back and publish
/// nothing.
#[boxed]
pub async fn take_lots(tx: &mut PgConnection, ids: &[i64]) -> StoreResult<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let taken = sqlx::query!("delete from stream_lot where id = any($1)", ids).execute(tx).await?;
    if usize::try_from(taken.rows_affected()).is_ok_and(|taken| taken == ids.len()) {
        Ok(())
    } else {
        Err(StoreError::FenceLost)
    }
}

/// A share (group of partitions) of a running stream, and the process that currently reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareOfStream {
    pub stream: String,
    pub share: i32,
    pub process: Option<String>,
}

/// Returns the shares (groups of partitions) of the stream `name`, or of all streams if `name` is `None`, sorted by
/// stream and share number.
#[boxed]
pub async fn shares_of_streams(db: &mut PgConnection, name: Option<&str>) -> StoreResult<Vec<ShareOfStream>> {
    let shares = sqlx::query_as!(
        ShareOfStream,
        r#"select h.stream, h.share, case when h.lease_until > now() then h.process end as process
        from stream_share h join stream s on s.name = h.stream and s.epoch = h.epoch
        where $1::text is null or h.stream = $1 order by h.stream, h.share"#,
        name
    );
    Ok(shares.fetch_all(db).await?)
}

/// Takes a share (group of partitions) away from the process that reads it. The next reader continues after the last
/// batch that was handed over. Returns `false` if the stream is not running or has no such share.
#[boxed]
pub async fn restart_share(tx: &mut PgConnection, name: &str, share: i32) -> StoreResult<bool> {
    let restarted = sqlx::query!(
        "update stream_share h set term = h.term + 1, process = null, lease_until = null
        from stream s where s.name = h.stream and s.epoch = h.epoch and s.lease_until > now() and h.stream = $1 and h.share = $2",
        name,
        share
    );
    Ok(restarted.execute(tx).await?.rows_affected() > 0)
}

/// Releases the shares (groups of partitions) of a process that exits. Deletes the row of the process, so that the
/// remaining processes divide its shares.
#[boxed]
pub(super) async fn release_shares(db: &mut PgConnection, process: &str) -> StoreResult<()> {
    sqlx::query!(
        "with gone as (delete from stream_process where process = $1)
        update stream_share set process = null, lease_until = null where process = $1",
        process
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Deletes processes that exited without releasing their shares (groups of partitions), one hour after their last
/// heartbeat.
#[boxed]
pub(super) async fn forget_processes(db: &mut PgConnection) -> StoreResult<()> {
    sqlx::query!("delete from stream_process where seen_until < now() - interval '1 hour'").execute(db).await?;
    Ok(())
}
