//! Tests orch with catalogs of other projects: every table operation works there, and PyIceberg reads and writes the
//! same tables. The servers are large, so only `make torture` runs these tests.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

use iceberg::spec::PrimitiveType;
use orch_lake::bucket::Options;
use orch_lake::{Batches, Lake, TableDef, TableName};
use orch_sdk::task::Connection;
use orch_test_lake::pyiceberg::{PyIceberg, pyiceberg_writes};
use orch_test_lake::steps::{History, Shared, lines, orch_writes};
use orch_test_support::{HiveMetastore, IcebergCatalog, Moto, Nessie, NessieStorage};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const BUCKET: &str = "lakehouse";
const REGION: &str = "us-east-1";
const KEYS: (&str, &str) = ("test-key", "test-secret");
const WRITERS: i64 = 4;
const ROWS_EACH: i64 = 4;

/// Storage options for a bucket in moto.
fn options(moto: &Moto) -> Options {
    Options {
        endpoint: Some(moto.endpoint()),
        region: Some(REGION.into()),
        access_key: Some(KEYS.0.into()),
        secret_key: Some(KEYS.1.into()),
        ..Options::default()
    }
}

/// The same options under the names of PyIceberg and the reference server.
fn properties(endpoint: &str) -> [(&str, &str); 5] {
    [
        ("s3.endpoint", endpoint),
        ("s3.path-style-access", "true"),
        ("s3.access-key-id", KEYS.0),
        ("s3.secret-access-key", KEYS.1),
        ("client.region", REGION),
    ]
}

/// Checks that orch and PyIceberg work with the catalog at this address as the guide says. Returns the lake.
async fn works(uri: &str, storage: Option<&Moto>, history: History) -> Lake {
    let connection = json!({ "conn_type": "iceberg", "host": uri });
    let connection = Connection::parse("lake", &connection.to_string()).unwrap();
    let lake = Lake::of(&connection, &storage.map(options).unwrap_or_default()).unwrap();
    let mut catalog = json!({ "type": "rest", "uri": uri });
    let endpoint = storage.map(Moto::endpoint);
    for (name, value) in endpoint.iter().flat_map(|endpoint| properties(endpoint)) {
        catalog[name] = Value::from(value);
    }
    let mut python = PyIceberg::open_with("others", &catalog);
    let mut shared = Shared { lake: &lake, reader: &mut python, name: "retail.orders".parse().unwrap() };
    orch_writes(&mut shared, history).await;

    shared.name = "outside.orders".parse().unwrap();
    pyiceberg_writes(&mut shared, history).await;

    lake.rename(&"retail.orders".parse().unwrap(), &"retail.kept".parse().unwrap()).await.unwrap();
    let tables = lake.tables(Some("retail")).await.unwrap();
    assert_eq!(tables.iter().map(TableName::name).collect::<Vec<_>>(), ["kept"]);
    assert!(lake.drop(&tables[0]).await.unwrap() && lake.tables(Some("retail")).await.unwrap().is_empty());
    lake
}

/// Checks that concurrent appends lose no row. The table must not be empty: Nessie accepts all commits to an empty
/// table and keeps only the last.
async fn many_write(lake: &Lake) {
    let name: TableName = "retail.counted".parse().unwrap();
    lake.create(&name, &TableDef::new().required("id", PrimitiveType::Long)).await.unwrap();
    append(lake, &name, -1).await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (lake, name) = (lake.clone(), name.clone());
        writers.spawn(async move {
            for row in 0..ROWS_EACH {
                append(&lake, &name, writer * ROWS_EACH + row).await;
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let table = lake.table(&name).await.unwrap();
    assert_eq!(i64::try_from(table.count().await.unwrap()).unwrap(), WRITERS * ROWS_EACH + 1);
}

async fn append(lake: &Lake, name: &TableName, id: i64) {
    let rows = Batches::from(lines("id", &[&id.to_string()]));
    let change = lake.table(name).await.unwrap().append(rows).await.unwrap();
    change.commit(lake).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nessie_keeps_the_tables_of_orch() {
    let moto = Moto::start(BUCKET);
    let warehouse = format!("s3://{BUCKET}/nessie");
    let nessie = Nessie::start(NessieStorage { warehouse: &warehouse, endpoint: &moto.endpoint(), keys: KEYS }).await;
    many_write(&works(&nessie.uri(), Some(&moto), History::InCatalog).await).await;
}

/// Orch and PyIceberg use REST with a bridge, which uses Thrift with the metastore.
#[tokio::test(flavor = "multi_thread")]
async fn hive_metastore_keeps_the_tables_of_orch() {
    let hive = HiveMetastore::start().await;
    let (uri, warehouse) = (hive.uri(), format!("file:{}", hive.warehouse().display()));
    let properties =
        [("catalog-impl", "org.apache.iceberg.hive.HiveCatalog"), ("uri", &uri), ("warehouse", &warehouse)];
    let bridge = IcebergCatalog::bridge(&properties, &[]).await;
    many_write(&works(&format!("http://{}", bridge.address()), None, History::InTables).await).await;
}

/// moto simulates AWS Glue. It does not detect conflicting commits, so only one program writes at a time.
#[tokio::test(flavor = "multi_thread")]
async fn glue_keeps_the_tables_of_orch() {
    let moto = Moto::start(BUCKET);
    let (warehouse, endpoint) = (format!("s3://{BUCKET}/glue"), moto.endpoint());
    let mut catalog = vec![
        ("catalog-impl", "org.apache.iceberg.aws.glue.GlueCatalog"),
        ("warehouse", &*warehouse),
        ("glue.endpoint", &*endpoint),
    ];
    catalog.extend(properties(&endpoint));
    let keys = [("AWS_ACCESS_KEY_ID", KEYS.0), ("AWS_SECRET_ACCESS_KEY", KEYS.1)];
    let bridge = IcebergCatalog::bridge(&catalog, &keys).await;
    works(&format!("http://{}", bridge.address()), Some(&moto), History::InTables).await;
}
