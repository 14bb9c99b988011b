//! Finds the positions of rows in data files and writes position deletes.

use super::filter::Column;
use super::plan::{LiveFile, PlannedFile};
use super::write::file_builder;
use super::{File, Table};
use crate::error::{LakeError, LakeResult};
use arrow::array::{ArrayRef, AsArray as _, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{Field, Int64Type, Schema as ArrowSchema};
use futures::TryStreamExt as _;
use iceberg::arrow::{ArrowFileReader, schema_to_arrow_schema, type_to_arrow_type};
use iceberg::io::{FileIO, FileMetadata};
use iceberg::metadata_columns::{
    RESERVED_FIELD_ID_DELETE_FILE_PATH, RESERVED_FIELD_ID_DELETE_FILE_POS, delete_file_path_field,
    delete_file_pos_field,
};
use iceberg::spec::{DataContentType, PartitionKey, PrimitiveType, Schema, Struct, Type};
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::arrow::{PARQUET_FIELD_ID_META_KEY, ProjectionMask};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

const READ_ROWS: usize = 65_536;
const WRITE_ROWS: usize = 65_536;

pub(crate) type Test<'a> = &'a (dyn Fn(&RecordBatch) -> LakeResult<BooleanArray> + Send + Sync);

/// Returns the sorted positions of the live rows that pass a test. Reads only the columns that the test uses.
pub(crate) async fn of_rows(
    table: &Table,
    planned: &PlannedFile,
    columns: &[Column],
    test: Test<'_>,
    deleted: &mut Deleted,
) -> LakeResult<Vec<i64>> {
    let mut batches =
        open(table.lake().io(), planned.file.path(), planned.file.data().file_size_in_bytes(), columns).await?;
    let mut positions = vec![];
    let mut first = 0;
    while let Some(batch) = batches.try_next().await? {
        let rows = batch.num_rows();
        let found = test(&by_name(&batch, columns)?)?;
        positions.extend(found.values().set_indices().map(|row| first + row as i64));
        first += rows as i64;
    }
    if !positions.is_empty() && !planned.deletes.is_empty() {
        deleted.read(table, planned).await?;
        positions.retain(|position| !deleted.holds(planned, *position));
    }
    Ok(positions)
}

/// Rows that are deleted by position delete files. Each delete file is read only once.
#[derive(Default)]
pub(crate) struct Deleted {
    /// Positions of deleted rows, by path of the delete file and then by path of the data file.
    by_file: HashMap<String, HashMap<String, HashSet<i64>>>,
}

impl Deleted {
    async fn read(&mut self, table: &Table, planned: &PlannedFile) -> LakeResult<()> {
        let column = |id, data| Column { id, name: format!("{id}"), data };
        let path = column(RESERVED_FIELD_ID_DELETE_FILE_PATH, PrimitiveType::String);
        let pos = column(RESERVED_FIELD_ID_DELETE_FILE_POS, PrimitiveType::Long);
        let columns = [path, pos];
        for file in &planned.deletes {
            let by_position = file.data().content_type() == DataContentType::PositionDeletes;
            if !by_position || self.by_file.contains_key(file.path()) {
                continue;
            }
            let mut rows: HashMap<String, HashSet<i64>> = HashMap::new();
            let mut batches = open(table.lake().io(), file.path(), file.data().file_size_in_bytes(), &columns).await?;
            while let Some(batch) = batches.try_next().await? {
                let batch = by_name(&batch, &columns)?;
                let (paths, positions) =
                    (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
                for (path, position) in paths.iter().zip(positions.values()) {
                    let path = path.unwrap_or_default();
                    match rows.get_mut(path) {
                        Some(known) => known.insert(*position),
                        None => rows.entry(path.to_owned()).or_default().insert(*position),
                    };
                }
            }
            self.by_file.insert(file.path().to_owned(), rows);
        }
        Ok(())
    }

    fn holds(&self, planned: &PlannedFile, position: i64) -> bool {
        let named = planned.deletes.iter().filter_map(|file| self.by_file.get(file.path())?.get(planned.file.path()));
        named.into_iter().any(|rows| rows.contains(&position))
    }
}

/// Reads columns of a Parquet data file. Does not apply deletes.
pub(super) async fn open(
    io: &FileIO,
    path: &str,
    bytes: u64,
    columns: &[Column],
) -> LakeResult<ParquetRecordBatchStream<ArrowFileReader>> {
    let reader = ArrowFileReader::new(FileMetadata { size: bytes }, io.new_input(path)?.reader().await?);
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await?;
    let roots = builder.schema().fields().iter().enumerate();
    let wanted: Vec<_> = roots.filter(|(_, field)| columns.iter().any(|column| is(field, column))).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted.into_iter().map(|(index, _)| index));
    Ok(builder.with_projection(mask).with_batch_size(READ_ROWS).build()?)
}

/// Returns true if a field of a data file is the given column. Fields are matched by id. Files of other writers may
/// lack ids; their fields are matched by name.
fn is(field: &Field, column: &Column) -> bool {
    match field.metadata().get(PARQUET_FIELD_ID_META_KEY) {
        Some(id) => id.parse() == Ok(column.id),
        None => *field.name() == column.name,
    }
}

/// Renames and casts the columns of a batch to the schema of the table. A column that the data file lacks is null.
pub(super) fn by_name(batch: &RecordBatch, columns: &[Column]) -> LakeResult<RecordBatch> {
    let schema = batch.schema();
    let mut fields = vec![];
    let mut arrays: Vec<ArrayRef> = vec![];
    for column in columns {
        let data = type_to_arrow_type(&Type::Primitive(column.data.clone()))?;
        let array = match schema.fields().iter().position(|field| is(field, column)) {
            Some(index) if *batch.column(index).data_type() == data => batch.column(index).clone(),
            Some(index) => cast(batch.column(index), &data)?,
            None => arrow::array::new_null_array(&data, batch.num_rows()),
        };
        fields.push(Field::new(&column.name, data, true));
        arrays.push(array);
    }
    Ok(RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), arrays)?)
}

/// The positions of the rows to delete from one data file.
pub(crate) struct Positions {
    pub(crate) file: LiveFile,
    /// Positions in the file, in ascending order.
    pub(crate) rows: Vec<i64>,
}

/// Writes one position delete file per partition.
pub(crate) async fn write(table: &Table, all: Vec<Positions>) -> LakeResult<Vec<File>> {
    let mut by_partition: HashMap<(i32, Struct), BTreeMap<String, Vec<i64>>> = HashMap::new();
    for positions in all {
        let partition = (positions.file.spec_id, positions.file.data().partition().clone());
        let rows = by_partition.entry(partition).or_default().entry(positions.file.path().to_owned()).or_default();
        rows.extend(positions.rows);
    }
    let schema = Schema::builder().with_fields([delete_file_path_field().clone(), delete_file_pos_field().clone()]);
    let schema = Arc::new(schema.build()?);
    let builder = file_builder(table, &schema, "delete", 1)?;
    let arrow_schema = Arc::new(schema_to_arrow_schema(&schema)?);
    let mut files = vec![];
    for ((spec_id, partition), by_path) in by_partition {
        let key = match table.metadata().partition_spec_by_id(spec_id) {
            Some(spec) if !spec.is_unpartitioned() => {
                Some(PartitionKey::new(spec.as_ref().clone(), table.schema().clone(), partition.clone()))
            }
            _ => None,
        };
        let mut writer = builder.build();
        for (path, rows) in &by_path {
            for rows in rows.chunks(WRITE_ROWS) {
                let paths: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|_| path)));
                let positions: ArrayRef = Arc::new(Int64Array::from(rows.to_vec()));
                writer.write(&key, &RecordBatch::try_new(arrow_schema.clone(), vec![paths, positions])?).await?;
            }
        }
        let only = if by_path.len() == 1 { by_path.into_keys().next() } else { None };
        for mut data in writer.close().await? {
            data.content(DataContentType::PositionDeletes).partition(partition.clone()).partition_spec_id(spec_id);
            data.referenced_data_file(only.clone());
            let data = data.build().map_err(|error| LakeError::Source(error.into()))?;
            files.push(File { data, spec_id });
        }
    }
    Ok(files)
}
