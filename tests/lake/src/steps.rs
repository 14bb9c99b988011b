//! A table that orch and another program have open: what it goes through, one operation after the other, and that both read the same after
//! each of them.

use crate::rows::{Rows, batch, printed, row};
use arrow::array::RecordBatch;
use chrono::DateTime;
use iceberg::spec::{PrimitiveType, Transform, Type};
use orch_lake::table::At;
use orch_lake::table::evolve::{Columns, Evolution, Naming, Partition, Properties, Retention};
use orch_lake::table::maintain::{Compaction, Expiry};
use orch_lake::{Batches, Change, Filter, Lake, Table, TableDef, TableName};

/// The other program.
pub trait Reader {
    /// As people call it.
    fn program(&self) -> &'static str;

    /// Whether it can read this state.
    fn reads(&self, _: &At) -> bool {
        true
    }

    /// The rows of a table as they are, or as they were; sorted.
    fn rows(&mut self, table: &TableName, at: Option<&At>) -> Rows;

    /// How many files say which rows are deleted.
    fn delete_files(&mut self, table: &TableName) -> u64;
}

/// The table.
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

    /// The snapshot of a change, if it made one.
    pub async fn commit(&self, change: Change) -> i64 {
        let committed = change.commit(self.lake).await.expect("it is committed");
        committed.snapshot_id.unwrap_or_default()
    }

    pub async fn append(&self, rows: RecordBatch) -> i64 {
        self.commit(self.table().await.append(Batches::from(rows)).await.expect("files are written")).await
    }

    /// By these columns, or by the key of the table.
    pub async fn upsert(&self, key: &[&str], rows: RecordBatch) -> i64 {
        self.commit(self.table().await.upsert(key, Batches::from(rows)).await.expect("files are written")).await
    }

    pub async fn evolve(&self, evolution: impl Into<Evolution>) {
        let evolution = evolution.into();
        let changed = self.lake.evolve(&self.name, evolution.clone()).await;
        changed.unwrap_or_else(|error| panic!("{evolution:?}: {error}"));
    }

    /// Files that are deleted with it.
    pub async fn compact(&self, compaction: &Compaction) -> u64 {
        self.lake.compact(&self.name, compaction).await.expect("it is compacted").deletes
    }

    /// Both read these rows.
    ///
    /// # Panics
    /// If one of them reads others.
    pub async fn check(&mut self, after: &str, expected: &[&str]) {
        let (program, expected) = (self.reader.program(), sorted(expected));
        let found = self.table().await.scan().collect().await.expect("it can be read");
        assert_eq!(printed(&found), expected, "orch, after {after}, beside {program}");
        assert_eq!(self.reader.rows(&self.name, None), expected, "{program}, after {after}");
    }

    /// Both read these rows of an earlier state, as far as the other program can.
    ///
    /// # Panics
    /// If one of them reads others.
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

/// Lines of text as a batch with these columns.
pub fn lines(columns: &str, rows: &[&str]) -> RecordBatch {
    let columns: Vec<_> = columns.split_whitespace().collect();
    batch(&columns, &rows.iter().map(|text| row(text)).collect())
}

const COLUMNS: &str = "id city count day at price";
const NEW_COLUMNS: &str = "id city quantity at price note";
/// What [`orch_writes`] leaves.
pub const LEFT: [&str; 5] = [
    "1 Oslo 11 2025-01-01T11:00:00Z 1.75 -",
    "3 - - - - -",
    "5 Rome 51 2025-01-05T11:00:00Z 5.75 -",
    "6 Rome 6000000000 2025-01-06T10:00:00Z 123456789012.34 hello",
    "7 Oslo 7 2025-01-07T10:00:00Z 7.50 -",
];

/// Who keeps the earlier states of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// Each table has its own.
    InTables,
    /// The catalog does, in a way of its own: tables have no tags, and nothing in them expires.
    InCatalog,
}

/// Orch makes the table and does all that it can do with one; the other program reads.
///
/// # Panics
/// If it cannot be done, or one of both reads other rows.
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
    // Time travel sees the columns of that time.
    let audited = At::Ref("audited".into());
    shared.check_at(At::Snapshot(first), &[oslo, rome, nowhere]).await;
    shared.check_at(audited.clone(), &[again, moved, nowhere]).await;
    let far = DateTime::from_timestamp(4_000_000_000, 0).expect("a moment");
    let expired = shared.lake.expire(&shared.name, &Expiry::new().older_than(far), far).await;
    assert!(expired.expect("old snapshots go").files > 0, "files go with them");
    shared.check("expiry", &LEFT).await;
    shared.check_at(audited, &[again, moved, nowhere]).await;
}
