//! polars' SQL over frames. Many rows go through its streaming engine: joins and sums hold little more than their inputs and
//! their result. Few rows are faster in its other engine, which starts no pipeline.

use super::threads::off_runtime;
use super::{blocking, from_batches, to_batches};
use crate::batches::{BATCH_ROWS, Batches};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use orch_sdk::task::TaskResult;
use polars::prelude::{DataFrame, Engine, Expr, IntoLazy as _, SortMultipleOptions};
use polars::sql::{SQLContext, sql_expr};
use std::collections::BTreeMap;

/// Up to this many rows of all frames, a statement runs in the engine that keeps everything in memory.
const IN_MEMORY_ROWS: usize = 1 << 19;

/// Frames by name, for statements that read them. Clones share the rows.
#[derive(Debug, Clone, Default)]
pub struct SqlFrames(BTreeMap<String, DataFrame>);

impl SqlFrames {
    /// Adds a frame under a name, or replaces the one that has it.
    pub fn set(&mut self, name: &str, frame: DataFrame) {
        self.0.insert(name.to_owned(), frame);
    }

    /// Returns the rows of a `SELECT`.
    ///
    /// # Errors
    /// The statement cannot be parsed, names an unknown table or column, or a value does not fit a cast.
    pub fn query(&self, statement: &str) -> TaskResult<DataFrame> {
        // A `SQLContext` keeps the table aliases of earlier statements, so each statement gets a new one.
        let mut context = SQLContext::new();
        self.0.iter().for_each(|(name, frame)| context.register(name, frame.clone().lazy()));
        let plan = context.execute(statement)?;
        let rows: usize = self.0.values().map(DataFrame::height).sum();
        let engine = if rows > IN_MEMORY_ROWS { Engine::Streaming } else { Engine::InMemory };
        Ok(off_runtime(|| plan.collect_with_engine(engine))?.unwrap_single())
    }

    /// Returns the rows of a `SELECT` as batches of a schema, sorted by some columns, if any are named.
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

    /// Computes [`SqlFrames::batches`] on a thread of the pool.
    pub async fn rows(
        &self,
        statement: &'static str,
        order: &'static [&'static str],
        schema: SchemaRef,
    ) -> TaskResult<Batches> {
        let (frames, typed) = (self.clone(), schema.clone());
        let batches = blocking(move |_| frames.batches(statement, order, &typed)).await?;
        Ok(Batches::of(schema, batches))
    }
}

/// Runs a `SELECT` over batches, which it names `rows`.
pub fn query_rows(batches: &[RecordBatch], statement: &str) -> TaskResult<DataFrame> {
    let mut frames = SqlFrames::default();
    frames.set("rows", from_batches(batches)?);
    frames.query(statement)
}

/// Parses a SQL expression over the columns of a table.
pub fn expression(text: &str) -> TaskResult<Expr> {
    Ok(sql_expr(text)?)
}
