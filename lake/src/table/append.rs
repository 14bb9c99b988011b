//! Append: adds new files without changing existing ones, so it never conflicts with other writers.

use super::write::Writer;
use super::{Change, Table};
use crate::batches::Batches;
use crate::error::LakeResult;
use iceberg::spec::Operation;

impl Table {
    /// Writes the rows to new files.
    ///
    /// # Errors
    /// Returns `LakeError::Input` if a batch does not fit the schema of the table.
    pub async fn append(&self, batches: impl Into<Batches>) -> LakeResult<Change> {
        let mut change = Change::new(self, Operation::Append);
        change.add = Writer::new(self)?.write_all(batches.into()).await?;
        Ok(change)
    }
}
