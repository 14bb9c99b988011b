//! Snapshots as clients with their own writer commit them: their files can have any path.

use iceberg::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, ManifestListWriter, ManifestWriterBuilder, Operation, Snapshot,
    Struct, Summary, UNASSIGNED_SEQUENCE_NUMBER,
};
use orch_lake::Table;
use std::collections::HashMap;

/// Writes a manifest and a manifest list into the folder of the table, and returns a snapshot with one Parquet file
/// at `path`. The file need not exist, and the table is not changed.
pub async fn snapshot_naming(table: &Table, path: &str) -> Snapshot {
    let (metadata, io) = (table.metadata(), table.lake().io());
    let id = metadata.last_sequence_number() + 1_000;
    let folder = format!("{}/metadata", metadata.location());
    let file = DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(path.to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .partition_spec_id(metadata.default_partition_spec_id())
        .record_count(1)
        .file_size_in_bytes(1_000)
        .build()
        .expect("a data file");
    let output = io.new_output(format!("{folder}/{id}-m0.avro")).expect("a path");
    let (schema, spec) = (metadata.current_schema().clone(), metadata.default_partition_spec().as_ref().clone());
    let mut manifest = ManifestWriterBuilder::new(output, Some(id), schema, spec).build_v2_data();
    manifest.add_file(file, UNASSIGNED_SEQUENCE_NUMBER).expect("the file fits the table");
    let manifest = manifest.write_manifest_file().await.expect("the manifest is written");
    let path = format!("{folder}/snap-{id}.avro");
    let output = io.new_output(&path).expect("a path").writer().await.expect("a file");
    let sequence_number = metadata.next_sequence_number();
    let mut list = ManifestListWriter::v2(output, id, None, sequence_number);
    list.add_manifests([manifest].into_iter()).expect("the manifest fits");
    list.close().await.expect("the list is written");
    let summary = Summary { operation: Operation::Append, additional_properties: HashMap::new() };
    Snapshot::builder()
        .with_snapshot_id(id)
        .with_sequence_number(sequence_number)
        .with_timestamp_ms(metadata.last_updated_ms() + 1)
        .with_manifest_list(path)
        .with_summary(summary)
        .with_schema_id(metadata.current_schema_id())
        .build()
}
