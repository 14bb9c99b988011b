//! Lists the data files of a snapshot, using its manifests, and computes their totals by partition.

use crate::error::of_iceberg;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use iceberg::spec::{DataContentType, DataFile as InnerFile, Datum, Schema};
use iceberg::table::Table;
use orch_store::lake_view::{ColumnRange, DataFile, FileKind, LakeResult, PartitionRow, TableTotals};
use std::collections::BTreeMap;

/// Maximum number of manifests that are read concurrently.
const AT_ONCE: usize = 8;

/// Returns all live files, sorted by path.
pub(crate) async fn files(table: &Table, snapshot_id: Option<i64>) -> LakeResult<Vec<DataFile>> {
    let metadata = table.metadata();
    let Some(snapshot) = snapshot_id.and_then(|id| metadata.snapshot_by_id(id)) else { return Ok(Vec::new()) };
    let list = table.manifest_list_reader(snapshot).load().await.map_err(of_iceberg)?;
    let manifests = stream::iter(list.entries().to_vec()).map(|manifest| {
        let io = table.file_io().clone();
        async move { Ok::<_, iceberg::Error>((manifest.partition_spec_id, manifest.load_manifest(&io).await?)) }
    });
    let manifests: Vec<_> = manifests.buffered(AT_ONCE).try_collect().await.map_err(of_iceberg)?;
    let schema = metadata.current_schema();
    let mut files = Vec::new();
    for (spec_id, manifest) in manifests {
        let spec = metadata.partition_spec_by_id(spec_id);
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            let file = entry.data_file();
            let partition = spec.filter(|spec| !spec.fields().is_empty());
            let partition =
                partition.map(|spec| spec.partition_to_path(file.partition(), manifest.metadata().schema().clone()));
            files.push(described(file, partition.unwrap_or_default(), schema));
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn described(file: &InnerFile, partition: String, schema: &Schema) -> DataFile {
    let fields = schema.as_struct().fields().iter();
    let columns = fields.filter(|field| file.value_counts().contains_key(&field.id)).map(|field| ColumnRange {
        name: field.name.clone(),
        nulls: file.null_value_counts().get(&field.id).copied(),
        least: file.lower_bounds().get(&field.id).map(written),
        greatest: file.upper_bounds().get(&field.id).map(written),
    });
    DataFile {
        path: file.file_path().to_owned(),
        kind: match file.content_type() {
            DataContentType::Data => FileKind::Data,
            DataContentType::PositionDeletes => FileKind::PositionDeletes,
            DataContentType::EqualityDeletes => FileKind::EqualityDeletes,
        },
        partition,
        rows: file.record_count(),
        bytes: file.file_size_in_bytes(),
        columns: columns.collect(),
    }
}

/// Removes the quotes that the `iceberg` crate adds to strings.
fn written(bound: &Datum) -> String {
    let text = bound.to_string();
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).map_or(text.clone(), Into::into)
}

/// Returns the totals of the live files by partition.
pub(crate) async fn partitions(table: &Table, snapshot_id: Option<i64>) -> LakeResult<Vec<PartitionRow>> {
    let mut sums: BTreeMap<String, TableTotals> = BTreeMap::new();
    for file in files(table, snapshot_id).await? {
        let sum = sums.entry(file.partition).or_default();
        sum.bytes += file.bytes;
        match file.kind {
            FileKind::Data => {
                sum.files += 1;
                sum.rows += file.rows;
            }
            FileKind::PositionDeletes => {
                sum.delete_files += 1;
                sum.rows = sum.rows.saturating_sub(file.rows);
            }
            FileKind::EqualityDeletes => sum.delete_files += 1,
        }
    }
    Ok(sums.into_iter().map(|(partition, totals)| PartitionRow { partition, totals }).collect())
}
