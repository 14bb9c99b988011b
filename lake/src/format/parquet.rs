//! Reads and writes Parquet with zstd compression. A reader fetches only the columns and row groups that it needs,
//! one after the other.

use super::{Encode, WrittenObject};
use crate::{
    batches::{BATCH_ROWS, Batches},
    boxed,
    bucket::Bucket,
    frame::{conform, from_batches},
};
use arrow::array::{RecordBatch, RecordBatchReader as _};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt, TryStreamExt};
use orch_sdk::task::{TaskResult, fatal};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::WriterProperties;
use polars::prelude::DataFrame;
use std::ops::Range;
use std::sync::Arc;

/// Maximum number of rows per row group. A reader holds one row group in memory, and a query reads at least one.
pub(crate) const GROUP_ROWS: usize = 1 << 17;

/// Reads all columns of an object.
///
/// # Errors
/// Returns an error if the object does not exist or is not a complete Parquet file.
#[boxed]
pub async fn read(bucket: &Bucket, key: &str) -> TaskResult<Batches> {
    let location = bucket.location(key);
    let builder = open(bucket, key).await?;
    let schema = builder.schema().clone();
    let stream = builder.with_batch_size(BATCH_ROWS).build().map_err(|e| broken(e, &location))?;
    Ok(batches(schema, stream, location))
}

/// Decodes the content of a Parquet file into a data frame.
///
/// # Errors
/// Returns an error if the content is not a complete Parquet file.
pub fn frame_of(bytes: Bytes, location: &str) -> TaskResult<DataFrame> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(|builder| builder.with_batch_size(BATCH_ROWS).build())
        .map_err(|error| broken(error, location))?;
    // The empty batch provides the columns if the file has no rows.
    let mut batches = vec![RecordBatch::new_empty(reader.schema())];
    for batch in reader {
        batches.push(batch.map_err(|error| broken(error.into(), location))?);
    }
    from_batches(&batches)
}

/// Reads the columns of a schema, cast to the schema's types.
///
/// # Errors
/// Returns the same errors as [`read`], and an error if a column is missing.
#[boxed]
pub async fn read_as(bucket: &Bucket, key: &str, schema: SchemaRef) -> TaskResult<Batches> {
    let location = bucket.location(key);
    let builder = open(bucket, key).await?;
    let there = builder.schema().clone();
    if let Some(field) = schema.fields().iter().find(|field| there.column_with_name(field.name()).is_none()) {
        let names: Vec<&str> = there.fields().iter().map(|field| field.name().as_str()).collect();
        let (name, names) = (field.name(), names.join(", "));
        return Err(fatal(format!("`{location}` has no column `{name}`\nhint: its columns are {names}")));
    }
    let wanted = (0..there.fields().len()).filter(|at| schema.column_with_name(there.field(*at).name()).is_some());
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let builder = builder.with_projection(mask).with_batch_size(BATCH_ROWS);
    let stream = builder.build().map_err(|e| broken(e, &location))?;
    let as_is = batches(there, stream, location.clone());
    let into = schema.clone();
    let cast = as_is.and_then(move |batch| {
        let cast = conform(&batch, &into).map_err(|error| error.context(format!("reading `{location}`")));
        std::future::ready(cast)
    });
    Ok(Batches::new(schema, cast))
}

#[derive(Debug, Clone)]
pub struct ParquetFooter {
    pub schema: SchemaRef,
    pub rows: u64,
    /// Null count of each column. `None` if the file has no null counts.
    pub nulls: Vec<Option<u64>>,
}

/// Reads the metadata in the footer of a Parquet file.
///
/// # Errors
/// Returns the same errors as [`read`].
#[boxed]
pub async fn read_footer(bucket: &Bucket, key: &str) -> TaskResult<ParquetFooter> {
    let builder = open(bucket, key).await?;
    let (schema, leaves) = (builder.schema().clone(), builder.parquet_schema());
    let mut nulls = vec![Some(0); schema.fields().len()];
    let groups = builder.metadata().row_groups();
    for (at, column) in groups.iter().flat_map(|group| group.columns().iter().enumerate()) {
        let counted = column.statistics().and_then(parquet::file::statistics::Statistics::null_count_opt);
        let of: &mut Option<u64> = &mut nulls[leaves.get_column_root_idx(at)];
        *of = of.zip(counted).map(|(one, more)| one + more);
    }
    let rows = groups.iter().map(|group| group.num_rows().unsigned_abs()).sum();
    Ok(ParquetFooter { schema, rows, nulls })
}

async fn open(bucket: &Bucket, key: &str) -> TaskResult<ParquetRecordBatchStreamBuilder<ObjectReader>> {
    let location = bucket.location(key);
    let entry = bucket.find(key).await?;
    let entry = entry.ok_or_else(|| crate::bucket::Error::NotFound { location: location.clone() })?;
    let reader = ObjectReader { bucket: bucket.clone(), key: key.into(), bytes: entry.bytes };
    ParquetRecordBatchStreamBuilder::new(reader).await.map_err(|e| broken(e, &location))
}

fn batches(schema: SchemaRef, mut stream: ParquetRecordBatchStream<ObjectReader>, location: String) -> Batches {
    Batches::read_ahead(schema, |taker| async move {
        while let Some(batch) = stream.try_next().await.map_err(|e| broken(e, &location))? {
            if !taker.take(batch).await {
                break;
            }
        }
        Ok(())
    })
}

/// Gives the Parquet decoder access to byte ranges of an object in a bucket.
struct ObjectReader {
    bucket: Bucket,
    key: String,
    bytes: u64,
}

impl AsyncFileReader for ObjectReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        self.bucket.range(&self.key, range).map_err(external).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move { self.bucket.ranges(&self.key, &ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        let reader = ParquetMetaDataReader::new().with_metadata_options(options.map(|o| o.metadata_options().clone()));
        let bytes = self.bytes;
        async move { Ok(Arc::new(reader.load_and_finish(self, bytes).await?)) }.boxed()
    }
}

fn external(error: crate::bucket::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// Converts an error of the decoder. Errors of the object store are retryable; a corrupt file is a fatal error.
fn broken(error: ParquetError, location: &str) -> anyhow::Error {
    match error {
        ParquetError::External(cause) => anyhow::anyhow!(cause).context(format!("cannot read `{location}`")),
        other => fatal(format!(
            "`{location}` is no whole Parquet file: {other}\n\
             hint: it was cut off or is something else; have it written again"
        )),
    }
}

/// Writes rows as a Parquet object. If it fails, no object is created.
///
/// # Errors
/// Returns an error if the source fails or the object cannot be written.
#[boxed]
pub async fn write(bucket: &Bucket, key: &str, batches: Batches) -> TaskResult<WrittenObject> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .build();
    let writer = ArrowWriter::try_new(Vec::new(), batches.schema(), Some(properties))?;
    super::write(bucket, key, batches, Writer { writer }).await
}

struct Writer {
    writer: ArrowWriter<Vec<u8>>,
}

impl Encode for Writer {
    fn batch(&mut self, batch: &RecordBatch) -> TaskResult<Bytes> {
        self.writer.write(batch)?;
        // The buffer can be taken because the writer tracks its file offset separately.
        Ok(std::mem::take(self.writer.inner_mut()).into())
    }

    fn end(mut self) -> TaskResult<Bytes> {
        self.writer.finish()?;
        Ok(std::mem::take(self.writer.inner_mut()).into())
    }
}
