//! Append: new files, and nothing else changes. Never in conflict with anybody.

use super::write::Writer;
use super::{Change, Table};
use crate::batches::Batches;
use crate::error::LakeResult;
use iceberg::spec::Operation;

impl Table {
    /// Writes the rows into new files.
    ///
    /// # Errors
    /// A batch does not fit the table: see `LakeError::Input`.
    pub async fn append(&self, batches: impl Into<Batches>) -> LakeResult<Change> {
        let mut change = Change::new(self, Operation::Append);
        change.add = Writer::new(self)?.write_all(batches.into()).await?;
        Ok(change)
    }
}
