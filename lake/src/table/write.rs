//! Batches into data files: split by partition, sorted where the table declares an order, rolled at the target size. What
//! is held in memory is bounded, however many rows and partitions there are.

mod folder;
mod split;

use super::types::conform;
use super::{File, Table};
use crate::batches::Batches;
use crate::error::{LakeError, LakeResult};
use crate::format::parquet::GROUP_ROWS;
use arrow::array::RecordBatch;
use arrow::compute::{SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use folder::Folders;
pub(crate) use folder::partition_path;
use futures::TryStreamExt as _;
use iceberg::spec::{
    DataContentType, DataFileFormat, NullOrder, PartitionKey, PartitionSpecRef, SchemaRef, SortDirection, SortOrderRef,
    Struct, TableMetadata,
};
use iceberg::writer::file_writer::ParquetWriterBuilder;
use iceberg::writer::file_writer::location_generator::DefaultFileNameGenerator;
use iceberg::writer::file_writer::rolling_writer::{RollingFileWriter, RollingFileWriterBuilder};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;
use split::Splitter;
use std::collections::HashMap;
use uuid::Uuid;

/// Files open at the same time; beyond it the one that rows went into least lately is closed.
const OPEN_FILES: usize = 32;
/// Encoded rows that all open files hold at most, together.
const BUFFER_BYTES: usize = 256 << 20;
/// One file alone need not hold as much.
const ROW_GROUP_BYTES: usize = 32 << 20;
/// Rows that are sorted at once.
const SORT_BYTES: usize = 64 << 20;
const TARGET_FILE_BYTES: usize = 512 << 20;

/// How files are written, by the properties of the table.
#[derive(Debug, Clone)]
pub struct Options {
    pub target_file_bytes: usize,
    pub row_group_bytes: usize,
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
            compression,
        })
    }

    /// For files of which so many are open at once.
    pub(crate) fn parquet(&self, open: usize) -> WriterProperties {
        WriterProperties::builder()
            .set_compression(self.compression)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_max_row_group_bytes(Some(self.row_group_bytes.min(BUFFER_BYTES / open)))
            // Whole, never cut: crate iceberg takes the bounds of a file from those row groups whose bounds are exact.
            .set_statistics_truncate_length(None)
            .build()
    }
}

pub(crate) type FileBuilder = RollingFileWriterBuilder<ParquetWriterBuilder, Folders, DefaultFileNameGenerator>;
type OpenFile = RollingFileWriter<ParquetWriterBuilder, Folders, DefaultFileNameGenerator>;

/// What makes files of a table with this schema; their names begin with `prefix`.
pub(crate) fn file_builder(table: &Table, schema: &SchemaRef, prefix: &str, open: usize) -> LakeResult<FileBuilder> {
    let options = Options::of(table.metadata())?;
    Ok(RollingFileWriterBuilder::new(
        ParquetWriterBuilder::new(options.parquet(open), schema.clone()),
        options.target_file_bytes,
        table.lake().io().clone(),
        Folders::of(table.metadata())?,
        DefaultFileNameGenerator::new(format!("{prefix}-{}", Uuid::now_v7()), None, DataFileFormat::Parquet),
    ))
}

/// Writes the data files of one change.
pub(crate) struct Writer {
    arrow_schema: ArrowSchemaRef,
    schema: SchemaRef,
    spec: PartitionSpecRef,
    splitter: Option<Splitter>,
    /// The partition of all rows where they are not split: a null for each field.
    whole: Struct,
    builder: FileBuilder,
    open: HashMap<Struct, Open>,
    /// Counts batches.
    clock: u64,
    done: Vec<File>,
    sorter: Option<Sorter>,
}

struct Open {
    file: OpenFile,
    used: u64,
}

/// Rows that wait to be sorted.
struct Sorter {
    order: SortOrderRef,
    waiting: Vec<RecordBatch>,
    bytes: usize,
}

impl Writer {
    pub(crate) fn new(table: &Table) -> LakeResult<Self> {
        let metadata = table.metadata();
        let (schema, spec) = (table.schema().clone(), metadata.default_partition_spec().clone());
        let splitter = if spec.is_unpartitioned() { None } else { Some(Splitter::new(&schema, &spec)?) };
        let order = metadata.default_sort_order().clone();
        let open = if splitter.is_some() { OPEN_FILES } else { 1 };
        Ok(Self {
            arrow_schema: table.arrow_schema()?,
            builder: file_builder(table, &schema, "data", open)?,
            whole: spec.fields().iter().map(|_| None).collect(),
            schema,
            spec,
            splitter,
            open: HashMap::new(),
            clock: 0,
            done: vec![],
            sorter: (!order.is_unsorted()).then(|| Sorter { order, waiting: vec![], bytes: 0 }),
        })
    }

    /// The batch in the form of the table, before it is written.
    pub(crate) fn conform(&self, batch: &RecordBatch) -> LakeResult<RecordBatch> {
        conform(batch, &self.arrow_schema)
    }

    /// Takes a batch that has the table's form.
    pub(crate) async fn write(&mut self, batch: RecordBatch) -> LakeResult<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let Some(sorter) = &mut self.sorter else { return self.spread(&batch).await };
        sorter.bytes += batch.get_array_memory_size();
        sorter.waiting.push(batch);
        if sorter.bytes >= SORT_BYTES {
            self.write_sorted().await?;
        }
        Ok(())
    }

    /// All files of the batches.
    pub(crate) async fn write_all(mut self, mut batches: Batches) -> LakeResult<Vec<File>> {
        while let Some(batch) = batches.try_next().await.map_err(LakeError::source)? {
            let batch = self.conform(&batch)?;
            self.write(batch).await?;
        }
        self.close().await
    }

    pub(crate) async fn close(mut self) -> LakeResult<Vec<File>> {
        self.write_sorted().await?;
        self.close_open(None).await?;
        Ok(self.done)
    }

    /// Sorts what waits and writes it into files of its own, so that each file is in order as a whole.
    async fn write_sorted(&mut self) -> LakeResult<()> {
        let Some(sorter) = self.sorter.as_mut().filter(|sorter| !sorter.waiting.is_empty()) else { return Ok(()) };
        let batch = concat_batches(&self.arrow_schema, &std::mem::take(&mut sorter.waiting))?;
        sorter.bytes = 0;
        let order = sorter.order.clone();
        let mut columns = vec![];
        for field in &order.fields {
            // Other transforms keep the order of the column itself, or are no order that is of use.
            let name = self.schema.name_by_field_id(field.source_id).unwrap_or_default();
            let Some(values) = batch.column_by_name(name) else { continue };
            let options = SortOptions {
                descending: field.direction == SortDirection::Descending,
                nulls_first: field.null_order == NullOrder::First,
            };
            columns.push(SortColumn { values: values.clone(), options: Some(options) });
        }
        let sorted = take_record_batch(&batch, &lexsort_to_indices(&columns, None)?)?;
        self.spread(&sorted).await?;
        self.close_open(i32::try_from(order.order_id).ok()).await
    }

    /// Rows into the files of their partitions.
    async fn spread(&mut self, batch: &RecordBatch) -> LakeResult<()> {
        let parts = match &self.splitter {
            None => vec![(self.whole.clone(), batch.clone())],
            Some(splitter) => splitter.split(batch)?,
        };
        for (partition, rows) in parts {
            self.clock += 1;
            if !self.open.contains_key(&partition) {
                if self.open.len() >= OPEN_FILES {
                    self.close_one().await?;
                }
                self.open.insert(partition.clone(), Open { file: self.builder.build(), used: 0 });
            }
            let key = self.splitter.as_ref().map(|_| self.key(&partition));
            if let Some(open) = self.open.get_mut(&partition) {
                open.used = self.clock;
                open.file.write(&key, &rows).await?;
            }
        }
        Ok(())
    }

    fn key(&self, partition: &Struct) -> PartitionKey {
        PartitionKey::new(self.spec.as_ref().clone(), self.schema.clone(), partition.clone())
    }

    async fn close_one(&mut self) -> LakeResult<()> {
        let oldest = self.open.iter().min_by_key(|(_, open)| open.used).map(|(partition, _)| partition.clone());
        match oldest.and_then(|partition| self.open.remove_entry(&partition)) {
            Some((partition, open)) => self.finish(partition, open.file, None).await,
            None => Ok(()),
        }
    }

    async fn close_open(&mut self, sort_order: Option<i32>) -> LakeResult<()> {
        for (partition, open) in std::mem::take(&mut self.open) {
            self.finish(partition, open.file, sort_order).await?;
        }
        Ok(())
    }

    async fn finish(&mut self, partition: Struct, file: OpenFile, sort_order: Option<i32>) -> LakeResult<()> {
        for mut data in file.close().await? {
            data.content(DataContentType::Data).partition(partition.clone()).partition_spec_id(self.spec.spec_id());
            if let Some(order) = sort_order {
                data.sort_order_id(order);
            }
            let data = data.build().map_err(|error| LakeError::Source(error.into()))?;
            self.done.push(File { data, spec_id: self.spec.spec_id() });
        }
        Ok(())
    }
}
