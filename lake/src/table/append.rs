//! Append: adds new files and changes nothing else, so it never conflicts with another writer.

use super::write::Writer;
use super::{Change, Table};
use crate::batches::Batches;
use crate::error::LakeResult;
use iceberg::spec::Operation;

impl Table {
    /// Writes the rows into new files.
    ///
    /// # Errors
    /// Returns `LakeError::Input` if a batch does not fit the table.
    pub async fn append(&self, batches: impl Into<Batches>) -> LakeResult<Change> {
        let mut change = Change::new(self, Operation::Append);
        change.add = Writer::new(self)?.write_all(batches.into()).await?;
        Ok(change)
    }
}
