//! Counts nulls per column and snapshot, using only the manifests.

use crate::error::of_iceberg;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use iceberg::spec::{Manifest, ManifestContentType, ManifestFile, SnapshotRef};
use iceberg::table::Table;
use iceberg::util::snapshot::ancestors_of;
use orch_store::lake_view::{LakeError, LakeResult};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Maximum number of snapshots for which nulls are counted. The newest ones are used.
const SNAPSHOTS: usize = 50;
/// Maximum number of manifests that are read. When it is reached, older snapshots are omitted.
const MANIFESTS: usize = 1_000;
/// Maximum number of manifest lists and manifests that are read concurrently.
const AT_ONCE: usize = 8;

/// Null count of one column in one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nulls {
    pub(crate) snapshot_id: i64,
    pub(crate) at: DateTime<Utc>,
    pub(crate) column: String,
    pub(crate) nulls: u64,
    /// Number of rows in files with null counts. Includes rows that delete files remove.
    pub(crate) rows: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    nulls: u64,
    rows: u64,
}

/// Null counts by column id.
type Sums = BTreeMap<i32, Sum>;

/// Returns the null counts of the current primitive columns for a snapshot and its ancestors, newest first.
pub(crate) async fn nulls(table: &Table, snapshot_id: Option<i64>) -> LakeResult<Vec<Nulls>> {
    let Some(newest) = snapshot_id else { return Ok(Vec::new()) };
    let metadata = table.metadata_ref();
    let columns: Vec<(i32, &str)> = metadata
        .current_schema()
        .as_struct()
        .fields()
        .iter()
        .filter(|field| field.field_type.is_primitive())
        .map(|field| (field.id, field.name.as_str()))
        .collect();
    let ids: Arc<[i32]> = columns.iter().map(|(id, _)| *id).collect();
    let mut snapshots = with_manifests(table, ancestors_of(&metadata, newest).take(SNAPSHOTS).collect()).await?;
    let mut manifests: BTreeMap<&str, &ManifestFile> = BTreeMap::new();
    let mut are_few = 0;
    for (_, of_snapshot) in &snapshots {
        manifests.extend(of_snapshot.iter().map(|manifest| (manifest.manifest_path.as_str(), manifest)));
        if manifests.len() > MANIFESTS && are_few > 0 {
            break;
        }
        are_few += 1;
    }
    let manifests: Vec<ManifestFile> = manifests.into_values().cloned().collect();
    let read = stream::iter(manifests).map(|manifest| {
        let (io, ids) = (table.file_io().clone(), ids.clone());
        async move {
            let loaded = manifest.load_manifest(&io).await.map_err(of_iceberg)?;
            Ok::<_, LakeError>((manifest.manifest_path, sums(&loaded, &ids)))
        }
    });
    let sums: HashMap<String, Sums> = read.buffer_unordered(AT_ONCE).try_collect().await?;
    snapshots.truncate(are_few);
    let mut rows = Vec::new();
    for (snapshot, manifests) in &snapshots {
        let of_snapshot: Vec<_> = manifests.iter().filter_map(|manifest| sums.get(&manifest.manifest_path)).collect();
        let at = snapshot.timestamp().map_err(of_iceberg)?;
        for (id, column) in &columns {
            let of_column = of_snapshot.iter().filter_map(|sums| sums.get(id));
            let sum = of_column
                .fold(Sum::default(), |sum, more| Sum { nulls: sum.nulls + more.nulls, rows: sum.rows + more.rows });
            let (snapshot_id, column) = (snapshot.snapshot_id(), (*column).to_owned());
            rows.push(Nulls { snapshot_id, at, column, nulls: sum.nulls, rows: sum.rows });
        }
    }
    Ok(rows)
}

/// Returns snapshots, each with its data manifests.
async fn with_manifests(
    table: &Table,
    snapshots: Vec<SnapshotRef>,
) -> LakeResult<Vec<(SnapshotRef, Vec<ManifestFile>)>> {
    let read = stream::iter(snapshots).map(|snapshot| {
        let table = table.clone();
        async move {
            let list = table.manifest_list_reader(&snapshot).load().await.map_err(of_iceberg)?;
            let of_data = list.entries().iter().filter(|manifest| manifest.content == ManifestContentType::Data);
            Ok::<_, LakeError>((snapshot, of_data.cloned().collect()))
        }
    });
    read.buffered(AT_ONCE).try_collect().await
}

/// Sums the null counts of the live files in a manifest.
fn sums(manifest: &Manifest, ids: &[i32]) -> Sums {
    let mut sums = Sums::new();
    for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
        let file = entry.data_file();
        // If a file has counts of other columns but not of this one, the file is older than the column. All values of
        // the column are null then.
        let is_older = |id: &i32| !file.null_value_counts().is_empty() && !file.value_counts().contains_key(id);
        for id in ids {
            let nulls = file.null_value_counts().get(id).copied();
            if let Some(nulls) = nulls.or_else(|| is_older(id).then(|| file.record_count())) {
                let sum = sums.entry(*id).or_default();
                *sum = Sum { nulls: sum.nulls + nulls, rows: sum.rows + file.record_count() };
            }
        }
    }
    sums
}
