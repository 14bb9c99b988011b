//! Upsert: new rows replace the rows with the same key, and the remaining new rows are added.

use super::filter::prune::Rows;
use super::keys::Keys;
use super::plan::{DeleteIndex, PlannedFile, Pruners};
use super::rewrite::Rewrite;
use super::{Change, Region, Table};
use crate::batches::Batches;
use crate::error::{LakeError, LakeResult};
use arrow::array::RecordBatch;
use futures::TryStreamExt as _;
use iceberg::spec::Operation;
use std::sync::Arc;

impl Table {
    /// Upserts rows: writes the new rows and deletes existing rows with the same values in the columns `key`. If
    /// `key` is empty, the key of the table is used. The cost is proportional to the affected files; other files are
    /// excluded by their partition and key bounds. The keys are held in memory, the rows are not.
    ///
    /// # Errors
    /// Returns an error if two new rows have the same key, or a key is null.
    pub async fn upsert(&self, key: &[&str], batches: impl Into<Batches>) -> LakeResult<Change> {
        self.merge(key, batches, &[]).await
    }

    /// Like [`Table::upsert`], but also deletes the rows whose keys are in `gone`. The batches in `gone` contain the
    /// key columns.
    ///
    /// # Errors
    /// Returns the same errors as [`Table::upsert`], and an error if a key is both in the new rows and in `gone`.
    pub async fn merge(&self, key: &[&str], batches: impl Into<Batches>, gone: &[RecordBatch]) -> LakeResult<Change> {
        let columns = if key.is_empty() { self.key() } else { key.iter().map(|&name| name.to_owned()).collect() };
        let mut keys = Keys::new(self, &columns)?;
        let mut rewrite = Rewrite::new(self, Operation::Overwrite)?;
        let mut batches = batches.into();
        while let Some(batch) = batches.try_next().await.map_err(LakeError::source)? {
            let batch = rewrite.writer.conform(&batch)?;
            keys.add(&batch)?;
            rewrite.writer.write(batch).await?;
        }
        for batch in gone {
            keys.add(batch)?;
        }
        if keys.is_empty() {
            return rewrite.finish().await;
        }
        for planned in self.with_keys(&keys).await? {
            rewrite.drop_rows(&planned, keys.columns(), &|batch| keys.rows(batch)).await?;
        }
        if rewrite.change.remove.is_empty() && rewrite.change.points_into.is_empty() {
            rewrite.change.operation = Operation::Append;
        }
        rewrite.change.region = Region::Keys(Arc::new(keys));
        rewrite.finish().await
    }

    /// Returns the files that may contain a row with one of the keys.
    async fn with_keys(&self, keys: &Keys) -> LakeResult<Vec<PlannedFile>> {
        let filter = keys.filter()?;
        let live = self.live(self.current_snapshot()).await?;
        let index = DeleteIndex::new(&live.deletes);
        let mut pruners = Pruners::new(self, &filter);
        let mut files = vec![];
        for file in live.data {
            if pruners.rows(&file)? != Rows::None {
                // The file is never removed without reading it. Its key bounds are within the range of the filter,
                // but its keys need not be among the given ones.
                files.push(PlannedFile { deletes: index.of(&file), whole: false, file });
            }
        }
        Ok(files)
    }
}
