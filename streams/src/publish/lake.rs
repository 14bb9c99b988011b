//! Publishes to a table of the lake. If the catalog is in orch's database, the snapshot, the quarantined records and
//! the offsets are committed in one transaction.

use super::elsewhere;
use super::{IDENTITY, Lot, Target, no_snapshot, quarantined};
use crate::changes::{Mirrored, is_of_change, mirror};
use crate::declare::{HowWritten, LakeTable, Sink, Stream};
use crate::decode::{OFFSET, PARTITION};
use crate::gone::Deleted;
use crate::latest;
use crate::snapshot::{COPIED, Snapshot, not_copied};
use crate::sort::PutAside;
use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use futures::TryStreamExt as _;
use iceberg::TableUpdate;
use iceberg::spec::PrimitiveType;
use orch_lake::contract::quarantine_of;
use orch_lake::table::evolve::Columns;
use orch_lake::table::{CommitStep, WrittenFile};
use orch_lake::{Batches, Change, Filter, Lake, LakeError, LakeResult, Table, TableDef, TableName};
use orch_sdk::task::TaskResult;
use orch_store::hint::Hint;
use orch_store::stream::{Covered, Lease, Progress, StartAt, WaitingLot, start_stream};
use serde_json::{Map, json};
use std::collections::{BTreeMap, HashSet};

/// Maximum number of attempts when other writers cause conflicts. After them, the stream fails and restarts.
const TRIES: u32 = 20;

#[derive(Debug, Clone)]
pub(crate) struct LakeTarget {
    pub(crate) lake: Lake,
    pub(crate) table: LakeTable,
    /// `Some` for a mirror that copies its source table.
    pub(crate) snapshot: Option<Snapshot>,
    /// Creation time of the stream, which identifies it among streams with the same name. `Some` only if the catalog is
    /// not in orch's database.
    pub(crate) owner: Option<String>,
}

impl LakeTarget {
    pub(super) async fn start(
        &self,
        target: &Target,
        topic_identity: &str,
        at: &[StartAt],
        empties: bool,
    ) -> TaskResult<Vec<(i32, i64)>> {
        self.prepare().await?;
        if let Some(owner) = &self.owner {
            elsewhere::claim(self, &target.lease, owner, at, empties).await?;
            return target.place(topic_identity, at).await;
        }
        let mut changes = Vec::new();
        if empties {
            for name in [self.table.name.clone(), beside(&self.table.name)?] {
                if let Some(table) = self.lake.find(&name).await? {
                    changes.push(table.delete(Filter::All).await?);
                }
            }
        }
        let mut step = CommitStep::new(&self.lake, changes);
        loop {
            step.stage().await?;
            let mut tx = target.pool.begin().await?;
            let placed = start_stream(&mut tx, &target.lease, topic_identity, at).await?;
            match step.swap_on(&mut tx).await {
                Ok(()) => {
                    tx.commit().await?;
                    return Ok(placed);
                }
                Err(LakeError::Moved { .. }) => tx.rollback().await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Creates the table, or adapts its columns and partitioning to the current declaration. Existing rows have null in
    /// new columns. Existing files keep their partitioning until a compaction.
    async fn prepare(&self) -> LakeResult<()> {
        let LakeTable { name, definition, .. } = &self.table;
        if let Some(table) = self.lake.find(name).await? {
            let schema = table.schema();
            let missing = definition.fields().iter().filter(|field| schema.field_by_name(&field.name).is_none());
            let added = missing.filter(|field| !field.required).fold(None, |added: Option<Columns>, field| {
                Some(added.unwrap_or_default().add(&field.name, *field.field_type.clone()))
            });
            if let Some(columns) = added {
                self.lake.evolve(name, columns).await?;
            }
            if let Some(partition) = definition.partition_evolution() {
                self.lake.evolve(name, partition).await?;
            }
        }
        self.lake.ensure(name, definition).await.map(drop)
    }

    /// Publishes a batch. Returns true if the asset was updated, so that DAGs that wait for the asset must be checked.
    pub(super) async fn publish(
        &self,
        target: &Target,
        stream: &Stream,
        lot: &Lot,
        progress: &Progress,
    ) -> TaskResult<bool> {
        let mut tries = 1;
        loop {
            match self.try_publish(target, stream, lot, progress).await {
                // Another writer changed rows that the upsert had read. Build the upsert again from the current table.
                Err(error) if tries < TRIES && is_overtaken(&error) => tries += 1,
                done => return done,
            }
        }
    }

    async fn try_publish(&self, target: &Target, stream: &Stream, lot: &Lot, progress: &Progress) -> TaskResult<bool> {
        if let Some(owner) = &self.owner {
            let incomplete = elsewhere::publish(self, &target.lease, owner, stream, lot).await?;
            return target.follow(lot, &with_incomplete(progress, incomplete)).await;
        }
        let LotChanges { changes, incomplete } = self.changes(stream, &target.lease, lot).await?;
        self.commit(target, lot, &with_incomplete(progress, incomplete), changes).await
    }

    /// Copies the source table. Returns true if the asset was updated, so that DAGs that wait for it must be checked.
    pub(super) async fn copy(&self, target: &Target, stream: &Stream, lot: &Lot) -> TaskResult<bool> {
        let snapshot = self.snapshot.as_ref().ok_or_else(|| no_snapshot(stream))?;
        let table = self.lake.table(&self.table.name).await?;
        tracing::info!(stream = stream.name, from = snapshot.table, "the table is copied from its source");
        let (copied, rows) = snapshot.copy().await?;
        let mut change = table.overwrite(Filter::All, rows).await?;
        let updates = [(COPIED.to_owned(), copied.to_string())].into();
        change.updates.push(TableUpdate::SetProperties { updates });
        let rows = change.added_rows();
        let covered: Vec<_> = lot.covered.iter().map(|one| Covered { to: one.from, ..*one }).collect();
        let progress = Progress {
            asset: stream.sink.as_ref().map(Sink::asset).unwrap_or_default(),
            rows: i64::try_from(rows).unwrap_or(i64::MAX),
            covered,
            ..Progress::default()
        };
        let change =
            change.property("orch.stream", &stream.name).property("orch.stream.snapshot_from", &snapshot.table);
        let is_asset_updated = self.commit(target, &Lot::default(), &progress, vec![change]).await?;
        tracing::info!(stream = stream.name, rows, "the table is copied; the changes follow");
        Ok(is_asset_updated)
    }

    async fn commit(&self, target: &Target, lot: &Lot, progress: &Progress, changes: Vec<Change>) -> TaskResult<bool> {
        let mut step = CommitStep::new(&self.lake, changes);
        loop {
            step.stage().await?;
            let mut tx = target.pool.begin().await?;
            let is_asset_updated = target.commit(&mut tx, lot, progress).await?;
            match step.swap_on(&mut tx).await {
                Ok(()) => {
                    tx.commit().await?;
                    return Ok(is_asset_updated);
                }
                Err(LakeError::Moved { .. }) => tx.rollback().await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(super) async fn changes(&self, stream: &Stream, lease: &Lease, lot: &Lot) -> TaskResult<LotChanges> {
        let mut changes = Vec::new();
        let mut aside = lot.aside.clone();
        if lot.changes_rows() {
            let table = self.lake.table(&self.table.name).await?;
            let change = match &self.table.write {
                HowWritten::Append => append(&table, lot).await?,
                HowWritten::Mirror { key } => {
                    let copied = table.metadata().properties().get(COPIED).filter(|_| self.snapshot.is_some());
                    let new = copied.map(|copied| not_copied(copied, &lot.rows)).transpose()?;
                    let changes = new.as_ref().unwrap_or(&lot.rows);
                    let Mirrored { rows, gone, is_emptied, incomplete } = mirror(&table, stream, changes, key).await?;
                    aside.extend(incomplete);
                    let rows = plain(&table, &rows)?;
                    if is_emptied {
                        table.overwrite(Filter::All, rows).await?
                    } else {
                        let key: Vec<&str> = key.iter().map(String::as_str).collect();
                        table.merge(&key, rows, &[gone]).await?
                    }
                }
                HowWritten::Upsert { key, newest_by } => {
                    let deleted = Deleted::of(&lot.gone);
                    let newest = latest::of(&table, stream, &lot.rows, key, newest_by.as_deref(), &deleted).await?;
                    let gone = match key.as_slice() {
                        [column] if !deleted.is_empty() => {
                            deleted.keys(column, &latest::type_in(&table, column)?, Some(&newest))?
                        }
                        _ => lot.merged.clone(),
                    };
                    let key: Vec<&str> = key.iter().map(String::as_str).collect();
                    table.merge(&key, plain(&table, &newest)?, gone.as_slice()).await?
                }
            };
            changes.push(change);
        }
        if !aside.is_empty() {
            let table = self.lake.ensure(&beside(&self.table.name)?, &quarantine()).await?;
            let new = without_quarantined(&table, stream, &aside).await?;
            if !new.is_empty() {
                changes.push(table.append(quarantined(&stream.topic, &new)?).await?);
            }
        }
        let incomplete = i64::try_from(aside.len() - lot.aside.len()).unwrap_or(i64::MAX);
        Ok(LotChanges { changes: signed(changes, stream, lease, &lot.covered), incomplete })
    }

    /// Quarantines the rows that the table cannot store. Returns false if all rows can be stored.
    pub(crate) async fn put_aside_refused(&self, stream: &Stream, lot: &mut Lot) -> TaskResult<bool> {
        // These rows cannot be attributed to one record: a window row comes from many records, and a deleted row of a
        // mirror has only its key.
        if stream.windows.is_some() || matches!(self.table.write, HowWritten::Mirror { .. }) {
            return Ok(false);
        }
        let table = self.lake.table(&self.table.name).await?;
        let (check, mut refused) = (table.row_check()?, BTreeMap::new());
        for (nth, rows) in lot.rows.iter().enumerate() {
            let rows = plain(&table, rows)?;
            let mut ranges: Vec<_> = std::iter::once(0..rows.num_rows()).collect();
            while let Some(range) = ranges.pop() {
                match check(&rows.slice(range.start, range.len())) {
                    Ok(()) => {}
                    Err(error) if range.len() == 1 => drop(refused.insert((nth, range.start), error.to_string())),
                    Err(_) => {
                        let middle = range.start + range.len() / 2;
                        ranges.extend([range.start..middle, middle..range.end]);
                    }
                }
            }
        }
        if refused.is_empty() {
            return Ok(false);
        }
        tracing::warn!(
            stream = stream.name,
            records = refused.len(),
            "the table refuses records; they are quarantined"
        );
        lot.put_aside(stream, &refused)?;
        Ok(true)
    }

    /// Writes the rows of a batch to data files that no snapshot contains yet. Used if several processes read the
    /// stream.
    pub(crate) async fn write(&self, stream: &Stream, lease: &Lease, lot: &Lot) -> TaskResult<serde_json::Value> {
        let LotChanges { changes, .. } = self.changes(stream, lease, lot).await?;
        let written = changes.iter().map(|change| Ok((change.table().to_string(), change.written()?)));
        Ok(serde_json::to_value(written.collect::<LakeResult<FilesByTable>>()?)?)
    }

    /// Adds data files that several processes have written for this stream to one snapshot.
    pub(crate) async fn publish_written(
        &self,
        target: &Target,
        stream: &Stream,
        lots: &[WaitingLot],
    ) -> TaskResult<()> {
        let mut files = FilesByTable::new();
        let mut progress =
            Progress { asset: stream.sink.as_ref().map(Sink::asset).unwrap_or_default(), ..<_>::default() };
        let mut covered: BTreeMap<i32, Covered> = BTreeMap::new();
        for WaitingLot { lot, .. } in lots {
            for (table, written) in serde_json::from_value::<FilesByTable>(lot.files.clone())? {
                files.entry(table).or_default().extend(written);
            }
            for one in &lot.covered {
                let all = covered.entry(one.partition).or_insert(*one);
                (all.to, all.end_offset) = (one.to, one.end_offset);
            }
            progress.records += lot.records;
            progress.quarantined += lot.quarantined;
            progress.last_record_at = progress.last_record_at.max(lot.last_record_at);
        }
        progress.covered = covered.into_values().collect();
        let mut changes = Vec::new();
        for (table, written) in &files {
            let change = self.lake.table(&table.parse()?).await?.append_written(written)?;
            if *change.table() == self.table.name {
                progress.rows = i64::try_from(change.added_rows()).unwrap_or(i64::MAX);
            }
            changes.push(change);
        }
        let changes = signed(changes, stream, &target.lease, &progress.covered);
        let lot = Lot { taken: lots.iter().map(|lot| lot.id).collect(), ..Lot::default() };
        if self.commit(target, &lot, &progress, changes).await? {
            target.hints.give(Hint::Asset);
        }
        Ok(())
    }
}

pub(super) struct LotChanges {
    pub(super) changes: Vec<Change>,
    /// Number of quarantined records that are also in the table, with null for unknown values.
    pub(super) incomplete: i64,
}

fn with_incomplete(progress: &Progress, incomplete: i64) -> Progress {
    Progress { quarantined: progress.quarantined + incomplete, ..progress.clone() }
}

type FilesByTable = BTreeMap<String, Vec<WrittenFile>>;

/// Adds the stream name and its offsets to the snapshot properties, as information for users. The authoritative offsets
/// are in orch's database, or in a table property if the catalog is not in orch's database.
fn signed(changes: Vec<Change>, stream: &Stream, lease: &Lease, covered: &[Covered]) -> Vec<Change> {
    let offsets: Map<_, _> =
        covered.iter().map(|one| (one.partition.to_string(), json!({ "from": one.from, "to": one.to }))).collect();
    let offsets = serde_json::Value::Object(offsets).to_string();
    let signed = changes.into_iter().map(|change| {
        change
            .property("orch.stream", &stream.name)
            .property("orch.stream.topic", &stream.topic)
            .property("orch.stream.epoch", lease.epoch.to_string())
            .property(format!("orch.stream.{}.offsets", stream.name), &offsets)
    });
    signed.collect()
}

fn is_overtaken(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<LakeError>(), Some(LakeError::Conflict { .. }))
}

async fn append(table: &Table, lot: &Lot) -> TaskResult<Change> {
    let rows = lot.rows.iter().map(|rows| plain(table, rows)).collect::<LakeResult<Vec<_>>>()?;
    Ok(table.append(Batches::from(rows)).await?)
}

/// Drops the offset and change-metadata columns, unless the table has them.
fn plain(table: &Table, rows: &RecordBatch) -> LakeResult<RecordBatch> {
    let keeps = |name: &str| {
        table.schema().field_by_name(name).is_some() || !(matches!(name, PARTITION | OFFSET) || is_of_change(name))
    };
    let schema = rows.schema();
    let kept: Vec<usize> = (0..schema.fields().len()).filter(|nth| keeps(schema.field(*nth).name())).collect();
    Ok(rows.project(&kept)?)
}

/// Returns the name of the quarantine table that belongs to a table.
pub(crate) fn beside(table: &TableName) -> LakeResult<TableName> {
    TableName::new(table.namespace(), quarantine_of(table.name()))
}

/// Returns the records that the quarantine table does not contain yet. After a reset, a stream reads records again.
/// Files without these offsets are not opened, so the check costs nothing for new records.
async fn without_quarantined(table: &Table, stream: &Stream, aside: &[PutAside]) -> TaskResult<Vec<PutAside>> {
    let offsets = || aside.iter().map(|one| one.offset);
    let (Some(first), Some(last)) = (offsets().min(), offsets().max()) else { return Ok(Vec::new()) };
    let range = Filter::ge("offset", first).and(Filter::le("offset", last));
    let filter = Filter::eq("topic", stream.topic.as_str()).and(range);
    let mut known = HashSet::new();
    let mut batches = table.scan().columns(IDENTITY[1..].iter().copied()).filter(filter).stream().await?;
    while let Some(rows) = batches.try_next().await? {
        let partitions = rows.column(0).as_primitive::<Int32Type>();
        let offsets = rows.column(1).as_primitive::<Int64Type>();
        let times = rows.column(2).as_primitive::<TimestampMicrosecondType>();
        let at = |row| times.is_valid(row).then(|| times.value(row));
        known.extend((0..rows.num_rows()).map(|row| (partitions.value(row), offsets.value(row), at(row))));
    }
    let identity = |one: &PutAside| (one.partition, one.offset, one.at.map(|at| at.timestamp_micros()));
    Ok(aside.iter().filter(|one| !known.contains(&identity(one))).cloned().collect())
}

fn quarantine() -> TableDef {
    TableDef::new()
        .required("topic", PrimitiveType::String)
        .required("partition", PrimitiveType::Int)
        .required("offset", PrimitiveType::Long)
        .optional("recorded_at", PrimitiveType::Timestamptz)
        .optional("key", PrimitiveType::String)
        .optional("value", PrimitiveType::String)
        .required("value_bytes", PrimitiveType::Long)
        .required("quarantine_reason", PrimitiveType::String)
}
