//! The rows that a table of a database has, all at once. A mirror begins with them where its capture leaves the snapshot to mirrors.

use crate::changes::{LSN, TX_ID};
use arrow::array::{Array as _, AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, SchemaRef};
use orch_lake::Batches;
use orch_lake::source::postgres::{self, Read, Visible};
use orch_sdk::task::{Connection, TaskResult, fatal};

/// A table, as it is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotFrom {
    pub(crate) connection: String,
    pub(crate) table: String,
}

/// A table that can be copied.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    connection: Connection,
    pub(crate) table: String,
    columns: SchemaRef,
}

impl Snapshot {
    /// `columns`: as the changes have them.
    ///
    /// # Errors
    /// A fatal one: the connection is for something else than Postgres.
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
        postgres::copy(&self.connection, Read::columns(schema, table, self.columns.clone())).await
    }
}

/// Changes that are not of what was copied: those have been carried out.
pub(crate) fn not_copied(copied: &Visible, changes: &RecordBatch) -> TaskResult<RecordBatch> {
    let column = |name: &str| changes.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
    let (Some(lsns), Some(transactions)) = (column(LSN), column(TX_ID)) else { return Ok(changes.clone()) };
    let is_copied = |row: usize| {
        let lsn = (!lsns.is_null(row)).then(|| u64::try_from(lsns.value(row)).ok()).flatten();
        let transaction = (!transactions.is_null(row)).then(|| u32::try_from(transactions.value(row)).ok()).flatten();
        lsn.zip(transaction).is_some_and(|(lsn, transaction)| copied.has(lsn, transaction))
    };
    let kept: BooleanArray = (0..changes.num_rows()).map(|row| Some(!is_copied(row))).collect();
    if kept.false_count() == 0 { Ok(changes.clone()) } else { Ok(filter_record_batch(changes, &kept)?) }
}
