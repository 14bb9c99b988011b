//! Folders are named after partitions: `city=New+York/day=2025-01-01`. Values are encoded, as other engines do it: a slash
//! in one would be a folder of its own, and two of them a place that object stores and file systems spell differently.

use iceberg::spec::{PartitionKey, PartitionSpec, SchemaRef, Struct, TableMetadata};
use iceberg::writer::file_writer::location_generator::{DefaultLocationGenerator, LocationGenerator};

use crate::error::LakeResult;

/// Where the data files of a table go.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    table: DefaultLocationGenerator,
}

impl Folders {
    pub(crate) fn of(metadata: &TableMetadata) -> LakeResult<Self> {
        Ok(Self { table: DefaultLocationGenerator::new(metadata)? })
    }
}

impl LocationGenerator for Folders {
    fn generate_location(&self, key: Option<&PartitionKey>, file: &str) -> String {
        match key.map(|key| partition_path(key.spec(), key.schema(), key.data())) {
            Some(path) if !path.is_empty() => self.table.generate_location(None, &format!("{path}/{file}")),
            _ => self.table.generate_location(None, file),
        }
    }
}

/// The name of a partition. Empty for a spec without fields, and for one whose columns are gone.
pub(crate) fn partition_path(spec: &PartitionSpec, schema: &SchemaRef, partition: &Struct) -> String {
    let Ok(types) = spec.partition_type(schema) else { return String::new() };
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let fields = spec.fields().iter().zip(types.fields()).zip(partition.iter());
    let names = fields.map(|((field, of_type), value)| {
        let value = field.transform.to_human_string(&of_type.field_type, value);
        format!("{}={}", encoded(&field.name), encoded(&value))
    });
    names.collect::<Vec<_>>().join("/")
}
