//! Writes batches to data files. Rows are split by partition and sorted if the table has a sort order; a new file is
//! started at the target size. Memory is bounded for any number of rows and partitions.

mod folder;
mod sort;
mod split;
mod spread;

use super::types::conform;
use super::{File, Table};
use crate::batches::Batches;
use crate::error::{LakeError, LakeResult};
use crate::format::parquet::GROUP_ROWS;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use folder::Folders;
pub(crate) use folder::partition_path;
use futures::TryStreamExt as _;
use iceberg::spec::{DataFileFormat, SchemaRef, TableMetadata};
use iceberg::writer::file_writer::ParquetWriterBuilder;
use iceberg::writer::file_writer::location_generator::DefaultFileNameGenerator;
use iceberg::writer::file_writer::rolling_writer::RollingFileWriterBuilder;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;
use sort::Sorter;
use spread::Spread;
use uuid::Uuid;

/// Maximum total size of encoded rows that all open files buffer.
const BUFFER_BYTES: usize = 256 << 20;
/// Maximum size of encoded rows that one file buffers.
const ROW_GROUP_BYTES: usize = 32 << 20;
/// Maximum size of a column's dictionary. A column with a larger one has few repeated values, and is written faster
/// without a dictionary.
const DICTIONARY_BYTES: usize = 256 << 10;
const TARGET_FILE_BYTES: usize = 512 << 20;

/// Options for data files, as set by table properties.
#[derive(Debug, Clone)]
pub struct Options {
    pub target_file_bytes: usize,
    pub row_group_bytes: usize,
    /// Maximum number of rows per row group. Only set for sorted tables, in which queries then read a few small row
    /// groups.
    pub row_group_rows: Option<usize>,
    pub compression: Compression,
}

impl Options {
    pub fn of(metadata: &TableMetadata) -> LakeResult<Self> {
        let text = |key: &str| metadata.properties().get(key).map(String::as_str);
        let number = |key: &str, default: usize| match text(key).map(str::parse) {
            None => Ok(default),
            Some(Ok(number)) if number > 0 => Ok(number),
            Some(_) => {
                let what =
                    format!("the table's property `{key}` is no number of bytes: `{}`", text(key).unwrap_or_default());
                Err(LakeError::input(what, "set it to a whole number, or remove it"))
            }
        };
        let level = text("write.parquet.compression-level").and_then(|level| level.parse::<u32>().ok());
        let compression = match text("write.parquet.compression-codec").unwrap_or("zstd") {
            "zstd" => Compression::ZSTD(ZstdLevel::try_new(level.unwrap_or(1).cast_signed())?),
            "snappy" => Compression::SNAPPY,
            "gzip" => Compression::GZIP(GzipLevel::try_new(level.unwrap_or(6))?),
            "uncompressed" | "none" => Compression::UNCOMPRESSED,
            other => {
                let what = format!("the table's files are to be compressed by `{other}`, which is not known here");
                return Err(LakeError::input(
                    what,
                    "set `write.parquet.compression-codec` to zstd, snappy, gzip or none",
                ));
            }
        };
        let row_group_bytes = number("write.parquet.row-group-size-bytes", ROW_GROUP_BYTES)?;
        Ok(Self {
            target_file_bytes: number("write.target-file-size-bytes", TARGET_FILE_BYTES)?,
            row_group_bytes: row_group_bytes.min(ROW_GROUP_BYTES),
            row_group_rows: (!metadata.default_sort_order().is_unsorted()).then_some(GROUP_ROWS),
            compression,
        })
    }

    /// Returns the Parquet writer properties if `open` files are written concurrently.
    pub(crate) fn parquet(&self, open: usize) -> WriterProperties {
        WriterProperties::builder()
            .set_compression(self.compression)
            .set_max_row_group_row_count(self.row_group_rows)
            .set_max_row_group_bytes(Some(self.row_group_bytes.min(BUFFER_BYTES / open)))
            .set_dictionary_page_size_limit(DICTIONARY_BYTES)
            // Bounds are not truncated, because the iceberg crate computes the bounds of a file only from row groups
            // with exact bounds.
            .set_statistics_truncate_length(None)
            .build()
    }
}

pub(crate) type FileBuilder = RollingFileWriterBuilder<ParquetWriterBuilder, Folders, DefaultFileNameGenerator>;

/// Returns a builder for data files with this schema. File names start with `prefix`.
pub(crate) fn file_builder(table: &Table, schema: &SchemaRef, prefix: &str, open: usize) -> LakeResult<FileBuilder> {
    table.check_written()?;
    let options = Options::of(table.metadata())?;
    Ok(RollingFileWriterBuilder::new(
        ParquetWriterBuilder::new(options.parquet(open), schema.clone()),
        options.target_file_bytes,
        table.lake().io().clone(),
        Folders::of(table.metadata())?,
        DefaultFileNameGenerator::new(format!("{prefix}-{}", Uuid::now_v7()), None, DataFileFormat::Parquet),
    ))
}

pub(crate) struct Writer {
    arrow_schema: ArrowSchemaRef,
    way: Way,
}

enum Way {
    AsTheyCome(Spread),
    Sorted(Sorter),
}

impl Writer {
    pub(crate) fn new(table: &Table) -> LakeResult<Self> {
        let (spread, order) = (Spread::new(table)?, table.metadata().default_sort_order());
        let is_sorted = !order.is_unsorted();
        let way =
            if is_sorted { Way::Sorted(Sorter::new(order, table.schema(), spread)) } else { Way::AsTheyCome(spread) };
        Ok(Self { arrow_schema: table.arrow_schema()?, way })
    }

    /// Converts a batch to the schema of the table. Must be called before the batch is written.
    pub(crate) fn conform(&self, batch: &RecordBatch) -> LakeResult<RecordBatch> {
        conform(batch, &self.arrow_schema)
    }

    /// Writes a batch that already has the schema of the table.
    pub(crate) async fn write(&mut self, batch: RecordBatch) -> LakeResult<()> {
        match &mut self.way {
            _ if batch.num_rows() == 0 => Ok(()),
            Way::AsTheyCome(spread) => spread.write(&batch).await,
            Way::Sorted(sorter) => sorter.take(batch).await,
        }
    }

    /// Writes all batches and returns the created files.
    pub(crate) async fn write_all(mut self, mut batches: Batches) -> LakeResult<Vec<File>> {
        while let Some(batch) = batches.try_next().await.map_err(LakeError::source)? {
            let batch = self.conform(&batch)?;
            self.write(batch).await?;
        }
        self.close().await
    }

    pub(crate) async fn close(self) -> LakeResult<Vec<File>> {
        match self.way {
            Way::AsTheyCome(spread) => spread.close(None).await,
            Way::Sorted(sorter) => sorter.close().await,
        }
    }
}
