//! Name mapping: the names by which columns are found in files that have no field ids. It is updated only if the
//! table has a name mapping.

use std::collections::HashMap;

use iceberg::TableUpdate;
use iceberg::spec::{DEFAULT_SCHEMA_NAME_MAPPING, NestedFieldRef, TableMetadata, Type};
use serde::{Deserialize, Serialize};

use crate::error::LakeResult;

/// An entry of the name mapping, in the JSON format of the Iceberg specification.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mapped {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    field_id: Option<i32>,
    names: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Mapped>,
}

/// Adds the current column names to the mapping. Old names are kept, because existing files contain a renamed column
/// under its old name.
pub(super) fn update(metadata: &TableMetadata, fields: &[NestedFieldRef]) -> LakeResult<Option<TableUpdate>> {
    let Some(text) = metadata.properties().get(DEFAULT_SCHEMA_NAME_MAPPING) else {
        return Ok(None);
    };
    let mut mapping: Vec<Mapped> = serde_json::from_str(text).map_err(iceberg::Error::from)?;
    follow(&mut mapping, fields);
    let text = serde_json::to_string(&mapping).map_err(iceberg::Error::from)?;
    let updates = HashMap::from([(DEFAULT_SCHEMA_NAME_MAPPING.into(), text)]);
    Ok(Some(TableUpdate::SetProperties { updates }))
}

fn follow(mapping: &mut Vec<Mapped>, fields: &[NestedFieldRef]) {
    for field in fields {
        // If a name was used by another column before, it now refers to the column that has it.
        for other in mapping.iter_mut().filter(|mapped| mapped.field_id != Some(field.id)) {
            other.names.retain(|name| *name != field.name);
        }
        let place = mapping.iter().position(|mapped| mapped.field_id == Some(field.id)).unwrap_or_else(|| {
            mapping.push(Mapped { field_id: Some(field.id), names: Vec::new(), fields: Vec::new() });
            mapping.len() - 1
        });
        let mapped = &mut mapping[place];
        if !mapped.names.contains(&field.name) {
            mapped.names.push(field.name.clone());
        }
        match field.field_type.as_ref() {
            Type::Struct(inner) => follow(&mut mapped.fields, inner.fields()),
            Type::List(list) => follow(&mut mapped.fields, std::slice::from_ref(&list.element_field)),
            Type::Map(map) => follow(&mut mapped.fields, &[map.key_field.clone(), map.value_field.clone()]),
            Type::Primitive(_) => {}
        }
    }
}
