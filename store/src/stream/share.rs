//! Shares of a stream: its partitions are dealt out to several processes. A share reads and writes files, and hands them over; the process
//! that has the stream publishes them, so a table has one writer however many read.
//!
//! A share has two fences: the epoch of its stream and a term of its own. What an older one hands over is refused.

use super::{Covered, Lease, NewStream};
use crate::{StoreError, StoreResult, boxed};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::PgConnection;
use std::time::Duration;

/// Lots that are published at once.
const AT_ONCE: i64 = 64;

/// A share of a stream and under what a process reads it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ShareLease {
    pub stream: Lease,
    pub share: i32,
    pub term: i64,
}

/// What a process says of its shares at each beat.
#[derive(Debug, Clone, Copy)]
pub struct ShareBeat<'a> {
    pub bundle: &'a str,
    pub process: &'a str,
    /// Streams with shares that it could read.
    pub offered: &'a [NewStream],
    pub held: &'a [ShareLease],
    pub lease: Duration,
}

/// What a process may read from now on, until its next beat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharesBeaten {
    pub kept: Vec<ShareLease>,
    pub taken: Vec<ShareLease>,
}

/// Opens the shares of a stream for the processes that take them.
///
/// # Errors
/// `StoreError::FenceLost` if the stream is no longer this epoch's.
#[boxed]
pub async fn open_shares(db: &mut PgConnection, lease: &Lease, shares: i32) -> StoreResult<()> {
    let opened = sqlx::query_file_scalar!("queries/stream/open_shares.sql", lease.name, lease.epoch, shares);
    if opened.fetch_one(db).await? == 1 { Ok(()) } else { Err(StoreError::FenceLost) }
}

/// Renews shares, and takes those that no process reads.
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

/// Where a share reads on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceOfShare {
    pub topic_identity: String,
    /// Next offsets by partition.
    pub positions: Vec<(i32, i64)>,
}

/// `None`: the topic has no partition for it, or it is no longer this term's.
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

/// What a share has read, and the files that it has written of it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewLot {
    pub covered: Vec<Covered>,
    /// With those that were put into quarantine.
    pub records: i64,
    pub quarantined: i64,
    pub last_record_at: Option<DateTime<Utc>>,
    pub files: Value,
}

/// Gives how many lots of the share wait to be published.
///
/// # Errors
/// `StoreError::FenceLost` if the share is no longer this term's: its files are of no use.
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

/// How many lots of a share wait to be published.
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

/// A lot that waits to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitingLot {
    pub id: i64,
    pub lot: NewLot,
}

/// The oldest lots of all shares, those of a share in their order.
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

/// Lots that are published are gone, within the transaction that publishes them.
///
/// # Errors
/// `StoreError::FenceLost` if one of them is gone already: roll back, nothing may be published.
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

/// A share of a stream that runs, and the process that reads it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareOfStream {
    pub stream: String,
    pub share: i32,
    pub process: Option<String>,
}

/// Of one stream or of all, in their order.
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

/// Its process lets go of it, and the one that takes it begins behind what it has handed over. `false`: the stream does not run, or has no
/// such share.
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

/// Gives back the shares of a process that ends, and lets the others have its part.
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

/// Processes that did not give their shares back.
#[boxed]
pub(super) async fn forget_processes(db: &mut PgConnection) -> StoreResult<()> {
    sqlx::query!("delete from stream_process where seen_until < now() - interval '1 hour'").execute(db).await?;
    Ok(())
}
