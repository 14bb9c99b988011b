//! Equality deletes, which engines such as Flink write: a row is deleted if it equals one of the deleted keys. Null equals
//! null and nothing else.
//!
//! They are applied here and not by the reader of iceberg 0.10.1, which has three defects: it also deletes rows whose key is
//! null or whose file lacks a column of the key (apache/iceberg-rust#2780), it can wait forever for a delete file that
//! another task loads (apache/iceberg-rust#2873), and it compares each row with each key.

use super::filter::Column;
use super::keys::values_of;
use super::position;
use crate::error::{LakeError, LakeResult};
use arrow::array::{AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use iceberg::arrow::type_to_arrow_type;
use iceberg::io::FileIO;
use iceberg::metadata_columns::RESERVED_COL_NAME_FILE;
use iceberg::scan::{FileScanTask, FileScanTaskDeleteFile};
use iceberg::spec::{DataContentType, Schema, Type};
use iceberg::table::Table;
use iceberg::{Error, ErrorKind};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Maximum number of delete files that one scan reads at the same time.
const READ_AT_ONCE: usize = 8;

/// Field ids of the columns that a delete file compares.
type Ids = Vec<i32>;
/// Keys as bytes. Two are equal if and only if the keys are.
type Deleted = Arc<HashSet<Box<[u8]>>>;

/// The keys that are deleted from the data files of a scan.
#[derive(Debug, Default)]
pub struct EqualityDeletes {
    columns: HashMap<Ids, Arc<KeyColumns>>,
    /// By the path of the data file.
    files: HashMap<String, HashMap<Ids, Vec<Deleted>>>,
}

#[derive(Debug)]
struct KeyColumns {
    columns: Vec<Column>,
    converter: RowConverter,
}

impl EqualityDeletes {
    /// Removes the equality deletes from the tasks and reads them. Adds the columns that they compare to the projections, behind
    /// all others. The tasks must project the column `_file`.
    ///
    /// # Errors
    /// Returns `LakeError::Input` if a delete file compares a column that the table does not have.
    pub async fn take_from(table: &Table, tasks: &mut [FileScanTask]) -> LakeResult<EqualityDeletes> {
        let mut columns: HashMap<Ids, Arc<KeyColumns>> = HashMap::new();
        let mut taken: Vec<(String, Ids, String)> = Vec::new();
        let mut unread: HashMap<String, (u64, Arc<KeyColumns>)> = HashMap::new();
        for task in tasks {
            let is_equality = |delete: &FileScanTaskDeleteFile| delete.file_type == DataContentType::EqualityDeletes;
            for delete in task.deletes.extract_if(.., |delete| is_equality(delete)) {
                let ids = delete.equality_ids.unwrap_or_default();
                if !columns.contains_key(&ids) {
                    let found =
                        KeyColumns::find(&task.schema, &ids)?.ok_or_else(|| refused(table, &delete.file_path))?;
                    columns.insert(ids.clone(), Arc::new(found));
                }
                for id in &ids {
                    if !task.project_field_ids.contains(id) {
                        task.project_field_ids.push(*id);
                    }
                }
                unread.insert(delete.file_path.clone(), (delete.file_size_in_bytes, columns[&ids].clone()));
                taken.push((task.data_file_path.clone(), ids, delete.file_path));
            }
        }
        let read = stream::iter(unread).map(|(path, (bytes, columns))| {
            let (io, table) = (table.file_io().clone(), table.identifier().clone());
            async move {
                let keys = columns.read(&io, &path, bytes).await.map_err(|error| {
                    let what = format!("cannot read the equality delete file `{path}` of table `{table}`");
                    Error::new(ErrorKind::Unexpected, what).with_source(error)
                })?;
                LakeResult::Ok((path, Arc::new(keys)))
            }
        });
        let read: HashMap<String, Deleted> = read.buffer_unordered(READ_AT_ONCE).try_collect().await?;
        let mut files: HashMap<String, HashMap<Ids, Vec<Deleted>>> = HashMap::new();
        for (data_file, ids, path) in taken {
            files.entry(data_file).or_default().entry(ids).or_default().push(read[&path].clone());
        }
        Ok(EqualityDeletes { columns, files })
    }

    /// The rows of a batch that are not deleted. All rows of the batch are of one file.
    pub fn apply(&self, mut batch: RecordBatch) -> LakeResult<RecordBatch> {
        if self.files.is_empty() || batch.num_rows() == 0 {
            return Ok(batch);
        }
        let path = batch.column_by_name(RESERVED_COL_NAME_FILE).map(|paths| cast(&paths.slice(0, 1), &DataType::Utf8));
        let path =
            path.transpose()?.ok_or_else(|| LakeError::input("a batch lacks the column `_file`", "project it"))?;
        for (ids, deleted) in self.files.get(path.as_string::<i32>().value(0)).into_iter().flatten() {
            let KeyColumns { columns, converter } = self.columns[ids].as_ref();
            let keys = converter.convert_columns(&values_of(columns, &batch)?)?;
            let is_kept = |key: &[u8]| Some(deleted.iter().all(|deleted| !deleted.contains(key)));
            let kept: BooleanArray = keys.iter().map(|key| is_kept(key.as_ref())).collect();
            batch = filter_record_batch(&batch, &kept)?;
        }
        Ok(batch)
    }
}

fn refused(table: &Table, path: &str) -> LakeError {
    let what = format!(
        "equality delete file `{path}` of table `{}` compares a column that cannot be read",
        table.identifier()
    );
    let hint = "the column was dropped, or is part of another: compact the table with the engine that wrote the file";
    LakeError::input(what, hint)
}

impl KeyColumns {
    /// Returns `None` if there are no ids, or the schema has no such column.
    fn find(schema: &Schema, ids: &[i32]) -> LakeResult<Option<KeyColumns>> {
        let column = |id: &i32| {
            let field = schema.as_struct().field_by_id(*id)?;
            let Type::Primitive(data) = field.field_type.as_ref() else { return None };
            Some(Column { id: *id, name: field.name.clone(), data: data.clone() })
        };
        let Some(columns) = ids.iter().map(column).collect::<Option<Vec<_>>>().filter(|found| !found.is_empty()) else {
            return Ok(None);
        };
        let fields = columns.iter().map(|column| type_to_arrow_type(&Type::Primitive(column.data.clone())));
        let fields = fields.map(|data| Ok(SortField::new(data?))).collect::<LakeResult<_>>()?;
        Ok(Some(KeyColumns { columns, converter: RowConverter::new(fields)? }))
    }

    /// The keys in a delete file.
    async fn read(&self, io: &FileIO, path: &str, bytes: u64) -> LakeResult<HashSet<Box<[u8]>>> {
        let mut keys = HashSet::new();
        let mut batches = position::open(io, path, bytes, &self.columns).await?;
        while let Some(batch) = batches.try_next().await? {
            let batch = position::by_name(&batch, &self.columns)?;
            let rows = self.converter.convert_columns(batch.columns())?;
            keys.extend(rows.iter().map(|row| Box::from(row.as_ref())));
        }
        Ok(keys)
    }
}
