//! A fake lake with one table and few rows, for pages and routes. The real lake is tested in its own crate.

use chrono::DateTime;
use orch_sdk::task::BoxFuture;
use orch_store::lake_view::{
    CHART, Cell, Chunk, ColumnRange, DataFile, FileKind, HISTORY, LakeDoor, LakeError, LakePage, LakeResult, LakeTable,
    LakeView, MadeBy, PartitionColumn, PartitionRow, Query, QueryRows, RefKind, ResultColumn, ScanProgress,
    SnapshotRef, SnapshotRow, Sources, TableColumn, TableId, TableRow, TableTotals,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;

/// The string values of its data.
#[derive(Default)]
pub(crate) struct FakeLake {
    pub(crate) words: &'static str,
    /// The received queries, and the number of commits to its tables.
    pub(crate) asked: Mutex<Vec<Query>>,
    pub(crate) commits: AtomicUsize,
}

impl FakeLake {
    pub(crate) fn door(words: &'static str) -> LakeDoor {
        FakeLake::shared(words).1
    }

    /// Returns the door together with the lake itself.
    pub(crate) fn shared(words: &'static str) -> (Arc<FakeLake>, LakeDoor) {
        let lake = Arc::new(FakeLake { words, ..FakeLake::default() });
        let shown: Arc<dyn LakeView> = lake.clone();
        (lake, LakeDoor::new(Arc::new(move || Box::pin(ready(Ok(shown.clone()))))))
    }

    fn snapshot(&self) -> SnapshotRow {
        let made_by = MadeBy { dag_id: "chain".into(), run_id: "r1".into(), task_id: Some("t0".into()), attempt: None };
        SnapshotRow {
            id: 7_716_229_044_100_123_456,
            parent_id: None,
            at: DateTime::from_timestamp(1_763_600_000, 0).expect("a moment"),
            operation: "append".into(),
            is_current: true,
            refs: vec![self.words.into()],
            added_rows: 1_200,
            removed_rows: 3,
            added_files: 2,
            removed_files: 0,
            totals: TOTALS,
            made_by: Some(made_by),
            program: None,
            summary: BTreeMap::from([(self.words.into(), self.words.into())]),
        }
    }

    fn known(id: &TableId) -> LakeResult<()> {
        if id.name == "orders" {
            return Ok(());
        }
        Err(LakeError::NotFound(format!("there is no table `{id}`\nhint: did you mean `retail.orders`?")))
    }

    fn whole(&self, id: TableId) -> LakeTable {
        let column = |id: i32, name: &str, data_type: &str| TableColumn {
            id,
            name: name.into(),
            data_type: data_type.into(),
            required: id == 1,
            doc: Some(self.words.into()),
        };
        LakeTable {
            asset_uri: id.asset_uri(),
            id,
            uuid: "u".into(),
            format_version: 2,
            location: format!("file:///lake/{}", self.words),
            schema_id: 0,
            schemas: 1,
            columns: vec![column(1, "order_id", "long"), column(2, "state", "string"), column(3, self.words, "string")],
            partitioned_by: vec![PartitionColumn {
                name: "state".into(),
                column: "state".into(),
                transform: "identity".into(),
            }],
            key: vec!["order_id".into()],
            properties: BTreeMap::from([
                ("s3.secret-access-key".into(), "hush".into()),
                ("note".into(), self.words.into()),
                (CHART.into(), "select state, total from retail.orders".into()),
                (HISTORY.into(), "select * from retail.orders_cdc where state = {state}".into()),
            ]),
            refs: vec![SnapshotRef { name: self.words.into(), kind: RefKind::Tag, snapshot_id: 1 }],
            totals: TOTALS,
            snapshots: 1,
            last: Some(self.snapshot()),
            updated_at: self.snapshot().at,
        }
    }
}

const TOTALS: TableTotals = TableTotals { rows: 1_197, bytes: 45_678, files: 2, delete_files: 1 };

fn paged<T>(all: Vec<T>, page: LakePage) -> Vec<T> {
    all.into_iter().skip(page.skip).take(page.most).collect()
}

impl LakeView for FakeLake {
    fn place(&self) -> BoxFuture<LakeResult<String>> {
        Box::pin(ready(Ok(format!("file:///lake/{}", self.words))))
    }

    fn tables(&self) -> BoxFuture<LakeResult<Vec<TableRow>>> {
        let row = |name: &str, problem: Option<&str>| TableRow {
            id: TableId::new("retail", name),
            totals: TOTALS,
            snapshots: 1,
            last: Some(self.snapshot()),
            problem: problem.map(Into::into),
        };
        Box::pin(ready(Ok(vec![row("orders", None), row("broken", Some(self.words))])))
    }

    fn table(&self, id: TableId) -> BoxFuture<LakeResult<LakeTable>> {
        let found = FakeLake::known(&id).map(|()| self.whole(id));
        Box::pin(ready(found))
    }

    fn snapshots(&self, id: TableId, page: LakePage) -> BoxFuture<LakeResult<Vec<SnapshotRow>>> {
        let found = FakeLake::known(&id).map(|()| paged(vec![self.snapshot()], page));
        Box::pin(ready(found))
    }

    fn files(&self, id: TableId, _: Option<i64>, page: LakePage) -> BoxFuture<LakeResult<Vec<DataFile>>> {
        let range = ColumnRange {
            name: "state".into(),
            nulls: Some(4),
            least: Some("ALABAMA".into()),
            greatest: Some(self.words.into()),
        };
        let file = |n: usize| DataFile {
            path: format!("file:///lake/{n}-{}.parquet", self.words),
            kind: FileKind::Data,
            partition: format!("state={}", self.words),
            rows: 600,
            bytes: 22_000,
            columns: vec![range.clone()],
        };
        let found = FakeLake::known(&id).map(|()| paged((0..250).map(file).collect(), page));
        Box::pin(ready(found))
    }

    fn partitions(&self, id: TableId, page: LakePage) -> BoxFuture<LakeResult<Vec<PartitionRow>>> {
        let row = |value: &str| PartitionRow { partition: format!("state={value}"), totals: TOTALS };
        let found = FakeLake::known(&id).map(|()| paged(vec![row("CA"), row(self.words)], page));
        Box::pin(ready(found))
    }

    /// `broken` cannot be parsed, `missing` reads a table that does not exist, and others read an existing table.
    fn sources(&self, queries: Vec<Query>) -> BoxFuture<LakeResult<Vec<LakeResult<Sources>>>> {
        let commits = self.commits.load(Ordering::SeqCst);
        let sources = |query: Query| match query.sql.split_whitespace().next() {
            Some("broken") => Err(LakeError::Refused("it is no SQL\nhint: write `select`".into())),
            Some("missing") => Ok(Sources { tables: vec![(TableId::new("gold", "none"), None)], changing: None }),
            word => Ok(Sources {
                tables: vec![(TableId::new("retail", "orders"), Some(format!("v{commits}.json")))],
                changing: word.filter(|word| *word == "now").map(Into::into),
            }),
        };
        Box::pin(ready(Ok(queries.into_iter().map(sources).collect())))
    }

    /// `wait` runs until it is cancelled, `wrong …` is rejected, and others return three rows or the requested number.
    fn query(&self, query: Query, stop: CancellationToken) -> BoxFuture<LakeResult<Box<dyn QueryRows>>> {
        let words = self.words;
        self.asked.lock().expect("no test panicked").push(query.clone());
        Box::pin(async move {
            if query.sql.starts_with("wrong") {
                return Err(LakeError::Refused(format!("`{words}` is refused\nhint: write `select`")));
            }
            let column = |name: &str, data_type: &str, is_number| ResultColumn {
                name: name.into(),
                data_type: data_type.into(),
                is_number,
            };
            let mut columns = vec![column("state", "varchar", false), column("total", "decimal(9, 2)", true)];
            let mut all: Vec<Vec<Cell>> = vec![
                vec![json!("CA"), json!("12.50")],
                vec![json!(words), json!("7.25")],
                vec![Value::Null, json!("1")],
            ];
            if query.sql.contains("$nulls") {
                columns = ["snapshot_id", "committed_at", "column_name", "nulls", "rows"]
                    .map(|name| column(name, "", false))
                    .into();
                all = nulls_of(words);
            }
            let is_cut = all.len() > query.limits.rows;
            let rows = all.into_iter().take(query.limits.rows).collect();
            let waits = query.sql.starts_with("wait");
            let rows: Box<dyn QueryRows> = Box::new(FakeRows { columns, chunk: Some(rows), is_cut, waits, stop });
            Ok(rows)
        })
    }
}

/// Rows of `$nulls`, newest snapshot first: one column has no nulls, the other has more in each snapshot.
fn nulls_of(words: &str) -> Vec<Vec<Cell>> {
    let of = |snapshot: usize, nulls: usize| {
        let at = format!("2026-11-2{snapshot}T06:00:00Z");
        [(String::from("order_id"), 0), (words.to_owned(), nulls)].map(|(column, nulls)| {
            vec![json!(snapshot.to_string()), json!(at), json!(column), json!(nulls), json!(100)]
        })
    };
    [of(3, 25), of(2, 10), of(1, 5)].into_iter().flatten().collect()
}

struct FakeRows {
    columns: Vec<ResultColumn>,
    chunk: Option<Chunk>,
    is_cut: bool,
    waits: bool,
    stop: CancellationToken,
}

impl QueryRows for FakeRows {
    fn columns(&self) -> &[ResultColumn] {
        &self.columns
    }

    fn next(&mut self) -> Pin<Box<dyn Future<Output = LakeResult<Option<Chunk>>> + Send + '_>> {
        Box::pin(async {
            if self.waits {
                self.stop.cancelled().await;
                return Err(LakeError::Cancelled);
            }
            Ok(self.chunk.take())
        })
    }

    fn is_cut(&self) -> bool {
        self.is_cut
    }

    fn seen(&self) -> ScanProgress {
        ScanProgress { files: 1, of_files: 2, bytes: 22_000 }
    }
}
