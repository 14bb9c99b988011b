//! PyIceberg and orch on the same tables: after every operation of either both read the same, current or as it was.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

use orch_lake::bucket::Options;
use orch_lake::{Lake, LakeConfig};
use orch_test_lake::pyiceberg::{PyIceberg, pyiceberg_writes};
use orch_test_lake::steps::{History, Shared, orch_writes};
use orch_test_support::TestDb;

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
    pyiceberg_writes(&mut World::new().await.shared(), History::InTables).await;
}
