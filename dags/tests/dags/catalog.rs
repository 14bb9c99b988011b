//! The REST catalog with real processes: the compatibility kit of Iceberg, and PyIceberg on the lake of orch.

use crate::http::ask;
use crate::world::World;
use arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use iceberg::spec::PrimitiveType;
use orch::Connection;
use orch_lake::bucket::Options;
use orch_lake::table::maintain::Compaction;
use orch_lake::{Batches, Lake, TableDef};
use orch_test_lake::pyiceberg::{PyIceberg, pyiceberg_writes};
use orch_test_lake::steps::{History, Shared, orch_writes};
use orch_test_lake::{DuckDb, S3Server};
use orch_test_support::iceberg_kit;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

pub(crate) const SERVER: [&str; 3] = ["catalog", "--port", "0"];
const OUTSIDE: &str = include_str!("catalog/outside.py");
/// Number of kit tests that do not apply: the first version of the catalog schema has only one-part namespaces, and
/// names contain no dots or slashes.
const NOT_FOR_US: usize = 12;
const PASSED: usize = 145;

impl World {
    /// Stores the lake in the bucket `lakehouse`. If `lends` is set, the catalog vends storage credentials to clients
    /// that may write.
    pub(crate) fn keep_lake_in(&mut self, storage: &S3Server, lends: bool) {
        self.set("ORCH_CONN_BUCKETS", storage.connection().to_uri());
        let url = self.database_url();
        let sign = if url.contains('?') { '&' } else { '?' };
        let warehouse = "warehouse=s3%3A%2F%2Flakehouse%2Fwarehouse";
        self.set("ORCH_CONN_LAKE", format!("{url}{sign}{warehouse}"));
        self.set("ORCH_GIVE_KEYS", lends.to_string());
    }
}

/// Returns a lake behind a catalog over HTTP.
pub(crate) fn attached(address: &str, token: &str, storage: &Options) -> Lake {
    let connection =
        json!({ "conn_type": "iceberg", "host": format!("http://{address}"), "extra": { "token": token } });
    Lake::of(&Connection::parse("far", &connection.to_string()).unwrap(), storage).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compatibility_kit_of_iceberg_passes() {
    let mut world = World::new().await;
    // The kit chooses the folders of its tables and views, which only an admin may do.
    let token = world.add_key("admin", "all").await;
    let (_, address) = world.start_server(&SERVER);
    let jars = iceberg_kit();
    let all: Vec<String> =
        std::fs::read_dir(&jars).unwrap().map(|jar| jar.unwrap().path().display().to_string()).collect();
    let console = all.iter().find(|jar| jar.contains("junit-platform-console-standalone")).unwrap();
    let mut kit = Command::new("java");
    kit.args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-jar", console, "execute", "--disable-banner"]);
    kit.args(["--disable-ansi-colors", "--details=tree", "--config", "rck.local=false", "-cp", &all.join(":")]);
    for of in ["Catalog", "ViewCatalog"] {
        kit.arg(format!("--select-class=org.apache.iceberg.rest.RESTCompatibilityKit{of}Tests"));
    }
    kit.env("CATALOG_URI", format!("http://{address}")).env("CATALOG_TOKEN", token);
    kit.env("CATALOG_WAREHOUSE", "orch")
        .env("CATALOG_RCK_REQUIRES__NAMESPACE__CREATE", "true")
        .current_dir(world.path());
    let ended = kit.output().expect("Java is missing: try `scripts/setup.sh test`");
    let said = String::from_utf8_lossy(&ended.stdout);
    let count = |what: &str| {
        let line = said.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("no `{what}`: {said}"));
        line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<usize>().unwrap()
    };
    let failed: Vec<&str> = said.lines().filter(|line| line.contains("[X]") || line.contains('✘')).collect();
    assert!(failed.is_empty() && count("tests failed") == 0, "{}\n{said}", failed.join("\n"));
    let left_out = count("tests aborted") + count("tests skipped");
    assert_eq!((count("tests successful"), left_out), (PASSED, NOT_FOR_US), "{said}");
}

/// Tasks read the tables that clients create, and vice versa. Concurrent writes are not lost, updates trigger DAGs, and
/// a token has the permissions of its owner.
#[tokio::test(flavor = "multi_thread")]
async fn clients_from_outside_work_on_the_tables_of_orch() {
    let mut world = World::new().await.at_work();
    world.good("retail_medallion", "loaded", &json!({}));
    let (op, viewer) = (world.add_key("op", "all").await, world.add_key("viewer", "all").await);
    let queries = world.add_key("op", "serving").await;
    let (_, address) = world.start_server(&SERVER);
    let config = |token: &str| ask(&address, "/v1/config", &[&format!("Authorization: Bearer {token}")]).status;
    assert_eq!([config(&op), config(&viewer), config(&queries), config("x")], [200, 200, 403, 401]);

    let url = format!("http://{address}");
    let mut python = Command::new(orch_test_support::data_python());
    python.args(["-c", OUTSIDE, &url, &op, &viewer, "retail.sales_by_state"]);
    let mut python = python.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(python.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "ready", "what went wrong is above");
    let (lake, name) = (world.lake(), "outside.counted".parse().unwrap());
    for id in 100..116 {
        let rows = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![id])) as ArrayRef)]).unwrap();
        let change = lake.table(&name).await.unwrap().append(Batches::from(rows)).await.unwrap();
        change.commit(&lake).await.unwrap();
    }
    assert_eq!(said.next().unwrap().unwrap(), "done", "what went wrong is above");
    assert!(python.wait().unwrap().success());

    let batches = lake.table(&name).await.unwrap().scan().columns(["id"]).collect().await.unwrap();
    let ids = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
    assert_eq!(ids.collect::<BTreeSet<i64>>(), (0..32).chain(100..116).collect());

    // Attach the lake like another orch does: with a token that may write, and with one that may not.
    let lake_by = |token: &str| attached(&address, token, &Options::default());
    let (ours, theirs) = (lake_by(&op), lake_by(&viewer));
    let rows = || RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![200])) as ArrayRef)]).unwrap();
    let append = async |lake: &Lake| {
        let table = lake.table(&name).await.unwrap();
        assert_eq!(table.count().await.unwrap(), 48);
        table.append(Batches::from(rows())).await.unwrap().commit(lake).await
    };
    let refused = append(&theirs).await.unwrap_err();
    assert!(refused.is_fatal() && refused.to_string().contains("connection `far`"), "{refused}");
    let committed = append(&ours).await.unwrap();
    assert_eq!(lake.table(&name).await.unwrap().metadata_location(), committed.table.metadata_location());
    assert_eq!(ours.tables(Some("retail")).await.unwrap(), lake.tables(Some("retail")).await.unwrap());

    // A compaction is not an update: it rewrites the same rows into one file.
    let compaction = Compaction::new().min_files(2);
    let compacted = ours.compact(&"retail.sales_by_state".parse().unwrap(), &compaction).await.unwrap();
    assert_eq!((compacted.files_before, compacted.files_after), (2, 1));
    let event = "select rows, extra->>'client' like 'PyIceberg%', extra->>'operation' from asset_event
        where uri = 'lake://retail/sales_by_state' and source_run is null";
    let events: Vec<(i64, bool, String)> = sqlx::query_as(event).fetch_all(&mut world.db().await).await.unwrap();
    assert_eq!(events, [(1, true, "append".to_owned())]);
}

/// PyIceberg and orch read the same rows after every operation; DuckDB is compared after the operations of orch.
#[tokio::test(flavor = "multi_thread")]
async fn pyiceberg_and_duckdb_read_what_orch_reads() {
    let mut world = World::new().await;
    let token = world.add_key("op", "all").await;
    let (_, address) = world.start_server(&SERVER);
    let (lake, uri) = (world.lake(), format!("http://{address}"));
    let mut python = PyIceberg::open_with("orch", &json!({ "type": "rest", "uri": uri, "token": token }));
    let mut shared = Shared { lake: &lake, reader: &mut python, name: "retail.orders".parse().unwrap() };
    orch_writes(&mut shared, History::InTables).await;
    shared.name = "outside.orders".parse().unwrap();
    pyiceberg_writes(&mut shared, History::InTables).await;

    let mut duck = DuckDb::attach(&uri, &token);
    let mut shared = Shared { lake: &lake, reader: &mut duck, name: "pond.orders".parse().unwrap() };
    orch_writes(&mut shared, History::InTables).await;
}

/// A client whose own storage credentials are wrong can write only with the credentials that the catalog vends.
#[tokio::test(flavor = "multi_thread")]
async fn files_are_reached_with_the_keys_that_a_catalog_lends() {
    let storage = S3Server::start().await;
    storage.make_bucket("lakehouse");
    let mut world = World::new().await;
    let token = world.add_key("op", "all").await;
    let name = "lent.counted".parse().unwrap();
    let rows = || RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![7])) as ArrayRef)]).unwrap();
    for is_lent in [false, true] {
        world.keep_lake_in(&storage, is_lent);
        let (server, address) = world.start_server(&SERVER);
        let wrong = Options {
            endpoint: Some(storage.endpoint().into()),
            access_key: Some("its own".into()),
            secret_key: Some("wrong here".into()),
            ..Options::default()
        };
        let far = attached(&address, &token, &wrong);
        let table = far.ensure(&name, &TableDef::new().required("id", PrimitiveType::Long)).await.unwrap();
        let appended = async { table.append(Batches::from(rows())).await?.commit(&far).await }.await;
        assert_eq!(appended.is_ok(), is_lent, "{appended:?}");
        if is_lent {
            let read = far.table(&name).await.unwrap().scan().collect().await.unwrap();
            assert_eq!(read[0].column(0), rows().column(0));
        }
        world.kill(server);
    }
}
