//! The next snapshot: the manifests of the one before, without the files that go, with those that come.

use super::branch_head;
use super::manifests::Manifests;
use super::summary::summary;
use crate::error::{LakeError, LakeResult};
use crate::table::{Change, File, Table};
use iceberg::spec::{
    FormatVersion, ManifestContentType, ManifestFile, ManifestListWriter, Snapshot, SnapshotRef, Summary,
};
use std::collections::{BTreeMap, HashMap};

pub(super) struct Made {
    pub(super) snapshot: Snapshot,
    /// The manifests and the list that were written for it.
    pub(super) files: Vec<String>,
}

pub(super) async fn make(change: &Change, base: &Table) -> LakeResult<Made> {
    let metadata = base.metadata();
    if metadata.format_version() == FormatVersion::V1 {
        let what = format!("table `{}` is of format version 1, which is only read", base.name());
        return Err(LakeError::input(what, "set its property `format-version` to 2 with the engine that wrote it"));
    }
    let parent = branch_head(metadata, &change.branch);
    let mut manifests = Manifests::new(base, change.snapshot_id);
    let mut all = without_removed(change, base, parent, &mut manifests).await?;
    all = manifests.merge(all, change.merge_manifests).await?;
    let mut added = vec![];
    for content in [ManifestContentType::Data, ManifestContentType::Deletes] {
        let mut by_spec: BTreeMap<i32, Vec<&File>> = BTreeMap::new();
        for file in change.add.iter().filter(|file| file.is_data() == (content == ManifestContentType::Data)) {
            by_spec.entry(file.spec_id).or_default().push(file);
        }
        for (spec_id, files) in by_spec {
            added.push(manifests.write_added(content, spec_id, &files, change.sequence_number).await?);
        }
    }
    // The newest first, as other writers have it.
    added.append(&mut all);
    let (list, next_row_id) = write_list(change, base, parent, added, &manifests).await?;
    let summary = Summary {
        operation: change.operation.clone(),
        additional_properties: summary(change, base, parent.map(|parent| parent.summary())),
    };
    let snapshot = Snapshot::builder()
        .with_snapshot_id(change.snapshot_id)
        .with_parent_snapshot_id(parent.map(|parent| parent.snapshot_id()))
        .with_sequence_number(metadata.next_sequence_number())
        .with_timestamp_ms(now_ms().max(metadata.last_updated_ms()))
        .with_manifest_list(list.clone())
        .with_summary(summary)
        .with_schema_id(metadata.current_schema_id());
    let snapshot = match next_row_id {
        Some(next) => snapshot.with_row_range(metadata.next_row_id(), next - metadata.next_row_id()).build(),
        None => snapshot.build(),
    };
    let mut files = manifests.into_written();
    files.push(list);
    Ok(Made { snapshot, files })
}

/// The manifests of the parent; those with files that go are written anew. Manifests without a live file are left out.
async fn without_removed(
    change: &Change,
    base: &Table,
    parent: Option<&SnapshotRef>,
    manifests: &mut Manifests<'_>,
) -> LakeResult<Vec<ManifestFile>> {
    let Some(parent) = parent else {
        return if change.remove.is_empty() { Ok(vec![]) } else { Err(gone(change, change.remove[0].path())) };
    };
    let lake = base.lake();
    let list = lake.cache().list(base.iceberg(), parent).await?;
    let mut removed: HashMap<&str, &File> = change.remove.iter().map(|file| (file.path(), file)).collect();
    let mut kept = vec![];
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
        kept.push(manifests.write_without(&file, manifest.metadata(), &going, &staying).await?);
    }
    match removed.keys().next() {
        Some(path) => Err(gone(change, path)),
        None => Ok(kept),
    }
}

fn gone(change: &Change, path: &str) -> LakeError {
    LakeError::conflict(change.table(), format!("the file `{path}`, which is to be replaced, is gone"))
}

async fn write_list(
    change: &Change,
    base: &Table,
    parent: Option<&SnapshotRef>,
    all: Vec<ManifestFile>,
    manifests: &Manifests<'_>,
) -> LakeResult<(String, Option<u64>)> {
    let metadata = base.metadata();
    let (id, parent, sequence) =
        (change.snapshot_id, parent.map(|parent| parent.snapshot_id()), metadata.next_sequence_number());
    let path = manifests.list_path();
    let output = base.lake().io().new_output(&path)?.writer().await?;
    let mut list = match metadata.format_version() {
        FormatVersion::V3 => ManifestListWriter::v3(output, id, parent, sequence, Some(metadata.next_row_id())),
        _ => ManifestListWriter::v2(output, id, parent, sequence),
    };
    list.add_manifests(all.into_iter())?;
    let next_row_id = list.next_row_id();
    list.close().await?;
    Ok((path, next_row_id))
}

#[expect(clippy::disallowed_methods, reason = "the time of a snapshot is its writer's; iceberg orders them by it")]
fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
