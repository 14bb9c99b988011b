//! JSON lines format: one object per line. Field types come from a schema; fields that the schema lacks are ignored.

use super::{Decode, Encode, WrittenObject};
use crate::{
    batches::{BATCH_ROWS, Batches},
    boxed,
    bucket::Bucket,
};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::json::reader::Decoder;
use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use bytes::{Bytes, BytesMut};
use orch_sdk::task::{TaskResult, fatal};

/// Maximum length of a line: 64 MiB.
const MOST_LINE_BYTES: usize = 64 << 20;

/// Reads an object as rows of a schema.
///
/// # Errors
/// Returns an error if the object does not exist. Lines that are not JSON or do not fit the schema are errors of the
/// stream.
#[boxed]
pub async fn read(bucket: &Bucket, key: &str, schema: SchemaRef) -> TaskResult<Batches> {
    let decoder = decoder(&schema)?;
    let pieces = bucket.read(key).await?;
    let location = bucket.location(key);
    let (begun, held) = (BytesMut::new(), Vec::new());
    Ok(super::read(schema.clone(), pieces, Lines { decoder, schema, location, begun, held, line: 0 }))
}

fn decoder(schema: &SchemaRef) -> Result<Decoder, ArrowError> {
    ReaderBuilder::new(schema.clone()).with_batch_size(BATCH_ROWS).build_decoder()
}

struct Lines {
    decoder: Decoder,
    schema: SchemaRef,
    location: String,
    /// The start of a line whose end was not received yet.
    begun: BytesMut,
    /// Lines of the current batch with their line numbers. The decoder detects type errors only when the batch is
    /// full, and these lines are used to find the invalid one.
    held: Vec<(u64, Bytes)>,
    /// Line number of the last line that was read.
    line: u64,
}

impl Decode for Lines {
    fn piece(&mut self, piece: Bytes) -> TaskResult<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        self.begun.extend_from_slice(&piece);
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line = self.begun.split_to(end + 1).freeze();
            batches.extend(self.line(line)?);
        }
        if self.begun.len() > MOST_LINE_BYTES {
            return Err(fatal(format!("`{}`, line {}: it is longer than 64 MB", self.location, self.line + 1)));
        }
        if piece.is_empty() {
            let last = self.begun.split().freeze();
            batches.extend(self.line(last)?);
            batches.extend(self.flush()?);
        }
        Ok(batches)
    }
}

impl Lines {
    fn line(&mut self, line: Bytes) -> TaskResult<Option<RecordBatch>> {
        self.line += 1;
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let before = self.decoder.len();
        let read = self.decoder.decode(&line);
        // Each line must contain exactly one complete object.
        if read.is_err() || self.decoder.has_partial_record() || self.decoder.len() != before + 1 {
            return Err(fatal(format!("`{}`, line {}: it is no JSON object", self.location, self.line)));
        }
        self.held.push((self.line, line));
        if self.held.len() < BATCH_ROWS { Ok(None) } else { self.flush() }
    }

    fn flush(&mut self) -> TaskResult<Option<RecordBatch>> {
        let flushed = self.decoder.flush();
        let held = std::mem::take(&mut self.held);
        flushed.map_err(|error| {
            let alone = |line: &Bytes| {
                let mut decoder = decoder(&self.schema)?;
                decoder.decode(line)?;
                decoder.flush()
            };
            let line = held.iter().find(|(_, line)| alone(line).is_err()).map_or(self.line, |(number, _)| *number);
            fatal(format!("`{}`, line {line}: {}", self.location, describe_arrow_error(&error, &self.schema)))
        })
    }
}

/// Describes an Arrow error without its message, which contains a value.
fn describe_arrow_error(error: &ArrowError, schema: &SchemaRef) -> String {
    let text = error.to_string();
    let field = schema.fields().iter().find(|field| text.contains(&format!("'{}'", field.name())));
    match field {
        Some(field) => format!("column `{}` is no `{}`", field.name(), field.data_type()),
        None => "a field does not fit the type of its column, or one that must be there is missing".into(),
    }
}

/// Writes rows as an object with one row per line. If it fails, no object is created.
///
/// # Errors
/// Returns an error if the source fails or the object cannot be written.
#[boxed]
pub async fn write(bucket: &Bucket, key: &str, batches: Batches) -> TaskResult<WrittenObject> {
    super::write(bucket, key, batches, Writer).await
}

struct Writer;

impl Encode for Writer {
    fn batch(&mut self, batch: &RecordBatch) -> TaskResult<Bytes> {
        let mut writer = LineDelimitedWriter::new(Vec::new());
        writer.write(batch)?;
        writer.finish()?;
        Ok(writer.into_inner().into())
    }

    fn end(self) -> TaskResult<Bytes> {
        Ok(Bytes::new())
    }
}
