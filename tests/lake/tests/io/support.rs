//! Shared helpers: small tables, test databases, and the text of errors.

use arrow::array::{Array, ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use orch_lake::load::{Session, connect};
use orch_sdk::task::Connection;
use orch_test_support::postgres;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Returns the message of an error with its causes, as in a task log.
pub(crate) fn words(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Returns true if a task that fails with this error is not retried.
pub(crate) fn is_fatal(error: anyhow::Error) -> bool {
    matches!(orch_sdk::task::TaskError::from(error), orch_sdk::task::TaskError::Fatal { .. })
}

pub(crate) fn field(name: &str, of: DataType) -> Field {
    Field::new(name, of, false)
}

pub(crate) fn schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

/// Returns rows of (id, name, price); names may be null.
pub(crate) fn sales(rows: &[(i64, Option<&str>, i128)]) -> RecordBatch {
    let price = Decimal128Array::from_iter_values(rows.iter().map(|row| row.2));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>()),
        Arc::new(price.with_precision_and_scale(12, 2).expect("it fits")),
    ];
    RecordBatch::try_new(sales_schema(), columns).expect("it fits")
}

pub(crate) fn sales_schema() -> SchemaRef {
    schema(vec![
        field("id", DataType::Int64),
        Field::new("name", DataType::Utf8, true),
        field("price", DataType::Decimal128(12, 2)),
    ])
}

/// Creates an empty database on the shared Postgres and returns a connection with the id `retail_postgres`. The
/// database exists until that server stops.
pub(crate) async fn database() -> Connection {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let server = postgres().await;
    let name = format!("test_{}_io{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let admin = Connection::from_uri("admin", &server.url()).expect("a URI");
    execute_sql(&connect(&admin).await.expect("the server answers"), &format!("create database {name}")).await;
    Connection::from_uri("retail_postgres", &server.url_of(&name)).expect("a URI")
}

/// Returns a value as text; null is `-`.
pub(crate) fn shown(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return "-".into();
    }
    arrow::util::display::array_value_to_string(column, row).expect("it can be shown")
}

/// Returns each row as a line.
pub(crate) fn lines(batch: &RecordBatch) -> Vec<String> {
    let row = |row| batch.columns().iter().map(|column| shown(column, row)).collect::<Vec<_>>().join(" | ");
    (0..batch.num_rows()).map(row).collect()
}

/// Returns the first column of a query's result.
pub(crate) async fn ask(db: &Session, sql: &str) -> Vec<String> {
    let rows = db.query(sql, &[]).await.unwrap_or_else(|e| panic!("`{sql}`: {e:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

pub(crate) async fn execute_sql(db: &Session, sql: &str) {
    db.batch_execute(sql).await.unwrap_or_else(|e| panic!("`{sql}`: {e:?}"));
}
