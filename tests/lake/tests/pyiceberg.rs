//! PyIceberg and orch on the same tables: after every operation of either both read the same, current or as it was.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

use orch_lake::bucket::Options;
use orch_lake::table::At;
use orch_lake::table::maintain::Compaction;
use orch_lake::{Lake, LakeConfig};
use orch_test_lake::pyiceberg::PyIceberg;
use orch_test_lake::rows::{Rows, row};
use orch_test_lake::steps::{History, Shared, lines, orch_writes};
use orch_test_support::TestDb;
use serde_json::json;

const TABLE: &str = "retail.orders";

/// A lake that both have open.
struct World {
    lake: Lake,
    python: PyIceberg,
    _db: TestDb,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let db = TestDb::new(&orch_store::MIGRATOR).await;
        let folder = tempfile::Builder::new().prefix("orch-lake-").tempdir().unwrap();
        let warehouse = format!("file://{}", folder.path().display());
        let config = LakeConfig {
            catalog: db.pool(),
            name: "lake".into(),
            warehouse: warehouse.clone(),
            storage: Options::default(),
        };
        let python = PyIceberg::open(&db.url(), "lake", &warehouse);
        Self { lake: Lake::open(config).unwrap(), python, _db: db, _folder: folder }
    }

    fn shared(&mut self) -> Shared<'_, PyIceberg> {
        Shared { lake: &self.lake, reader: &mut self.python, name: TABLE.parse().unwrap() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pyiceberg_reads_what_orch_wrote_after_every_operation() {
    orch_writes(&mut World::new().await.shared(), History::InTables).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orch_reads_what_pyiceberg_wrote_after_every_operation() {
    let mut world = World::new().await;
    let mut shared = world.shared();
    shared.reader.ask(&json!({
        "ask": "create", "table": TABLE, "key": ["id"],
        "columns": [["id", "long", true], ["city", "string", false], ["count", "int", false], ["at", "timestamp", false]],
        "partition": [["city", "identity"], ["id", "bucket[2]"]],
    }));
    shared.check("creation", &[]).await;
    let columns = ["id", "city", "count", "at"];
    let ask = |what: &str, rows: &[&str]| {
        let rows: Rows = rows.iter().map(|text| row(text)).collect();
        json!({ "ask": what, "table": TABLE, "columns": columns, "rows": rows })
    };
    let (one, two, three) = ("1 Oslo 10 2025-01-01T10:00:00", "2 Rome 20 2025-01-02T10:00:00", "3 - - -");
    shared.reader.ask(&ask("append", &[one, two, three]));
    shared.check("append", &[one, two, three]).await;
    let first = shared.table().await.current_snapshot().unwrap().snapshot_id();

    let (again, four) = ("1 Oslo 11 2025-01-01T11:00:00", "4 Rome 40 2025-01-04T10:00:00");
    let mut upsert = ask("upsert", &[again, four]);
    upsert["key"] = json!(["id"]);
    shared.reader.ask(&upsert);
    shared.check("upsert", &[again, two, three, four]).await;

    shared.reader.ask(&json!({ "ask": "delete", "table": TABLE, "filter": "id = 2" }));
    shared.check("delete", &[again, three, four]).await;

    let five = "5 Rome 50 2025-01-05T10:00:00";
    let mut overwrite = ask("overwrite", &[five]);
    overwrite["filter"] = json!("city = 'Rome'");
    shared.reader.ask(&overwrite);
    shared.check("overwrite", &[again, three, five]).await;

    shared.reader.ask(&json!({ "ask": "tag", "table": TABLE, "name": "v1" }));
    shared.reader.ask(&json!({
        "ask": "evolve", "table": TABLE, "add": [["note", "string"]], "rename": [["count", "quantity"]],
        "drop": ["at"], "unpartition": ["city_0"],
    }));
    shared.reader.ask(&json!({ "ask": "evolve", "table": TABLE, "widen": [["quantity", "long"]] }));
    let (again, three, five) = ("1 Oslo 11 -", "3 - - -", "5 Rome 50 -");
    shared.check("new columns and partitions", &[again, three, five]).await;
    let then = ["1 Oslo 11 2025-01-01T11:00:00", "3 - - -", "5 Rome 50 2025-01-05T10:00:00"];
    shared.check_at(At::Ref("v1".into()), &then).await;
    shared.check_at(At::Snapshot(first), &[one, two, "3 - - -"]).await;

    // Now orch goes on, and PyIceberg after it.
    let six = "6 Rome 6000000000 new";
    shared.upsert(&[], lines("id city quantity note", &["5 Rome 51 old", six])).await;
    shared.check("upsert by orch", &[again, three, "5 Rome 51 old", six]).await;
    shared.compact(&Compaction::new().min_files(2)).await;
    shared.check("compaction by orch", &[again, three, "5 Rome 51 old", six]).await;
    let mut append = ask("append", &["7 Oslo 7 -"]);
    append["columns"] = json!(["id", "city", "quantity", "note"]);
    shared.reader.ask(&append);
    shared.reader.ask(&json!({ "ask": "delete", "table": TABLE, "filter": "id = 6" }));
    shared.check("PyIceberg after orch", &[again, three, "5 Rome 51 old", "7 Oslo 7 -"]).await;
}
