//! Writes the manifests of a commit: new manifests for added files, rewritten manifests without removed files, and
//! merged small manifests.

use super::snapshot::WRITTEN_AT_ONCE;
use crate::error::{LakeError, LakeResult};
use crate::table::{File, Table};
use futures::future::try_join_all;
use iceberg::spec::{
    FormatVersion, ManifestContentType, ManifestEntryRef, ManifestFile, ManifestMetadata, ManifestWriter,
    ManifestWriterBuilder, PartitionSpec, SchemaRef,
};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use uuid::Uuid;

const MERGE_FROM: i64 = 100;
const TARGET_BYTES: i64 = 8 << 20;

pub(super) struct Manifests<'a> {
    table: &'a Table,
    snapshot_id: i64,
    folder: String,
    commit: Uuid,
    written: Mutex<Vec<String>>,
}

impl<'a> Manifests<'a> {
    pub(super) fn new(table: &'a Table, snapshot_id: i64) -> Self {
        let default = || format!("{}/metadata", table.metadata().location());
        let folder = table.property("write.metadata.path").map_or_else(default, str::to_owned);
        Self { table, snapshot_id, folder, commit: Uuid::now_v7(), written: Mutex::default() }
    }

    pub(super) fn list_path(&self) -> String {
        format!("{}/snap-{}-1-{}.avro", self.folder, self.snapshot_id, self.commit)
    }

    pub(super) fn into_written(self) -> Vec<String> {
        self.written.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_path(&self) -> String {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let path = format!("{}/{}-m{}.avro", self.folder, self.commit, written.len());
        written.push(path.clone());
        path
    }

    fn writer(
        &self,
        content: ManifestContentType,
        schema: SchemaRef,
        spec: &PartitionSpec,
    ) -> LakeResult<ManifestWriter> {
        let output = self.table.lake().io().new_output(self.next_path())?;
        let builder = ManifestWriterBuilder::new(output, Some(self.snapshot_id), schema, spec.clone());
        let third = self.table.metadata().format_version() == FormatVersion::V3;
        Ok(match (content, third) {
            (ManifestContentType::Data, false) => builder.build_v2_data(),
            (ManifestContentType::Deletes, false) => builder.build_v2_deletes(),
            (ManifestContentType::Data, true) => builder.build_v3_data(),
            (ManifestContentType::Deletes, true) => builder.build_v3_deletes(),
        })
    }

    /// Writes a manifest of new files. `sequence_number` is set if the files contain rewritten rows, which keep the
    /// sequence number of the original rows.
    pub(super) async fn write_added(
        &self,
        content: ManifestContentType,
        spec_id: i32,
        files: &[&File],
        sequence_number: Option<i64>,
    ) -> LakeResult<ManifestFile> {
        let metadata = self.table.metadata();
        let Some(spec) = metadata.partition_spec_by_id(spec_id).cloned() else {
            return Err(LakeError::conflict(self.table.name(), format!("its partition spec {spec_id} is gone")));
        };
        let mut writer = self.writer(content, metadata.current_schema().clone(), &spec)?;
        let sequence_number = match content {
            ManifestContentType::Data => sequence_number,
            ManifestContentType::Deletes => None,
        };
        for file in files {
            writer.add_file(file.data.clone(), sequence_number.unwrap_or(UNASSIGNED))?;
        }
        Ok(writer.write_manifest_file().await?)
    }

    /// Rewrites a manifest with some of its files marked as deleted.
    pub(super) async fn write_without(
        &self,
        file: &ManifestFile,
        metadata: &ManifestMetadata,
        going: &[ManifestEntryRef],
        staying: &[ManifestEntryRef],
    ) -> LakeResult<ManifestFile> {
        let mut writer = self.writer(file.content, metadata.schema().clone(), metadata.partition_spec())?;
        for entry in going {
            let sequence_number = entry.sequence_number.unwrap_or_default();
            writer.add_delete_file(entry.data_file.clone(), sequence_number, entry.file_sequence_number)?;
        }
        for entry in staying {
            add_existing(&mut writer, entry)?;
        }
        Ok(writer.write_manifest_file().await?)
    }

    /// Merges small manifests of the same kind if there are enough of them, as configured by the table properties
    /// `commit.manifest.*`.
    pub(super) async fn merge(&self, all: Vec<ManifestFile>, always: bool) -> LakeResult<Vec<ManifestFile>> {
        if !always && self.table.property("commit.manifest-merge.enabled") == Some("false") {
            return Ok(all);
        }
        let from = if always { 2 } else { number(self.table, "commit.manifest.min-count-to-merge", MERGE_FROM).max(2) };
        let (from, target) = (from as usize, target_bytes(self.table));
        let mut kept = vec![];
        let mut small: BTreeMap<(i32, i32), Vec<ManifestFile>> = BTreeMap::new();
        for file in all {
            // Skips manifests of this commit, which have no sequence number until the manifest list is written, and
            // large manifests.
            if file.added_snapshot_id == self.snapshot_id || !is_small(&file, target) {
                kept.push(file);
            } else {
                small.entry((file.content as i32, file.partition_spec_id)).or_default().push(file);
            }
        }
        for files in small.into_values() {
            if files.len() < from {
                kept.extend(files);
                continue;
            }
            for some in packs(files, target).chunks(WRITTEN_AT_ONCE) {
                kept.extend(try_join_all(some.iter().map(|pack| self.write_merged(pack))).await?);
            }
        }
        Ok(kept)
    }

    async fn write_merged(&self, files: &[ManifestFile]) -> LakeResult<ManifestFile> {
        let lake = self.table.lake().clone();
        let read = files.iter().map(|file| lake.cache().manifest(lake.io(), file));
        let read = try_join_all(read).await?;
        // Uses the newest schema, because the bounds of a widened column can only be read with its wider type.
        let newest = read.iter().max_by_key(|manifest| manifest.metadata().schema_id()).unwrap_or(&read[0]);
        let (schema, spec) = (newest.metadata().schema().clone(), newest.metadata().partition_spec().clone());
        let mut writer = self.writer(files[0].content, schema, &spec)?;
        for manifest in &read {
            for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                add_existing(&mut writer, entry)?;
            }
        }
        Ok(writer.write_manifest_file().await?)
    }
}

pub(crate) fn target_bytes(table: &Table) -> i64 {
    number(table, "commit.manifest.target-size-bytes", TARGET_BYTES).max(1)
}

fn number(table: &Table, key: &str, default: i64) -> i64 {
    table.property(key).and_then(|text| text.parse().ok()).unwrap_or(default)
}

pub(crate) fn is_small(file: &ManifestFile, target: i64) -> bool {
    file.manifest_length < target / 2
}

/// Placeholder for the sequence number, which is assigned when the manifest list is written.
const UNASSIGNED: i64 = -1;

fn add_existing(writer: &mut ManifestWriter, entry: &ManifestEntryRef) -> LakeResult<()> {
    let snapshot_id = entry.snapshot_id.unwrap_or_default();
    let sequence_number = entry.sequence_number.unwrap_or_default();
    Ok(writer.add_existing_file(entry.data_file.clone(), snapshot_id, sequence_number, entry.file_sequence_number)?)
}

/// Groups files, without changing their order, into packs of at most `target` bytes.
fn packs(files: Vec<ManifestFile>, target: i64) -> Vec<Vec<ManifestFile>> {
    let mut packs: Vec<Vec<ManifestFile>> = vec![];
    let mut bytes = target;
    for file in files {
        if bytes + file.manifest_length > target {
            packs.push(vec![]);
            bytes = 0;
        }
        bytes += file.manifest_length;
        if let Some(pack) = packs.last_mut() {
            pack.push(file);
        }
    }
    packs
}
