//! Distributes rows over the data files of their partitions. Several files are open at a time.

use super::split::Splitter;
use super::{File, FileBuilder, Folders, Table, file_builder};
use crate::error::{LakeError, LakeResult};
use arrow::array::RecordBatch;
use iceberg::spec::{DataContentType, PartitionKey, PartitionSpecRef, SchemaRef, Struct};
use iceberg::writer::file_writer::ParquetWriterBuilder;
use iceberg::writer::file_writer::location_generator::DefaultFileNameGenerator;
use iceberg::writer::file_writer::rolling_writer::RollingFileWriter;
use std::collections::HashMap;
use std::sync::Arc;

/// Maximum number of open files. If it is exceeded, the least recently used file is closed.
const OPEN_FILES: usize = 32;
/// A file is closed after this number of rows were written to other files. If rows arrive in time order, only the
/// files of the most recent days are in memory.
const IDLE_ROWS: u64 = 1_000_000;

type OpenFile = RollingFileWriter<ParquetWriterBuilder, Folders, DefaultFileNameGenerator>;

pub(super) struct Spread {
    schema: SchemaRef,
    spec: PartitionSpecRef,
    splitter: Option<Arc<Splitter>>,
    /// Placeholder partition for rows that are not split by partition. Null in each field.
    whole: Struct,
    builder: FileBuilder,
    open: HashMap<Struct, OpenPartition>,
    /// Number of rows written so far.
    clock: u64,
    done: Vec<File>,
}

struct OpenPartition {
    file: OpenFile,
    used: u64,
}

impl Spread {
    pub(super) fn new(table: &Table) -> LakeResult<Self> {
        let (schema, spec) = (table.schema().clone(), table.metadata().default_partition_spec().clone());
        let splitter = if spec.is_unpartitioned() { None } else { Some(Arc::new(Splitter::new(&schema, &spec)?)) };
        let open = if splitter.is_some() { OPEN_FILES } else { 1 };
        Ok(Self {
            builder: file_builder(table, &schema, "data", open)?,
            whole: spec.fields().iter().map(|_| None).collect(),
            schema,
            spec,
            splitter,
            open: HashMap::new(),
            clock: 0,
            done: vec![],
        })
    }

    /// Returns a new writer with the same settings.
    pub(super) fn anew(&self) -> Self {
        Self {
            schema: self.schema.clone(),
            spec: self.spec.clone(),
            splitter: self.splitter.clone(),
            whole: self.whole.clone(),
            builder: self.builder.clone(),
            open: HashMap::new(),
            clock: 0,
            done: vec![],
        }
    }

    pub(super) async fn write(&mut self, batch: &RecordBatch) -> LakeResult<()> {
        let parts = match &self.splitter {
            None => vec![(self.whole.clone(), batch.clone())],
            Some(splitter) => splitter.split(batch)?,
        };
        for (partition, rows) in parts {
            self.clock += rows.num_rows() as u64;
            if !self.open.contains_key(&partition) {
                if self.open.len() >= OPEN_FILES {
                    self.close_one().await?;
                }
                self.open.insert(partition.clone(), OpenPartition { file: self.builder.build(), used: 0 });
            }
            let key = self.splitter.as_ref().map(|_| self.key(&partition));
            if let Some(open) = self.open.get_mut(&partition) {
                open.used = self.clock;
                open.file.write(&key, &rows).await?;
            }
        }
        while self.open.values().any(|open| open.used + IDLE_ROWS < self.clock) {
            self.close_one().await?;
        }
        Ok(())
    }

    /// Closes all files and returns them, marked with the id of the sort order.
    pub(super) async fn close(mut self, sort_order: Option<i32>) -> LakeResult<Vec<File>> {
        for (partition, open) in std::mem::take(&mut self.open) {
            self.finish(partition, open.file, sort_order).await?;
        }
        Ok(self.done)
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
