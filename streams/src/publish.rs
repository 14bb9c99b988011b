//! A lot of rows becomes a snapshot of the table, with the rows that were put aside and the offsets in the same transaction: all
//! of it, or nothing.

use crate::declare::{HowWritten, Sink, Stream};
use crate::decode::{OFFSET, PARTITION};
use crate::latest;
use crate::sort::PutAside;
use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use chrono::{DateTime, Utc};
use iceberg::spec::PrimitiveType;
use orch_lake::contract::quarantine_of;
use orch_lake::table::CommitStep;
use orch_lake::{Batches, Change, Filter, Lake, LakeError, LakeResult, Table, TableDef, TableName};
use orch_sdk::task::TaskResult;
use orch_store::hint::{Hint, Hints};
use orch_store::stream::{Covered, Lease, Progress, StartAt, commit_stream, start_stream};
use serde_json::{Map, json};
use sqlx::PgPool;
use std::sync::Arc;

/// Other writers may be faster so often before the stream gives up and begins anew.
const TRIES: u32 = 20;

/// What is published at once.
#[derive(Debug, Default)]
pub(crate) struct Lot {
    pub(crate) rows: Vec<RecordBatch>,
    pub(crate) aside: Vec<PutAside>,
    pub(crate) covered: Vec<Covered>,
    pub(crate) records: i64,
    pub(crate) last_record_at: Option<DateTime<Utc>>,
}

/// Where a stream publishes.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Of orch's own database, where the catalog of the lake is, too.
    pub(crate) pool: PgPool,
    pub(crate) lake: Lake,
    pub(crate) lease: Lease,
    pub(crate) hints: Hints,
}

impl Target {
    /// Writes down where the stream begins. Gives the next offsets. `empties`: the rows that the stream has published go in the
    /// same transaction.
    pub(crate) async fn start(
        &self,
        sink: &Sink,
        topic_identity: &str,
        at: &[StartAt],
        empties: bool,
    ) -> TaskResult<Vec<(i32, i64)>> {
        let mut changes = Vec::new();
        if empties {
            for name in [sink.table.clone(), beside(&sink.table)?] {
                if let Some(table) = self.lake.find(&name).await? {
                    changes.push(table.delete(Filter::All).await?);
                }
            }
        }
        let mut step = CommitStep::new(&self.lake, changes);
        loop {
            step.stage().await?;
            let mut tx = self.pool.begin().await?;
            let placed = start_stream(&mut tx, &self.lease, topic_identity, at).await?;
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

    /// # Errors
    /// `StoreError::FenceLost` if the stream is no longer this process's: nothing was published.
    pub(crate) async fn publish(&self, stream: &Stream, sink: &Sink, lot: &Lot) -> TaskResult<()> {
        let progress = Progress {
            covered: lot.covered.clone(),
            records: lot.records,
            quarantined: i64::try_from(lot.aside.len()).unwrap_or(i64::MAX),
            last_record_at: lot.last_record_at,
            asset: format!("lake://{}/{}", sink.table.namespace(), sink.table.name()),
            rows: i64::try_from(lot.rows.iter().map(RecordBatch::num_rows).sum::<usize>()).unwrap_or(i64::MAX),
        };
        let mut tries = 1;
        loop {
            match self.try_publish(stream, sink, lot, &progress).await {
                // What an upsert read was changed meanwhile: it is done again on the table as it is now.
                Err(error) if tries < TRIES && is_overtaken(&error) => tries += 1,
                done => return done,
            }
        }
    }

    async fn try_publish(&self, stream: &Stream, sink: &Sink, lot: &Lot, progress: &Progress) -> TaskResult<()> {
        let changes = self.changes(stream, sink, lot).await?;
        let mut step = CommitStep::new(&self.lake, changes);
        loop {
            step.stage().await?;
            let mut tx = self.pool.begin().await?;
            // First the fence: from here on nothing takes the stream away until this commits.
            let is_asset_updated = commit_stream(&mut tx, &self.lease, progress).await?;
            match step.swap_on(&mut tx).await {
                Ok(()) => {
                    tx.commit().await?;
                    if is_asset_updated {
                        self.hints.give(Hint::Asset);
                    }
                    return Ok(());
                }
                Err(LakeError::Moved { .. }) => tx.rollback().await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn changes(&self, stream: &Stream, sink: &Sink, lot: &Lot) -> TaskResult<Vec<Change>> {
        let mut changes = Vec::new();
        if lot.rows.iter().any(|rows| rows.num_rows() > 0) {
            let table = self.lake.table(&sink.table).await?;
            let change = match &sink.write {
                HowWritten::Append => append(&table, lot).await?,
                HowWritten::Upsert { key, newest_by } => {
                    let newest = latest::of(&table, &lot.rows, key, newest_by.as_deref()).await?;
                    let key: Vec<&str> = key.iter().map(String::as_str).collect();
                    table.upsert(&key, plain(&table, &newest)?).await?
                }
            };
            changes.push(change);
        }
        if !lot.aside.is_empty() {
            let table = self.lake.ensure(&beside(&sink.table)?, &quarantine()).await?;
            changes.push(table.append(quarantined(&stream.topic, &lot.aside)?).await?);
        }
        let offsets: Map<_, _> = lot
            .covered
            .iter()
            .map(|one| (one.partition.to_string(), json!({ "from": one.from, "to": one.to })))
            .collect();
        let offsets = serde_json::Value::Object(offsets).to_string();
        // For those who look at the table: what counts is in Postgres, in the same transaction.
        let signed = changes.into_iter().map(|change| {
            change
                .property("orch.stream", &stream.name)
                .property("orch.stream.topic", &stream.topic)
                .property("orch.stream.epoch", self.lease.epoch.to_string())
                .property(format!("orch.stream.{}.offsets", stream.name), &offsets)
        });
        Ok(signed.collect())
    }
}

fn is_overtaken(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<LakeError>(), Some(LakeError::Conflict { .. }))
}

async fn append(table: &Table, lot: &Lot) -> TaskResult<Change> {
    let rows = lot.rows.iter().map(|rows| plain(table, rows)).collect::<LakeResult<Vec<_>>>()?;
    Ok(table.append(Batches::from(rows)).await?)
}

/// The rows without their origin, unless the table keeps it.
fn plain(table: &Table, rows: &RecordBatch) -> LakeResult<RecordBatch> {
    let keeps = |name: &str| table.schema().field_by_name(name).is_some() || !matches!(name, PARTITION | OFFSET);
    let schema = rows.schema();
    let kept: Vec<usize> = (0..schema.fields().len()).filter(|nth| keeps(schema.field(*nth).name())).collect();
    Ok(rows.project(&kept)?)
}

/// The name of the table of records that could not be published.
pub(crate) fn beside(table: &TableName) -> LakeResult<TableName> {
    TableName::new(table.namespace(), quarantine_of(table.name()))
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

fn quarantined(topic: &str, aside: &[PutAside]) -> LakeResult<RecordBatch> {
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
