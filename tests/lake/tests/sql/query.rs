//! Results of queries, and the number of files that they open.

use crate::world::{World, commit, named, orders};
use iceberg::TableUpdate;
use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention};
use orch_lake::{Change, Filter};
use orch_store::lake_view::LakeError;
use orch_test_lake::snapshot_naming;
use serde_json::json;

#[tokio::test]
async fn sums_are_exact_to_the_cent() {
    let world = World::with_orders().await;
    // The ids 0 to 899 are divided evenly among three states: 300 orders each, with 0 + 3 + … + 897 = 134,550 cents
    // in the first state, and 300 and 600 cents more in the other two.
    let by_state = "select state, count(*), sum(amount), min(day), max(id) from retail.orders group by 1 order by 1";
    assert_eq!(
        world.lines(by_state).await,
        ["CA 300 1345.50 2013-10-22 897", "NY 300 1348.50 2013-10-22 898", "TX 300 1351.50 2013-10-22 899"]
    );
    let joined = "select count(*) from retail.orders a join retail.orders b on a.id = b.id + 1 where a.state = 'NY'";
    assert_eq!(world.lines(joined).await, ["300"]);
    let ranked = "select id, rank() over (partition by state order by amount desc) r from retail.orders \
                  qualify r = 1 order by id";
    assert_eq!(world.lines(ranked).await, ["897 1", "898 1", "899 1"]);
    let nested = "with big as (select * from retail.orders where amount > 8.90) \
                  select state, avg(amount) from big group by state having count(*) > 2 order by 1";
    assert_eq!(world.lines(nested).await.len(), 3);
    assert_eq!(world.lines("select count(distinct state), sum(id) from orders").await, ["3 404550"]);
}

#[tokio::test]
async fn values_come_as_sql_writes_them() {
    let world = World::with_orders().await;
    let answer = world.ask("select id, state, day, amount, null as nothing from retail.orders where id = 123").await;
    let answer = answer.expect("it is there");
    assert_eq!(answer.rows, [vec![json!(123), json!("CA"), json!("2013-11-03"), json!("1.23"), json!(null)]]);
    let types: Vec<_> = answer.columns.iter().map(|column| column.data_type.as_str()).collect();
    assert_eq!(types, ["bigint", "varchar", "date", "decimal(10, 2)", "null"]);
}

#[tokio::test]
async fn files_that_cannot_hold_a_row_of_the_answer_are_not_opened() {
    let world = World::with_orders().await;
    let table = world.lake.table(&named("retail.orders")).await.expect("it is there");
    commit(&world.lake, &table, orders(900..1_800)).await;
    for (condition, files, rows) in [
        ("true", 6, 1_800),
        ("state = 'TX'", 2, 600),
        ("state in ('TX', 'CA')", 4, 1_200),
        ("id >= 900", 3, 900),
        ("id between 899 and 900", 2, 2),
        ("day < date '2013-10-23'", 3, 10),
        ("state = 'CA' and amount > 17.00", 1, 33),
        ("state like 'T%'", 2, 600),
        ("state = 'WA'", 0, 0),
        ("state is null", 0, 0),
    ] {
        let answer = world.ask(&format!("select id from retail.orders where {condition}")).await;
        let answer = answer.unwrap_or_else(|error| panic!("{condition}: {error}"));
        // The result is cut after 1,000 rows, but all matching files are opened.
        assert_eq!((answer.rows.len(), answer.seen.of_files), (rows.min(1_000), 6), "{condition}");
        assert_eq!(answer.seen.files, files, "{condition}");
    }
    let plan = world.lines("explain select sum(amount) from retail.orders where state = 'NY' and id < 100").await;
    let plan = plan.join("\n");
    assert!(plan.contains("files=1/6") && plan.contains("columns=[id, state, amount]"), "{plan}");
    // Manifests contain row counts, so no file needs to be opened.
    let plan = world.lines("explain select count(*) from retail.orders").await.join("\n");
    assert!(!plan.contains("files=6/6, snapshot") || plan.contains("PlaceholderRowExec"), "{plan}");
    assert_eq!(world.lines("select count(*) from retail.orders").await, ["1800"]);
    // The first file contains enough rows.
    assert_eq!(world.ask("select * from retail.orders limit 5").await.expect("five").seen.files, 1);
}

#[tokio::test]
async fn deleted_rows_are_gone_from_answers_and_counts() {
    let world = World::with_orders().await;
    let table = world.lake.table(&named("retail.orders")).await.expect("it is there");
    let change = table.delete(Filter::lt("id", 10)).await.expect("they are found");
    let table = change.commit(&world.lake).await.expect("it is committed").table;
    assert_eq!(world.lines("select count(*), min(id) from retail.orders").await, ["890 10"]);
    assert_eq!(world.lines("select count(*) from retail.orders").await, ["890"]);
    let newer = orders(5..15);
    let change = table.upsert(&["id"], newer).await.expect("it is written");
    change.commit(&world.lake).await.expect("it is committed");
    assert_eq!(world.lines("select count(*), min(id), sum(id) from retail.orders").await, ["895 5 404540"]);
}

#[tokio::test]
async fn whatever_would_change_something_or_leave_the_lake_is_refused() {
    let world = World::with_orders().await;
    for sql in [
        "delete from retail.orders",
        "insert into retail.orders (id) values (1)",
        "drop table retail.orders",
        "create external table x stored as parquet location '/tmp'",
        "create view v as select 1",
        "copy (select 1) to '/tmp/x.csv'",
        "set datafusion.execution.target_partitions = 64",
        "explain analyze delete from retail.orders",
    ] {
        let error = world.refused(sql).await;
        assert!(matches!(&error, LakeError::Refused(text) if text.contains("may only read")), "{sql}: {error}");
    }
    for sql in [
        "select * from '/etc/passwd'",
        "select * from \"/etc/passwd\"",
        "select * from read_csv('/etc/passwd')",
        "select * from parquet_metadata('/x')",
        "select * from pg_catalog.pg_shadow",
    ] {
        let error = world.refused(sql).await;
        assert!(matches!(error, LakeError::Refused(_) | LakeError::NotFound(_)), "{sql}: {error}");
    }
    assert_eq!(world.lines("select count(*) from retail.orders").await, ["900"]);
}

#[tokio::test]
async fn mistakes_are_told_with_what_was_meant() {
    let world = World::with_orders().await;
    for (sql, words) in [
        ("select * from retail.oders", "did you mean `retail.orders`"),
        ("select * from retial.orders", "retial"),
        ("select stat from retail.orders", "stat"),
        ("select sum(state) from retail.orders", "sum"),
        ("select 1 +", "Expected"),
        ("select * from retail.\"orders$stuff\"", "$snapshots"),
        ("select 1 / 0", "ivide by zero"),
    ] {
        let error = world.refused(sql).await.to_string();
        assert!(error.contains(words), "{sql}: {error}");
        assert!(!error.contains("DataFusion") && !error.contains("backtrace"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn tables_are_listed_and_described() {
    let world = World::with_orders().await;
    let tables = world.lines("show tables").await;
    assert!(tables.iter().any(|line| line.starts_with("lake retail orders")), "{tables:?}");
    let columns = world.lines("describe retail.orders").await;
    assert_eq!(
        columns.iter().filter_map(|line| line.split(' ').next()).collect::<Vec<_>>(),
        ["id", "state", "day", "amount"]
    );
    for (sql, lines) in [
        ("SHOW CATALOGS", &["iceberg", "lake"][..]),
        ("SHOW SCHEMAS", &["retail"]),
        ("SHOW SCHEMAS FROM iceberg LIKE 'x%'", &[]),
        ("SHOW TABLES FROM iceberg.retail", &["orders"]),
        ("SHOW TABLES FROM retail LIKE 'o%'", &["orders"]),
        ("SELECT count(iceberg.retail.orders.id) FROM iceberg.retail.orders", &["900"]),
        ("SELECT count(*) FROM iceberg.retail.orders a JOIN lake.retail.orders b ON a.id = b.id", &["900"]),
        // Both names refer to the same lake, so the table is listed once.
        ("SELECT count(*) FROM iceberg.information_schema.tables WHERE table_name = 'orders'", &["1"]),
    ] {
        assert_eq!(world.lines(sql).await, lines, "{sql}");
    }
    assert_eq!(world.ask("SHOW TABLES FROM iceberg.retail").await.expect("an answer").columns[0].name, "Table");
    let error = world.refused("SHOW TABLES FROM iceberg.retial").await.to_string();
    assert!(error.contains("no schema `retial`") && error.contains("`show schemas`"), "{error}");
    let sql = "select column_name from information_schema.columns where table_name = 'orders' order by 1";
    assert_eq!(world.lines(sql).await, ["amount", "day", "id", "state"]);
}

#[tokio::test]
async fn an_empty_table_has_no_rows_and_all_columns() {
    let world = World::with_orders().await;
    world.lake.create(&named("retail.empty"), &crate::world::definition()).await.expect("it is made");
    let answer = world.ask("select * from retail.empty").await.expect("an answer");
    assert_eq!((answer.rows.len(), answer.columns.len()), (0, 4));
    assert_eq!(world.lines("select count(*) from retail.empty").await, ["0"]);
}

#[tokio::test]
async fn a_file_outside_of_the_warehouse_is_not_read() {
    let world = World::with_orders().await;
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    for path in [format!("{}/secret.parquet", elsewhere.path().display()), "s3://another/secret.parquet".into()] {
        let name = format!("retail.{}", if path.starts_with("s3") { "bucket" } else { "folder" });
        let definition = orch_lake::TableDef::new().optional("id", iceberg::spec::PrimitiveType::Long);
        let table = world.lake.create(&named(&name), &definition).await.expect("the table is made");
        let snapshot = snapshot_naming(&table, &path).await;
        let retention =
            SnapshotRetention::Branch { min_snapshots_to_keep: None, max_snapshot_age_ms: None, max_ref_age_ms: None };
        let reference = SnapshotReference { snapshot_id: snapshot.snapshot_id(), retention };
        let updates = vec![
            TableUpdate::AddSnapshot { snapshot },
            TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.into(), reference },
        ];
        let change = Change::of_metadata(&table, updates, Vec::new());
        change.commit(&world.lake).await.expect("a client commits it");
        for sql in [format!("select id from {name}"), format!("select max(id) from {name} where id > 0")] {
            let refused = world.refused(&sql).await;
            let LakeError::Refused(text) = &refused else { panic!("{refused:?}") };
            assert!(text.contains(&path) && text.contains(&name), "{text}");
        }
    }
}
