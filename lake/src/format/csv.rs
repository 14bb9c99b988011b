//! Reads and writes CSV. Field types come from a schema. Columns are found by their names in the header line; columns
//! that the schema lacks are ignored. Texts stay unchanged, so zip codes keep their leading zeros. Gzip input is
//! decompressed on the fly.

mod lines;

use super::gzip::Unpack;
use super::{Decode, Encode, WrittenObject};
use crate::{
    batches::{BATCH_ROWS, Batches},
    boxed,
    bucket::{self, Bucket},
};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::{Decoder, Format};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::FormatOptions;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use lines::Lines;
use orch_sdk::task::{TaskResult, fatal};
use std::sync::Arc;

/// Maximum length of the header line: 1 MiB.
const MOST_HEADER_BYTES: usize = 1 << 20;
/// Maximum number of compressed bytes that are decompressed at a time until the header line is complete.
const HEAD_BYTES: usize = 1 << 16;
/// Timestamp format of MySQL and pandas.
const MOMENT: &str = "%Y-%m-%d %H:%M:%S%.f";
const MOMENT_AND_ZONE: &str = "%Y-%m-%d %H:%M:%S%.f%:z";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Csv {
    pub delimiter: u8,
    /// True if the first line is a header with the column names. If false, the columns are in the order of the
    /// schema.
    pub has_header: bool,
}

impl Default for Csv {
    fn default() -> Self {
        Csv { delimiter: b',', has_header: true }
    }
}

/// Reads an object as rows of a schema. An empty field is null. In a text column that does not allow null, it is an
/// empty text.
///
/// # Errors
/// Returns an error if the object does not exist or its header line lacks a column. Invalid lines are errors of the
/// stream.
#[boxed]
pub async fn read(bucket: &Bucket, key: &str, schema: SchemaRef, csv: Csv) -> TaskResult<Batches> {
    let Begun { head, unpack, pieces, location } = begin(bucket, key).await?;
    let names: Vec<String> = if csv.has_header {
        header(&head, csv, &location)?
    } else {
        schema.fields().iter().map(|field| field.name().clone()).collect()
    };
    let columns = schema.fields().iter().map(|field| {
        let at = names.iter().position(|name| name == field.name());
        at.ok_or_else(|| {
            fatal(format!(
                "`{location}` has no column `{}`\nhint: its first line has {}",
                field.name(),
                names.join(", ")
            ))
        })
    });
    let columns = columns.collect::<TaskResult<Vec<usize>>>()?;
    let texts = Schema::new(names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect::<Vec<_>>());
    let decoder = ReaderBuilder::new(Arc::new(texts))
        .with_header(csv.has_header)
        .with_delimiter(csv.delimiter)
        .with_batch_size(BATCH_ROWS)
        .build_decoder();
    let line = 1 + u64::from(csv.has_header);
    let lines = LineReader { decoder, schema: schema.clone(), columns, location, line, head, unpack };
    Ok(super::read(schema, pieces, lines))
}

/// Returns the column names in the header line of an object.
///
/// # Errors
/// Returns an error if the object does not exist or is empty.
#[boxed]
pub async fn names(bucket: &Bucket, key: &str, csv: Csv) -> TaskResult<Vec<String>> {
    let begun = begin(bucket, key).await?;
    header(&begun.head, csv, &begun.location)
}

struct Begun {
    /// All bytes decompressed so far, until the header line is complete.
    head: Vec<u8>,
    unpack: Unpack,
    pieces: BoxStream<'static, bucket::Result<Bytes>>,
    location: String,
}

async fn begin(bucket: &Bucket, key: &str) -> TaskResult<Begun> {
    let location = bucket.location(key);
    let mut pieces = bucket.read(key).await?;
    let (mut head, mut unpack) = (Vec::new(), Unpack::new(&location));
    while !head.contains(&b'\n') {
        if head.len() > MOST_HEADER_BYTES {
            return Err(fatal(format!("`{location}` has no line in its first megabyte: it is no CSV")));
        }
        let Some(mut piece) = pieces.try_next().await? else { break };
        // Decompresses only part of the input at a time, because a small compressed input can expand to a huge
        // output.
        let later = piece.split_off(piece.len().min(HEAD_BYTES));
        head.extend_from_slice(&unpack.piece(&piece)?);
        if !later.is_empty() {
            pieces = futures::stream::once(async { Ok(later) }).chain(pieces).boxed();
        }
    }
    Ok(Begun { head, unpack, pieces, location })
}

fn header(head: &[u8], csv: Csv, location: &str) -> TaskResult<Vec<String>> {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let format = Format::default().with_header(true).with_delimiter(csv.delimiter);
    let (schema, _) = format.infer_schema(line, Some(0)).map_err(|e| fatal(format!("`{location}`, line 1: {e}")))?;
    Ok(schema.fields().iter().map(|field| field.name().clone()).collect())
}

struct LineReader {
    decoder: Decoder,
    schema: SchemaRef,
    /// Position in the CSV line of each column of the schema.
    columns: Vec<usize>,
    location: String,
    /// Line number at which the next row starts.
    line: u64,
    /// Bytes after the header line that were decompressed while the header was read.
    head: Vec<u8>,
    unpack: Unpack,
}

impl Decode for LineReader {
    fn piece(&mut self, piece: Bytes) -> TaskResult<Vec<RecordBatch>> {
        let head = std::mem::take(&mut self.head);
        let mut batches = if head.is_empty() { Vec::new() } else { self.lines(&head)? };
        let bytes = if piece.is_empty() { self.unpack.end()? } else { self.unpack.piece(&piece)? };
        if !bytes.is_empty() {
            batches.extend(self.lines(&bytes)?);
        }
        if piece.is_empty() {
            batches.extend(self.lines(&[])?);
        }
        Ok(batches)
    }
}

impl LineReader {
    /// Decodes complete lines. An empty input marks the end.
    fn lines(&mut self, bytes: &[u8]) -> TaskResult<Vec<RecordBatch>> {
        let (mut rest, mut batches) = (bytes, Vec::new());
        loop {
            // Errors of the CSV decoder contain line numbers but no values, so they can be shown.
            let read = self.decoder.decode(rest).map_err(|e| fatal(format!("`{}`: {e}", self.location)))?;
            rest = &rest[read..];
            if (bytes.is_empty() || self.decoder.capacity() == 0)
                && let Some(texts) = self.decoder.flush().map_err(|e| fatal(format!("`{}`: {e}", self.location)))?
            {
                batches.push(self.typed(&texts)?);
            } else if rest.is_empty() {
                return Ok(batches);
            }
        }
    }

    fn typed(&mut self, texts: &RecordBatch) -> TaskResult<RecordBatch> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for (field, at) in self.schema.fields().iter().zip(&self.columns) {
            let text = texts.column(*at).as_string::<i32>();
            columns.push(typed(text, field).map_err(|(row, problem)| {
                let line = self.line + row as u64 + lines_inside(&texts.slice(0, row));
                fatal(format!("`{}`, line {line}: column `{}` {problem}", self.location, field.name()))
            })?);
        }
        self.line += texts.num_rows() as u64 + lines_inside(texts);
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

/// Counts the line breaks inside quoted fields, which are needed for correct line numbers.
#[expect(clippy::naive_bytecount, reason = "a crate for it would count what is mostly nothing")]
fn lines_inside(texts: &RecordBatch) -> u64 {
    let of = |column: &ArrayRef| {
        let text = column.as_string::<i32>();
        let (first, last) = (text.value_offsets()[0], text.value_offsets()[text.len()]);
        let bytes = &text.value_data()[first as usize..last as usize];
        bytes.iter().filter(|byte| **byte == b'\n').count() as u64
    };
    texts.columns().iter().map(of).sum()
}

/// Parses a text column as the type of its field. If that fails, returns the index and error message of the first
/// invalid row.
fn typed(text: &StringArray, field: &Field) -> Result<ArrayRef, (usize, String)> {
    let required = !field.is_nullable();
    if matches!(field.data_type(), DataType::Utf8) {
        if required && text.null_count() > 0 {
            let whole: StringArray = text.iter().map(|value| Some(value.unwrap_or_default())).collect();
            return Ok(Arc::new(whole));
        }
        return Ok(Arc::new(text.clone()));
    }
    if required && let Some(row) = (0..text.len()).find(|row| text.is_null(*row)) {
        return Err((row, "must not be empty".into()));
    }
    let options = CastOptions { safe: true, format_options: FormatOptions::default() };
    let wrong = |row| (row, format!("is no `{}`", field.data_type()));
    let cast = cast_with_options(text, field.data_type(), &options).map_err(|_| wrong(0))?;
    match (0..text.len()).find(|row| cast.is_null(*row) && !text.is_null(*row)) {
        Some(row) => Err(wrong(row)),
        None => Ok(cast),
    }
}

/// Writes rows as a CSV object with a header line. If it fails, no object is created.
///
/// # Errors
/// Returns an error if the source fails or the object cannot be written.
#[boxed]
pub async fn write(bucket: &Bucket, key: &str, batches: Batches, csv: Csv) -> TaskResult<WrittenObject> {
    let schema = batches.schema();
    super::write(bucket, key, batches, Writer { csv, schema, is_begun: false, last_bytes: 0 }).await
}

struct Writer {
    csv: Csv,
    schema: SchemaRef,
    is_begun: bool,
    /// Size in bytes of the previous encoded batch. It is used as the initial capacity for the next one.
    last_bytes: usize,
}

impl Encode for Writer {
    fn batch(&mut self, batch: &RecordBatch) -> TaskResult<Bytes> {
        let options = FormatOptions::default()
            .with_timestamp_format(Some(MOMENT))
            .with_timestamp_tz_format(Some(MOMENT_AND_ZONE));
        let (lines, mut text) = (Lines::new(self.csv.delimiter, options), Vec::with_capacity(self.last_bytes));
        if self.csv.has_header && !self.is_begun {
            lines.names(batch, &mut text);
        }
        lines.rows(batch, &mut text)?;
        (self.is_begun, self.last_bytes) = (true, text.len());
        Ok(text.into())
    }

    /// Writes the header line if no batch did, because the source had no rows.
    fn end(mut self) -> TaskResult<Bytes> {
        if self.is_begun { Ok(Bytes::new()) } else { self.batch(&RecordBatch::new_empty(self.schema.clone())) }
    }
}
