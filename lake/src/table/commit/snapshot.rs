//! Builds a new snapshot: takes the manifests of its parent, leaves out removed files, and adds new files.

use super::branch_head;
use super::manifests::Manifests;
use super::summary::summary;
use crate::error::{LakeError, LakeResult};
use crate::table::{Change, File, Table};
use chrono::{DateTime, Utc};
use futures::future::{try_join, try_join_all};
use iceberg::spec::{
    FormatVersion, ManifestContentType, ManifestFile, ManifestListWriter, Snapshot, SnapshotRef, Summary,
};
use std::collections::{BTreeMap, HashMap};

/// Maximum number of manifests written concurrently; each is a few megabytes at most.
pub(super) const WRITTEN_AT_ONCE: usize = 8;

pub(super) struct NewSnapshot {
    pub(super) snapshot: Snapshot,
    /// Manifest list that contains all manifests. It is closed later, so that closing can overlap with other writes.
    pub(super) list: ManifestListWriter,
    /// Paths of the written manifests and of the manifest list.
    pub(super) files: Vec<String>,
}

pub(super) async fn make(change: &Change, base: &Table) -> LakeResult<NewSnapshot> {
    let metadata = base.metadata();
    if metadata.format_version() == FormatVersion::V1 {
        let what = format!("table `{}` is of format version 1, which is only read", base.name());
        return Err(LakeError::input(what, "set its property `format-version` to 2 with the engine that wrote it"));
    }
    base.check_written()?;
    let parent = branch_head(metadata, &change.branch);
    let manifests = Manifests::new(base, change.snapshot_id);
    let kept = async {
        manifests.merge(without_removed(change, base, parent, &manifests).await?, change.merge_manifests).await
    };
    let (mut all, kept) = try_join(added(change, &manifests), kept).await?;
    // Manifests are listed newest first, as by other writers.
    all.extend(kept);
    let path = manifests.list_path();
    let list = list_of(change, base, parent, all, &path).await?;
    let next_row_id = list.next_row_id();
    let summary = Summary {
        operation: change.operation.clone(),
        additional_properties: summary(change, base, parent.map(|parent| parent.summary())),
    };
    let snapshot = Snapshot::builder()
        .with_snapshot_id(change.snapshot_id)
        .with_parent_snapshot_id(parent.map(|parent| parent.snapshot_id()))
        .with_sequence_number(metadata.next_sequence_number())
        .with_timestamp_ms(now().timestamp_millis().max(metadata.last_updated_ms()))
        .with_manifest_list(path.clone())
        .with_summary(summary)
        .with_schema_id(metadata.current_schema_id());
    let snapshot = match next_row_id {
        Some(next) => snapshot.with_row_range(metadata.next_row_id(), next - metadata.next_row_id()).build(),
        None => snapshot.build(),
    };
    let mut files = manifests.into_written();
    files.push(path);
    Ok(NewSnapshot { snapshot, list, files })
}

async fn added(change: &Change, manifests: &Manifests<'_>) -> LakeResult<Vec<ManifestFile>> {
    let mut by_kind: BTreeMap<(bool, i32), Vec<&File>> = BTreeMap::new();
    for file in &change.add {
        by_kind.entry((!file.is_data(), file.spec_id)).or_default().push(file);
    }
    let written = by_kind.iter().map(|((deletes, spec_id), files)| {
        let content = if *deletes { ManifestContentType::Deletes } else { ManifestContentType::Data };
        manifests.write_added(content, *spec_id, files, change.sequence_number)
    });
    try_join_all(written).await
}

/// Returns the manifests of the parent snapshot. Manifests that contain removed files are rewritten. Manifests
/// without live files are omitted.
async fn without_removed(
    change: &Change,
    base: &Table,
    parent: Option<&SnapshotRef>,
    manifests: &Manifests<'_>,
) -> LakeResult<Vec<ManifestFile>> {
    let Some(parent) = parent else {
        return if change.remove.is_empty() { Ok(vec![]) } else { Err(gone(change, change.remove[0].path())) };
    };
    let lake = base.lake();
    let list = lake.cache().list(base.iceberg(), parent).await?;
    let mut removed: HashMap<&str, &File> = change.remove.iter().map(|file| (file.path(), file)).collect();
    let (mut kept, mut touched) = (vec![], vec![]);
    let live = list.entries().iter().filter(|file| file.has_added_files() || file.has_existing_files());
    if removed.is_empty() {
        return Ok(live.cloned().collect());
    }
    for (file, manifest) in lake.cache().manifests(lake.io(), live.cloned().collect()).await? {
        let alive = || manifest.entries().iter().filter(|entry| entry.is_alive());
        if !alive().any(|entry| removed.contains_key(entry.file_path())) {
            kept.push(file);
            continue;
        }
        let (going, staying): (Vec<_>, Vec<_>) =
            alive().cloned().partition(|entry| removed.remove(entry.file_path()).is_some());
        touched.push((file, manifest, going, staying));
    }
    if let Some(path) = removed.keys().next() {
        return Err(gone(change, path));
    }
    for some in touched.chunks(WRITTEN_AT_ONCE) {
        let written = some
            .iter()
            .map(|(file, manifest, going, staying)| manifests.write_without(file, manifest.metadata(), going, staying));
        kept.extend(try_join_all(written).await?);
    }
    Ok(kept)
}

fn gone(change: &Change, path: &str) -> LakeError {
    LakeError::conflict(change.table(), format!("the file `{path}`, which is to be replaced, is gone"))
}

async fn list_of(
    change: &Change,
    base: &Table,
    parent: Option<&SnapshotRef>,
    all: Vec<ManifestFile>,
    path: &str,
) -> LakeResult<ManifestListWriter> {
    let metadata = base.metadata();
    let (id, parent, sequence) =
        (change.snapshot_id, parent.map(|parent| parent.snapshot_id()), metadata.next_sequence_number());
    let output = base.lake().io().new_output(path)?.writer().await?;
    let mut list = match metadata.format_version() {
        FormatVersion::V3 => ManifestListWriter::v3(output, id, parent, sequence, Some(metadata.next_row_id())),
        _ => ManifestListWriter::v2(output, id, parent, sequence),
    };
    list.add_manifests(all.into_iter())?;
    Ok(list)
}

#[expect(clippy::disallowed_methods, reason = "the time of a snapshot is its writer's; iceberg orders them by it")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}
