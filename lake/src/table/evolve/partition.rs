//! Changes of the partitioning of a table. Existing files keep their partition spec until a compaction rewrites them.

use iceberg::TableUpdate;
use iceberg::spec::{PartitionField, TableMetadata, Transform, UnboundPartitionField, UnboundPartitionSpec};

use crate::error::LakeResult;
use crate::table::definition::{no_column, partition_name};

/// The partition fields of new files, from the outermost to the innermost. Empty for an unpartitioned table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partition {
    fields: Vec<(String, Transform)>,
}

impl Partition {
    pub fn none() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn by(mut self, column: impl Into<String>, transform: Transform) -> Self {
        self.fields.push((column.into(), transform));
        self
    }

    pub(super) fn updates(&self, metadata: &TableMetadata) -> LakeResult<Vec<TableUpdate>> {
        let schema = metadata.current_schema();
        let known: Vec<&PartitionField> = metadata.partition_specs_iter().flat_map(|spec| spec.fields()).collect();
        let mut builder = UnboundPartitionSpec::builder();
        let mut last_id = metadata.last_partition_id();
        for (column, transform) in &self.fields {
            let names = || schema.as_struct().fields().iter().map(|field| field.name.as_str());
            let source_id = schema.field_id_by_name(column).ok_or_else(|| no_column(column, names()))?;
            // A partition field that occurred in an earlier spec keeps its id and name.
            let same = known.iter().find(|field| field.source_id == source_id && field.transform == *transform);
            // The id of a new field is set explicitly because some catalogs, such as Nessie, require it.
            let field_id = same.map_or_else(|| last_id + 1, |field| field.field_id);
            last_id = last_id.max(field_id);
            let field = UnboundPartitionField {
                source_id,
                field_id: Some(field_id),
                name: same.map_or_else(|| free_name(&known, column, *transform), |field| field.name.clone()),
                transform: *transform,
            };
            builder = builder.add_partition_fields([field])?;
        }
        let spec = builder.build();
        let current = metadata.default_partition_spec().fields();
        let pairs = |source_id, transform| (source_id, transform);
        let wanted = spec.fields().iter().map(|field| pairs(field.source_id, field.transform));
        if wanted.eq(current.iter().map(|field| pairs(field.source_id, field.transform))) {
            return Ok(Vec::new());
        }
        Ok(vec![TableUpdate::AddSpec { spec }, TableUpdate::SetDefaultSpec { spec_id: -1 }])
    }
}

/// Returns a field name that no partition spec uses. Readers see the fields of all specs together, so names must be
/// unique.
fn free_name(known: &[&PartitionField], column: &str, transform: Transform) -> String {
    let name = partition_name(column, transform);
    let taken = |name: &str| known.iter().any(|field| field.name == name);
    if !taken(&name) {
        return name;
    }
    let mut numbered = (2..=known.len() + 2).map(|count| format!("{name}_{count}"));
    numbered.find(|name| !taken(name)).expect("one of so many is free")
}
