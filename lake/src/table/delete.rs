//! Deletes the rows of a table that match a filter.

use super::rewrite::Rewrite;
use super::{Change, File, Filter, Region, Table};
use crate::{boxed, error::LakeResult};
use iceberg::spec::Operation;

impl Table {
    /// Deletes the rows that match the filter. A file in which every row matches is removed without being read.
    #[boxed]
    pub async fn delete(&self, filter: Filter) -> LakeResult<Change> {
        let mut rewrite = Rewrite::new(self, Operation::Delete)?;
        self.drop_rows(&mut rewrite, &filter).await?;
        let mut change = rewrite.finish().await?;
        if change.add.iter().any(File::is_data) {
            change.operation = Operation::Overwrite;
        }
        change.region = Region::Rows(filter);
        Ok(change)
    }

    pub(super) async fn drop_rows(&self, rewrite: &mut Rewrite, filter: &Filter) -> LakeResult<()> {
        let bound = filter.bind(self.schema())?;
        let columns = bound.columns();
        let plan = self.plan(filter).await?;
        for planned in &plan.files {
            rewrite.drop_rows(planned, &columns, &|batch| bound.rows(batch)).await?;
        }
        Ok(())
    }
}
