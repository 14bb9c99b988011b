//! Describes a table using only its metadata file.

use chrono::{DateTime, Utc};
use iceberg::spec::{NestedFieldRef, Snapshot, TableMetadata, Type};
use iceberg::table::Table;
use orch_lake::table::evolve;
use orch_store::lake_view::{
    LakeTable, MadeBy, PartitionColumn, RefKind, SnapshotRef, SnapshotRow, TableColumn, TableId, TableRow, TableTotals,
};
use std::collections::BTreeMap;

/// Returns the row of a table in the list of tables.
pub(crate) fn row(id: TableId, table: &Table) -> TableRow {
    let last = current(table);
    let totals = last.as_ref().map(|last| last.totals).unwrap_or_default();
    TableRow { id, totals, snapshots: table.metadata().snapshots().len(), last, problem: None }
}

pub(crate) fn whole(id: TableId, table: &Table) -> LakeTable {
    let metadata = table.metadata();
    let schema = metadata.current_schema();
    let name = |id: i32| schema.name_by_field_id(id).unwrap_or_default().to_owned();
    let mut columns = Vec::new();
    for field in schema.as_struct().fields() {
        add_column(&mut columns, "", field);
    }
    let partitioned_by = metadata.default_partition_spec().fields().iter().map(|field| PartitionColumn {
        name: field.name.clone(),
        column: name(field.source_id),
        transform: field.transform.to_string(),
    });
    let mut key: Vec<i32> = schema.identifier_field_ids().collect();
    key.sort_unstable();
    let last = current(table);
    LakeTable {
        asset_uri: id.asset_uri(),
        id,
        uuid: metadata.uuid().to_string(),
        format_version: metadata.format_version() as u8,
        location: metadata.location().to_owned(),
        schema_id: metadata.current_schema_id(),
        schemas: metadata.schemas_iter().len(),
        columns,
        partitioned_by: partitioned_by.collect(),
        key: key.into_iter().map(name).collect(),
        properties: metadata.properties().clone().into_iter().collect(),
        refs: refs(table),
        totals: last.as_ref().map(|last| last.totals).unwrap_or_default(),
        snapshots: metadata.snapshots().len(),
        last,
        updated_at: moment(metadata.last_updated_ms()),
    }
}

/// Adds a column to the list, followed by its nested fields.
fn add_column(columns: &mut Vec<TableColumn>, above: &str, field: &NestedFieldRef) {
    let name = if above.is_empty() { field.name.clone() } else { format!("{above}.{}", field.name) };
    columns.push(TableColumn {
        id: field.id,
        name: name.clone(),
        data_type: match field.field_type.as_ref() {
            Type::Struct(_) => "struct".into(),
            Type::List(list) => format!("list<{}>", short(&list.element_field.field_type)),
            Type::Map(map) => {
                format!("map<{}, {}>", short(&map.key_field.field_type), short(&map.value_field.field_type))
            }
            plain @ Type::Primitive(_) => plain.to_string(),
        },
        required: field.required,
        doc: field.doc.clone(),
    });
    let inner = match field.field_type.as_ref() {
        Type::Struct(fields) => fields.fields().to_vec(),
        Type::List(list) => structs(&list.element_field),
        Type::Map(map) => structs(&map.value_field),
        Type::Primitive(_) => Vec::new(),
    };
    inner.iter().for_each(|field| add_column(columns, &name, field));
}

/// Returns the list element as a field if it is a struct.
fn structs(field: &NestedFieldRef) -> Vec<NestedFieldRef> {
    if matches!(field.field_type.as_ref(), Type::Primitive(_)) { Vec::new() } else { vec![field.clone()] }
}

fn short(data: &Type) -> String {
    match data {
        Type::Primitive(_) => data.to_string(),
        Type::Struct(_) => "struct".into(),
        Type::List(_) => "list".into(),
        Type::Map(_) => "map".into(),
    }
}

fn current(table: &Table) -> Option<SnapshotRow> {
    let metadata = table.metadata();
    metadata.current_snapshot().map(|snapshot| snapshot_row(snapshot, metadata, &refs(table)))
}

/// Returns the snapshots, newest first.
pub(crate) fn snapshots(table: &Table) -> Vec<SnapshotRow> {
    let (metadata, refs) = (table.metadata(), refs(table));
    let mut rows: Vec<SnapshotRow> = metadata.snapshots().map(|one| snapshot_row(one, metadata, &refs)).collect();
    let order =
        |row: &SnapshotRow| metadata.snapshot_by_id(row.id).map(|one| (one.sequence_number(), one.timestamp_ms()));
    rows.sort_by_key(|row| std::cmp::Reverse(order(row)));
    rows
}

fn snapshot_row(snapshot: &Snapshot, metadata: &TableMetadata, refs: &[SnapshotRef]) -> SnapshotRow {
    let summary: BTreeMap<String, String> = snapshot.summary().additional_properties.clone().into_iter().collect();
    let count = |name: &str| summary.get(name).and_then(|text| text.parse().ok()).unwrap_or_default();
    let id = snapshot.snapshot_id();
    // Rows can also be removed by position deletes, without removing a data file.
    let removed = count("deleted-records") + count("added-position-deletes");
    let gone = count("total-position-deletes");
    SnapshotRow {
        id,
        parent_id: snapshot.parent_snapshot_id(),
        at: moment(snapshot.timestamp_ms()),
        operation: snapshot.summary().operation.as_str().to_owned(),
        is_current: metadata.current_snapshot_id() == Some(id),
        // The branch `main` is omitted because every table has it.
        refs: refs.iter().filter(|to| to.snapshot_id == id && to.name != "main").map(|to| to.name.clone()).collect(),
        added_rows: count("added-records"),
        removed_rows: removed,
        added_files: count("added-data-files") + count("added-delete-files"),
        removed_files: count("deleted-data-files") + count("removed-delete-files"),
        totals: TableTotals {
            rows: count("total-records").saturating_sub(gone),
            bytes: count("total-files-size"),
            files: count("total-data-files"),
            delete_files: count("total-delete-files"),
        },
        made_by: made_by(&summary),
        program: program(&summary),
        summary,
    }
}

fn made_by(summary: &BTreeMap<String, String>) -> Option<MadeBy> {
    let said = |name: &str| summary.get(name).cloned();
    Some(MadeBy {
        dag_id: said("orch.dag_id")?,
        run_id: said("orch.run_id")?,
        task_id: said("orch.task_id"),
        attempt: said("orch.attempt"),
    })
}

/// Returns the name of the engine that wrote the snapshot, from the properties that Spark, Trino and Flink set.
fn program(summary: &BTreeMap<String, String>) -> Option<String> {
    let name = summary.get("engine-name")?;
    Some(summary.get("engine-version").map_or_else(|| name.clone(), |version| format!("{name} {version}")))
}

/// Branches and tags, sorted by name.
pub(crate) fn refs(table: &Table) -> Vec<SnapshotRef> {
    let refs = evolve::refs(table.metadata()).unwrap_or_default().into_iter().map(|(name, reference)| SnapshotRef {
        name,
        kind: if reference.is_branch() { RefKind::Branch } else { RefKind::Tag },
        snapshot_id: reference.snapshot_id,
    });
    refs.collect()
}

fn moment(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_by_what_they_note() {
        let check = |notes: &[(&str, &str)], expected: Option<&str>| {
            let summary = notes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(program(&summary).as_deref(), expected, "{notes:?}");
        };
        check(&[("engine-name", "spark"), ("engine-version", "4.1.4")], Some("spark 4.1.4"));
        check(&[("engine-name", "flink")], Some("flink"));
        check(&[("orch.stream", "clicks")], None);
    }
}
