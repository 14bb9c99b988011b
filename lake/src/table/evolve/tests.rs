//! Tests the metadata that schema evolution produces, and which evolutions are rejected.

use std::collections::HashMap;

use chrono::TimeDelta;
use iceberg::TableCreation;
use iceberg::spec::{
    ListType, NestedField, Operation, PrimitiveType, Schema, Snapshot, StructType, Summary, TableMetadata,
    TableMetadataBuilder, Transform, Type, UnboundPartitionSpec,
};

use super::*;
use crate::table::At;

/// Test table: `id` (the key), `city` (the partition), `amount` decimal(10,2), `address` {street}, `tags` [{label}].
fn table() -> TableMetadata {
    let street = NestedField::optional(10, "street", Type::Primitive(PrimitiveType::String));
    let label = NestedField::optional(12, "label", Type::Primitive(PrimitiveType::Int));
    let element = NestedField::list_element(11, Type::Struct(StructType::new(vec![label.into()])), true);
    let fields = [
        NestedField::required(1, "id", Type::Primitive(PrimitiveType::Int)),
        NestedField::optional(2, "city", Type::Primitive(PrimitiveType::String)),
        NestedField::optional(3, "amount", Type::decimal(10, 2).unwrap()),
        NestedField::optional(4, "address", Type::Struct(StructType::new(vec![street.into()]))),
        NestedField::optional(5, "tags", Type::List(ListType { element_field: element.into() })),
    ];
    let schema = Schema::builder().with_fields(fields.map(Into::into)).with_identifier_field_ids([1]).build().unwrap();
    let spec = UnboundPartitionSpec::builder().add_partition_field(2, "city", Transform::Identity).unwrap().build();
    let creation = TableCreation::builder().name("t".into()).location("memory:/t".into()).schema(schema);
    let creation = creation.partition_spec(spec).build();
    let metadata = TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata;
    // The table is created in the past, so that snapshots can have later timestamps.
    let mut written = serde_json::to_value(metadata).unwrap();
    written["last-updated-ms"] = serde_json::json!(1_700_000_000_000_i64);
    serde_json::from_value(written).unwrap()
}

fn apply(metadata: TableMetadata, evolution: impl Into<Evolution>) -> LakeResult<TableMetadata> {
    let updates = evolution.into().updates(&metadata)?;
    let builder = metadata.into_builder(None);
    let builder = updates.into_iter().try_fold(builder, |builder, update| update.apply(builder))?;
    Ok(builder.build()?.metadata)
}

fn described(metadata: &TableMetadata) -> String {
    let schema = metadata.current_schema();
    let column = |field: &iceberg::spec::NestedFieldRef| format!("{}:{}={}", field.id, field.name, field.field_type);
    schema.as_struct().fields().iter().map(column).collect::<Vec<_>>().join(" ")
}

/// Adds a snapshot whose timestamp is `days` days after the last update.
fn snapshot(metadata: TableMetadata, id: i64, parent: Option<i64>, days: i64) -> TableMetadata {
    let summary = Summary { operation: Operation::Append, additional_properties: HashMap::new() };
    let snapshot = Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(parent)
        .with_sequence_number(metadata.next_sequence_number())
        .with_timestamp_ms(metadata.last_updated_ms() + TimeDelta::days(days).num_milliseconds())
        .with_manifest_list(format!("memory:/t/{id}"))
        .with_summary(summary)
        .with_schema_id(0)
        .build();
    metadata.into_builder(None).set_branch_snapshot(snapshot, "main").unwrap().build().unwrap().metadata
}

#[test]
fn columns_keep_their_ids_whatever_they_are_called() {
    let check = |columns: Columns, expected: &str| match apply(table(), columns) {
        Ok(metadata) => assert_eq!(described(&metadata), expected),
        Err(error) => assert_eq!(error.to_string().lines().next().unwrap(), expected),
    };
    let primitive = |kind| Type::Primitive(kind);
    use PrimitiveType::{Decimal, Double, Int, Long, String};
    let rest = "4:address=struct<string> 5:tags=list";
    assert_eq!(described(&table()), format!("1:id=int 2:city=string 3:amount=decimal(10, 2) {rest}"));

    let begins = |columns: Columns, expected: &str| {
        let found = described(&apply(table(), columns).unwrap());
        assert!(found.starts_with(expected), "{found}");
    };
    begins(
        Columns::new().rename("amount", "total").widen("total", Decimal { precision: 12, scale: 2 }),
        "1:id=int 2:city=string 3:total=decimal(12, 2)",
    );
    begins(Columns::new().widen("id", Long).rename("city", "town"), "1:id=long 2:town=string");
    begins(Columns::new().drop("amount").add("amount", primitive(Long)), &format!("1:id=int 2:city=string {rest}"));
    let found = described(&apply(table(), Columns::new().drop("amount").add("amount", primitive(Long))).unwrap());
    assert!(found.ends_with("9:amount=long"), "{found}");
    let inner = Columns::new().add("address.zip", primitive(String)).widen("tags.element.label", Long);
    let inner = apply(table(), inner).unwrap();
    let field = |id| inner.current_schema().field_by_id(id).unwrap();
    assert_eq!((field(9).name.as_str(), field(8).field_type.as_ref()), ("zip", &primitive(Long)));

    check(Columns::new().add("City", primitive(Int)), "there is a column `city` already");
    check(Columns::new().add("a.b", primitive(Int)), "there is no column `a`");
    check(Columns::new().add("", primitive(Int)), "`` is not a valid name for a column");
    check(Columns::new().add("id.x", primitive(Int)), "`id` is a int and has no columns inside");
    check(Columns::new().add("tags.x", primitive(Int)), "`tags` is no struct");
    check(Columns::new().rename("amount", "city"), "there is a column `city` already");
    check(Columns::new().rename("nothing", "x"), "there is no column `nothing`");
    check(Columns::new().widen("amount", Double), "`amount` is decimal(10, 2) and cannot become double");
    check(
        Columns::new().widen("amount", Decimal { precision: 9, scale: 2 }),
        "`amount` is decimal(10, 2) and cannot become decimal(9, 2)",
    );
    check(Columns::new().widen("address", Long), "`address` is a struct<string> and cannot become long");
    check(Columns::new().drop("id"), "`id` is part of the key and cannot be dropped");
    check(Columns::new().make_optional("id"), "`id` is part of the key and cannot be null");
    check(Columns::new().drop("city"), "files are or were partitioned by identity(`city`)");
    check(Columns::new().drop("address.street"), "`address.street` is the only column, it cannot be dropped");
}

#[test]
fn what_is_so_already_changes_nothing() {
    let nothing = |evolution: Evolution| assert_eq!(evolution.updates(&table()).unwrap(), Vec::new());
    nothing(Columns::new().widen("id", PrimitiveType::Int).rename("city", "city").into());
    nothing(Partition::none().by("city", Transform::Identity).into());
    nothing(Properties::new().unset("nothing").into());
}

#[test]
fn a_name_mapping_knows_old_and_new_names() {
    let mapping = r#"[{"field-id":1,"names":["id"]},{"field-id":3,"names":["amount"]}]"#;
    let metadata = apply(table(), Properties::new().set("schema.name-mapping.default", mapping)).unwrap();
    let columns = Columns::new().rename("amount", "total").add("amount", Type::Primitive(PrimitiveType::Int));
    let metadata = apply(metadata, columns).unwrap();
    let text = &metadata.properties()["schema.name-mapping.default"];
    assert!(text.contains(r#"{"field-id":3,"names":["total"]}"#), "{text}");
    assert!(text.contains(r#"{"field-id":9,"names":["amount"]}"#), "{text}");
}

#[test]
fn a_partition_that_comes_back_is_the_same_field_again() {
    let day = |metadata| apply(metadata, Partition::none().by("id", Transform::Bucket(4)));
    let metadata = apply(day(table()).unwrap(), Partition::none().by("id", Transform::Bucket(8))).unwrap();
    let fields = metadata.default_partition_spec().fields();
    assert_eq!(fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), ["id_bucket_2"]);
    assert_eq!(fields[0].field_id, 1002, "after those of the city and of the other buckets");
    let back = day(metadata).unwrap();
    assert_eq!((back.default_partition_spec_id(), back.partition_specs_iter().count()), (1, 3));
    let unknown = apply(back, Partition::none().by("nothing", Transform::Day)).unwrap_err().to_string();
    assert!(unknown.starts_with("there is no column `nothing`"), "{unknown}");
}

#[test]
fn reserved_properties_are_refused() {
    let refused = apply(table(), Properties::new().set("uuid", "x")).unwrap_err().to_string();
    assert!(refused.starts_with("`uuid` is no property to be set"), "{refused}");
}

#[test]
fn tags_stay_branches_move_and_main_only_goes_back_to_its_own_past() {
    let tag = |name: &str, at: At| Naming::Tag { name: name.into(), at, retention: Retention::default() };
    let history = [(1, None, 0), (2, Some(1), 1), (3, Some(2), 2)];
    let metadata = history.iter().fold(table(), |metadata, (id, parent, days)| snapshot(metadata, *id, *parent, *days));
    let metadata = apply(metadata, tag("v1", At::Snapshot(1))).unwrap();
    let heads = |metadata: &TableMetadata| {
        refs(metadata)
            .unwrap()
            .iter()
            .map(|(name, at)| format!("{name}={}", at.snapshot_id))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(heads(&metadata), "main=3 v1=1");

    let check = |naming: Naming, expected: &str| match apply(metadata.clone(), naming) {
        Ok(metadata) => assert_eq!(heads(&metadata), expected),
        Err(error) => assert_eq!(error.to_string().lines().next().unwrap(), expected),
    };
    let (moved, branch) = (At::Ref("main".into()), "audit".to_string());
    check(Naming::MoveTag { name: "v1".into(), at: moved.clone() }, "main=3 v1=3");
    check(Naming::MoveTag { name: "main".into(), at: moved.clone() }, "`main` is a branch and not a tag");
    check(tag("v1", At::Snapshot(2)), "there is a tag or branch `v1` already");
    check(tag("12", At::Snapshot(2)), "`12` is no name for a tag or branch");
    check(tag("v2", At::Snapshot(9)), "the table has no snapshot 9, or no longer");
    check(Naming::Branch { name: branch, at: moved, retention: Retention::default() }, "audit=3 main=3 v1=1");
    check(Naming::Drop { name: "v1".into() }, "main=3");
    check(Naming::Drop { name: "main".into() }, "`main` is what readers see and stays");
    check(Naming::Drop { name: "v2".into() }, "there is no tag or branch `v2`");
    check(Naming::RollBack { to: At::Ref("v1".into()), from: Some(3) }, "main=1 v1=1");
    check(Naming::RollBack { to: At::Snapshot(1), from: Some(2) }, "`main` was written to since the table was loaded");
    check(Naming::FastForward { branch: "v1".into(), to: "main".into() }, "`v1` is a tag and not a branch");
    check(
        Naming::FastForward { branch: "main".into(), to: "v1".into() },
        "snapshot 3 is not part of the history of `v1`",
    );

    let at = |id: i64| metadata.snapshot_by_id(id).unwrap().timestamp().unwrap();
    let tag = |moment| apply(metadata.clone(), tag("then", At::Time(moment))).map(|metadata| heads(&metadata));
    assert_eq!(tag(at(2)).unwrap(), "main=3 then=2 v1=1");
    assert_eq!(tag(at(3) - TimeDelta::seconds(1)).unwrap(), "main=3 then=2 v1=1");
    assert!(tag(at(1) - TimeDelta::seconds(1)).is_err());
}
