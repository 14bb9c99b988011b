//! Sorts the rows of a table that has a sort order. A bounded number of rows (a run) is sorted at a time and written
//! to its own files, so each file is sorted. The next rows are read while a run is being written.

use super::File;
use super::spread::Spread;
use crate::batches::BATCH_ROWS;
use crate::error::{LakeError, LakeResult};
use arrow::array::RecordBatch;
use arrow::compute::{SortColumn, SortOptions, concat, lexsort_to_indices, take};
use iceberg::spec::{NullOrder, Schema, SortDirection, SortOrder};
use tokio::task::JoinSet;

/// Maximum size in bytes of the rows that are sorted at a time.
const SORT_BYTES: usize = 64 << 20;

pub(super) struct Sorter {
    order: Order,
    /// Template from which the writers of sorted runs are created; nothing is written to it.
    spread: Spread,
    waiting: Vec<RecordBatch>,
    bytes: usize,
    /// The sorted run that is being written. There is at most one, because it is held in memory.
    writing: JoinSet<LakeResult<Vec<File>>>,
    done: Vec<File>,
}

/// The sort columns of a table, and the id of its sort order.
struct Order {
    id: Option<i32>,
    columns: Vec<(String, SortOptions)>,
}

impl Sorter {
    pub(super) fn new(order: &SortOrder, schema: &Schema, spread: Spread) -> Self {
        let columns = order.fields.iter().filter_map(|field| {
            let options = SortOptions {
                descending: field.direction == SortDirection::Descending,
                nulls_first: field.null_order == NullOrder::First,
            };
            Some((schema.name_by_field_id(field.source_id)?.to_owned(), options))
        });
        let order = Order { id: i32::try_from(order.order_id).ok(), columns: columns.collect() };
        Self { order, spread, waiting: vec![], bytes: 0, writing: JoinSet::new(), done: vec![] }
    }

    pub(super) async fn take(&mut self, batch: RecordBatch) -> LakeResult<()> {
        self.bytes += batch.get_array_memory_size();
        self.waiting.push(batch);
        if self.bytes >= SORT_BYTES { self.write().await } else { Ok(()) }
    }

    /// Writes the remaining rows and returns all files.
    pub(super) async fn close(mut self) -> LakeResult<Vec<File>> {
        self.write().await?;
        self.written().await?;
        Ok(self.done)
    }

    /// Sorts the collected rows and starts to write them.
    async fn write(&mut self) -> LakeResult<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        // Sorting overlaps with writing the previous run.
        let rows = self.order.sorted(&std::mem::take(&mut self.waiting))?;
        self.bytes = 0;
        self.written().await?;
        let (id, mut spread) = (self.order.id, self.spread.anew());
        self.writing.spawn(async move {
            for from in (0..rows.num_rows()).step_by(BATCH_ROWS) {
                spread.write(&rows.slice(from, BATCH_ROWS.min(rows.num_rows() - from))).await?;
            }
            spread.close(id).await
        });
        Ok(())
    }

    /// Waits until the previous run is written.
    async fn written(&mut self) -> LakeResult<()> {
        while let Some(files) = self.writing.join_next().await {
            self.done.extend(files.map_err(|error| LakeError::Source(error.into()))??);
        }
        Ok(())
    }
}

impl Order {
    fn sorted(&self, rows: &[RecordBatch]) -> LakeResult<RecordBatch> {
        let schema = rows[0].schema();
        let whole = |at: usize| concat(&rows.iter().map(|rows| rows.column(at).as_ref()).collect::<Vec<_>>());
        // Sorts by the column itself instead of its transform. Order-preserving transforms result in the same order,
        // and the order of others is of no use.
        let columns = self.columns.iter().filter_map(|(name, options)| {
            let (at, _) = schema.column_with_name(name)?;
            Some(whole(at).map(|values| SortColumn { values, options: Some(*options) }))
        });
        let places = lexsort_to_indices(&columns.collect::<Result<Vec<_>, _>>()?, None)?;
        // Columns are reordered one at a time, which needs less memory, and a single column usually fits into the CPU
        // cache.
        let columns = (0..schema.fields().len()).map(|at| take(&whole(at)?, &places, None));
        Ok(RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)?)
    }
}
