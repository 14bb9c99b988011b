//! Overwrite: replaces the rows that match a filter, or whole partitions, in one snapshot.

use super::filter::Bound;
use super::plan::LiveFile;
use super::rewrite::Rewrite;
use super::write::Writer;
use super::{Change, Filter, Region, Table};
use crate::batches::Batches;
use crate::error::{LakeError, LakeResult};
use futures::TryStreamExt as _;
use iceberg::spec::Operation;
use std::collections::HashSet;

impl Table {
    /// Replaces the rows that match the filter by the new rows. `Filter::All` replaces the whole table. Idempotent.
    ///
    /// # Errors
    /// Returns an error if a new row does not match the filter, because a second run would then duplicate the row.
    pub async fn overwrite(&self, filter: Filter, batches: impl Into<Batches>) -> LakeResult<Change> {
        let mut rewrite = Rewrite::new(self, Operation::Overwrite)?;
        let bound = filter.bind(self.schema())?;
        let mut batches = batches.into();
        while let Some(batch) = batches.try_next().await.map_err(LakeError::source)? {
            let batch = rewrite.writer.conform(&batch)?;
            self.check_within(&filter, &bound, &batch)?;
            rewrite.writer.write(batch).await?;
        }
        if filter == Filter::All {
            let live = self.live(self.current_snapshot()).await?;
            let files = live.data.iter().map(LiveFile::file);
            rewrite.change.remove = files.chain(live.deletes.iter().map(|file| file.file())).collect();
        } else {
            self.drop_rows(&mut rewrite, &filter).await?;
        }
        rewrite.change.region = Region::Rows(filter);
        rewrite.finish().await
    }

    fn check_within(&self, filter: &Filter, bound: &Bound, batch: &arrow::array::RecordBatch) -> LakeResult<()> {
        let within = bound.rows(batch)?;
        match (0..within.len()).find(|row| !within.value(*row)) {
            None => Ok(()),
            Some(row) => {
                let what = format!(
                    "row {} of a batch is none of those that are replaced in table `{}`: {filter}",
                    row + 1,
                    self.name
                );
                Err(LakeError::input(what, "write only rows of the filter, or widen it"))
            }
        }
    }

    /// Replaces all rows of the partitions in which there are new rows. If the table is unpartitioned, all of its
    /// rows are replaced.
    ///
    /// # Errors
    /// Returns an error if the table has files of an earlier partition spec, whose rows cannot be assigned to
    /// partitions.
    pub async fn overwrite_partitions(&self, batches: impl Into<Batches>) -> LakeResult<Change> {
        let mut change = Change::new(self, Operation::Overwrite);
        change.add = Writer::new(self)?.write_all(batches.into()).await?;
        let spec_id = self.metadata().default_partition_spec_id();
        let values: HashSet<_> = change.add.iter().map(|file| file.data.partition().clone()).collect();
        let live = self.live(self.current_snapshot()).await?;
        let all = live.data.iter().map(LiveFile::file).chain(live.deletes.iter().map(|file| file.file()));
        for file in all {
            if file.spec_id != spec_id {
                let what = format!("table `{}` has files of an earlier partition spec: `{}`", self.name, file.path());
                return Err(LakeError::input(what, "overwrite by a filter, or compact the table first"));
            }
            if values.contains(file.data.partition()) {
                change.remove.push(file);
            }
        }
        change.region = Region::Partitions { spec_id, values };
        Ok(change)
    }
}
