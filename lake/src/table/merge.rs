//! Merges a source table into a target table by key: source rows replace target rows with the same key, and other
//! source rows are added. The merge is divided into shares of similar size, and each share is written by one task. A
//! final task commits the files of all shares. For the largest tables, the same merge is run as a Spark statement.

mod shares;

use self::shares::{Part, Piece, divide};
use super::filter::prune::{Rows, order};
use super::filter::{Bound, Column, Op};
use super::keys::{Keys, datum};
use super::plan::{LiveFile, PlannedFile, Pruners};
use super::rewrite::Rewrite;
use super::written::WrittenFile;
use super::{At, Change, File, Filter, Region, Table, TableName, Value, spark};
use crate::error::{LakeError, LakeResult};
use futures::TryStreamExt as _;
use iceberg::spec::{DataFile, Operation, PrimitiveLiteral};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

/// A merge of two tables at fixed snapshots, with its key columns and its number of shares (parts processed in
/// parallel).
#[derive(Debug, Clone)]
pub struct Merge {
    into: Table,
    from: Table,
    key: Vec<Column>,
    of: u32,
}

/// Files that the task of one share has written. No snapshot references them yet.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct MergedShare {
    add: Vec<WrittenFile>,
    /// Paths of the files that the merge replaces.
    remove: Vec<String>,
    /// Paths of existing files from which rows are deleted by position.
    points_into: Vec<String>,
    /// Number of rows written from the source table.
    pub rows: u64,
    /// Number of target rows that were replaced by source rows with the same key.
    pub replaced: u64,
}

/// A data file of the source or the target table.
#[derive(Debug)]
struct OfEither {
    planned: PlannedFile,
    is_target: bool,
}

impl Merge {
    /// Creates a merge of `from` into `into` by the columns `key`. If `key` is empty, the key of the target table is
    /// used.
    ///
    /// # Errors
    /// Returns an error if both tables are the same, there is no key, or a column is missing in one table or has a
    /// different type there.
    pub fn new(into: &Table, from: &Table, key: &[String]) -> LakeResult<Merge> {
        if into.name() == from.name() {
            let what = format!("table `{}` cannot be merged into itself", into.name());
            return Err(LakeError::input(what, "name the table that has the new rows"));
        }
        let columns = if key.is_empty() { into.key() } else { key.to_vec() };
        let key = Keys::new(into, &columns)?.columns().to_vec();
        for column in &key {
            let there = Column::find(from.schema(), &column.name)?;
            if there.data != column.data {
                let (name, into, from) = (&column.name, into.name(), from.name());
                let what =
                    format!("column `{name}` of the key is {} in `{into}` and {} in `{from}`", column.data, there.data);
                return Err(LakeError::input(what, "give both columns the same type"));
            }
        }
        for field in from.schema().as_struct().fields() {
            if into.schema().field_by_name(&field.name).is_none() {
                let what =
                    format!("table `{}` has no column `{}`, which `{}` has", into.name(), field.name, from.name());
                return Err(LakeError::input(what, "add the column, or leave it out of the new rows"));
            }
        }
        Ok(Merge { into: into.clone(), from: from.clone(), key, of: 1 })
    }

    pub fn target(&self) -> &Table {
        &self.into
    }

    /// Returns the table whose rows are merged into the target.
    pub fn source(&self) -> &Table {
        &self.from
    }

    #[must_use]
    pub fn in_shares(mut self, of: u32) -> Merge {
        self.of = of.max(1);
        self
    }

    /// Returns the total size of the files that the merge will read: all source files, and the target files that may
    /// contain one of their keys. Opens no data file.
    pub async fn bytes(&self) -> LakeResult<u64> {
        Ok(self.files().await?.iter().map(|file| file.planned.file.data().file_size_in_bytes()).sum())
    }

    /// Writes the files of one share of the merge. `number` is counted from 0. The keys of the share are held in
    /// memory.
    ///
    /// # Errors
    /// Returns an error if two source rows have the same key, or a key is null.
    pub async fn share(&self, number: u32) -> LakeResult<MergedShare> {
        let files = self.files().await?;
        let Some(part) = self.parts(&files).into_iter().nth(number as usize) else { return Ok(MergedShare::default()) };
        let of_part = part.pieces.iter().map(|&index| &files[index]);
        let (targets, sources): (Vec<_>, Vec<_>) = of_part.partition(|file| file.is_target);
        let mut rewrite = Rewrite::new(&self.into, Operation::Overwrite)?;
        let (mut rows, mut replaced) = (0, 0);
        let sources: Vec<PlannedFile> = sources.iter().map(|file| file.planned.clone()).collect();
        let mut batches = self.from.read_files(&sources, None)?;
        while let Some(batch) = batches.try_next().await.map_err(LakeError::source)? {
            let batch = rewrite.writer.conform(&batch)?;
            Keys::check(&self.key, &batch)?;
            rows += batch.num_rows() as u64;
            rewrite.writer.write(batch).await?;
        }
        let keys = self.keys(&part).await?;
        let filter = keys.filter()?;
        let mut pruners = Pruners::new(&self.into, &filter);
        for OfEither { planned, .. } in targets {
            if !keys.is_empty() && pruners.rows(&planned.file)? != Rows::None {
                replaced += rewrite.drop_rows(planned, keys.columns(), &|batch| keys.rows(batch)).await?;
            }
        }
        let change = rewrite.finish().await?;
        Ok(MergedShare {
            add: change.written()?,
            remove: change.remove.iter().map(|file| file.path().to_owned()).collect(),
            points_into: change.points_into.into_iter().collect(),
            rows,
            replaced,
        })
    }

    /// Combines the files of all shares into one table change. Its commit conflicts if another writer changed the
    /// replaced files or wrote rows with one of the keys.
    pub async fn change<'a>(self, shares: impl IntoIterator<Item = &'a MergedShare>) -> LakeResult<Change> {
        let shares: Vec<&MergedShare> = shares.into_iter().collect();
        let mut change = self.into.append_written(shares.iter().flat_map(|share| &share.add))?;
        let live = self.into.live(self.into.current_snapshot()).await?;
        let files = live.data.iter().map(LiveFile::file).chain(live.deletes.iter().map(|file| file.file()));
        let mut files: HashMap<String, File> = files.map(|file| (file.path().to_owned(), file)).collect();
        for path in shares.iter().flat_map(|share| &share.remove) {
            let file = files.remove(path).ok_or_else(|| self.misses(path))?;
            change.remove.push(file);
        }
        change.points_into.extend(shares.iter().flat_map(|share| share.points_into.iter().cloned()));
        if !change.remove.is_empty() || !change.points_into.is_empty() {
            change.operation = Operation::Overwrite;
        }
        change.region = Region::Merge(Arc::new(self));
        Ok(change)
    }

    fn misses(&self, path: &str) -> LakeError {
        let what = format!("table `{}` has no file `{path}`, which a share of the merge replaces", self.into.name());
        LakeError::input(what, "merge once more, all shares of the same two snapshots")
    }

    /// Returns the path of the first file in `new` that contains a row with one of the keys of the merge.
    pub(crate) async fn first_with_key(&self, head: &Table, new: &[LiveFile]) -> LakeResult<Option<String>> {
        let files = self.files().await?;
        for part in self.parts(&files) {
            let filter = self.within(&part)?.bind(head.schema())?;
            let mut pruners = Pruners::new(head, &filter);
            let mut near = vec![];
            for file in new {
                if pruners.rows(file)? != Rows::None {
                    near.push(file);
                }
            }
            if near.is_empty() {
                continue;
            }
            let keys = self.keys(&part).await?;
            for file in near {
                if keys.touches(head, file).await? {
                    return Ok(Some(file.path().to_owned()));
                }
            }
        }
        Ok(None)
    }

    /// Returns the keys of the source rows in one part of the merge.
    async fn keys(&self, part: &Part) -> LakeResult<Keys> {
        let columns: Vec<String> = self.key.iter().map(|column| column.name.clone()).collect();
        let mut keys = Keys::new(&self.into, &columns)?;
        let mut batches = self.from.scan().columns(columns).filter(self.within(part)?).stream().await?;
        while let Some(batch) = batches.try_next().await.map_err(LakeError::source)? {
            keys.add(&batch)?;
        }
        Ok(keys)
    }

    fn within(&self, part: &Part) -> LakeResult<Filter> {
        let column = &self.key[0];
        let mut filter = Filter::All;
        for (op, bound) in [(Op::GtEq, &part.least), (Op::LtEq, &part.greatest)] {
            if let Some(bound) = bound {
                filter = filter.and(Filter::compare(&column.name, op, Value::Datum(datum(bound, &column.data)?)));
            }
        }
        Ok(filter)
    }

    fn parts(&self, files: &[OfEither]) -> Vec<Part> {
        let pieces: Vec<Piece> = files.iter().map(|file| self.piece(file)).collect();
        divide(&pieces, self.of)
    }

    fn piece(&self, file: &OfEither) -> Piece {
        let id =
            if file.is_target { Some(self.key[0].id) } else { self.from.schema().field_id_by_name(&self.key[0].name) };
        let data = file.planned.file.data();
        let [least, greatest] = bounds(data, id);
        Piece { bytes: data.file_size_in_bytes(), least, greatest, is_target: file.is_target }
    }

    /// Returns all source files, and the target files that may contain one of their keys. The order is deterministic.
    async fn files(&self) -> LakeResult<Vec<OfEither>> {
        let of = |is_target| move |planned| OfEither { planned, is_target };
        let from = self.from.files(&At::Now).await?.files.into_iter().map(of(false));
        let mut files: Vec<OfEither> = from.collect();
        let range = self.range(&files)?;
        let mut pruners = Pruners::new(&self.into, &range);
        if !files.is_empty() {
            for planned in self.into.files(&At::Now).await?.files {
                if pruners.rows(&planned.file)? != Rows::None {
                    // The file is never removed without reading it. Its key bounds are within the range of the merge,
                    // but its keys need not be among the merged keys.
                    files.push(of(true)(PlannedFile { whole: false, ..planned }));
                }
            }
        }
        files.sort_by(|one, other| one.planned.file.path().cmp(other.planned.file.path()));
        Ok(files)
    }

    /// Returns a filter on the first key column for the range of values in these files. Unbounded on a side on which
    /// a file has no statistics.
    fn range(&self, files: &[OfEither]) -> LakeResult<Bound> {
        let pieces: Vec<Piece> = files.iter().map(|file| self.piece(file)).collect();
        let farthest = |side: Ordering, bound: fn(&Piece) -> &Option<PrimitiveLiteral>| {
            let bounds: Option<Vec<PrimitiveLiteral>> = pieces.iter().map(|piece| bound(piece).clone()).collect();
            bounds?.into_iter().reduce(|one, other| if order(&other, &one) == Some(side) { other } else { one })
        };
        let least = farthest(Ordering::Less, |piece| &piece.least);
        let greatest = farthest(Ordering::Greater, |piece| &piece.greatest);
        self.within(&Part { pieces: vec![], least, greatest })?.bind(self.into.schema())
    }

    /// Returns equivalent Spark SQL statements. `catalog` is the name of the catalog in Spark. The first statement
    /// fails if a source key is null or not unique.
    pub fn spark_statements(&self, catalog: &str) -> [String; 2] {
        let in_spark = |name: &TableName| format!("{catalog}.{}", spark::table(name));
        let version = self.from.current_snapshot().map(|snapshot| format!(" version as of {}", snapshot.snapshot_id()));
        let from = format!("{}{}", in_spark(self.from.name()), version.unwrap_or_default());
        let key: Vec<String> = self.key.iter().map(|column| spark::quoted(&column.name)).collect();
        let list = key.join(", ");
        let is_null = key.iter().map(|column| format!("{column} is null")).collect::<Vec<_>>().join(" or ");
        let refused = format!("the new rows have a key ({}) twice, or one that is null", list.replace('`', ""));
        let check = format!(
            "select assert_true(count(*) = count(distinct {list}) and count_if({is_null}) = 0, {}) from {from}",
            spark::text(&refused)
        );
        let same = key.iter().map(|column| format!("t.{column} = s.{column}")).collect::<Vec<_>>().join(" and ");
        let columns = self.into.schema().as_struct().fields().iter().map(|field| spark::quoted(&field.name));
        let columns: Vec<String> = columns.collect();
        let value = |name: &String, column: &str| match self.from.schema().field_by_name(column) {
            Some(_) => format!("s.{name}"),
            None => "null".to_owned(),
        };
        let fields = self.into.schema().as_struct().fields().iter();
        let values: Vec<String> = columns.iter().zip(fields).map(|(name, field)| value(name, &field.name)).collect();
        let set: Vec<String> = columns.iter().zip(&values).map(|(name, value)| format!("t.{name} = {value}")).collect();
        let merge = format!(
            "merge into {} t using (select * from {from}) s on {same} when matched then update set {} when not matched then \
             insert ({}) values ({})",
            in_spark(self.into.name()),
            set.join(", "),
            columns.join(", "),
            values.join(", ")
        );
        [check, merge]
    }
}

/// Returns the lower and upper bound of a column in a data file, if known.
fn bounds(data: &DataFile, id: Option<i32>) -> [Option<PrimitiveLiteral>; 2] {
    [data.lower_bounds(), data.upper_bounds()].map(|bounds| Some(bounds.get(&id?)?.literal().clone()))
}
