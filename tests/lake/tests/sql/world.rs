//! A lake with orders, and SQL access to it.

use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray};
use iceberg::spec::{PrimitiveType, Transform};
use orch_lake::{Lake, LakeConfig, Table, TableDef, TableName};
use orch_lake_sql::{Opened, SqlLake, SqlLimits};
use orch_store::MIGRATOR;
use orch_store::lake_view::{LakeError, LakeResult, LakeView as _, Query, QueryAnswer, QueryLimits, collect_answer};
use orch_test_support::TestDb;
use sqlx::postgres::PgPoolOptions;
use std::sync::Arc;
use std::time::Instant;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub(crate) struct World {
    pub(crate) folder: TempDir,
    /// Used for writing.
    pub(crate) lake: Lake,
    /// Used for reading.
    pub(crate) sql: Arc<SqlLake>,
    _db: TestDb,
}

pub(crate) async fn world() -> World {
    world_with(SqlLimits::default()).await
}

pub(crate) async fn world_with(limits: SqlLimits) -> World {
    let db = TestDb::new(&MIGRATOR).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let warehouse = format!("file://{}", folder.path().display());
    let (url, place) = (db.url(), warehouse.clone());
    let open = move || {
        let catalog = PgPoolOptions::new().max_connections(4).connect_lazy(&url)?;
        let storage = orch_lake::bucket::Options::default();
        let config = LakeConfig { catalog, name: "orch".into(), warehouse: warehouse.clone(), storage };
        anyhow::Ok(Lake::open(config)?)
    };
    let lake = open().expect("a folder is a warehouse");
    let opened = async move { Ok(Opened { lake: open()?, place }) };
    let sql = SqlLake::open(limits, opened).await.expect("the same can be looked at");
    World { folder, lake, sql, _db: db }
}

impl World {
    /// Creates `retail.orders`, partitioned by state: 300 orders in each of three states, in three files. The amount
    /// in cents is the id.
    pub(crate) async fn with_orders() -> World {
        let world = world().await;
        world.fill().await;
        world
    }

    pub(crate) async fn fill(&self) -> Table {
        let table = self.lake.create(&named("retail.orders"), &definition()).await.expect("the table is made");
        commit(&self.lake, &table, orders(0..900)).await
    }

    pub(crate) async fn ask(&self, sql: &str) -> LakeResult<QueryAnswer> {
        self.ask_within(sql, QueryLimits::default()).await
    }

    pub(crate) async fn ask_within(&self, sql: &str, limits: QueryLimits) -> LakeResult<QueryAnswer> {
        let began = Instant::now();
        let query = Query::new(sql, limits);
        collect_answer(self.sql.query(query, CancellationToken::new()).await?, began).await
    }

    /// Returns the rows of a query that must succeed, one line per row with cells separated by spaces.
    pub(crate) async fn lines(&self, sql: &str) -> Vec<String> {
        let answer = self.ask(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let text = |cell: &serde_json::Value| cell.as_str().map_or_else(|| cell.to_string(), Into::into);
        answer.rows.iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join(" ")).collect()
    }

    pub(crate) async fn refused(&self, sql: &str) -> LakeError {
        match self.ask(sql).await {
            Ok(answer) => panic!("{sql}: {:?}", answer.rows),
            Err(error) => error,
        }
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
        .partition("state", Transform::Identity)
}

/// Returns orders of CA, NY and TX in turn. Ten consecutive ids share a day, and the amount in cents is the id.
pub(crate) fn orders(ids: std::ops::Range<i64>) -> RecordBatch {
    let states = ids.clone().map(|id| ["CA", "NY", "TX"][(id % 3) as usize]);
    let amount = Decimal128Array::from_iter_values(ids.clone().map(i128::from)).with_precision_and_scale(10, 2);
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(Int64Array::from_iter_values(ids.clone()))),
        ("state", Arc::new(StringArray::from_iter_values(states))),
        ("day", Arc::new(Date32Array::from_iter_values(ids.clone().map(|id| 16_000 + (id / 10) as i32)))),
        ("amount", Arc::new(amount.expect("the amounts fit"))),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

pub(crate) async fn commit(lake: &Lake, table: &Table, batch: RecordBatch) -> Table {
    let change = table.append(batch).await.expect("it is written");
    let change = change.property("orch.dag_id", "shop").property("orch.run_id", "r1").property("orch.task_id", "load");
    change.commit(lake).await.expect("it is committed").table
}
