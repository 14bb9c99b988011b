//! Changes of the partitioning. Existing files keep their spec until a compaction rewrites them.

use iceberg::TableUpdate;
use iceberg::spec::{PartitionField, TableMetadata, Transform, UnboundPartitionField, UnboundPartitionSpec};

use crate::error::LakeResult;
use crate::table::definition::{no_column, partition_name};

/// Partition fields for new files, outermost first. Empty for an unpartitioned table.
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
            // A field that an earlier spec had keeps its id and name.
            let same = known.iter().find(|field| field.source_id == source_id && field.transform == *transform);
            // Some catalogs, such as Nessie, require an explicit id for new fields.
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

/// Returns a name that no field of any spec has, because readers see the fields of all specs together.
fn free_name(known: &[&PartitionField], column: &str, transform: Transform) -> String {
    let name = partition_name(column, transform);
    let taken = |name: &str| known.iter().any(|field| field.name == name);
    if !taken(&name) {
        return name;
    }
    let mut numbered = (2..=known.len() + 2).map(|count| format!("{name}_{count}"));
    numbered.find(|name| !taken(name)).expect("one of so many is free")
}
