//! PyIceberg and orch on the same tables: after every operation of either both read the same, current or as it was.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

use arrow::array::RecordBatch;
use iceberg::spec::{PrimitiveType, Transform, Type};
use orch_lake::bucket::Options;
use orch_lake::table::At;
use orch_lake::table::evolve::{Columns, Evolution, Naming, Partition, Properties, Retention};
use orch_lake::table::maintain::{Compaction, Expiry};
use orch_lake::{Change, Filter, Lake, LakeConfig, Table, TableDef, TableName};
use orch_test_lake::pyiceberg::PyIceberg;
use orch_test_lake::rows::{Rows, batch, printed, row};
use orch_test_support::TestDb;
use serde_json::json;

const TABLE: &str = "retail.orders";

/// A lake that both have open.
struct Shared {
    lake: Lake,
    python: PyIceberg,
    name: TableName,
    _db: TestDb,
    _folder: tempfile::TempDir,
}

impl Shared {
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
        let lake = Lake::open(config).unwrap();
        Self { lake, python, name: TABLE.parse().unwrap(), _db: db, _folder: folder }
    }

    async fn table(&self) -> Table {
        self.lake.table(&self.name).await.unwrap()
    }

    async fn commit(&self, change: Change) -> i64 {
        change.commit(&self.lake).await.unwrap().snapshot_id.unwrap_or_default()
    }

    async fn evolve(&self, evolution: impl Into<Evolution>) {
        self.lake.evolve(&self.name, evolution).await.unwrap();
    }

    /// Both read these rows.
    async fn check(&mut self, after: &str, expected: &[&str]) {
        let mut expected: Rows = expected.iter().map(|text| row(text)).collect();
        expected.sort();
        let found = self.table().await.scan().collect().await.unwrap();
        assert_eq!(printed(&found), expected, "orch, after {after}");
        assert_eq!(self.python.rows(TABLE, &json!({})), expected, "PyIceberg, after {after}");
    }

    /// Both read these rows of an earlier state.
    async fn check_at(&mut self, at: At, expected: &[&str]) {
        let expected: Rows = expected.iter().map(|text| row(text)).collect();
        let asked = match &at {
            At::Snapshot(id) => json!({ "snapshot": id }),
            At::Ref(name) => json!({ "ref": name }),
            other => panic!("PyIceberg is not asked for {other:?}"),
        };
        assert_eq!(self.python.rows(TABLE, &asked), expected, "PyIceberg at {at:?}");
        let found = self.table().await.scan().at(at.clone()).collect().await.unwrap();
        assert_eq!(printed(&found), expected, "orch at {at:?}");
    }
}

fn rows(columns: &str, rows: &[&str]) -> RecordBatch {
    let columns: Vec<_> = columns.split_whitespace().collect();
    batch(&columns, &rows.iter().map(|text| row(text)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn pyiceberg_reads_what_orch_wrote_after_every_operation() {
    let mut shared = Shared::new().await;
    let definition = TableDef::new()
        .required("id", PrimitiveType::Long)
        .optional("city", PrimitiveType::String)
        .optional("count", PrimitiveType::Int)
        .optional("day", PrimitiveType::Date)
        .optional("at", PrimitiveType::Timestamptz)
        .optional("price", PrimitiveType::Decimal { precision: 10, scale: 2 })
        .key(["id"])
        .partition("city", Transform::Identity);
    shared.lake.create(&shared.name, &definition).await.unwrap();
    shared.check("creation", &[]).await;

    const COLUMNS: &str = "id city count day at price";
    let oslo = "1 Oslo 10 2025-01-01 2025-01-01T10:00:00Z 1.50";
    let rome = "2 Rome 20 2025-01-02 2025-01-02T10:00:00Z 2.50";
    let nowhere = "3 - - - - -";
    let table = shared.table().await;
    let first = shared.commit(table.append(rows(COLUMNS, &[oslo, rome, nowhere])).await.unwrap()).await;
    shared.check("append", &[oslo, rome, nowhere]).await;

    let table = shared.table().await;
    let warm = "4 Rome 40 2025-01-04 2025-01-04T10:00:00Z 4.50";
    shared.commit(table.overwrite(Filter::eq("city", "Rome"), rows(COLUMNS, &[warm])).await.unwrap()).await;
    shared.check("overwrite", &[oslo, warm, nowhere]).await;

    shared.evolve(Properties::new().set("write.merge.mode", "copy-on-write")).await;
    let table = shared.table().await;
    let again = "1 Oslo 11 2025-01-01 2025-01-01T11:00:00Z 1.75";
    let five = "5 Oslo 50 2025-01-05 2025-01-05T10:00:00Z 5.50";
    shared.commit(table.upsert(&["id"], rows(COLUMNS, &[again, five])).await.unwrap()).await;
    shared.check("upsert, copy on write", &[again, five, warm, nowhere]).await;

    shared.evolve(Properties::new().set("write.merge.mode", "merge-on-read")).await;
    let table = shared.table().await;
    let moved = "5 Rome 51 2025-01-05 2025-01-05T11:00:00Z 5.75";
    shared.commit(table.upsert(&["id"], rows(COLUMNS, &[moved])).await.unwrap()).await;
    shared.check("upsert, merge on read", &[again, moved, warm, nowhere]).await;
    let described = shared.python.ask(&json!({ "ask": "describe", "table": TABLE }));
    assert_eq!(described["delete_files"], 1, "{described}");

    let table = shared.table().await;
    shared.commit(table.delete(Filter::eq("id", 4_i64)).await.unwrap()).await;
    shared.check("delete", &[again, moved, nowhere]).await;

    let tag = Naming::Tag { name: "audited".into(), at: At::Now, retention: Retention::default() };
    shared.evolve(tag).await;

    let compacted = shared.lake.compact(&shared.name, &Compaction::new().min_files(2)).await.unwrap();
    assert!(compacted.deletes > 0, "{compacted:?}");
    shared.check("compaction", &[again, moved, nowhere]).await;
    let described = shared.python.ask(&json!({ "ask": "describe", "table": TABLE }));
    assert_eq!(described["delete_files"], 0, "{described}");

    let columns = Columns::new()
        .add("note", Type::Primitive(PrimitiveType::String))
        .rename("count", "quantity")
        .widen("quantity", PrimitiveType::Long)
        .widen("price", PrimitiveType::Decimal { precision: 14, scale: 2 })
        .drop("day");
    shared.evolve(columns).await;
    let (again, moved) = ("1 Oslo 11 2025-01-01T11:00:00Z 1.75 -", "5 Rome 51 2025-01-05T11:00:00Z 5.75 -");
    let nowhere = "3 - - - - -";
    shared.check("new columns", &[again, moved, nowhere]).await;
    let table = shared.table().await;
    let large = "6 Rome 6000000000 2025-01-06T10:00:00Z 123456789012.34 hello";
    const NEW_COLUMNS: &str = "id city quantity at price note";
    shared.commit(table.append(rows(NEW_COLUMNS, &[large])).await.unwrap()).await;
    shared.check("rows with new columns", &[again, moved, nowhere, large]).await;

    shared.evolve(Partition::none().by("id", Transform::Bucket(4)).by("at", Transform::Day)).await;
    let table = shared.table().await;
    let seven = "7 Oslo 7 2025-01-07T10:00:00Z 7.50 -";
    shared.commit(table.upsert(&["id"], rows(NEW_COLUMNS, &[seven])).await.unwrap()).await;
    shared.check("another partition", &[again, moved, nowhere, large, seven]).await;
    shared.lake.compact(&shared.name, &Compaction::new()).await.unwrap();
    shared.check("compaction into it", &[again, moved, nowhere, large, seven]).await;
    shared.lake.merge_manifests(&shared.name).await.unwrap();
    shared.check("merged manifests", &[again, moved, nowhere, large, seven]).await;

    // Time travel sees the columns of that time.
    let then = [
        "1 Oslo 11 2025-01-01 2025-01-01T11:00:00Z 1.75",
        "3 - - - - -",
        "5 Rome 51 2025-01-05 2025-01-05T11:00:00Z 5.75",
    ];
    shared.check_at(At::Snapshot(first), &[oslo, rome, "3 - - - - -"]).await;
    shared.check_at(At::Ref("audited".into()), &then).await;
    let far = chrono::DateTime::from_timestamp(4_000_000_000, 0).unwrap();
    let expired = shared.lake.expire(&shared.name, &Expiry::new().older_than(far), far).await.unwrap();
    assert!(expired.files > 0, "{expired:?}");
    shared.check("expiry", &[again, moved, nowhere, large, seven]).await;
    shared.check_at(At::Ref("audited".into()), &then).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orch_reads_what_pyiceberg_wrote_after_every_operation() {
    let mut shared = Shared::new().await;
    shared.python.ask(&json!({
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
    shared.python.ask(&ask("append", &[one, two, three]));
    shared.check("append", &[one, two, three]).await;
    let first = shared.table().await.current_snapshot().unwrap().snapshot_id();

    let (again, four) = ("1 Oslo 11 2025-01-01T11:00:00", "4 Rome 40 2025-01-04T10:00:00");
    let mut upsert = ask("upsert", &[again, four]);
    upsert["key"] = json!(["id"]);
    shared.python.ask(&upsert);
    shared.check("upsert", &[again, two, three, four]).await;

    shared.python.ask(&json!({ "ask": "delete", "table": TABLE, "filter": "id = 2" }));
    shared.check("delete", &[again, three, four]).await;

    let five = "5 Rome 50 2025-01-05T10:00:00";
    let mut overwrite = ask("overwrite", &[five]);
    overwrite["filter"] = json!("city = 'Rome'");
    shared.python.ask(&overwrite);
    shared.check("overwrite", &[again, three, five]).await;

    shared.python.ask(&json!({ "ask": "tag", "table": TABLE, "name": "v1" }));
    shared.python.ask(&json!({
        "ask": "evolve", "table": TABLE, "add": [["note", "string"]], "rename": [["count", "quantity"]],
        "drop": ["at"], "unpartition": ["city_0"],
    }));
    shared.python.ask(&json!({ "ask": "evolve", "table": TABLE, "widen": [["quantity", "long"]] }));
    let (again, three, five) = ("1 Oslo 11 -", "3 - - -", "5 Rome 50 -");
    shared.check("new columns and partitions", &[again, three, five]).await;
    let then = ["1 Oslo 11 2025-01-01T11:00:00", "3 - - -", "5 Rome 50 2025-01-05T10:00:00"];
    shared.check_at(At::Ref("v1".into()), &then).await;
    shared.check_at(At::Snapshot(first), &[one, two, "3 - - -"]).await;

    // Now orch goes on, and PyIceberg after it.
    let table = shared.table().await;
    let six = "6 Rome 6000000000 new";
    shared.commit(table.upsert(&[], rows("id city quantity note", &["5 Rome 51 old", six])).await.unwrap()).await;
    shared.check("upsert by orch", &[again, three, "5 Rome 51 old", six]).await;
    shared.lake.compact(&shared.name, &Compaction::new().min_files(2)).await.unwrap();
    shared.check("compaction by orch", &[again, three, "5 Rome 51 old", six]).await;
    let mut append = ask("append", &["7 Oslo 7 -"]);
    append["columns"] = json!(["id", "city", "quantity", "note"]);
    shared.python.ask(&append);
    shared.python.ask(&json!({ "ask": "delete", "table": TABLE, "filter": "id = 6" }));
    shared.check("PyIceberg after orch", &[again, three, "5 Rome 51 old", "7 Oslo 7 -"]).await;
}
