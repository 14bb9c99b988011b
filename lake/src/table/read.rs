//! Reads columns and rows of a table snapshot as a stream of batches, or counts the rows.

use super::equality::{MAX_DELETE_KEY_BYTES, read_live};
use super::filter::Bound;
use super::plan::{Plan, PlannedFile};
use super::{Filter, Table};
use crate::{
    batches::{BATCH_ROWS, Batches},
    boxed,
    error::{LakeError, LakeResult},
};
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::arrow::{ArrowReaderBuilder, schema_to_arrow_schema};
use iceberg::metadata_columns::RESERVED_FIELD_ID_FILE;
use iceberg::spec::{Datum, Schema, SchemaRef, SnapshotRef, TableMetadata};
use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Selects a version of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum At {
    /// The version that was current when the table was loaded.
    #[default]
    Now,
    Snapshot(i64),
    /// The snapshot that was current at this time.
    Time(DateTime<Utc>),
    /// The snapshot of a branch or tag.
    Ref(String),
}

impl At {
    /// Returns the snapshot of the selected version, or a message why it does not exist.
    pub(crate) fn within<'m>(&self, metadata: &'m TableMetadata) -> Result<Option<&'m SnapshotRef>, String> {
        match self {
            At::Now => Ok(metadata.current_snapshot()),
            At::Snapshot(id) => {
                let snapshot = metadata.snapshot_by_id(*id);
                snapshot.map(Some).ok_or_else(|| format!("has no snapshot {id}, or no longer"))
            }
            At::Ref(name) => {
                let snapshot = metadata.snapshot_for_ref(name);
                snapshot.map(Some).ok_or_else(|| format!("has no branch or tag `{name}`"))
            }
            At::Time(time) => {
                let then =
                    metadata.history().iter().rev().find(|entry| entry.timestamp_ms() <= time.timestamp_millis());
                let entry = then.ok_or_else(|| format!("has no snapshot from before {time}"))?;
                let snapshot = metadata.snapshot_by_id(entry.snapshot_id);
                snapshot.map(Some).ok_or_else(|| format!("no longer has its snapshot of {time}"))
            }
        }
    }
}

/// Builder of a read: `table.scan().columns(["order_id"]).filter(Filter::eq("state", "TX")).stream().await?`
#[derive(Debug)]
#[must_use = "nothing is read before `stream`, `collect` or `count`"]
pub struct Scan<'a> {
    table: &'a Table,
    columns: Option<Vec<String>>,
    filter: Filter,
    at: At,
    batch_size: Option<usize>,
    in_order: bool,
    once: Option<&'a FilesRead>,
    max_key_bytes: usize,
}

/// Data files that have been read by scans of several snapshots, each together with the delete files that applied to
/// it.
#[derive(Debug, Default)]
pub struct FilesRead(Mutex<HashSet<Vec<String>>>);

impl FilesRead {
    /// Adds a data file. Returns `false` if it was already read with the same delete files.
    fn add(&self, file: &PlannedFile) -> bool {
        let mut paths: Vec<String> = file.deletes.iter().map(|delete| delete.path().to_owned()).collect();
        paths.sort_unstable();
        paths.push(file.file.path().to_owned());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(paths)
    }
}

impl Table {
    pub fn scan(&self) -> Scan<'_> {
        Scan {
            table: self,
            columns: None,
            filter: Filter::All,
            at: At::Now,
            batch_size: None,
            in_order: false,
            once: None,
            max_key_bytes: MAX_DELETE_KEY_BYTES,
        }
    }

    /// Returns the number of live rows. Files without deletes are not opened, because their manifest entry has the
    /// count.
    #[boxed]
    pub async fn count(&self) -> LakeResult<u64> {
        self.scan().count().await
    }

    /// Returns all data files of a table version, with the delete files that apply to them.
    #[boxed]
    pub async fn files(&self, at: &At) -> LakeResult<Plan> {
        self.plan_at(self.snapshot_at(at)?, self.schema(), &Filter::All).await
    }

    /// Returns all snapshots that have not expired, oldest first.
    pub fn snapshots(&self) -> Vec<SnapshotRef> {
        let mut snapshots: Vec<_> = self.metadata().snapshots().cloned().collect();
        snapshots.sort_by_key(|snapshot| (snapshot.sequence_number(), snapshot.timestamp_ms()));
        snapshots
    }

    /// Returns the snapshot of a table version, or `None` if the table was empty.
    ///
    /// # Errors
    /// Returns an error if the snapshot has expired, or the branch or tag does not exist.
    pub fn snapshot_at(&self, at: &At) -> LakeResult<Option<&SnapshotRef>> {
        let missing = |what| LakeError::input(format!("table `{}` {what}", self.name()), "list its snapshots");
        at.within(self.metadata()).map_err(missing)
    }

    /// Reads the rows of data files that are not deleted, in the current schema. The filter is only used to skip
    /// data; rows that do not match it may be returned.
    pub(crate) fn read_files(&self, files: &[PlannedFile], filter: Option<&Bound>) -> LakeResult<Batches> {
        let ids: Vec<_> = self.schema().as_struct().fields().iter().map(|field| field.id).collect();
        read(self.iceberg(), self.reader(), files, self.schema(), &ids, filter, MAX_DELETE_KEY_BYTES)
    }

    fn reader(&self) -> ArrowReaderBuilder {
        self.iceberg().reader_builder().with_batch_size(BATCH_ROWS)
    }
}

impl<'a> Scan<'a> {
    /// Selects columns in this order.
    pub fn columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    pub fn at(mut self, at: At) -> Self {
        self.at = at;
        self
    }

    pub fn batch_size(mut self, rows: usize) -> Self {
        self.batch_size = Some(rows);
        self
    }

    /// Reads files one after the other, ordered by their smallest key. Repeated scans of the same files return rows
    /// in the same order.
    pub fn in_order(mut self) -> Self {
        self.in_order = true;
        self
    }

    /// Skips data files that another scan with the same `read` has already read. Snapshots of a table share most of
    /// their files.
    pub fn once(mut self, read: &'a FilesRead) -> Self {
        self.once = Some(read);
        self
    }

    /// Sets the memory limit for the keys of equality deletes, in bytes. If there are more keys, the files are read
    /// in several passes, and [`Scan::in_order`] then orders rows only within a pass. Default:
    /// [`MAX_DELETE_KEY_BYTES`].
    pub fn max_key_bytes(mut self, bytes: usize) -> Self {
        self.max_key_bytes = bytes;
        self
    }

    /// Streams batches in no particular order, reading a few files concurrently.
    pub async fn stream(self) -> LakeResult<Batches> {
        let schema = self.schema()?;
        let ids = match &self.columns {
            None => schema.as_struct().fields().iter().map(|field| field.id).collect(),
            Some(columns) => {
                let there = || schema.as_struct().fields().iter().map(|field| field.name.as_str());
                let id = |name: &String| {
                    schema.field_id_by_name(name).ok_or_else(|| super::definition::no_column(name, there()))
                };
                columns.iter().map(id).collect::<LakeResult<Vec<_>>>()?
            }
        };
        let filter = self.filter.bind(&schema)?;
        let mut plan = self.plan().await?;
        if let Some(read) = self.once {
            plan.files.retain(|file| read.add(file));
        }
        if self.in_order {
            plan.files.sort_by(|one, other| self.least(one).partial_cmp(&self.least(other)).unwrap_or(Ordering::Equal));
        }
        read(self.table.iceberg(), self.reader(), &plan.files, &schema, &ids, Some(&filter), self.max_key_bytes)
    }

    fn reader(&self) -> ArrowReaderBuilder {
        let reader = match self.batch_size {
            Some(rows) => self.table.reader().with_batch_size(rows),
            None => self.table.reader(),
        };
        if self.in_order { reader.with_data_file_concurrency_limit(1) } else { reader }
    }

    /// Returns the lower bound of the first key column in a data file, if known.
    fn least<'f>(&self, file: &'f PlannedFile) -> Option<&'f Datum> {
        let column = self.table.schema().identifier_field_ids().min()?;
        file.file.data().lower_bounds().get(&column)
    }

    /// Reads all batches into memory.
    pub async fn collect(self) -> LakeResult<Vec<RecordBatch>> {
        self.stream().await?.try_collect().await.map_err(LakeError::source)
    }

    /// Returns the number of rows. Reads only files whose count cannot be determined from their manifest entry.
    pub async fn count(self) -> LakeResult<u64> {
        let schema = self.schema()?;
        let filter = self.filter.bind(&schema)?;
        let (told, others): (Vec<_>, Vec<_>) =
            self.plan().await?.files.into_iter().partition(|file| file.whole && file.deletes.is_empty());
        let told: u64 = told.iter().map(|file| file.file.data().record_count()).sum();
        let ids: Vec<_> = match filter.columns().as_slice() {
            [] => schema.as_struct().fields().iter().map(|field| field.id).take(1).collect(),
            columns => columns.iter().map(|column| column.id).collect(),
        };
        let batches =
            read(self.table.iceberg(), self.reader(), &others, &schema, &ids, Some(&filter), self.max_key_bytes)?;
        let counted = batches.try_fold(0, |rows, batch| async move { Ok(rows + batch.num_rows() as u64) }).await;
        Ok(told + counted.map_err(LakeError::source)?)
    }

    async fn plan(&self) -> LakeResult<Plan> {
        self.table.plan_at(self.table.snapshot_at(&self.at)?, self.schema()?.as_ref(), &self.filter).await
    }

    /// Returns the schema of the rows: the current schema for the current version, otherwise the schema of the
    /// snapshot.
    fn schema(&self) -> LakeResult<SchemaRef> {
        match (&self.at, self.table.snapshot_at(&self.at)?) {
            (At::Now, _) | (_, None) => Ok(self.table.schema().clone()),
            (_, Some(snapshot)) => Ok(snapshot.schema(self.table.metadata())?),
        }
    }
}

fn read(
    table: &iceberg::table::Table,
    reader: ArrowReaderBuilder,
    files: &[PlannedFile],
    schema: &SchemaRef,
    field_ids: &[i32],
    filter: Option<&Bound>,
    max_key_bytes: usize,
) -> LakeResult<Batches> {
    // Requesting the file name as the last column makes iceberg match columns by id. Without it, iceberg treats file
    // columns that have the requested types in another order as renamed, and returns values under the wrong names.
    let asked: Vec<i32> = field_ids.iter().copied().chain([RESERVED_FIELD_ID_FILE]).collect();
    let tasks = files.iter().map(|file| file.task(schema, &asked, filter)).collect::<LakeResult<Vec<_>>>()?;
    let fields = field_ids.iter().filter_map(|id| schema.as_struct().field_by_id(*id).cloned());
    let given = Arc::new(schema_to_arrow_schema(&Schema::builder().with_fields(fields).build()?)?);
    let schema = given.clone();
    let live = read_live(table.clone(), reader.build(), tasks, max_key_bytes);
    Ok(Batches::new(schema, live.map(move |batch| Ok(plain(&batch?, &given)?))))
}

/// Casts a batch to the types of the schema. iceberg returns a column with a single value per file in a compressed
/// form that few consumers support.
fn plain(batch: &RecordBatch, schema: &ArrowSchemaRef) -> LakeResult<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() { Ok(column.clone()) } else { cast(column, field.data_type()) }
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}
