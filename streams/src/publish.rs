//! Publishes batches exactly once: the rows, the quarantined records and the offsets of a batch take effect atomically.

mod elsewhere;
mod lake;
mod postgres;
mod runs;

pub(crate) use lake::{LakeTarget, beside};
pub(crate) use postgres::PostgresTarget;
pub(crate) use runs::{RunsTarget, quarantine_topic};

use crate::declare::{Sink, Stream};
use crate::decode::{OFFSET, PARTITION};
use crate::gone::Tombstone;
use crate::runs::Call;
use crate::sort::{PutAside, origin};
use crate::windows::fold;
use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::filter_record_batch;
use chrono::{DateTime, Utc};
use orch_lake::LakeError;
use orch_lake::load::Offsets;
use orch_sdk::task::{TaskResult, fatal};
use orch_store::hint::{Hint, Hints};
use orch_store::stream::{
    Covered, Lease, Progress, StartAt, StreamCheckpoint, WindowChanges, commit_stream, commit_windows, start_stream,
    take_lots,
};
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A batch that is published in one commit.
#[derive(Debug, Default)]
pub(crate) struct Lot {
    pub(crate) rows: Vec<RecordBatch>,
    /// Runs to start. Only used by streams that start runs; such streams have no rows.
    pub(crate) calls: Vec<Call>,
    pub(crate) aside: Vec<PutAside>,
    pub(crate) covered: Vec<Covered>,
    pub(crate) records: i64,
    pub(crate) last_record_at: Option<DateTime<Utc>>,
    /// Event-time watermarks by partition, if the stream has windows.
    pub(crate) watermarks: Vec<(i32, DateTime<Utc>)>,
    /// Windows that end at or before this timestamp accept no more records.
    pub(crate) closed_before: Option<DateTime<Utc>>,
    /// Keys of rows to delete because their session windows were merged into others.
    pub(crate) merged: Option<RecordBatch>,
    pub(crate) windows: Option<WindowChanges>,
    /// Tombstones (records without a value) that delete rows.
    pub(crate) gone: Vec<Tombstone>,
    /// True if a mirror must copy its table from the source before it applies this batch.
    pub(crate) is_marked: bool,
    /// Ids of the stored batches that this commit publishes. Each was read by a process that reads part of the
    /// partitions.
    pub(crate) taken: Vec<i64>,
}

impl Lot {
    /// Quarantines the rows with these (batch, row) indexes, with a reason for each.
    fn put_aside(&mut self, stream: &Stream, refused: &BTreeMap<(usize, usize), String>) -> TaskResult<()> {
        for (nth, rows) in self.rows.iter_mut().enumerate() {
            let (partitions, offsets) = origin(stream, rows)?;
            let own: Vec<usize> = (0..rows.num_columns())
                .filter(|nth| !matches!(rows.schema_ref().field(*nth).name().as_str(), PARTITION | OFFSET))
                .collect();
            for ((_, row), reason) in refused.range((nth, 0)..(nth + 1, 0)) {
                let at = (partitions.value(*row), offsets.value(*row));
                self.aside.push(PutAside::of_row(at, &rows.slice(*row, 1).project(&own)?, reason.clone())?);
            }
            let keep: BooleanArray = (0..rows.num_rows()).map(|row| Some(!refused.contains_key(&(nth, row)))).collect();
            *rows = filter_record_batch(rows, &keep)?;
        }
        Ok(())
    }

    fn changes_rows(&self) -> bool {
        !self.gone.is_empty() || self.rows.iter().any(|rows| rows.num_rows() > 0)
    }
}

/// Offsets of the records that a stream could not publish. Added to the error as context.
#[derive(Debug)]
pub(crate) struct NotPublished {
    /// First and last offset of each partition, both inclusive.
    offsets: BTreeMap<i32, (i64, i64)>,
}

impl NotPublished {
    pub(crate) fn new(offsets: impl IntoIterator<Item = (i32, i64)>) -> NotPublished {
        let mut ranges: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
        for (partition, offset) in offsets {
            let range = ranges.entry(partition).or_insert((offset, offset));
            *range = (range.0.min(offset), range.1.max(offset));
        }
        NotPublished { offsets: ranges }
    }

    pub(crate) fn of(covered: &[Covered]) -> NotPublished {
        NotPublished::new(covered.iter().flat_map(|one| [(one.partition, one.from), (one.partition, one.to - 1)]))
    }

    /// Formats the offsets, such as `partition 0, offsets 17 to 20; partition 1, offset 3`.
    pub(crate) fn records(&self) -> String {
        let range = |(partition, (first, last)): (&i32, &(i64, i64))| {
            if first == last {
                format!("partition {partition}, offset {first}")
            } else {
                format!("partition {partition}, offsets {first} to {last}")
            }
        };
        self.offsets.iter().map(range).collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for NotPublished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot publish {}", self.records())
    }
}

/// Destination of a stream while the process holds its lease.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Pool of orch's own database.
    pub(crate) pool: PgPool,
    pub(crate) lease: Lease,
    pub(crate) hints: Hints,
    pub(crate) to: To,
}

#[derive(Debug, Clone)]
pub(crate) enum To {
    Lake(Box<LakeTarget>),
    Postgres(Box<PostgresTarget>),
    Runs(RunsTarget),
}

impl Target {
    /// Stores the start offsets of the stream and returns the next offset of each partition. Deletes the rows of the
    /// table if a requested reset includes deletion.
    pub(crate) async fn start(
        &self,
        left: &StreamCheckpoint,
        topic_identity: &str,
        at: &[StartAt],
    ) -> TaskResult<Vec<(i32, i64)>> {
        let empties = left.reset_to.as_ref().is_some_and(|reset| reset.empty_table);
        match &self.to {
            To::Lake(lake) => lake.start(self, topic_identity, at, empties).await,
            To::Runs(_) => self.place(topic_identity, at).await,
            To::Postgres(postgres) => {
                postgres.claim(at, empties).await?;
                self.place(topic_identity, at).await
            }
        }
    }

    async fn place(&self, topic_identity: &str, at: &[StartAt]) -> TaskResult<Vec<(i32, i64)>> {
        let mut tx = self.pool.begin().await?;
        let placed = start_stream(&mut tx, &self.lease, topic_identity, at).await?;
        tx.commit().await?;
        Ok(placed)
    }

    /// Publishes a batch.
    ///
    /// # Errors
    /// Returns `StoreError::FenceLost` if this process no longer holds the lease of the stream. Nothing is published
    /// then.
    pub(crate) async fn publish(&self, stream: &Stream, mut lot: Lot) -> TaskResult<()> {
        if let Some(windows) = &stream.windows {
            let watermarks = std::mem::take(&mut lot.watermarks);
            let changes = WindowChanges { watermarks, closed_before: lot.closed_before, ..WindowChanges::default() };
            let mut db = self.pool.acquire().await?;
            if let Some(folded) = fold(&mut db, &stream.name, windows, &lot.rows, changes).await? {
                (lot.rows, lot.merged, lot.windows) = (vec![folded.rows], folded.merged, Some(folded.changes));
            }
        }
        if lot.is_marked {
            self.copy(stream, &lot).await?;
        }
        if let To::Postgres(postgres) = &self.to {
            postgres.publish(stream, &mut lot).await?;
        }
        let is_asset_updated = match &self.to {
            To::Runs(runs) => return runs.publish(self, stream, &lot).await,
            To::Lake(lake) => match lake.publish(self, stream, &lot, &progress(stream, &lot)).await {
                Err(error) if is_refused(&error) && lake.put_aside_refused(stream, &mut lot).await? => {
                    lake.publish(self, stream, &lot, &progress(stream, &lot)).await?
                }
                done => done?,
            },
            To::Postgres(_) => self.follow(&lot, &progress(stream, &lot)).await?,
        };
        if is_asset_updated {
            self.hints.give(Hint::Asset);
        }
        Ok(())
    }

    /// Replaces the rows of the table with a copy of the source table. Does not change the offsets.
    async fn copy(&self, stream: &Stream, lot: &Lot) -> TaskResult<()> {
        let To::Lake(lake) = &self.to else {
            return Err(no_snapshot(stream));
        };
        if lake.copy(self, stream, lot).await? {
            self.hints.give(Hint::Asset);
        }
        Ok(())
    }

    /// Commits the offsets after a table outside orch's database was written.
    async fn follow(&self, lot: &Lot, progress: &Progress) -> TaskResult<bool> {
        let mut tx = self.pool.begin().await?;
        let is_asset_updated = self.commit(&mut tx, lot, progress).await?;
        tx.commit().await?;
        Ok(is_asset_updated)
    }

    /// Commits the state of the stream in orch's database. Returns true if the asset was updated, so that DAGs that
    /// wait for the asset must be checked.
    async fn commit(&self, tx: &mut PgConnection, lot: &Lot, progress: &Progress) -> TaskResult<bool> {
        // Check the fencing token first, which locks the lease: no process can take over the stream until this
        // transaction ends.
        let is_asset_updated = commit_stream(tx, &self.lease, progress).await?;
        take_lots(tx, &lot.taken).await?;
        if let Some(windows) = &lot.windows {
            commit_windows(tx, &self.lease.name, windows).await?;
        }
        Ok(is_asset_updated)
    }
}

fn progress(stream: &Stream, lot: &Lot) -> Progress {
    let rows = lot.gone.len() + lot.rows.iter().map(RecordBatch::num_rows).sum::<usize>();
    Progress {
        covered: lot.covered.clone(),
        records: lot.records,
        quarantined: i64::try_from(lot.aside.len()).unwrap_or(i64::MAX),
        last_record_at: lot.last_record_at,
        asset: stream.sink.as_ref().map(Sink::asset).unwrap_or_default(),
        rows: i64::try_from(rows).unwrap_or(i64::MAX),
    }
}

/// Returns true if the lake rejected one or more rows. The other rows of the batch may be valid.
pub(crate) fn is_refused(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<LakeError>(), Some(LakeError::Input { .. }))
}

fn no_snapshot(stream: &Stream) -> anyhow::Error {
    fatal(format!(
        "topic `{}` says that its mirrors copy the table, and stream `{}` does not say from where\n\
         hint: declare it with `.snapshot_from(…)`, or let the capture read the rows into its topics",
        stream.topic, stream.name
    ))
}

/// Returns the rows that a table outside orch's database does not contain yet. Rows of windows are always returned,
/// because writing them again is idempotent.
fn unknown(stream: &Stream, rows: &RecordBatch, known: &Offsets) -> TaskResult<RecordBatch> {
    if stream.windows.is_some() {
        return Ok(rows.clone());
    }
    let (partitions, offsets) = origin(stream, rows)?;
    let is_unknown = |row: usize| is_new(known, partitions.value(row), offsets.value(row));
    let keep: BooleanArray = (0..rows.num_rows()).map(|row| Some(is_unknown(row))).collect();
    Ok(filter_record_batch(rows, &keep)?)
}

fn is_new(known: &Offsets, partition: i32, offset: i64) -> bool {
    known.get(&partition).is_none_or(|next| offset >= *next)
}

/// Columns that identify a quarantined record. Includes the time, because a topic that was deleted and created again
/// has other records at the same offsets.
const IDENTITY: &[&str] = &["topic", "partition", "offset", "recorded_at"];

/// Converts quarantined records to rows of the quarantine table.
fn quarantined(topic: &str, aside: &[PutAside]) -> TaskResult<RecordBatch> {
    let at = aside.iter().map(|one| one.at.map(|at| at.timestamp_micros()));
    let at: TimestampMicrosecondArray = at.collect();
    let columns: [(&str, ArrayRef); 8] = [
        ("topic", Arc::new(StringArray::from_iter_values(aside.iter().map(|_| topic)))),
        ("partition", Arc::new(Int32Array::from_iter_values(aside.iter().map(|one| one.partition)))),
        ("offset", Arc::new(Int64Array::from_iter_values(aside.iter().map(|one| one.offset)))),
        ("recorded_at", Arc::new(at.with_timezone("+00:00"))),
        ("key", Arc::new(aside.iter().map(|one| one.key.as_deref()).collect::<StringArray>())),
        ("value", Arc::new(aside.iter().map(|one| one.value.as_deref()).collect::<StringArray>())),
        ("value_bytes", Arc::new(Int64Array::from_iter_values(aside.iter().map(|one| one.bytes)))),
        ("quarantine_reason", Arc::new(StringArray::from_iter_values(aside.iter().map(|one| one.reason.as_str())))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}
