//! Sorts the rows of a table that declares an order. A bounded part of the rows is sorted at a time and written to its
//! own files, so each file is sorted. The next rows are read while a part is written.

use super::File;
use super::spread::Spread;
use crate::batches::BATCH_ROWS;
use crate::error::{LakeError, LakeResult};
use arrow::array::RecordBatch;
use arrow::compute::{SortColumn, SortOptions, concat, lexsort_to_indices, take};
use iceberg::spec::{NullOrder, Schema, SortDirection, SortOrder};
use tokio::task::JoinSet;

/// Maximum size of the rows sorted at a time.
const SORT_BYTES: usize = 64 << 20;

pub(super) struct Sorter {
    order: Order,
    /// Template for the writers of the sorted parts; nothing is written to it.
    spread: Spread,
    waiting: Vec<RecordBatch>,
    bytes: usize,
    /// At most one part, since it is held in memory.
    writing: JoinSet<LakeResult<Vec<File>>>,
    done: Vec<File>,
}

/// Sort columns and the id of the sort order.
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

    /// Writes the rest and returns all files.
    pub(super) async fn close(mut self) -> LakeResult<Vec<File>> {
        self.write().await?;
        self.written().await?;
        Ok(self.done)
    }

    /// Sorts the waiting rows and starts to write them.
    async fn write(&mut self) -> LakeResult<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        // Sorting overlaps with writing the part before.
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

    /// Waits for the part that is being written.
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
        // The column itself is used instead of its transform: order-preserving transforms have the same order, and
        // other orders are of no use.
        let columns = self.columns.iter().filter_map(|(name, options)| {
            let (at, _) = schema.column_with_name(name)?;
            Some(whole(at).map(|values| SortColumn { values, options: Some(*options) }))
        });
        let places = lexsort_to_indices(&columns.collect::<Result<Vec<_>, _>>()?, None)?;
        // Taking column by column needs less memory, and most columns fit into the CPU cache.
        let columns = (0..schema.fields().len()).map(|at| take(&whole(at)?, &places, None));
        Ok(RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)?)
    }
}
