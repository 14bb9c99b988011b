//! Folders are named after partitions: `city=New+York/day=2025-01-01`. Values are encoded, as other engines do it: a slash
//! in one would be a folder of its own, and two of them a place that object stores and file systems spell differently.

use iceberg::spec::{PartitionKey, PartitionSpec, SchemaRef, Struct, TableMetadata};
use iceberg::writer::file_writer::location_generator::{DefaultLocationGenerator, LocationGenerator};
use uuid::Uuid;

use crate::error::LakeResult;

/// File systems take no longer name.
const MOST_FOLDER_BYTES: usize = 255;
/// Half of the longest key of an object, which begins with the warehouse and the table, and ends with the file.
const MOST_PATH_BYTES: usize = 512;

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
            Some(path) if !path.is_empty() => self.table.generate_location(None, &format!("{}/{file}", short(path))),
            _ => self.table.generate_location(None, file),
        }
    }
}

/// The path itself, or a hash of it where it is too long for a folder. Readers take the values of a partition from the metadata.
fn short(path: String) -> String {
    if path.len() <= MOST_PATH_BYTES && path.split('/').all(|folder| folder.len() <= MOST_FOLDER_BYTES) {
        return path;
    }
    format!("hash={}", Uuid::new_v5(&Uuid::NAMESPACE_URL, path.as_bytes()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_no_file_system_takes_becomes_a_hash() {
        let long = "x".repeat(300);
        for path in ["city=Oslo".to_string(), format!("city={}/day=2025-01-01", &long[..250])] {
            assert_eq!(short(path.clone()), path);
        }
        let hashed = short(format!("city={long}/day=2025-01-01"));
        assert!(hashed.starts_with("hash=") && hashed.len() == 41, "{hashed}");
        assert_eq!(hashed, short(format!("city={long}/day=2025-01-01")), "a partition has one folder");
        assert_ne!(hashed, short(format!("city={long}/day=2025-01-02")));
        let many = ["a", "b", "c"].map(|name| format!("{name}={}", &long[..200])).join("/");
        assert!(short(many).starts_with("hash="));
    }
}
