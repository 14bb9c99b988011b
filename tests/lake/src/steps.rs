//! A sequence of operations on a table that orch and another program have open. After each operation, both must read
//! the same rows.

use crate::rows::{Rows, batch, printed, row};
use arrow::array::RecordBatch;
use chrono::DateTime;
use iceberg::spec::{PrimitiveType, Transform, Type};
use orch_lake::table::At;
use orch_lake::table::evolve::{Columns, Evolution, Naming, Partition, Properties, Retention};
use orch_lake::table::maintain::{Compaction, Expiry};
use orch_lake::{Batches, Change, Filter, Lake, Table, TableDef, TableName};

/// Another program that reads tables of orch.
pub trait Reader {
    /// The usual name of the program.
    fn program(&self) -> &'static str;

    /// Returns true if the program can read this state.
    fn reads(&self, _: &At) -> bool {
        true
    }

    /// Returns the sorted rows of a table, now or at an earlier state.
    fn rows(&mut self, table: &TableName, at: Option<&At>) -> Rows;

    /// Returns the number of delete files.
    fn delete_files(&mut self, table: &TableName) -> u64;
}

/// A table that both programs have open.
#[derive(Debug)]
pub struct Shared<'a, R> {
    pub lake: &'a Lake,
    pub reader: &'a mut R,
    pub name: TableName,
}

impl<R: Reader> Shared<'_, R> {
    pub async fn table(&self) -> Table {
        self.lake.table(&self.name).await.expect("the table is there")
    }

    /// Commits a change. Returns the id of its snapshot, or 0 if it made none.
    pub async fn commit(&self, change: Change) -> i64 {
        let committed = change.commit(self.lake).await.expect("it is committed");
        committed.snapshot_id.unwrap_or_default()
    }

    pub async fn append(&self, rows: RecordBatch) -> i64 {
        self.commit(self.table().await.append(Batches::from(rows)).await.expect("files are written")).await
    }

    /// Upserts by these columns, or by the key of the table if there are none.
    pub async fn upsert(&self, key: &[&str], rows: RecordBatch) -> i64 {
        self.commit(self.table().await.upsert(key, Batches::from(rows)).await.expect("files are written")).await
    }

    pub async fn evolve(&self, evolution: impl Into<Evolution>) {
        let evolution = evolution.into();
        let changed = self.lake.evolve(&self.name, evolution.clone()).await;
        changed.unwrap_or_else(|error| panic!("{evolution:?}: {error}"));
    }

    /// Compacts the table, and returns the number of delete files that were removed.
    pub async fn compact(&self, compaction: &Compaction) -> u64 {
        self.lake.compact(&self.name, compaction).await.expect("it is compacted").deletes
    }

    /// Checks that both programs read these rows.
    ///
    /// # Panics
    /// Panics if either program reads other rows.
    pub async fn check(&mut self, after: &str, expected: &[&str]) {
        let (program, expected) = (self.reader.program(), sorted(expected));
        let found = self.table().await.scan().collect().await.expect("it can be read");
        assert_eq!(printed(&found), expected, "orch, after {after}, beside {program}");
        assert_eq!(self.reader.rows(&self.name, None), expected, "{program}, after {after}");
    }

    /// Checks that both programs read these rows at an earlier state. Skips the other program if it cannot read that
    /// state.
    ///
    /// # Panics
    /// Panics if either program reads other rows.
    pub async fn check_at(&mut self, at: At, expected: &[&str]) {
        let (program, expected) = (self.reader.program(), sorted(expected));
        if self.reader.reads(&at) {
            assert_eq!(self.reader.rows(&self.name, Some(&at)), expected, "{program} at {at:?}");
        }
        let found = self.table().await.scan().at(at.clone()).collect().await.expect("it can be read");
        assert_eq!(printed(&found), expected, "orch at {at:?}");
    }
}

fn sorted(texts: &[&str]) -> Rows {
    let mut rows: Rows = texts.iter().map(|text| row(text)).collect();
    rows.sort();
    rows
}

/// Returns a batch with these columns and a row for each line of text.
pub fn lines(columns: &str, rows: &[&str]) -> RecordBatch {
    let columns: Vec<_> = columns.split_whitespace().collect();
    batch(&columns, &rows.iter().map(|text| row(text)).collect())
}

const COLUMNS: &str = "id city count day at price";
const NEW_COLUMNS: &str = "id city quantity at price note";
/// Rows of the table after [`orch_writes`].
pub const LEFT: [&str; 5] = [
    "1 Oslo 11 2025-01-01T11:00:00Z 1.75 -",
    "3 - - - - -",
    "5 Rome 51 2025-01-05T11:00:00Z 5.75 -",
    "6 Rome 6000000000 2025-01-06T10:00:00Z 123456789012.34 hello",
    "7 Oslo 7 2025-01-07T10:00:00Z 7.50 -",
];

/// The keeper of the earlier states of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// Each table keeps its own snapshots.
    InTables,
    /// The catalog keeps them in its own format: tables have no tags, and their snapshots do not expire.
    InCatalog,
}

/// Lets orch create the table and run all its operations on it. The other program reads after each one.
///
/// # Panics
/// Panics if an operation fails, or if either program reads other rows than expected.
pub async fn orch_writes<R: Reader>(shared: &mut Shared<'_, R>, history: History) {
    let definition = TableDef::new()
        .required("id", PrimitiveType::Long)
        .optional("city", PrimitiveType::String)
        .optional("count", PrimitiveType::Int)
        .optional("day", PrimitiveType::Date)
        .optional("at", PrimitiveType::Timestamptz)
        .optional("price", PrimitiveType::Decimal { precision: 10, scale: 2 })
        .key(["id"])
        .partition("city", Transform::Identity);
    shared.lake.create(&shared.name, &definition).await.expect("the table is made");
    shared.check("creation", &[]).await;

    let oslo = "1 Oslo 10 2025-01-01 2025-01-01T10:00:00Z 1.50";
    let rome = "2 Rome 20 2025-01-02 2025-01-02T10:00:00Z 2.50";
    let nowhere = "3 - - - - -";
    let first = shared.append(lines(COLUMNS, &[oslo, rome, nowhere])).await;
    shared.check("append", &[oslo, rome, nowhere]).await;

    let warm = "4 Rome 40 2025-01-04 2025-01-04T10:00:00Z 4.50";
    let overwrite = shared.table().await.overwrite(Filter::eq("city", "Rome"), lines(COLUMNS, &[warm])).await;
    shared.commit(overwrite.expect("files are written")).await;
    shared.check("overwrite", &[oslo, warm, nowhere]).await;

    shared.evolve(Properties::new().set("write.merge.mode", "copy-on-write")).await;
    let again = "1 Oslo 11 2025-01-01 2025-01-01T11:00:00Z 1.75";
    let five = "5 Oslo 50 2025-01-05 2025-01-05T10:00:00Z 5.50";
    shared.upsert(&["id"], lines(COLUMNS, &[again, five])).await;
    shared.check("upsert, copy on write", &[again, five, warm, nowhere]).await;

    shared.evolve(Properties::new().set("write.merge.mode", "merge-on-read")).await;
    let moved = "5 Rome 51 2025-01-05 2025-01-05T11:00:00Z 5.75";
    shared.upsert(&["id"], lines(COLUMNS, &[moved])).await;
    shared.check("upsert, merge on read", &[again, moved, warm, nowhere]).await;
    assert_eq!(shared.reader.delete_files(&shared.name), 1);

    let delete = shared.table().await.delete(Filter::eq("id", 4_i64)).await;
    shared.commit(delete.expect("files are written")).await;
    shared.check("delete", &[again, moved, nowhere]).await;
    if history == History::InTables {
        shared.evolve(Naming::Tag { name: "audited".into(), at: At::Now, retention: Retention::default() }).await;
    }

    assert!(shared.compact(&Compaction::new().min_files(2)).await > 0, "files of deletes go with it");
    shared.check("compaction", &[again, moved, nowhere]).await;
    assert_eq!(shared.reader.delete_files(&shared.name), 0);

    let columns = Columns::new()
        .add("note", Type::Primitive(PrimitiveType::String))
        .rename("count", "quantity")
        .widen("quantity", PrimitiveType::Long)
        .widen("price", PrimitiveType::Decimal { precision: 14, scale: 2 })
        .drop("day");
    shared.evolve(columns).await;
    shared.check("new columns", &LEFT[..3]).await;
    shared.append(lines(NEW_COLUMNS, &LEFT[3..4])).await;
    shared.check("rows with new columns", &LEFT[..4]).await;

    shared.evolve(Partition::none().by("id", Transform::Bucket(4)).by("at", Transform::Day)).await;
    shared.upsert(&["id"], lines(NEW_COLUMNS, &LEFT[4..])).await;
    shared.check("another partition", &LEFT).await;
    shared.compact(&Compaction::new()).await;
    shared.check("compaction into it", &LEFT).await;
    shared.lake.merge_manifests(&shared.name).await.expect("manifests are merged");
    shared.check("merged manifests", &LEFT).await;

    if history == History::InCatalog {
        return;
    }
    // Time travel returns the columns that the table had at that time.
    let audited = At::Ref("audited".into());
    shared.check_at(At::Snapshot(first), &[oslo, rome, nowhere]).await;
    shared.check_at(audited.clone(), &[again, moved, nowhere]).await;
    let far = DateTime::from_timestamp(4_000_000_000, 0).expect("a moment");
    let expired = shared.lake.expire(&shared.name, &Expiry::new().older_than(far), far).await;
    assert!(expired.expect("old snapshots go").files > 0, "files go with them");
    shared.check("expiry", &LEFT).await;
    shared.check_at(audited, &[again, moved, nowhere]).await;
}
