//! Manifests of one commit: those of added files, those written anew without files that go, and small ones merged.

use crate::error::{LakeError, LakeResult};
use crate::table::{File, Table};
use iceberg::spec::{
    FormatVersion, ManifestContentType, ManifestEntryRef, ManifestFile, ManifestMetadata, ManifestWriter,
    ManifestWriterBuilder, PartitionSpec, SchemaRef,
};
use std::collections::BTreeMap;
use uuid::Uuid;

const MERGE_FROM: i64 = 100;
const TARGET_BYTES: i64 = 8 << 20;

pub(super) struct Manifests<'a> {
    table: &'a Table,
    snapshot_id: i64,
    folder: String,
    commit: Uuid,
    written: Vec<String>,
}

impl<'a> Manifests<'a> {
    pub(super) fn new(table: &'a Table, snapshot_id: i64) -> Self {
        let default = || format!("{}/metadata", table.metadata().location());
        let folder = table.property("write.metadata.path").map_or_else(default, str::to_owned);
        Self { table, snapshot_id, folder, commit: Uuid::now_v7(), written: vec![] }
    }

    pub(super) fn list_path(&self) -> String {
        format!("{}/snap-{}-1-{}.avro", self.folder, self.snapshot_id, self.commit)
    }

    pub(super) fn into_written(self) -> Vec<String> {
        self.written
    }

    fn writer(
        &mut self,
        content: ManifestContentType,
        schema: SchemaRef,
        spec: &PartitionSpec,
    ) -> LakeResult<ManifestWriter> {
        let path = format!("{}/{}-m{}.avro", self.folder, self.commit, self.written.len());
        self.written.push(path.clone());
        let output = self.table.lake().io().new_output(path)?;
        let builder = ManifestWriterBuilder::new(output, Some(self.snapshot_id), schema, spec.clone());
        let third = self.table.metadata().format_version() == FormatVersion::V3;
        Ok(match (content, third) {
            (ManifestContentType::Data, false) => builder.build_v2_data(),
            (ManifestContentType::Deletes, false) => builder.build_v2_deletes(),
            (ManifestContentType::Data, true) => builder.build_v3_data(),
            (ManifestContentType::Deletes, true) => builder.build_v3_deletes(),
        })
    }

    /// New files. `sequence_number`: they hold rows that are as old as this.
    pub(super) async fn write_added(
        &mut self,
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

    /// The same manifest, in which some files are gone.
    pub(super) async fn write_without(
        &mut self,
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

    /// Packs small manifests of the same kind together when there are many of them (`commit.manifest.*`).
    pub(super) async fn merge(&mut self, all: Vec<ManifestFile>, always: bool) -> LakeResult<Vec<ManifestFile>> {
        let number = |key, default: i64| match self.table.property(key) {
            Some(text) => text.parse().unwrap_or(default),
            None => default,
        };
        if !always && self.table.property("commit.manifest-merge.enabled") == Some("false") {
            return Ok(all);
        }
        let from = if always { 2 } else { number("commit.manifest.min-count-to-merge", MERGE_FROM).max(2) as usize };
        let target = number("commit.manifest.target-size-bytes", TARGET_BYTES).max(1);
        let mut kept = vec![];
        let mut small: BTreeMap<(i32, i32), Vec<ManifestFile>> = BTreeMap::new();
        for file in all {
            // Those of this commit have no sequence number before the list is written; big ones stay as they are.
            if file.added_snapshot_id == self.snapshot_id || file.manifest_length >= target / 2 {
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
            for pack in packs(files, target) {
                kept.push(self.write_merged(pack).await?);
            }
        }
        Ok(kept)
    }

    async fn write_merged(&mut self, files: Vec<ManifestFile>) -> LakeResult<ManifestFile> {
        let lake = self.table.lake().clone();
        let newest = lake.cache().manifest(lake.io(), &files[0]).await?;
        let (schema, spec) = (newest.metadata().schema().clone(), newest.metadata().partition_spec().clone());
        let mut writer = self.writer(files[0].content, schema, &spec)?;
        for file in &files {
            let manifest = lake.cache().manifest(lake.io(), file).await?;
            for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                add_existing(&mut writer, entry)?;
            }
        }
        Ok(writer.write_manifest_file().await?)
    }
}

/// The list gives it the number of its snapshot.
const UNASSIGNED: i64 = -1;

fn add_existing(writer: &mut ManifestWriter, entry: &ManifestEntryRef) -> LakeResult<()> {
    let snapshot_id = entry.snapshot_id.unwrap_or_default();
    let sequence_number = entry.sequence_number.unwrap_or_default();
    Ok(writer.add_existing_file(entry.data_file.clone(), snapshot_id, sequence_number, entry.file_sequence_number)?)
}

/// In their order, each pack up to the target.
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
