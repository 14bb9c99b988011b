//! Copies of source tables: a mirror starts with a copy of its source table if the capture publishes no snapshot.

use crate::changes::{LSN, TX_ID};
use anyhow::Context as _;
use arrow::array::{AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, SchemaRef};
use orch_lake::Batches;
use orch_lake::source::postgres::{self, PostgresSource, Visible};
use orch_sdk::task::{Connection, TaskResult, fatal};

/// Table property that stores which source transactions the copy contains (see [`Visible`]).
pub(crate) const COPIED: &str = "orch.mirror.copied";

/// The declared source table of a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotFrom {
    pub(crate) connection: String,
    pub(crate) table: String,
}

/// A source table and its connection.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    connection: Connection,
    pub(crate) table: String,
    columns: SchemaRef,
}

impl Snapshot {
    /// Creates a snapshot source. `columns` is the schema of the changes.
    ///
    /// # Errors
    /// Returns a fatal error if the connection is not of type `postgres`.
    pub(crate) fn of(from: &SnapshotFrom, connection: Connection, columns: SchemaRef) -> TaskResult<Snapshot> {
        if connection.conn_type != "postgres" {
            return Err(fatal(format!(
                "table `{}` is to be copied from connection `{}` of type `{}`, and only tables of Postgres are copied\n\
                 hint: let the capture read the rows into its topics, without `.snapshot_by_mirrors()`",
                from.table, connection.id, connection.conn_type
            )));
        }
        Ok(Snapshot { connection, table: from.table.clone(), columns })
    }

    pub(crate) async fn copy(&self) -> TaskResult<(Visible, Batches)> {
        let (schema, table) = self.table.split_once('.').unwrap_or(("public", &self.table));
        postgres::copy(&self.connection, PostgresSource::columns(schema, table, self.columns.clone())).await
    }
}

/// Drops changes that the copy already contains. `copied` is the value of the table property [`COPIED`].
pub(crate) fn not_copied(copied: &str, lot: &[RecordBatch]) -> TaskResult<Vec<RecordBatch>> {
    let copied: Visible = copied.parse().with_context(|| format!("the property `{COPIED}` of the table"))?;
    lot.iter().map(|changes| without(&copied, changes)).collect()
}

fn without(copied: &Visible, changes: &RecordBatch) -> TaskResult<RecordBatch> {
    let column = |name: &str| changes.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
    let (Some(lsns), Some(transactions)) = (column(LSN), column(TX_ID)) else { return Ok(changes.clone()) };
    let is_new = lsns.iter().zip(transactions).map(|(lsn, transaction)| {
        let lsn = lsn.and_then(|lsn| u64::try_from(lsn).ok());
        let transaction = transaction.and_then(|transaction| u32::try_from(transaction).ok());
        Some(!lsn.zip(transaction).is_some_and(|(lsn, transaction)| copied.has(lsn, transaction)))
    });
    Ok(filter_record_batch(changes, &is_new.collect::<BooleanArray>())?)
}
