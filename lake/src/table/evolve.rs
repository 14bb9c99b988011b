//! Changes of a table that write no rows: columns, partitioning, properties and snapshot references. Each change is a
//! pure function of the table metadata. It is evaluated again for each commit attempt, so concurrent changes are
//! either taken into account or rejected.

mod columns;
mod name_mapping;
mod partition;
mod refs;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::{TableMetadata, TableProperties};
use iceberg::{TableRequirement, TableUpdate};

pub use columns::Columns;
pub(crate) use columns::is_wider;
pub use partition::Partition;
pub(crate) use refs::ancestors;
pub use refs::{Naming, Retention, refs};

use crate::error::{LakeError, LakeResult};

#[derive(Debug, Clone)]
pub enum Evolution {
    Columns(Columns),
    Partition(Partition),
    Properties(Properties),
    Naming(Naming),
}

impl Evolution {
    /// Returns the metadata updates that change a table with this metadata to the requested state. Empty if it
    /// already has that state.
    pub(crate) fn updates(&self, metadata: &TableMetadata) -> LakeResult<Vec<TableUpdate>> {
        match self {
            Evolution::Columns(columns) => columns.updates(metadata),
            Evolution::Partition(partition) => partition.updates(metadata),
            Evolution::Properties(properties) => properties.updates(metadata),
            Evolution::Naming(naming) => naming.updates(metadata),
        }
    }

    /// Returns the requirements that must still hold when the change is committed.
    pub(crate) fn requirements(&self, metadata: &TableMetadata) -> Vec<TableRequirement> {
        let schema = TableRequirement::CurrentSchemaIdMatch { current_schema_id: metadata.current_schema_id() };
        let spec = TableRequirement::DefaultSpecIdMatch { default_spec_id: metadata.default_partition_spec_id() };
        match self {
            Evolution::Columns(_) => {
                let last_assigned_field_id = metadata.last_column_id();
                vec![schema, spec, TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id }]
            }
            Evolution::Partition(_) => {
                let last_assigned_partition_id = metadata.last_partition_id();
                vec![schema, spec, TableRequirement::LastAssignedPartitionIdMatch { last_assigned_partition_id }]
            }
            Evolution::Properties(_) => Vec::new(),
            Evolution::Naming(naming) => naming.requirements(metadata),
        }
    }
}

macro_rules! from_changes {
    ($($change:ident)+) => {$(
        impl From<$change> for Evolution {
            fn from(change: $change) -> Self {
                Evolution::$change(change)
            }
        }
    )+};
}

from_changes! { Columns Partition Properties Naming }

/// Table properties to set or remove.
#[derive(Debug, Clone, Default)]
pub struct Properties {
    changes: BTreeMap<String, Option<String>>,
}

impl Properties {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.changes.insert(key.into(), Some(value.into()));
        self
    }

    #[must_use]
    pub fn unset(mut self, key: impl Into<String>) -> Self {
        self.changes.insert(key.into(), None);
        self
    }

    fn updates(&self, metadata: &TableMetadata) -> LakeResult<Vec<TableUpdate>> {
        if let Some(key) = self.changes.keys().find(|key| TableProperties::RESERVED_PROPERTIES.contains(&key.as_str()))
        {
            let what = format!("`{key}` is no property to be set: it follows from the table");
            return Err(LakeError::input(what, "leave it out"));
        }
        let (mut updates, mut removals) = (HashMap::new(), Vec::new());
        for (key, wanted) in &self.changes {
            match (metadata.properties().get(key), wanted) {
                (is, wanted) if is == wanted.as_ref() => {}
                (_, Some(value)) => drop(updates.insert(key.clone(), value.clone())),
                (_, None) => removals.push(key.clone()),
            }
        }
        let set = (!updates.is_empty()).then_some(TableUpdate::SetProperties { updates });
        let unset = (!removals.is_empty()).then_some(TableUpdate::RemoveProperties { removals });
        Ok(set.into_iter().chain(unset).collect())
    }
}
