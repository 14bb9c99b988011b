//! Runs the examples of `docs/guides/lake-tables.md`. The Rust examples are copied here and compared with the guide.
//! The Python example is read from the guide, and reads the table that the Rust examples create.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]
#![expect(clippy::needless_borrow, clippy::redundant_closure_for_method_calls, reason = "as the guide reads best")]

use std::process::Command;

use iceberg::spec::{PrimitiveType, Transform, Type};
use orch_lake::bucket::Options;
use orch_lake::table::At;
use orch_lake::table::evolve::{Columns, Naming, Partition, Properties, Retention};
use orch_lake::table::maintain::{Compaction, Expiry, Orphans};
use orch_lake::{Filter, Lake, LakeConfig, TableDef, TableName};
use orch_sdk::task::Connection;
use orch_test_lake::rows::{batch, row};
use orch_test_support::TestDb;
use orch_test_support::guide::{examples, guide, words};

const THIS: &str = include_str!("guide.rs");

#[test]
fn the_examples_of_the_guide_are_the_ones_that_run() {
    let examples = examples(&guide("lake-tables"), "rust");
    assert!(examples.len() > 6);
    let here = words(THIS);
    for (_, example) in examples {
        assert!(here.contains(&words(&example)), "this example does not run:\n{example}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_guide_do_what_they_say() {
    let db = TestDb::new(&orch_store::MIGRATOR).await;
    let folder = tempfile::Builder::new().prefix("orch-lake-").tempdir().unwrap();
    let warehouse = format!("file://{}", folder.path().display());
    let config = LakeConfig::of(&connection(&db, &warehouse), &Options::default()).unwrap();
    let names = catalogs_of_spark();
    assert!(names.len() > 6 && names.iter().all(|name| *name == config.name), "{names:?}");
    follow(&Lake::open(config).unwrap()).await.unwrap();

    let script = examples(&guide("lake-tables"), "python").into_iter().map(|(_, example)| example).collect::<String>();
    // The retail pipeline, which creates the table of the guide, does not run here.
    let script = script.replace("retail.orders_fact", "shop.orders");
    let uri = orch_test_lake::pyiceberg::uri(&db.url());
    let mut command = Command::new(orch_test_support::data_python());
    command.args(["-c", &script]).env("LAKE_URI", uri).env("LAKE_WAREHOUSE", &warehouse);
    let ended = command.output().unwrap();
    let said = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert_eq!(said.0.trim(), "3", "{}", said.1);
}

/// Returns the connection `lake` as an installation has it, without the name of a catalog.
fn connection(db: &TestDb, warehouse: &str) -> Connection {
    let mut connection = Connection::from_uri("lake", &db.url()).unwrap();
    connection.extra.insert("warehouse".into(), warehouse.into());
    connection
}

/// Returns the name of the catalog in each Spark setting.
fn catalogs_of_spark() -> Vec<String> {
    let settings = examples(&guide("lake-tables"), "properties").into_iter().map(|(_, example)| example);
    let settings = settings.collect::<String>();
    let name = |line: &str| {
        let key = line.split('=').next().unwrap();
        let rest = key.strip_prefix("spark.sql.catalog.").unwrap();
        rest.split('.').next().unwrap().to_owned()
    };
    settings.lines().map(name).collect()
}

async fn follow(lake: &Lake) -> anyhow::Result<()> {
    let columns = ["order_id", "status", "amount", "ordered_on"];
    let texts = ["1 PENDING 10.00 2025-01-02", "2 CLOSED 20.00 2025-01-03", "3 PENDING - 2025-01-04"];
    let batch = batch(&columns, &texts.iter().map(|text| row(text)).collect());
    let now = chrono::DateTime::from_timestamp(4_000_000_000, 0).unwrap();

    let orders: TableName = "shop.orders".parse()?;
    let definition = TableDef::new()
        .required("order_id", PrimitiveType::Long)
        .optional("status", PrimitiveType::String)
        .optional("amount", PrimitiveType::Decimal { precision: 12, scale: 2 })
        .optional("ordered_on", PrimitiveType::Date)
        .key(["order_id"])
        .partition("ordered_on", Transform::Month);
    let table = lake.ensure(&orders, &definition).await?;

    table.append(batch.clone()).await?.commit(&lake).await?;

    let january = Filter::ge("ordered_on", "2025-01-01").and(Filter::lt("ordered_on", "2025-02-01"));
    let table = table.refresh().await?;
    table.overwrite(january, batch.clone()).await?.commit(&lake).await?;

    let table = table.refresh().await?;
    let open = table.scan().columns(["order_id"]).filter(Filter::eq("status", "PENDING")).collect().await?;
    assert_eq!(open.iter().map(|batch| batch.num_rows()).sum::<usize>(), 2);

    lake.evolve(&orders, Naming::Tag { name: "closed-2025-01".into(), at: At::Now, retention: Retention::default() })
        .await?;
    let table = table.refresh().await?;
    let closed = table.scan().at(At::Ref("closed-2025-01".into())).collect().await?;
    assert_eq!(closed.iter().map(|batch| batch.num_rows()).sum::<usize>(), 3);

    let columns = Columns::new()
        .add("note", Type::Primitive(PrimitiveType::String))
        .rename("status", "order_status")
        .widen("amount", PrimitiveType::Decimal { precision: 18, scale: 2 });
    lake.evolve(&orders, columns).await?;
    lake.evolve(&orders, Partition::none().by("ordered_on", Transform::Day)).await?;
    lake.evolve(&orders, Properties::new().set("write.target-file-size-bytes", "134217728")).await?;

    let texts = ["4 PENDING 4.00 2025-02-01 -", "5 - - - -", "6 - 6.00 2025-02-02 late"];
    let names = ["order_id", "order_status", "amount", "ordered_on", "note"];
    let more = orch_test_lake::rows::batch(&names, &texts.iter().map(|text| row(text)).collect());
    let audit = Naming::Branch { name: "audit".into(), at: At::Now, retention: Retention::default() };
    let table = lake.evolve(&orders, audit).await?;
    let written = table.append(more.clone()).await?.onto("audit").commit(&lake).await?;
    let audited = written.table.scan().at(At::Ref("audit".into())).count().await?;
    if audited == 6 {
        lake.evolve(&orders, Naming::FastForward { branch: "main".into(), to: "audit".into() }).await?;
    }
    lake.evolve(&orders, Naming::Drop { name: "audit".into() }).await?;

    let compacted = lake.compact(&orders, &Compaction::new().min_files(2)).await?;
    let merged = lake.merge_manifests(&orders).await?;
    let expired = lake.expire(&orders, &Expiry::new().keep_last(3), now).await?;
    let removed = lake.remove_orphans(&orders, &Orphans::new(), now).await?;
    let statistics = lake.table(&orders).await?.statistics().await?;
    assert!(compacted.files_before > 0 && merged.after < merged.before, "{compacted:?} {merged:?}");
    assert!(!expired.snapshots.is_empty() && expired.files > 0 && removed.files == 0, "{expired:?} {removed:?}");
    assert_eq!(statistics.partitions.iter().map(|partition| partition.rows).sum::<u64>(), 6);
    assert_eq!(lake.table(&orders).await?.count().await?, 6);
    Ok(())
}
