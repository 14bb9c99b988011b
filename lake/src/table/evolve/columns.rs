//! Changes of columns. Field ids are never reused, so older files are read correctly: a renamed column keeps its
//! values, and a dropped column that is added again is empty.

use std::sync::Arc;

use iceberg::TableUpdate;
use iceberg::spec::{
    ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, Schema, StructType, TableMetadata, Transform, Type,
};

use super::name_mapping;
use crate::error::{LakeError, LakeResult};

/// A list of column changes, which are applied in order. A nested column is addressed by its path, such as
/// `address.street`; `element` and `value` stand for the contents of lists and maps.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    steps: Vec<ColumnChange>,
}

#[derive(Debug, Clone)]
enum ColumnChange {
    Add { path: String, kind: Type },
    Rename { path: String, to: String },
    Widen { path: String, to: PrimitiveType },
    Optional { path: String },
    Document { path: String, doc: String },
    Drop { path: String },
}

impl Columns {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column at the end of its table or struct. It is null in existing rows.
    #[must_use]
    pub fn add(self, path: impl Into<String>, kind: Type) -> Self {
        self.then(ColumnChange::Add { path: path.into(), kind })
    }

    /// Renames a column. `to` is the new name without a path, because a column cannot move to another struct.
    #[must_use]
    pub fn rename(self, path: impl Into<String>, to: impl Into<String>) -> Self {
        self.then(ColumnChange::Rename { path: path.into(), to: to.into() })
    }

    /// Widens the type of a column: int to long, float to double, or a decimal to a higher precision.
    #[must_use]
    pub fn widen(self, path: impl Into<String>, to: PrimitiveType) -> Self {
        self.then(ColumnChange::Widen { path: path.into(), to })
    }

    #[must_use]
    pub fn make_optional(self, path: impl Into<String>) -> Self {
        self.then(ColumnChange::Optional { path: path.into() })
    }

    #[must_use]
    pub fn document(self, path: impl Into<String>, doc: impl Into<String>) -> Self {
        self.then(ColumnChange::Document { path: path.into(), doc: doc.into() })
    }

    /// Drops a column. It can still be read in older snapshots.
    #[must_use]
    pub fn drop(self, path: impl Into<String>) -> Self {
        self.then(ColumnChange::Drop { path: path.into() })
    }

    fn then(mut self, step: ColumnChange) -> Self {
        self.steps.push(step);
        self
    }

    /// Returns the metadata updates for this table. Empty if no column changes.
    pub(super) fn updates(&self, metadata: &TableMetadata) -> LakeResult<Vec<TableUpdate>> {
        let current = metadata.current_schema();
        let mut fields = current.as_struct().fields().to_vec();
        let mut last_id = metadata.last_column_id();
        for step in &self.steps {
            let (parents, name) = split(step.path());
            fields = inside(&fields, parents, &mut |siblings| step.apply(name, siblings, &mut last_id, metadata))?;
        }
        if fields == current.as_struct().fields() {
            return Ok(Vec::new());
        }
        let mut updates = Vec::from_iter(name_mapping::update(metadata, &fields)?);
        let keys = current.identifier_field_ids();
        let schema = Schema::builder().with_fields(fields).with_identifier_field_ids(keys).build()?;
        updates.push(TableUpdate::AddSchema { schema });
        updates.push(TableUpdate::SetCurrentSchema { schema_id: -1 });
        Ok(updates)
    }
}

impl ColumnChange {
    fn path(&self) -> &str {
        match self {
            ColumnChange::Add { path, .. }
            | ColumnChange::Rename { path, .. }
            | ColumnChange::Widen { path, .. }
            | ColumnChange::Optional { path }
            | ColumnChange::Document { path, .. }
            | ColumnChange::Drop { path } => path,
        }
    }

    fn apply(
        &self,
        name: &str,
        siblings: &mut Vec<NestedFieldRef>,
        last_id: &mut i32,
        metadata: &TableMetadata,
    ) -> LakeResult<()> {
        let path = self.path();
        if let ColumnChange::Add { kind, .. } = self {
            free(siblings, name)?;
            siblings.push(numbered(&NestedField::optional(0, name, kind.clone()), last_id));
            return Ok(());
        }
        let place = siblings.iter().position(|field| field.name == name).ok_or_else(|| unknown(path, siblings))?;
        let mut field = NestedField::clone(&siblings[place]);
        match self {
            ColumnChange::Add { .. } => {}
            ColumnChange::Rename { to, .. } => {
                if to != name {
                    free(siblings, to)?;
                }
                field.name.clone_from(to);
            }
            ColumnChange::Widen { to, .. } => {
                widens(path, &field.field_type, to)?;
                not_in_partitions(metadata, path, field.id, |transform| !matches!(transform, Transform::Bucket(_)))?;
                field.field_type = Box::new(Type::Primitive(to.clone()));
            }
            ColumnChange::Optional { .. } => {
                not_in_key(metadata, path, field.id, "be null")?;
                field.required = false;
            }
            ColumnChange::Document { doc, .. } => field.doc = Some(doc.clone()),
            ColumnChange::Drop { .. } => {
                not_in_key(metadata, path, field.id, "be dropped")?;
                not_in_partitions(metadata, path, field.id, |_| true)?;
                not_sorted_by(metadata, path, field.id)?;
                siblings.remove(place);
                return if siblings.is_empty() {
                    Err(LakeError::input(
                        format!("`{path}` is the only column, it cannot be dropped"),
                        "a table has one at least; drop the table",
                    ))
                } else {
                    Ok(())
                };
            }
        }
        siblings[place] = Arc::new(field);
        Ok(())
    }
}

fn split(path: &str) -> (Option<&str>, &str) {
    path.rsplit_once('.').map_or((None, path), |(parents, name)| (Some(parents), name))
}

type Among<'a> = &'a mut dyn FnMut(&mut Vec<NestedFieldRef>) -> LakeResult<()>;

/// Returns a list of fields in which a change is applied to the field at a path.
fn inside(fields: &[NestedFieldRef], parents: Option<&str>, change: Among<'_>) -> LakeResult<Vec<NestedFieldRef>> {
    let mut fields = fields.to_vec();
    let Some(parents) = parents else {
        change(&mut fields)?;
        return Ok(fields);
    };
    let (first, rest) = parents.split_once('.').map_or((parents, None), |(first, rest)| (first, Some(rest)));
    let place = fields.iter().position(|field| field.name == first).ok_or_else(|| unknown(parents, &fields))?;
    fields[place] = inside_field(&fields[place], rest, change)?;
    Ok(fields)
}

fn inside_field(field: &NestedField, rest: Option<&str>, change: Among<'_>) -> LakeResult<NestedFieldRef> {
    let step = |wanted: &str| match rest.map(|rest| rest.split_once('.').map_or((rest, None), |(a, b)| (a, Some(b)))) {
        Some((first, rest)) if first == wanted => Ok(rest),
        _ => {
            Err(LakeError::input(format!("`{}` is no struct", field.name), format!("name its `{wanted}` in the path")))
        }
    };
    let kind = match field.field_type.as_ref() {
        Type::Struct(inner) => Type::Struct(StructType::new(inside(inner.fields(), rest, change)?)),
        Type::List(list) => {
            Type::List(ListType { element_field: inside_field(&list.element_field, step("element")?, change)? })
        }
        Type::Map(map) => Type::Map(MapType {
            key_field: map.key_field.clone(),
            value_field: inside_field(&map.value_field, step("value")?, change)?,
        }),
        Type::Primitive(kind) => {
            return Err(LakeError::input(
                format!("`{}` is a {kind} and has no columns inside", field.name),
                "add a struct beside it",
            ));
        }
    };
    Ok(Arc::new(NestedField { field_type: Box::new(kind), ..field.clone() }))
}

/// Returns a copy of a field and its nested fields with new, unused ids.
fn numbered(field: &NestedField, last_id: &mut i32) -> NestedFieldRef {
    *last_id += 1;
    let id = *last_id;
    let kind = match field.field_type.as_ref() {
        Type::Primitive(kind) => Type::Primitive(kind.clone()),
        Type::Struct(inner) => {
            Type::Struct(StructType::new(inner.fields().iter().map(|field| numbered(field, last_id)).collect()))
        }
        Type::List(list) => Type::List(ListType { element_field: numbered(&list.element_field, last_id) }),
        Type::Map(map) => Type::Map(MapType {
            key_field: numbered(&map.key_field, last_id),
            value_field: numbered(&map.value_field, last_id),
        }),
    };
    Arc::new(NestedField { id, field_type: Box::new(kind), ..field.clone() })
}

/// Checks that a column name is unused. Names must differ by more than case, because some engines that read these
/// tables are case-insensitive.
fn free(siblings: &[NestedFieldRef], name: &str) -> LakeResult<()> {
    if name.is_empty() || name.contains('.') {
        return Err(LakeError::input(format!("`{name}` is not a valid name for a column"), "leave out dots"));
    }
    match siblings.iter().find(|field| field.name.eq_ignore_ascii_case(name)) {
        Some(taken) => Err(LakeError::input(
            format!("there is a column `{}` already", taken.name),
            "take another name; letters count alike",
        )),
        None => Ok(()),
    }
}

fn unknown(path: &str, siblings: &[NestedFieldRef]) -> LakeError {
    let names: Vec<_> = siblings.iter().map(|field| format!("`{}`", field.name)).collect();
    LakeError::input(format!("there is no column `{path}`"), format!("there are {}", names.join(", ")))
}

/// Returns true if every value of type `from` is also a value of type `to`. Rows with the old type can then be
/// written to a column that was widened.
pub(crate) fn is_wider(from: &Type, to: &Type) -> bool {
    matches!(to, Type::Primitive(to) if widens("", from, to).is_ok())
}

fn widens(path: &str, from: &Type, to: &PrimitiveType) -> LakeResult<()> {
    use PrimitiveType::{Decimal, Double, Float, Int, Long};
    let from = match from {
        Type::Primitive(from) => from,
        other => {
            return Err(LakeError::input(
                format!("`{path}` is a {other} and cannot become {to}"),
                "only plain columns are widened",
            ));
        }
    };
    let wider = match (from, to) {
        (Int, Long) | (Float, Double) => true,
        (Decimal { precision, scale }, Decimal { precision: more, scale: same }) => more >= precision && scale == same,
        (from, to) => from == to,
    };
    let ways = "int becomes long, float double, decimal(p,s) more digits at the same scale; else add a column";
    if wider { Ok(()) } else { Err(LakeError::input(format!("`{path}` is {from} and cannot become {to}"), ways)) }
}

fn not_in_key(metadata: &TableMetadata, path: &str, id: i32, what: &str) -> LakeResult<()> {
    if metadata.current_schema().identifier_field_ids().any(|key| key == id) {
        return Err(LakeError::input(
            format!("`{path}` is part of the key and cannot {what}"),
            "add a column beside it",
        ));
    }
    Ok(())
}

/// Checks that a changed column is not used in a partition spec. All specs are checked, because files may still use
/// an old spec, and their partition values are read with the current column type.
fn not_in_partitions(
    metadata: &TableMetadata,
    path: &str,
    id: i32,
    matters: impl Fn(&Transform) -> bool,
) -> LakeResult<()> {
    let fields = metadata.partition_specs_iter().flat_map(|spec| spec.fields());
    let mut used = fields.filter(|field| field.source_id == id && field.transform != Transform::Void);
    match used.find(|field| matters(&field.transform)) {
        Some(field) => Err(LakeError::input(
            format!("files are or were partitioned by {}(`{path}`)", field.transform),
            "add a column instead, and let the old one be",
        )),
        None => Ok(()),
    }
}

fn not_sorted_by(metadata: &TableMetadata, path: &str, id: i32) -> LakeResult<()> {
    if metadata.default_sort_order().fields.iter().any(|field| field.source_id == id) {
        return Err(LakeError::input(format!("the table is sorted by `{path}`"), "keep the column"));
    }
    Ok(())
}
