//! Finds the files that the snapshots of a table reference. A file may be deleted only if no snapshot references it.

use std::collections::{BTreeMap, HashSet};

use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use iceberg::spec::{ManifestFile, SnapshotRef, TableMetadata};
use iceberg::table::Table;

use crate::error::LakeResult;

/// Maximum number of manifests and manifest lists read concurrently.
const READ_AT_ONCE: usize = 8;

/// Returns all files that a reader of any snapshot may open, and the metadata files listed in the metadata log.
pub(crate) async fn of_table(table: &Table) -> LakeResult<HashSet<String>> {
    let metadata = table.metadata();
    let mut reached: HashSet<String> = metadata.metadata_log().iter().map(|log| log.metadata_file.clone()).collect();
    reached.extend(table.metadata_location().map(str::to_owned));
    reached.extend(statistics(metadata).map(|(_, path)| path));
    reached.extend(metadata.snapshots().map(|snapshot| snapshot.manifest_list().to_owned()));
    let manifests = manifests(table, metadata.snapshots()).await?;
    let mut files = content(table, manifests.values().cloned().collect());
    while let Some(paths) = files.try_next().await? {
        reached.extend(paths);
    }
    reached.extend(manifests.into_keys());
    Ok(reached)
}

/// Returns the files that no snapshot references any more after the snapshots `gone` are removed.
///
/// Reads the manifests that only the removed snapshots have, and then the remaining manifests until no candidate is
/// left.
pub(crate) async fn lost(table: &Table, gone: &HashSet<i64>) -> LakeResult<Vec<String>> {
    let metadata = table.metadata();
    let is_gone = |snapshot: &&SnapshotRef| gone.contains(&snapshot.snapshot_id());
    let (gone_snapshots, kept): (Vec<&SnapshotRef>, Vec<&SnapshotRef>) = metadata.snapshots().partition(is_gone);
    let kept = manifests(table, kept.into_iter()).await?;
    let mut lost_manifests = manifests(table, gone_snapshots.iter().copied()).await?;
    lost_manifests.retain(|path, _| !kept.contains_key(path));

    let mut candidates = HashSet::new();
    let mut files = content(table, lost_manifests.values().cloned().collect());
    while let Some(paths) = files.try_next().await? {
        candidates.extend(paths);
    }
    let mut files = content(table, kept.into_values().collect());
    while !candidates.is_empty()
        && let Some(paths) = files.try_next().await?
    {
        for path in paths {
            candidates.remove(&path);
        }
    }
    let (lost_statistics, kept_statistics): (Vec<_>, Vec<_>) =
        statistics(metadata).partition(|(snapshot, _)| gone.contains(snapshot));
    let kept_statistics: HashSet<String> = kept_statistics.into_iter().map(|(_, path)| path).collect();
    let mut lost: Vec<String> = candidates.into_iter().collect();
    lost.extend(lost_statistics.into_iter().map(|(_, path)| path).filter(|path| !kept_statistics.contains(path)));
    lost.extend(lost_manifests.into_keys());
    lost.extend(gone_snapshots.iter().map(|snapshot| snapshot.manifest_list().to_owned()));
    Ok(lost)
}

/// Returns the statistics files, each with the id of its snapshot.
pub(super) fn statistics(metadata: &TableMetadata) -> impl Iterator<Item = (i64, String)> {
    let of_table = metadata.statistics_iter().map(|file| (file.snapshot_id, file.statistics_path.clone()));
    let of_partitions = metadata.partition_statistics_iter();
    of_table.chain(of_partitions.map(|file| (file.snapshot_id, file.statistics_path.clone())))
}

/// Returns the manifests of these snapshots without duplicates, because successive snapshots share nearly all
/// manifests.
pub(super) async fn manifests<'a>(
    table: &Table,
    snapshots: impl Iterator<Item = &'a SnapshotRef>,
) -> LakeResult<BTreeMap<String, ManifestFile>> {
    let lists = futures::stream::iter(snapshots.cloned().collect::<Vec<_>>());
    let lists = lists.map(|snapshot| async move { table.manifest_list_reader(&snapshot).load().await });
    let mut found = BTreeMap::new();
    let mut lists = std::pin::pin!(lists.buffer_unordered(READ_AT_ONCE));
    while let Some(list) = lists.try_next().await? {
        found.extend(list.consume_entries().into_iter().map(|manifest| (manifest.manifest_path.clone(), manifest)));
    }
    Ok(found)
}

/// Returns the paths of the live data and delete files in each manifest.
pub(super) fn content(table: &Table, manifests: Vec<ManifestFile>) -> BoxStream<'_, iceberg::Result<Vec<String>>> {
    let read = futures::stream::iter(manifests).map(move |manifest| async move {
        let read = manifest.load_manifest(table.file_io()).await?;
        let alive = read.entries().iter().filter(|entry| entry.is_alive());
        Ok(alive.map(|entry| entry.file_path().to_owned()).collect())
    });
    read.buffer_unordered(READ_AT_ONCE).boxed()
}
