//! Nouns in files, as Airflow reads and writes them.

use super::Kept;
use orch_document::kept::{BadDocument, Document, FileFormat, Serialization};
use orch_store::kept::Record;
use orch_store::seal::{Keyring, SecretError};
use orch_wire::NounBody;

/// A noun that comes in files.
pub trait ImportFile: Kept {
    /// Of a file whose ending names no format.
    const USUAL_FORMAT: Option<FileFormat> = None;

    /// All that the file holds.
    fn read(document: &Document<'_>) -> Result<Vec<NounBody>, BadDocument>;
}

/// A noun that goes into files from its table.
pub trait ExportFile: ImportFile {
    /// One as a file holds it.
    type Written: Send;
    /// The first where no format is asked for.
    const FILE_FORMATS: &'static [FileFormat];

    /// With its secrets.
    fn opened(record: &Record, keys: &Keyring) -> Result<Self::Written, SecretError>;

    /// With `***` for what is secret.
    fn masked(record: &Record, keys: &Keyring) -> Self::Written;

    /// The text of a file. How a line for the environment is written matters there only.
    fn write(all: Vec<Self::Written>, format: FileFormat, serialization: Serialization) -> String;
}
