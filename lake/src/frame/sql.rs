//! SQL over polars data frames. Uses the in-memory engine of polars: with three million rows it was faster than the
//! streaming engine and used less memory.

use super::threads::off_runtime;
use super::{blocking, from_batches, to_batches};
use crate::TableSpec;
use crate::batches::BATCH_ROWS;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use orch_sdk::task::TaskResult;
use polars::prelude::{DataFrame, Expr, IntoLazy as _, SortMultipleOptions};
use polars::sql::{SQLContext, sql_expr};
use std::collections::BTreeMap;

/// Data frames that SQL statements can read by name. Clones share the rows.
#[derive(Debug, Clone, Default)]
pub struct SqlFrames(BTreeMap<String, DataFrame>);

impl SqlFrames {
    /// Adds or replaces the frame with this name.
    pub fn set(&mut self, name: &str, frame: DataFrame) {
        self.0.insert(name.to_owned(), frame);
    }

    /// Executes a `SELECT` and returns its rows.
    ///
    /// # Errors
    /// Returns an error if the statement cannot be parsed or names an unknown table or column, or if a value cannot
    /// be cast.
    pub fn query(&self, statement: &str) -> TaskResult<DataFrame> {
        // Each statement gets a new `SQLContext`, because a context keeps the table aliases of earlier statements.
        let mut context = SQLContext::new();
        self.0.iter().for_each(|(name, frame)| context.register(name, frame.clone().lazy()));
        let plan = context.execute(statement)?;
        Ok(off_runtime(|| plan.collect())?)
    }

    /// Executes a `SELECT` and returns its rows as batches of a schema. The rows are sorted by the columns in
    /// `order`; if it is empty, they are not sorted.
    pub fn batches(&self, statement: &str, order: &[&str], schema: &SchemaRef) -> TaskResult<Vec<RecordBatch>> {
        let rows = self.query(statement)?;
        let by = order.iter().copied();
        let rows = if order.is_empty() { rows } else { rows.sort(by, SortMultipleOptions::default())? };
        let slices = to_batches(rows, schema)?.into_iter().flat_map(|batch| {
            let starts = (0..batch.num_rows().max(1)).step_by(BATCH_ROWS);
            starts.map(move |start| batch.slice(start, BATCH_ROWS.min(batch.num_rows() - start))).collect::<Vec<_>>()
        });
        Ok(slices.collect())
    }

    /// Computes the rows of a table, sorted by its key, and registers them for later statements. Runs on a thread of
    /// the pool.
    pub async fn make(&mut self, table: &TableSpec, statement: &'static str) -> TaskResult<Vec<RecordBatch>> {
        let (frames, schema, key) = (self.clone(), table.unchecked_schema(), table.key);
        let rows = blocking(move |_| frames.batches(statement, key, &schema)).await?;
        self.set(table.name, from_batches(&rows)?);
        Ok(rows)
    }
}

/// Executes a `SELECT` over batches, which the statement refers to as `rows`.
pub fn query_rows(batches: &[RecordBatch], statement: &str) -> TaskResult<DataFrame> {
    let mut frames = SqlFrames::default();
    frames.set("rows", from_batches(batches)?);
    frames.query(statement)
}

/// Maximum length of an expression. The depth of its syntax tree can be half its length, and polars recurses over the
/// tree.
const MAX_EXPRESSION_BYTES: usize = 4_096;

/// Parses a SQL expression over the columns of a table.
///
/// # Errors
/// Returns an error if the expression is invalid or longer than 4,096 bytes.
pub fn expression(text: &str) -> TaskResult<Expr> {
    let bytes = text.len();
    anyhow::ensure!(
        bytes <= MAX_EXPRESSION_BYTES,
        "it has {bytes} bytes, and at most {MAX_EXPRESSION_BYTES} are possible"
    );
    Ok(off_runtime(|| sql_expr(text))?)
}
