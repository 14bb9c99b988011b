//! Import and export of nouns in Airflow's file formats.

use super::Kept;
use orch_document::kept::{BadDocument, Document, FileFormat, Serialization};
use orch_store::kept::Record;
use orch_store::seal::{Keyring, SecretError};
use orch_wire::NounBody;

/// A noun that can be imported from files.
pub trait ImportFile: Kept {
    /// Format of files whose extension names none.
    const USUAL_FORMAT: Option<FileFormat> = None;

    /// Returns everything that the file contains.
    fn read(document: &Document<'_>) -> Result<Vec<NounBody>, BadDocument>;
}

/// A noun that can be exported to files.
pub trait ExportFile: ImportFile {
    /// The form of a record in a file.
    type Written: Send;
    /// The first format is the default.
    const FILE_FORMATS: &'static [FileFormat];

    /// Returns a record with its secrets.
    fn opened(record: &Record, keys: &Keyring) -> Result<Self::Written, SecretError>;

    /// Returns a record with `***` in place of its secrets.
    fn masked(record: &Record, keys: &Keyring) -> Self::Written;

    /// Returns the text of a file. `serialization` only matters for `FileFormat::Env`.
    fn write(all: Vec<Self::Written>, format: FileFormat, serialization: Serialization) -> String;
}
