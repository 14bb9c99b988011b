//! Equality deletes, as Flink and other engines write them. orch reads tables with such deletes as the specification
//! requires, and its own writes and maintenance keep the deleted rows deleted.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

use crate::world::{World, by_state, definition, rows_of, world};
use arrow::array::{AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::Int64Type;
use chrono::DateTime;
use iceberg::arrow::arrow_schema_to_schema;
use iceberg::spec::{DataFileFormat, Literal, Operation, PartitionKey, PrimitiveType, Struct, Transform, Type};
use iceberg::writer::base_writer::equality_delete_writer::{
    EqualityDeleteFileWriterBuilder, EqualityDeleteWriterConfig,
};
use iceberg::writer::file_writer::ParquetWriterBuilder;
use iceberg::writer::file_writer::location_generator::{DefaultFileNameGenerator, DefaultLocationGenerator};
use iceberg::writer::file_writer::rolling_writer::RollingFileWriterBuilder;
use iceberg::writer::{IcebergWriter as _, IcebergWriterBuilder as _};
use orch_lake::table::evolve::{Columns, Partition, Properties};
use orch_lake::table::maintain::{Compaction, Expiry};
use orch_lake::table::{At, File};
use orch_lake::{Change, Filter, LakeError, Table};
use orch_lake_sql::{Opened, SqlLake, SqlLimits};
use orch_store::lake_view::{LakeView as _, Query, QueryLimits, collect_answer};
use orch_test_lake::rows::{batch, row};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Returns rows of the table from lines with a cell for each column; `-` is null. Missing cells at the end are null.
fn lines(table: &Table, lines: &[&str]) -> RecordBatch {
    let schema = table.arrow_schema().unwrap();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mut rows: Vec<_> = lines.iter().map(|line| row(line)).collect();
    rows.iter_mut().for_each(|row| row.resize(names.len(), None));
    let texts = batch(&names, &rows);
    let columns = texts.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| cast(column, field.data_type()).unwrap()).collect();
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}

async fn append(world: &World, table: &Table, rows: &[&str]) -> Table {
    let change = table.append(lines(table, rows)).await.unwrap();
    change.commit(&world.lake).await.unwrap().table
}

/// Writes an equality delete file with the partition spec `spec_id`. Each row deletes the rows with the same values
/// in `columns`.
async fn delete_file(table: &Table, columns: &[&str], spec_id: i32, partition: Struct, rows: &[&str]) -> File {
    let metadata = table.metadata();
    let ids = columns.iter().map(|column| table.schema().field_id_by_name(column).unwrap()).collect();
    let config = EqualityDeleteWriterConfig::new(ids, table.schema().clone()).unwrap();
    let schema = Arc::new(arrow_schema_to_schema(config.projected_arrow_schema_ref()).unwrap());
    #[expect(clippy::default_trait_access, reason = "the crate of the type is not a dependency here")]
    let writer = RollingFileWriterBuilder::new_with_default_file_size(
        ParquetWriterBuilder::new(Default::default(), schema),
        table.iceberg().file_io().clone(),
        DefaultLocationGenerator::new(metadata).unwrap(),
        DefaultFileNameGenerator::new(format!("equality-{}", Uuid::new_v4()), None, DataFileFormat::Parquet),
    );
    let spec = metadata.partition_spec_by_id(spec_id).unwrap();
    let key =
        (!spec.is_unpartitioned()).then(|| PartitionKey::new(spec.as_ref().clone(), table.schema().clone(), partition));
    let mut writer = EqualityDeleteFileWriterBuilder::new(writer, config).build(key).await.unwrap();
    writer.write(lines(table, rows)).await.unwrap();
    let data = writer.close().await.unwrap().remove(0);
    File { data, spec_id }
}

/// Returns a change with an equality delete file and new rows, like a Flink checkpoint.
async fn checkpoint(table: &Table, columns: &[&str], deleted: &[&str], added: &[&str]) -> Change {
    let mut change = table.append(lines(table, added)).await.unwrap();
    let spec_id = table.metadata().default_partition_spec_id();
    change.add.push(delete_file(table, columns, spec_id, Struct::empty(), deleted).await);
    change.operation = Operation::Overwrite;
    change
}

async fn delete(world: &World, table: &Table, columns: &[&str], deleted: &[&str]) -> Table {
    checkpoint(table, columns, deleted, &[]).await.commit(&world.lake).await.unwrap().table
}

/// Checks the rows and all counts, and that a scan is correct if it does not select the columns that the deletes
/// compare.
async fn check(table: &Table, expected: &[&str]) {
    let (mut found, mut wanted) = (rows_of(table).await, expected.to_vec());
    found.sort();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    let rows = expected.len() as u64;
    assert_eq!(table.count().await.unwrap(), rows);
    assert_eq!(table.scan().filter(Filter::ge("id", 0)).count().await.unwrap(), rows);
    let scan = table.scan().columns(["day"]).collect().await.unwrap();
    assert!(scan.iter().all(|batch| batch.num_columns() == 1));
    assert_eq!(scan.iter().map(RecordBatch::num_rows).sum::<usize>(), expected.len());
}

/// Returns the rows of a SQL query, one line per row.
async fn query(world: &World, sql: &str) -> Vec<String> {
    let (lake, place) = (world.lake.clone(), world.folder.path().display().to_string());
    let opened = async move { Ok(Opened { lake, place }) };
    let lake = SqlLake::open(SqlLimits::default(), opened).await.unwrap();
    let answer = lake.query(Query::new(sql, QueryLimits::default()), CancellationToken::new()).await.unwrap();
    let answer = collect_answer(answer, Instant::now()).await.unwrap();
    let text = |cell: &serde_json::Value| cell.as_str().map_or_else(|| cell.to_string(), Into::into);
    answer.rows.iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join(" ")).collect()
}

#[tokio::test]
async fn a_delete_applies_to_the_rows_before_it_and_to_no_later_ones() {
    let world = world().await;
    let empty = world.table("retail.orders", definition()).await;
    let before = append(&world, &empty, &["1 CA", "2 NY", "3 TX"]).await;
    let change = checkpoint(&before, &["id"], &["1", "2", "8"], &["1 WA"]).await;
    let table = change.commit(&world.lake).await.unwrap().table;
    check(&table, &["1 WA - -", "3 TX - -"]).await;
    let table = append(&world, &table, &["2 OR", "8 OR"]).await;
    check(&table, &["1 WA - -", "2 OR - -", "3 TX - -", "8 OR - -"]).await;

    let past = before.current_snapshot().unwrap().snapshot_id();
    let past = table.scan().at(At::Snapshot(past)).count().await.unwrap();
    assert_eq!(past, 3, "a snapshot before the delete has all rows");
    assert_eq!(query(&world, "select count(*) from retail.orders").await, ["4"]);
    assert_eq!(query(&world, "select state from retail.orders order by id").await, ["WA", "OR", "TX", "OR"]);
    assert_eq!(query(&world, "select id from retail.orders where state < 'W' order by id").await, ["2", "3", "8"]);
    assert_eq!(query(&world, "select id from retail.orders where state = 'CA' limit 5").await, [""; 0]);
}

/// A null in the delete matches only null, and a value matches no null.
#[tokio::test]
async fn null_equals_null_and_nothing_else() {
    let world = world().await;
    let empty = world.table("retail.orders", definition()).await;
    let table = append(&world, &empty, &["1 CA", "2 -", "3 TX"]).await;
    let without_value = delete(&world, &table, &["state"], &["7 CA"]).await;
    check(&without_value, &["2 - - -", "3 TX - -"]).await;
    assert_eq!(query(&world, "select id from retail.orders order by id").await, ["2", "3"]);
    let without_null = delete(&world, &without_value, &["state"], &["7 -"]).await;
    check(&without_null, &["3 TX - -"]).await;
    assert_eq!(query(&world, "select id from retail.orders order by id").await, ["3"]);
}

#[tokio::test]
async fn a_delete_by_two_columns_compares_both() {
    let world = world().await;
    let empty = world.table("retail.orders", definition()).await;
    let table = append(&world, &empty, &["1 CA", "1 NY", "1 -", "2 CA", "2 -"]).await;
    let table = delete(&world, &table, &["id", "state"], &["1 CA", "2 -", "3 NY"]).await;
    check(&table, &["1 NY - -", "1 - - -", "2 CA - -"]).await;
    // Deletes by other columns apply to the same files.
    let table = delete(&world, &table, &["state"], &["0 NY"]).await;
    check(&table, &["1 - - -", "2 CA - -"]).await;
    assert_eq!(query(&world, "select id from retail.orders where state is null").await, ["1"]);
}

/// Files that are older than a column contain only nulls in it.
#[tokio::test]
async fn a_delete_by_a_column_that_older_files_lack_keeps_their_rows() {
    let world = world().await;
    let empty = world.table("retail.orders", definition()).await;
    let table = append(&world, &empty, &["1 CA", "2 NY"]).await;
    let code = Columns::new().add("code", Type::Primitive(PrimitiveType::Int));
    let table = world.lake.evolve(table.name(), code).await.unwrap();
    let table = append(&world, &table, &["3 CA - - 5", "4 CA - - 6"]).await;
    let table = delete(&world, &table, &["code"], &["0 - - - 5"]).await;
    check(&table, &["1 CA - - -", "2 NY - - -", "4 CA - - 6"]).await;
    // The column gets a wider type and another name.
    let wider = Columns::new().widen("code", PrimitiveType::Long).rename("code", "number");
    let table = world.lake.evolve(table.name(), wider).await.unwrap();
    let table = append(&world, &table, &["5 CA - - 5"]).await;
    check(&table, &["1 CA - - -", "2 NY - - -", "4 CA - - 6", "5 CA - - 5"]).await;
    assert_eq!(query(&world, "select count(id) from retail.orders").await, ["4"]);
    let table = delete(&world, &table, &["number"], &["0 - - - -"]).await;
    check(&table, &["4 CA - - 6", "5 CA - - 5"]).await;
}

#[tokio::test]
async fn a_delete_in_a_partition_applies_to_that_partition() {
    let world = world().await;
    let empty = world.table("retail.orders", by_state()).await;
    let table = append(&world, &empty, &["1 CA", "1 NY", "1 -", "2 CA", "2 -"]).await;
    let spec_id = table.metadata().default_partition_spec_id();
    let mut change = table.append(lines(&table, &[])).await.unwrap();
    for (state, id) in [(Some("CA"), "1"), (None, "2")] {
        let partition = Struct::from_iter([state.map(Literal::string)]);
        change.add.push(delete_file(&table, &["id"], spec_id, partition, &[id]).await);
    }
    let table = change.commit(&world.lake).await.unwrap().table;
    check(&table, &["1 NY - -", "1 - - -", "2 CA - -"]).await;
    assert_eq!(query(&world, "select count(*) from retail.orders where id = 1").await, ["2"]);

    // Compacting one partition keeps the deletes of the others.
    let change = table.overwrite_partitions(lines(&table, &["5 CA"])).await.unwrap();
    assert_eq!(change.remove.len(), 2, "the file of the partition and its deletes");
    let table = change.commit(&world.lake).await.unwrap().table;
    check(&table, &["1 NY - -", "1 - - -", "5 CA - -"]).await;
}

/// A delete of an unpartitioned spec applies to all partitions.
#[tokio::test]
async fn a_delete_without_a_partition_applies_to_all_partitions() {
    let world = world().await;
    let empty = world.table("retail.orders", definition()).await;
    let unpartitioned = empty.metadata().default_partition_spec_id();
    let partition = Partition::none().by("state", Transform::Identity);
    let table = world.lake.evolve(empty.name(), partition).await.unwrap();
    let table = append(&world, &table, &["1 CA", "1 NY", "2 CA"]).await;
    let mut change = table.append(lines(&table, &[])).await.unwrap();
    change.add.push(delete_file(&table, &["id"], unpartitioned, Struct::empty(), &["1"]).await);
    let table = change.commit(&world.lake).await.unwrap().table;
    check(&table, &["2 CA - -"]).await;
    assert_eq!(query(&world, "select id from retail.orders").await, ["2"]);
}

#[tokio::test]
async fn writes_of_orch_after_a_delete_keep_its_rows_deleted() {
    for mode in ["copy-on-write", "merge-on-read"] {
        let world = world().await;
        let empty = world.table("retail.orders", definition().property("write.merge.mode", mode)).await;
        let table = append(&world, &empty, &["1 CA", "2 -", "3 TX", "4 NY", "5 -"]).await;
        let table = delete(&world, &table, &["state"], &["0 CA"]).await;
        // An upsert inserts a deleted key again, replaces an existing one and keeps the other rows.
        let change = table.upsert(&["id"], lines(&table, &["1 WA", "3 WA"])).await.unwrap();
        let table = change.commit(&world.lake).await.unwrap().table;
        check(&table, &["1 WA - -", "2 - - -", "3 WA - -", "4 NY - -", "5 - - -"]).await;
        let change = table.delete(Filter::eq("id", 4)).await.unwrap();
        let table = change.commit(&world.lake).await.unwrap().table;
        check(&table, &["1 WA - -", "2 - - -", "3 WA - -", "5 - - -"]).await;
        let change = table.overwrite(Filter::is_null("state"), lines(&table, &["6 -"])).await.unwrap();
        let table = change.commit(&world.lake).await.unwrap().table;
        check(&table, &["1 WA - -", "3 WA - -", "6 - - -"]).await;
    }
}

#[tokio::test]
async fn compaction_applies_deletes_and_expiry_removes_their_files() {
    let world = world().await;
    let empty = world.table("retail.orders", definition()).await;
    let table = append(&world, &empty, &["1 CA", "2 -", "3 TX"]).await;
    let table = delete(&world, &table, &["state"], &["0 CA"]).await;
    let table = append(&world, &table, &["4 CA", "5 -"]).await;
    let left = ["2 - - -", "3 TX - -", "4 CA - -", "5 - - -"];
    check(&table, &left).await;
    let done = world.lake.compact(table.name(), &Compaction::new().min_files(2)).await.unwrap();
    assert_eq!((done.files_before, done.files_after, done.deletes), (2, 1, 1));
    let table = table.refresh().await.unwrap();
    check(&table, &left).await;
    assert!(table.files(&At::Now).await.unwrap().files.iter().all(|file| file.deletes.is_empty()));
    assert_eq!(query(&world, "select count(*) from retail.orders").await, ["4"]);

    assert_eq!(world.files(".parquet"), 4);
    let later = DateTime::from_timestamp(4_000_000_000, 0).unwrap();
    let expiry = Expiry::new().keep_last(1).older_than(later).nobody_reads();
    world.lake.expire(table.name(), &expiry, later).await.unwrap();
    assert_eq!(world.files(".parquet"), 1, "the data files, and the file with the deletes");
    check(&table.refresh().await.unwrap(), &left).await;
}

/// An expiry keeps the delete file of an expired snapshot while a data file needs it.
#[tokio::test]
async fn a_delete_outlives_the_snapshot_that_added_it() {
    let world = world().await;
    let empty = world.table("retail.orders", definition()).await;
    let table = append(&world, &empty, &["1 CA", "2 NY"]).await;
    let table = delete(&world, &table, &["id"], &["1"]).await;
    let table = append(&world, &table, &["1 TX"]).await;
    let later = DateTime::from_timestamp(4_000_000_000, 0).unwrap();
    let expiry = Expiry::new().keep_last(1).older_than(later).nobody_reads();
    world.lake.expire(table.name(), &expiry, later).await.unwrap();
    world.lake.merge_manifests(table.name()).await.unwrap();
    check(&table.refresh().await.unwrap(), &["1 TX - -", "2 NY - -"]).await;
}

#[tokio::test]
async fn a_delete_that_another_writer_commits_meanwhile_is_not_lost() {
    let world = world().await;
    let empty = world.table("retail.orders", definition()).await;
    let table = append(&world, &empty, &["1 CA", "2 NY"]).await;
    let table = append(&world, &table, &["3 TX"]).await;
    let compaction = table.compact(&Compaction::new().min_files(2)).await.unwrap();
    let upsert = table.upsert(&["id"], lines(&table, &["1 WA"])).await.unwrap();
    let append = table.append(lines(&table, &["2 OR"])).await.unwrap();
    delete(&world, &table, &["id"], &["1", "2"]).await;
    for change in [compaction, upsert] {
        let refused = change.commit(&world.lake).await.unwrap_err();
        assert!(matches!(&refused, LakeError::Conflict { why, .. } if why.contains("were deleted")), "{refused}");
    }
    let table = append.commit(&world.lake).await.unwrap().table;
    check(&table, &["2 OR - -", "3 TX - -"]).await;

    // A merge-on-read upsert replaces no data file, so it does not conflict with the delete, and its row is newer
    // than the delete.
    let noted = Properties::new().set("write.merge.mode", "merge-on-read");
    let table = world.lake.evolve(table.name(), noted).await.unwrap();
    let table = self::append(&world, &table, &["4 CA", "5 CA"]).await;
    let upsert = table.upsert(&["id"], lines(&table, &["4 WA"])).await.unwrap();
    delete(&world, &table, &["id"], &["4", "5"]).await;
    let table = upsert.commit(&world.lake).await.unwrap().table;
    check(&table, &["2 OR - -", "3 TX - -", "4 WA - -"]).await;
}

/// A scan with little memory for keys reads its files several times, and still returns each row once.
#[tokio::test]
async fn more_keys_than_a_scan_may_hold_delete_the_same_rows() {
    let world = world().await;
    let empty = world.table("retail.orders", definition()).await;
    let numbered = |ids: Range<i32>, state: &str| ids.map(|id| format!("{id} {state}{}", id % 50)).collect::<Vec<_>>();
    let add = async |table: &Table, rows: &[String]| {
        append(&world, table, &rows.iter().map(String::as_str).collect::<Vec<_>>()).await
    };
    let remove = async |table: &Table, columns: &[&str], rows: &[String]| {
        delete(&world, table, columns, &rows.iter().map(String::as_str).collect::<Vec<_>>()).await
    };
    let table = add(&empty, &numbered(0..400, "s")).await;
    let table = remove(&table, &["id"], &numbered(100..300, "s")).await;
    let table = remove(&table, &["state"], &numbered(0..20, "s")).await;
    let table = add(&table, &numbered(400..500, "t")).await;
    let table = remove(&table, &["id"], &numbered(390..410, "s")).await;
    // No equality delete applies to the last file.
    let table = add(&table, &numbered(500..510, "s")).await;
    let is_deleted = |id: i32| (100..300).contains(&id) || (390..410).contains(&id) || id < 400 && id % 50 < 20;
    let expected: Vec<i64> = (0..510).filter(|id| !is_deleted(*id)).map(i64::from).collect();
    for keys in [1_000, 239, 100, 25] {
        let rows = table.scan().columns(["id"]).max_key_bytes(keys * 60).collect().await.unwrap();
        let ids = rows.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
        let mut found: Vec<i64> = ids.collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{keys} keys");
    }
    let refused = table.scan().max_key_bytes(0).collect().await.unwrap_err().to_string();
    assert!(refused.starts_with("the equality deletes of table `retail.orders` have too many keys"), "{refused}");
}

#[tokio::test]
async fn a_delete_by_a_dropped_column_is_refused_with_its_file_and_table() {
    let world = world().await;
    let empty = world.table("retail.orders", definition()).await;
    let table = append(&world, &empty, &["1 CA", "2 NY"]).await;
    let table = delete(&world, &table, &["state"], &["0 CA"]).await;
    let file = table.files(&At::Now).await.unwrap().files[0].deletes[0].path().to_owned();
    let table = world.lake.evolve(table.name(), Columns::new().drop("state")).await.unwrap();
    let refused = table.scan().collect().await.unwrap_err().to_string();
    assert!(refused.starts_with(&format!("equality delete file `{file}` of table `retail.orders`")), "{refused}");
    assert!(table.count().await.is_err());
    let compacted = world.lake.compact(table.name(), &Compaction::new().min_files(2)).await;
    assert!(matches!(compacted, Err(LakeError::Input { .. })), "{compacted:?}");
}
