//! Streams: continuous jobs, each run by one process at a time under a lease. A stream's offsets advance in the same
//! transaction that publishes its records, so each record is in the table exactly once, even if a process dies.
//!
//! The epoch of a stream is its fencing token. It is incremented whenever a process acquires the stream, and when a
//! user restarts or moves the stream. Commits with an older epoch are rejected, so a process that loses its lease
//! during a commit publishes nothing.

mod capture;
mod kafka_abort;
mod people;
mod role;
mod runs;
mod share;
mod skip;
mod window;

pub use capture::{
    BinlogColumn, BinlogPosition, CapturePhase, CapturePosition, LogPosition, WithinTransaction, set_capture,
};
pub use kafka_abort::record_kafka_abort;
pub use people::{
    FailedStream, PartitionOfStream, Reset, ResetTo, StreamMinute, StreamRow, StreamState, by, delete_stream,
    drop_old_minutes, failed_streams, find_streams, get_stream, minutes_of_stream, others_of_table,
    partitions_of_stream, pause_stream, reset_stream, restart_stream, resume_stream, stream_of_connector,
};
pub use role::{StreamHost, StreamSource};
pub use runs::{RecordRun, Started, StartedRun, open_runs, set_started, start_run, started_runs};
pub use share::{
    NewLot, PlaceOfShare, ShareBeat, ShareLease, ShareOfStream, SharesBeaten, WaitingLot, beat_shares, hand_over,
    open_shares, place_of_share, restart_share, shares_of_streams, take_lots, waiting_lots, waiting_of_share,
};
pub use skip::{SkippedRecord, skip_record, skipped_records};
pub use window::{OpenWindow, WindowChanges, WindowSpan, commit_windows, open_windows};

pub use orch_core::alert::StoppedStream;

use crate::alert::add_alerts;
use crate::{StoreError, StoreResult, boxed};
use chrono::{DateTime, Utc};
use orch_core::alert::of_stopped_stream;
use orch_spec::Notifier;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::postgres::PgConnection;
use std::time::Duration;

/// A stream as a bundle declares it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewStream {
    pub name: String,
    /// Version of the declaration. It changes whenever the declaration changes.
    pub version: String,
    /// Settings of the stream, such as `topic` and `table`.
    pub spec: Value,
}

/// Stores the stream declarations of a bundle. A process with an older declaration no longer acquires the stream; only
/// processes with the newest declaration do.
#[boxed]
pub async fn register_streams(
    db: &mut PgConnection,
    bundle: &str,
    streams: &[NewStream],
    paused_at_creation: bool,
) -> StoreResult<()> {
    let names: Vec<String> = streams.iter().map(|stream| stream.name.clone()).collect();
    let versions: Vec<String> = streams.iter().map(|stream| stream.version.clone()).collect();
    let specs: Vec<Value> = streams.iter().map(|stream| stream.spec.clone()).collect();
    sqlx::query_file!("queries/stream/register.sql", bundle, &names, &versions, &specs, paused_at_creation)
        .execute(db)
        .await?;
    Ok(())
}

/// Returns the current stream declarations of a bundle.
#[boxed]
pub async fn streams_of_bundle(db: &mut PgConnection, bundle: &str) -> StoreResult<Vec<NewStream>> {
    let query = sqlx::query_as!(
        NewStream,
        r#"select name, version as "version!", spec from stream where bundle = $1 and version is not null"#,
        bundle
    );
    Ok(query.fetch_all(db).await?)
}

/// Returns the stream names that other bundles have declared, each with the name of its bundle.
#[boxed]
pub async fn streams_of_others(
    db: &mut PgConnection,
    bundle: &str,
    names: &[String],
) -> StoreResult<Vec<(String, String)>> {
    let rows = sqlx::query!(
        "select name, bundle from stream where name = any($1) and bundle <> $2 and version is not null",
        names,
        bundle
    );
    Ok(rows.fetch_all(db).await?.into_iter().map(|row| (row.name, row.bundle)).collect())
}

/// Proof that a process runs a stream: the name of the stream and the epoch (fencing token) of its lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    pub name: String,
    pub epoch: i64,
}

/// The heartbeat of a process that runs streams.
#[derive(Debug, Clone, Copy)]
pub struct Beat<'a> {
    pub bundle: &'a str,
    /// Identifier of the process, unique across the installation.
    pub process: &'a str,
    /// All streams that this process is able to run.
    pub offered: &'a [NewStream],
    pub held: &'a [Lease],
    /// Number of additional streams that the process has capacity to run.
    pub room: i64,
    pub lease: Duration,
}

/// Response to a stream heartbeat: the streams that the process may run until its next heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beaten {
    pub kept: Vec<Lease>,
    pub taken: Vec<Lease>,
}

/// Renews the stream leases of a process, and acquires streams that no process runs.
#[boxed]
pub async fn beat(db: &mut PgConnection, beat: &Beat<'_>) -> StoreResult<Beaten> {
    let names: Vec<String> = beat.offered.iter().map(|stream| stream.name.clone()).collect();
    let versions: Vec<String> = beat.offered.iter().map(|stream| stream.version.clone()).collect();
    let held: Vec<String> = beat.held.iter().map(|lease| lease.name.clone()).collect();
    let epochs: Vec<i64> = beat.held.iter().map(|lease| lease.epoch).collect();
    let rows = sqlx::query_file!(
        "queries/stream/beat.sql",
        beat.bundle,
        beat.process,
        &names,
        &versions,
        &held,
        &epochs,
        beat.room,
        beat.lease.as_secs_f64()
    );
    let mut beaten = Beaten::default();
    for row in rows.fetch_all(db).await? {
        let lease = Lease { name: row.name, epoch: row.epoch };
        if row.is_new { beaten.taken.push(lease) } else { beaten.kept.push(lease) }
    }
    Ok(beaten)
}

/// The stored progress of a stream, from which a process continues it.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamCheckpoint {
    pub created_at: DateTime<Utc>,
    pub topic_identity: Option<String>,
    pub reset_to: Option<Reset>,
    /// Next offset to read, by partition.
    pub positions: Vec<(i32, i64)>,
    /// Maximum event time by partition, if the stream has windows.
    pub watermarks: Vec<(i32, DateTime<Utc>)>,
    /// Windows that ended before this time accept no more records.
    pub closed_before: Option<DateTime<Utc>>,
    /// Position of a change data capture (CDC) stream; `None` for other streams.
    pub capture: Option<CapturePosition>,
}

/// Returns the stored progress of a stream.
///
/// # Errors
/// Returns `StoreError::FenceLost` if this epoch no longer owns the stream, and `StoreError::Corrupt` if its stored
/// position cannot be parsed.
#[boxed]
pub async fn left_behind(db: &mut PgConnection, lease: &Lease) -> StoreResult<StreamCheckpoint> {
    let row = sqlx::query!(
        r#"select s.created_at, s.topic_identity, s.reset_to, s.closed_before, s.capture,
          coalesce(array_agg(p.partition order by p.partition) filter (where p.partition is not null), '{}') as "partitions!",
          coalesce(array_agg(p.next_offset order by p.partition) filter (where p.partition is not null), '{}') as "offsets!",
          coalesce(array_agg(p.partition order by p.partition) filter (where p.watermark is not null), '{}') as "timed!",
          coalesce(array_agg(p.watermark order by p.partition) filter (where p.watermark is not null), '{}') as "watermarks!"
        from stream s left join stream_partition p on p.stream = s.name where s.name = $1 and s.epoch = $2 group by s.name"#,
        lease.name,
        lease.epoch
    );
    let row = row.fetch_optional(db).await?.ok_or(StoreError::FenceLost)?;
    let broken = |column: &str, error: &serde_json::Error| {
        StoreError::corrupt(format!("`{column}` of stream `{}`: {error}", lease.name))
    };
    let reset_to = row.reset_to.map(serde_json::from_value).transpose().map_err(|e| broken("reset_to", &e))?;
    let capture = row.capture.map(serde_json::from_value).transpose().map_err(|e| broken("capture", &e))?;
    let positions = row.partitions.into_iter().zip(row.offsets).collect();
    Ok(StreamCheckpoint {
        created_at: row.created_at,
        topic_identity: row.topic_identity,
        reset_to,
        positions,
        watermarks: row.timed.into_iter().zip(row.watermarks).collect(),
        closed_before: row.closed_before,
        capture,
    })
}

/// Start offset for a partition that the stream has not read yet, or to which a user moves the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartAt {
    pub partition: i32,
    pub offset: i64,
    pub end_offset: i64,
    /// If true, the offset is applied even if the stream has already read the partition.
    pub moves: bool,
}

/// Records the start offsets of a stream in the caller's transaction, and returns the next offset of each of these
/// partitions. If a user moves the stream, its windows are deleted.
///
/// # Errors
/// Returns `StoreError::FenceLost` if this epoch no longer owns the stream.
#[boxed]
pub async fn start_stream(
    db: &mut PgConnection,
    lease: &Lease,
    topic_identity: &str,
    at: &[StartAt],
) -> StoreResult<Vec<(i32, i64)>> {
    let partitions: Vec<i32> = at.iter().map(|one| one.partition).collect();
    let offsets: Vec<i64> = at.iter().map(|one| one.offset).collect();
    let ends: Vec<i64> = at.iter().map(|one| one.end_offset).collect();
    let moves: Vec<bool> = at.iter().map(|one| one.moves).collect();
    let rows = sqlx::query_file!(
        "queries/stream/start.sql",
        lease.name,
        lease.epoch,
        topic_identity,
        &partitions,
        &offsets,
        &ends,
        &moves
    );
    let placed: Vec<_> =
        rows.fetch_all(&mut *db).await?.into_iter().map(|row| (row.partition, row.next_offset)).collect();
    if placed.len() < at.len() {
        return Err(StoreError::FenceLost);
    }
    if moves.contains(&true) {
        window::forget_windows(db, &lease.name).await?;
    }
    Ok(placed)
}

/// Range of offsets that a commit covers in one partition, from `from` (inclusive) to `to` (exclusive).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Covered {
    pub partition: i32,
    pub from: i64,
    pub to: i64,
    /// End offset of the partition, as last fetched.
    pub end_offset: i64,
}

/// What a stream has processed since its last commit.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    pub covered: Vec<Covered>,
    /// Number of records read, including quarantined ones.
    pub records: i64,
    pub quarantined: i64,
    pub last_record_at: Option<DateTime<Utc>>,
    /// Asset URI of the stream's table.
    pub asset: String,
    /// Number of rows written to the table.
    pub rows: i64,
}

/// Advances the offsets of a stream in the transaction that publishes its records. Returns true if a DAG may be waiting
/// for the table's asset; the caller then sends `Hint::Asset` after the commit.
///
/// # Errors
/// Returns `StoreError::FenceLost` if this epoch no longer owns the stream, or if the stored offsets differ from the
/// ones at which this process started. The caller must roll back and publish nothing.
#[boxed]
pub async fn commit_stream(tx: &mut PgConnection, lease: &Lease, progress: &Progress) -> StoreResult<bool> {
    let column = |of: fn(&Covered) -> i64| progress.covered.iter().map(of).collect::<Vec<_>>();
    let partitions: Vec<i32> = progress.covered.iter().map(|one| one.partition).collect();
    let lag: i64 = progress.covered.iter().map(|one| (one.end_offset - one.to).max(0)).sum();
    let moved = sqlx::query_file!(
        "queries/stream/commit.sql",
        lease.name,
        lease.epoch,
        progress.records,
        progress.quarantined,
        progress.last_record_at,
        &partitions,
        &column(|one| one.from),
        &column(|one| one.to),
        &column(|one| one.end_offset),
        lag,
        progress.asset,
        progress.rows
    );
    let done = moved.fetch_one(tx).await?;
    if usize::try_from(done.partitions).is_ok_and(|moved| moved == progress.covered.len()) {
        Ok(done.is_asset_updated)
    } else {
        Err(StoreError::FenceLost)
    }
}

/// Records the error that stopped a stream. The stream is retried after the delay `again`; `None` means that it stays
/// stopped until a user restarts it.
///
/// # Errors
/// Returns `StoreError::FenceLost` if another process holds the lease now.
#[boxed]
pub async fn fail_stream(
    db: &mut PgConnection,
    lease: &Lease,
    error: &str,
    again: Option<Duration>,
) -> StoreResult<()> {
    let failed = sqlx::query!(
        "update stream set process = null, lease_until = null, failures = failures + 1, error = $3, failed_at = now(),
          retry_at = coalesce(now() + $4::float8 * interval '1 second', 'infinity')
        where name = $1 and epoch = $2",
        lease.name,
        lease.epoch,
        error,
        again.map(|again| again.as_secs_f64())
    )
    .execute(db)
    .await?;
    if failed.rows_affected() == 0 { Err(StoreError::FenceLost) } else { Ok(()) }
}

/// Stores the alerts about a stopped stream in the same transaction as [`fail_stream`]. After the commit, the caller
/// sends `Hint::Alert`.
#[boxed]
pub async fn alert_of_stopped_stream(
    tx: &mut PgConnection,
    notifiers: &[Notifier],
    stopped: &StoppedStream,
    epoch: i64,
    error: &str,
) -> StoreResult<()> {
    add_alerts(tx, None, &of_stopped_stream(notifiers, stopped, epoch, error)).await
}

/// Returns how many times a stream has failed since its last commit.
#[boxed]
pub async fn failures_of(db: &mut PgConnection, name: &str) -> StoreResult<u32> {
    let failures = sqlx::query_scalar!("select failures from stream where name = $1", name).fetch_optional(db).await?;
    Ok(failures.unwrap_or(0).unsigned_abs())
}

/// Releases the streams of a process before its leases expire, so that another process can acquire them immediately.
#[boxed]
pub async fn release_streams(db: &mut PgConnection, process: &str) -> StoreResult<()> {
    sqlx::query!("update stream set process = null, lease_until = null where process = $1", process)
        .execute(&mut *db)
        .await?;
    share::release_shares(db, process).await
}

/// Returns the end offset of every partition in the built-in log, as (topic number, partition, end offset).
#[boxed]
pub async fn ends_of_log(db: &mut PgConnection) -> StoreResult<Vec<(i32, i16, i64)>> {
    let rows = sqlx::query!("select topic_no, partition, next_offset from topic_partition");
    Ok(rows.fetch_all(db).await?.into_iter().map(|row| (row.topic_no, row.partition, row.next_offset)).collect())
}

#[boxed]
pub async fn now(db: &mut PgConnection) -> StoreResult<DateTime<Utc>> {
    Ok(sqlx::query_scalar(r"select now()").fetch_one(db).await?)
}
