//! A lake for each test, and orders to write into it.

use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use iceberg::spec::{PrimitiveType, Transform};
use orch_lake::bucket::Options;
use orch_lake::{Lake, LakeConfig, Table, TableDef, TableName};
use orch_store::MIGRATOR;
use orch_test_support::TestDb;
use std::sync::Arc;
use tempfile::TempDir;

pub(crate) struct World {
    pub(crate) db: TestDb,
    pub(crate) folder: TempDir,
    pub(crate) lake: Lake,
}

/// `(id, state, day, cents)`
pub(crate) type Order<'a> = (i64, &'a str, i32, i128);

pub(crate) async fn world() -> World {
    let db = TestDb::new(&MIGRATOR).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lake = open(&db, &folder);
    World { db, folder, lake }
}

/// Opens another lake over the same catalog and folder, as in a second process.
pub(crate) fn open(db: &TestDb, folder: &TempDir) -> Lake {
    let warehouse = format!("file://{}", folder.path().display());
    let config = LakeConfig { catalog: db.pool(), name: "orch".into(), warehouse, storage: Options::default() };
    Lake::open(config).expect("a folder is a warehouse")
}

impl World {
    pub(crate) async fn orders(&self) -> Table {
        self.table("retail.orders", definition()).await
    }

    pub(crate) async fn table(&self, name: &str, definition: TableDef) -> Table {
        self.lake.create(&named(name), &definition).await.expect("the table is made")
    }

    /// Returns the rows as text, ordered by id.
    pub(crate) async fn rows(&self, name: &str) -> Vec<String> {
        rows_of(&self.lake.table(&named(name)).await.expect("the table is there")).await
    }

    /// Returns the number of files in the lake's folder whose names end with `end`.
    pub(crate) fn files(&self, end: &str) -> usize {
        fn count(folder: &std::path::Path, end: &str) -> usize {
            let entries = std::fs::read_dir(folder).expect("a folder").flatten();
            entries
                .map(|entry| match entry.path() {
                    path if path.is_dir() => count(&path, end),
                    path => usize::from(path.to_string_lossy().ends_with(end)),
                })
                .sum()
        }
        count(self.folder.path(), end)
    }
}

pub(crate) fn named(name: &str) -> TableName {
    name.parse().expect("a name")
}

pub(crate) fn definition() -> TableDef {
    TableDef::new()
        .required("id", PrimitiveType::Long)
        .optional("state", PrimitiveType::String)
        .optional("day", PrimitiveType::Date)
        .optional("amount", PrimitiveType::Decimal { precision: 10, scale: 2 })
        .key(["id"])
}

pub(crate) fn by_state() -> TableDef {
    definition().partition("state", Transform::Identity)
}

pub(crate) fn orders(rows: &[Order<'_>]) -> RecordBatch {
    let amount = Decimal128Array::from_iter_values(rows.iter().map(|row| row.3)).with_precision_and_scale(10, 2);
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)))),
        ("state", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1)))),
        ("day", Arc::new(Date32Array::from_iter_values(rows.iter().map(|row| row.2)))),
        ("amount", Arc::new(amount.expect("the amounts fit"))),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

/// Returns `count` orders in three states, with ids starting at `first`.
pub(crate) fn many(first: i64, count: i64) -> RecordBatch {
    let rows: Vec<_> = (first..first + count)
        .map(|id| (id, ["CA", "NY", "TX"][id as usize % 3], id as i32 % 30, i128::from(id)))
        .collect();
    orders(&rows)
}

pub(crate) async fn rows_of(table: &Table) -> Vec<String> {
    text(&table.scan().collect().await.expect("the table is read"))
}

/// Returns a line `id state day amount` for each row.
pub(crate) fn text(batches: &[RecordBatch]) -> Vec<String> {
    let Some(first) = batches.first() else { return vec![] };
    let all = concat_batches(&first.schema(), batches).expect("batches of one schema");
    let order = sort_to_indices(all.column(0), None, None).expect("the first column can be sorted");
    let all = take_record_batch(&all, &order).expect("rows in order");
    let options = arrow::util::display::FormatOptions::default().with_null("-");
    let columns: Vec<_> = all
        .columns()
        .iter()
        .map(|column| arrow::util::display::ArrayFormatter::try_new(column, &options).expect("it can be shown"))
        .collect();
    let line = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" ");
    (0..all.num_rows()).map(line).collect()
}
