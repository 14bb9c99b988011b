//! Applies equality deletes, which engines such as Flink write: a row is deleted if its key equals one of the deleted
//! keys. A null equals another null only.
//!
//! Scans keep a 16-byte hash of each deleted key in memory, and a limited number of them. If there are more keys, the
//! scan reads its files in several passes. Each pass holds the keys in one part of the hash space and returns the
//! rows whose keys are in that part.
//!
//! The reader of iceberg 0.10.1 is not used for equality deletes because of three defects. It also deletes rows whose
//! key is null or whose file lacks a key column (apache/iceberg-rust#2780). It can wait forever for a delete file
//! that another task loads (apache/iceberg-rust#2873). It compares each row with each key.

use super::filter::Column;
use super::keys::values_of;
use super::position;
use crate::error::{LakeError, LakeResult};
use arrow::array::{AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use iceberg::arrow::{ArrowReader, type_to_arrow_type};
use iceberg::metadata_columns::RESERVED_COL_NAME_FILE;
use iceberg::scan::{FileScanTask, FileScanTaskDeleteFile};
use iceberg::spec::{DataContentType, Schema, Type};
use iceberg::table::Table;
use iceberg::{Error, ErrorKind};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, DefaultHasher, Hasher as _, RandomState};
use std::sync::Arc;

/// Maximum memory for deleted keys that a scan holds at a time, in bytes.
pub const MAX_DELETE_KEY_BYTES: usize = 128 << 20;
/// Estimated memory per key hash while a hash set grows: 17 bytes per bucket, while the old table and a new,
/// half-full table of twice the size exist together.
const KEY_BYTES: usize = 60;
/// Maximum number of times that the hash space is halved to fit the keys into memory.
const MAX_BITS: u32 = 16;
/// Maximum number of delete files that a scan reads concurrently.
const READ_AT_ONCE: usize = 8;

/// Field ids of the columns that a delete file compares.
type Ids = Vec<i32>;

/// Reads the rows of data files that are not deleted by equality deletes. In the result, the columns that the deletes
/// compare are appended after the projected columns. The tasks must project the column `_file`.
///
/// # Errors
/// Returns `LakeError::Input` if a delete file compares a column that the table does not have.
pub fn read_live(
    table: Table,
    reader: ArrowReader,
    mut tasks: Vec<FileScanTask>,
    max_key_bytes: usize,
) -> impl Stream<Item = LakeResult<RecordBatch>> + Send + 'static {
    let passes = stream::once(async move {
        let deletes = Arc::new(EqualityDeletes::take_from(&table, &mut tasks)?);
        let max_keys = max_key_bytes / KEY_BYTES;
        LakeResult::Ok(stream::try_unfold(vec![Part::default()], move |mut parts| {
            let (table, reader, deletes, tasks) = (table.clone(), reader.clone(), deletes.clone(), tasks.clone());
            async move {
                let Some(part) = parts.pop() else { return LakeResult::Ok(None) };
                let pass = Pass::read(&table, deletes, part, &mut parts, max_keys).await?;
                let tasks: Vec<_> = tasks.into_iter().filter(|task| pass.may_have_rows(task)).map(Ok).collect();
                let batches = reader.read(stream::iter(tasks).boxed())?.stream();
                Ok(Some((batches.map(move |batch| pass.apply(batch?)), parts)))
            }
        }))
    });
    passes.try_flatten().try_flatten()
}

/// The equality deletes that apply to the files of a scan.
#[derive(Debug)]
struct EqualityDeletes {
    columns: HashMap<Ids, KeyColumns>,
    /// Size and key columns of each delete file, by path.
    files: BTreeMap<String, (u64, Ids)>,
    /// Paths of the delete files that apply to each data file, grouped by key columns.
    by_data_file: HashMap<String, HashMap<Ids, Vec<String>>>,
    /// Random seed for hashing, so that an attacker cannot choose keys with colliding hashes.
    random: RandomState,
}

#[derive(Debug)]
struct KeyColumns {
    columns: Vec<Column>,
    converter: RowConverter,
}

impl EqualityDeletes {
    /// Moves the equality deletes out of the scan tasks, and adds their key columns to the projections of the tasks.
    fn take_from(table: &Table, tasks: &mut [FileScanTask]) -> LakeResult<EqualityDeletes> {
        let mut deletes = EqualityDeletes {
            columns: HashMap::new(),
            files: BTreeMap::new(),
            by_data_file: HashMap::new(),
            random: RandomState::new(),
        };
        for task in tasks {
            let is_equality = |delete: &FileScanTaskDeleteFile| delete.file_type == DataContentType::EqualityDeletes;
            for delete in task.deletes.extract_if(.., |delete| is_equality(delete)) {
                let ids = delete.equality_ids.unwrap_or_default();
                if !deletes.columns.contains_key(&ids) {
                    let found =
                        KeyColumns::find(&task.schema, &ids)?.ok_or_else(|| refused(table, &delete.file_path))?;
                    deletes.columns.insert(ids.clone(), found);
                }
                for id in &ids {
                    if !task.project_field_ids.contains(id) {
                        task.project_field_ids.push(*id);
                    }
                }
                deletes.files.insert(delete.file_path.clone(), (delete.file_size_in_bytes, ids.clone()));
                let of_file = deletes.by_data_file.entry(task.data_file_path.clone()).or_default();
                of_file.entry(ids).or_default().push(delete.file_path);
            }
        }
        Ok(deletes)
    }

    /// Returns the hash of each row's key. Two different keys have the same hash with a probability of 2⁻¹²⁸.
    fn hashes(&self, ids: &Ids, batch: &RecordBatch) -> LakeResult<Vec<u128>> {
        let KeyColumns { columns, converter } = &self.columns[ids];
        let hash = |key: &[u8]| {
            let mut fixed = DefaultHasher::new();
            fixed.write(key);
            u128::from(self.random.hash_one(key)) << 64 | u128::from(fixed.finish())
        };
        let keys = converter.convert_columns(&values_of(columns, batch)?)?;
        Ok(keys.iter().map(|key| hash(key.as_ref())).collect())
    }

    /// Returns the hashes of the keys in a delete file.
    fn read<'a>(
        &'a self,
        table: &'a Table,
        path: &'a str,
        (bytes, ids): &'a (u64, Ids),
    ) -> BoxStream<'a, LakeResult<(&'a str, Vec<u128>)>> {
        let columns = &self.columns[ids].columns;
        let batches = stream::once(position::open(table.file_io(), path, *bytes, columns))
            .map_ok(move |batches| batches.map(move |batch| self.hashes(ids, &position::by_name(&batch?, columns)?)));
        let hashes = batches.try_flatten().map(move |hashes| match hashes {
            Ok(hashes) => Ok((path, hashes)),
            Err(error) => {
                let what = format!("cannot read the equality delete file `{path}` of table `{}`", table.identifier());
                Err(Error::new(ErrorKind::Unexpected, what).with_source(error).into())
            }
        });
        hashes.boxed()
    }
}

/// A part of the hash space for each set of key columns. It contains the hashes whose given number of low bits equals
/// the given value.
#[derive(Debug, Clone, Default)]
struct Part(HashMap<Ids, (u32, u128)>);

impl Part {
    fn contains(&self, ids: &Ids, hash: u128) -> bool {
        self.0.get(ids).is_none_or(|(bits, value)| hash & ((1 << bits) - 1) == *value)
    }

    /// Halves this part of the hash space and returns the other half. Returns `None` after [`MAX_BITS`] halvings.
    fn split(&mut self, ids: &Ids) -> Option<Part> {
        let mut other = self.clone();
        let (bits, _) = self.0.entry(ids.clone()).or_default();
        let bit = *bits;
        if bit == MAX_BITS {
            return None;
        }
        *bits += 1;
        let (bits, value) = other.0.entry(ids.clone()).or_default();
        (*bits, *value) = (bit + 1, *value | 1 << bit);
        Some(other)
    }
}

/// The deleted keys in one part of the hash space, which one pass over the files applies.
struct Pass {
    deletes: Arc<EqualityDeletes>,
    part: Part,
    /// Hashes of deleted keys, by path of the delete file.
    keys: HashMap<String, HashSet<u128>>,
}

impl Pass {
    /// Reads the key hashes of one part of the hash space. While they exceed the memory limit, halves the part and
    /// adds the other half to `parts` for a later pass.
    async fn read(
        table: &Table,
        deletes: Arc<EqualityDeletes>,
        mut part: Part,
        parts: &mut Vec<Part>,
        max_keys: usize,
    ) -> LakeResult<Pass> {
        let mut keys: HashMap<String, HashSet<u128>> = HashMap::new();
        let read: Vec<_> = deletes.files.iter().map(|(path, file)| deletes.read(table, path, file)).collect();
        let mut read = stream::iter(read).flatten_unordered(READ_AT_ONCE);
        while let Some((path, hashes)) = read.try_next().await? {
            let ids_of = |path: &str| &deletes.files[path].1;
            let is_in_part = |hash: &u128| part.contains(ids_of(path), *hash);
            keys.entry(path.to_owned()).or_default().extend(hashes.into_iter().filter(is_in_part));
            while keys.values().map(HashSet::len).sum::<usize>() > max_keys {
                let mut by_ids: HashMap<&Ids, usize> = HashMap::new();
                keys.iter().for_each(|(path, keys)| *by_ids.entry(ids_of(path)).or_default() += keys.len());
                let Some((largest, count)) = by_ids.into_iter().max_by_key(|(ids, count)| (*count, *ids)) else {
                    break;
                };
                parts.push(part.split(largest).ok_or_else(|| too_many(table, count, max_keys))?);
                for (_, keys) in keys.iter_mut().filter(|(path, _)| ids_of(path) == largest) {
                    keys.retain(|hash| part.contains(largest, *hash));
                    keys.shrink_to_fit();
                }
            }
        }
        drop(read);
        Ok(Pass { deletes, part, keys })
    }

    /// Returns false if this pass cannot return rows of the file. Rows without a key belong to the part with value 0.
    fn may_have_rows(&self, task: &FileScanTask) -> bool {
        let own = self.deletes.by_data_file.get(&task.data_file_path);
        self.part.0.iter().all(|(ids, (_, value))| *value == 0 || own.is_some_and(|own| own.contains_key(ids)))
    }

    /// Returns the rows of a batch that belong to this part of the hash space and are not deleted. All rows of the
    /// batch must be from one file.
    fn apply(&self, mut batch: RecordBatch) -> LakeResult<RecordBatch> {
        if self.deletes.by_data_file.is_empty() || batch.num_rows() == 0 {
            return Ok(batch);
        }
        let path = batch.column_by_name(RESERVED_COL_NAME_FILE).map(|paths| cast(&paths.slice(0, 1), &DataType::Utf8));
        let path =
            path.transpose()?.ok_or_else(|| LakeError::input("a batch lacks the column `_file`", "project it"))?;
        let of_file = self.deletes.by_data_file.get(path.as_string::<i32>().value(0));
        for (ids, paths) in of_file.into_iter().flatten() {
            let deleted: Vec<_> = paths.iter().filter_map(|path| self.keys.get(path)).collect();
            let is_kept =
                |hash| self.part.contains(ids, hash) && deleted.iter().all(|deleted| !deleted.contains(&hash));
            let hashes = self.deletes.hashes(ids, &batch)?;
            let kept: BooleanArray = hashes.into_iter().map(|hash| Some(is_kept(hash))).collect();
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

fn too_many(table: &Table, keys: usize, max_keys: usize) -> LakeError {
    let what = format!(
        "the equality deletes of table `{}` have too many keys: 1 of {} parts has {keys} keys, {} bytes, and a scan holds {} bytes",
        table.identifier(),
        1 << MAX_BITS,
        keys.saturating_mul(KEY_BYTES),
        max_keys.saturating_mul(KEY_BYTES)
    );
    LakeError::input(what, "compact the table with the engine that wrote the deletes")
}

impl KeyColumns {
    /// Finds the key columns in a schema. Returns `None` if `ids` is empty or the schema lacks one of the columns.
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
}
