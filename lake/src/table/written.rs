//! Files that are written by one process and committed by another. Their manifest entries are passed between the
//! processes as JSON.

use super::{Change, File, Table};
use crate::error::{LakeError, LakeResult};
use iceberg::spec::{
    Operation, StructType, deserialize_data_file_from_json as read_file, serialize_data_file_to_json as say_file,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A data file that was written but that no snapshot references yet.
#[derive(Debug, Serialize, Deserialize)]
pub struct WrittenFile {
    /// Id of the partition spec under which the file was written.
    spec_id: i32,
    file: Box<RawValue>,
}

impl Change {
    /// Returns the files of an append, so that another process can commit them.
    pub fn written(&self) -> LakeResult<Vec<WrittenFile>> {
        let said = |File { data, spec_id }: &File| {
            let partition = self.base.partition_type(*spec_id)?;
            let text = say_file(data.clone(), &partition, self.base.metadata().format_version())?;
            let file = RawValue::from_string(text).map_err(|error| LakeError::source(error.into()))?;
            Ok(WrittenFile { spec_id: *spec_id, file })
        };
        self.add.iter().map(said).collect()
    }
}

impl Table {
    /// Returns an append of files that another process has written for this table.
    ///
    /// # Errors
    /// Returns an error if the table no longer has the partition spec of a file.
    pub fn append_written<'a>(&self, files: impl IntoIterator<Item = &'a WrittenFile>) -> LakeResult<Change> {
        let mut change = Change::new(self, Operation::Append);
        for WrittenFile { spec_id, file } in files {
            let partition = self.partition_type(*spec_id)?;
            let data = read_file(file.get(), *spec_id, &partition, self.metadata().current_schema())?;
            change.add.push(File { data, spec_id: *spec_id });
        }
        Ok(change)
    }

    fn partition_type(&self, spec_id: i32) -> LakeResult<StructType> {
        let spec = self.metadata().partition_spec_by_id(spec_id).ok_or_else(|| {
            let what =
                format!("table `{}` has no partition spec {spec_id}, under which a file was written", self.name());
            LakeError::input(what, "write the rows again, into the table as it is now")
        })?;
        Ok(spec.partition_type(self.metadata().current_schema())?)
    }
}
