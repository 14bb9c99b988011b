//! Metadata tables, which queries read as `"orders$snapshots"`, `"orders$files"`, `"orders$partitions"`,
//! `"orders$nulls"` and `"orders$refs"`.

use crate::describe::{refs, snapshots};
use crate::files::{files, partitions};
use crate::nulls::nulls;
use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use iceberg::table::Table;
use orch_store::lake_view::{LakeError, LakeResult, MadeBy, SnapshotRow};
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetadataTable {
    Snapshots,
    Files,
    Partitions,
    Nulls,
    Refs,
}

impl MetadataTable {
    pub(crate) fn of(word: &str, table: &str) -> LakeResult<MetadataTable> {
        Ok(match word {
            "snapshots" => MetadataTable::Snapshots,
            "files" => MetadataTable::Files,
            "partitions" => MetadataTable::Partitions,
            "nulls" => MetadataTable::Nulls,
            "refs" => MetadataTable::Refs,
            other => {
                let hint = "there are `$snapshots`, `$files`, `$partitions`, `$nulls` and `$refs`";
                return Err(LakeError::NotFound(format!(
                    "nothing is known as `{other}` about table `{table}`\nhint: {hint}"
                )));
            }
        })
    }
}

/// Returns the rows of a metadata table. Some metadata tables describe a single snapshot, which `snapshot_id`
/// selects.
pub(crate) async fn metadata_table(
    table: &Table,
    which: MetadataTable,
    snapshot_id: Option<i64>,
) -> LakeResult<Arc<dyn TableProvider>> {
    let columns = match which {
        MetadataTable::Snapshots => snapshot_columns(&snapshots(table)),
        MetadataTable::Refs => ref_columns(table),
        MetadataTable::Files => file_columns(table, snapshot_id).await?,
        MetadataTable::Partitions => partition_columns(table, snapshot_id).await?,
        MetadataTable::Nulls => null_columns(table, snapshot_id).await?,
    };
    let broken = |error: &dyn std::fmt::Display| LakeError::Unavailable(error.to_string());
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).map_err(|error| broken(&error))?;
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).map_err(|error| broken(&error))?;
    Ok(Arc::new(table))
}

type Columns = Vec<(&'static str, ArrayRef)>;

fn texts<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(texts.collect::<StringArray>())
}

fn counts(counts: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(counts))
}

fn moments(moments: impl Iterator<Item = DateTime<Utc>>) -> ArrayRef {
    let micros = TimestampMicrosecondArray::from_iter_values(moments.map(|at| at.timestamp_micros()));
    Arc::new(micros.with_timezone("+00:00"))
}

fn snapshot_columns(rows: &[SnapshotRow]) -> Columns {
    let by = |of: fn(&MadeBy) -> Option<&str>| texts(rows.iter().map(move |row| row.made_by.as_ref().and_then(of)));
    vec![
        ("snapshot_id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id)))),
        ("parent_id", Arc::new(rows.iter().map(|row| row.parent_id).collect::<Int64Array>())),
        ("committed_at", moments(rows.iter().map(|row| row.at))),
        ("operation", texts(rows.iter().map(|row| Some(row.operation.as_str())))),
        ("is_current", Arc::new(rows.iter().map(|row| Some(row.is_current)).collect::<BooleanArray>())),
        ("added_rows", counts(rows.iter().map(|row| row.added_rows))),
        ("removed_rows", counts(rows.iter().map(|row| row.removed_rows))),
        ("total_rows", counts(rows.iter().map(|row| row.totals.rows))),
        ("total_files", counts(rows.iter().map(|row| row.totals.files))),
        ("total_bytes", counts(rows.iter().map(|row| row.totals.bytes))),
        ("dag_id", by(|by| Some(&by.dag_id))),
        ("run_id", by(|by| Some(&by.run_id))),
        ("task_id", by(|by| by.task_id.as_deref())),
    ]
}

fn ref_columns(table: &Table) -> Columns {
    let rows = refs(table);
    vec![
        ("name", texts(rows.iter().map(|row| Some(row.name.as_str())))),
        ("kind", texts(rows.iter().map(|row| Some(row.kind.words())))),
        ("snapshot_id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.snapshot_id)))),
    ]
}

async fn file_columns(table: &Table, snapshot_id: Option<i64>) -> LakeResult<Columns> {
    let rows = files(table, snapshot_id).await?;
    Ok(vec![
        ("path", texts(rows.iter().map(|row| Some(row.path.as_str())))),
        ("kind", texts(rows.iter().map(|row| Some(row.kind.words())))),
        ("partition", texts(rows.iter().map(|row| Some(row.partition.as_str())))),
        ("rows", counts(rows.iter().map(|row| row.rows))),
        ("bytes", counts(rows.iter().map(|row| row.bytes))),
    ])
}

async fn null_columns(table: &Table, snapshot_id: Option<i64>) -> LakeResult<Columns> {
    let rows = nulls(table, snapshot_id).await?;
    Ok(vec![
        ("snapshot_id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.snapshot_id)))),
        ("committed_at", moments(rows.iter().map(|row| row.at))),
        ("column_name", texts(rows.iter().map(|row| Some(row.column.as_str())))),
        ("nulls", counts(rows.iter().map(|row| row.nulls))),
        ("rows", counts(rows.iter().map(|row| row.rows))),
    ])
}

async fn partition_columns(table: &Table, snapshot_id: Option<i64>) -> LakeResult<Columns> {
    let rows = partitions(table, snapshot_id).await?;
    Ok(vec![
        ("partition", texts(rows.iter().map(|row| Some(row.partition.as_str())))),
        ("rows", counts(rows.iter().map(|row| row.totals.rows))),
        ("files", counts(rows.iter().map(|row| row.totals.files))),
        ("delete_files", counts(rows.iter().map(|row| row.totals.delete_files))),
        ("bytes", counts(rows.iter().map(|row| row.totals.bytes))),
    ])
}
