//! Names of partition folders, such as `city=New+York/day=2025-01-01`. Values are URL-encoded, as by other engines.
//! Otherwise a slash in a value would create a nested folder, and object stores and file systems treat a double slash
//! differently.

use iceberg::spec::{PartitionKey, PartitionSpec, SchemaRef, Struct, TableMetadata};
use iceberg::writer::file_writer::location_generator::{DefaultLocationGenerator, LocationGenerator};
use uuid::Uuid;

use crate::error::LakeResult;

/// Maximum length of a folder name in common file systems.
const MOST_FOLDER_BYTES: usize = 255;
/// Maximum length of a partition path: half the maximum length of an object key. The other half is for the warehouse,
/// the table and the file name.
const MOST_PATH_BYTES: usize = 512;

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

/// Returns the path, or a hash of it if it is too long. This is safe because readers take partition values from the
/// metadata, not from the path.
fn short(path: String) -> String {
    if path.len() <= MOST_PATH_BYTES && path.split('/').all(|folder| folder.len() <= MOST_FOLDER_BYTES) {
        return path;
    }
    format!("hash={}", Uuid::new_v5(&Uuid::NAMESPACE_URL, path.as_bytes()))
}

/// Returns the folder path of a partition. Empty if the partition spec has no fields, or all of its columns were
/// dropped.
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
