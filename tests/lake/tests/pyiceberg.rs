//! PyIceberg and orch on the same tables. After every operation, both must read the same current and earlier rows.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

use std::path::Path;

use chrono::TimeDelta;
use iceberg::spec::PrimitiveType;
use orch_lake::bucket::Options;
use orch_lake::table::maintain::{Compaction, Expiry, Orphans, Upkeep};
use orch_lake::{Lake, LakeConfig, TableDef};
use orch_test_lake::pyiceberg::{PyIceberg, pyiceberg_writes};
use orch_test_lake::steps::{History, Shared, lines, orch_writes};
use orch_test_support::TestDb;

const TABLE: &str = "retail.orders";

/// A lake that both programs have open.
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
    pyiceberg_writes(&mut World::new().await.shared(), History::InTables).await;
}

/// Spark and DuckDB open the planned files by path as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_scan_that_pyiceberg_planned_before_an_expiry_reads_its_files_until_the_delay_is_over() {
    let mut world = World::new().await;
    let lake = world.lake.clone();
    let mut shared = world.shared();
    let definition = TableDef::new()
        .required("id", PrimitiveType::Long)
        .optional("city", PrimitiveType::String)
        .key(["id"])
        .property("write.merge.mode", "merge-on-read");
    let table = lake.create(&shared.name, &definition).await.unwrap();
    shared.append(lines("id city", &["1 Oslo", "2 Rome", "3 Lima"])).await;
    shared.append(lines("id city", &["4 Bern"])).await;
    shared.upsert(&[], lines("id city", &["2 Riga"])).await;
    let planned_rows = ["1 Oslo", "2 Riga", "3 Lima", "4 Bern"];
    shared.check("upsert", &planned_rows).await;
    let planned = shared.reader.plan(TABLE);
    assert_eq!(planned.len(), 4, "three data files and the positions of a replaced row: {planned:?}");
    let there = || planned.iter().filter(|path| Path::new(path.trim_start_matches("file://")).exists()).count();

    // The upkeep compacts the table and expires all snapshots but the last. It also removes every other file that the
    // table does not reference, regardless of its age.
    shared.append(lines("id city", &["5 Kyiv"])).await;
    let upkeep = |now| {
        let upkeep = Upkeep {
            compaction: Some(Compaction::new().min_files(2)),
            merge_manifests: true,
            expiry: Some(Expiry::new().keep_last(1).older_than(now)),
            orphans: Some(Orphans::new().nobody_writes()),
        };
        let (lake, name) = (lake.clone(), table.name().clone());
        async move { lake.keep_up(&name, &upkeep, None, now).await.unwrap() }
    };
    let now = lake.now().await.unwrap() + TimeDelta::days(4);
    let kept = upkeep(now).await;
    assert_eq!((kept.expired.snapshots.len(), kept.expired.deleted), (4, 0));
    assert!(kept.compacted.deletes == 1 && kept.expired.files > 4, "{kept:?}");
    let compacted = ["1 Oslo", "2 Riga", "3 Lima", "4 Bern", "5 Kyiv"];
    shared.check("expiry", &compacted).await;

    let delay = table.deletion_delay().unwrap();
    assert_eq!(delay, TimeDelta::days(1));
    let in_time = upkeep(now + delay - TimeDelta::milliseconds(1)).await;
    assert_eq!((in_time.expired.deleted, in_time.orphans.files), (0, 0));
    assert_eq!(there(), planned.len());
    let read: Vec<String> = shared.reader.read_planned().unwrap().iter().map(|row| texts(row)).collect();
    assert_eq!(read, planned_rows);

    let late = upkeep(now + delay).await;
    assert_eq!((late.expired.deleted, there()), (kept.expired.files, 0));
    let missing = shared.reader.read_planned().unwrap_err();
    assert!(missing.contains("FileNotFoundError"), "{missing}");
    shared.check("the deletion of the expired files", &compacted).await;
}

fn texts(row: &[Option<String>]) -> String {
    row.iter().map(|cell| cell.as_deref().unwrap_or("-")).collect::<Vec<_>>().join(" ")
}
