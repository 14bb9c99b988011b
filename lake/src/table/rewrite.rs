//! Deletes rows from data files. A file is removed, rewritten without the deleted rows, or kept with a position
//! delete.

use super::filter::Column;
use super::plan::PlannedFile;
use super::position::{self, Deleted, Positions, Test};
use super::write::Writer;
use super::{Change, Table};
use crate::error::{LakeError, LakeResult};
use arrow::compute::filter_record_batch;
use arrow::compute::kernels::boolean::not;
use futures::TryStreamExt as _;
use iceberg::spec::Operation;

/// Files with up to this number of rows are always rewritten. It takes a few milliseconds and saves readers from
/// applying deletes.
const SMALL_ROWS: u64 = 20_000;
/// A file is rewritten if at least one in this number of its rows is deleted, here a quarter. Otherwise position
/// deletes are written.
const LARGE_PART: u64 = 4;
/// Iceberg's table property for the delete mode. It accepts Iceberg's values and additionally `by-cost`.
const MODE: &str = "write.merge.mode";

/// The method for deleting rows from a data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowMode {
    /// Rewrites small files and files with many deleted rows. Other files get position deletes.
    ByCost,
    CopyOnWrite,
    MergeOnRead,
}

impl RowMode {
    /// Returns the mode that the table property sets. Default: `ByCost`.
    pub fn of(table: &Table) -> LakeResult<Self> {
        match table.property(MODE) {
            None | Some("by-cost") => Ok(RowMode::ByCost),
            Some("copy-on-write") => Ok(RowMode::CopyOnWrite),
            Some("merge-on-read") => Ok(RowMode::MergeOnRead),
            Some(other) => {
                let what =
                    format!("table `{}` has the property `{MODE}` = `{other}`, which is not known", table.name());
                Err(LakeError::input(what, "set it to copy-on-write or merge-on-read, or remove it"))
            }
        }
    }

    fn rewrites(self, going: u64, rows: u64) -> bool {
        match self {
            RowMode::CopyOnWrite => true,
            RowMode::MergeOnRead => false,
            RowMode::ByCost => rows <= SMALL_ROWS || going * LARGE_PART >= rows,
        }
    }
}

pub(crate) struct Rewrite {
    table: Table,
    pub(crate) change: Change,
    pub(crate) writer: Writer,
    mode: RowMode,
    positions: Vec<Positions>,
    deleted: Deleted,
}

impl Rewrite {
    pub(crate) fn new(table: &Table, operation: Operation) -> LakeResult<Self> {
        Ok(Self {
            table: table.clone(),
            change: Change::new(table, operation),
            writer: Writer::new(table)?,
            mode: RowMode::of(table)?,
            positions: vec![],
            deleted: Deleted::default(),
        })
    }

    /// Deletes the rows of a file that pass the test, and returns the number of deleted rows. The test is called with
    /// the given columns. If the whole file is removed, rows that were already deleted are counted too.
    pub(crate) async fn drop_rows(
        &mut self,
        planned: &PlannedFile,
        columns: &[Column],
        test: Test<'_>,
    ) -> LakeResult<u64> {
        if planned.whole {
            self.drop_file(planned);
            return Ok(planned.file.data().record_count());
        }
        let rows = position::of_rows(&self.table, planned, columns, test, &mut self.deleted).await?;
        let (going, all) = (rows.len() as u64, planned.file.data().record_count());
        if going == 0 {
            return Ok(going);
        }
        if going < all && !self.mode.rewrites(going, all) {
            self.change.points_into.insert(planned.file.path().to_owned());
            self.positions.push(Positions { file: planned.file.clone(), rows });
            return Ok(going);
        }
        if going < all {
            self.keep_others(planned, test).await?;
        }
        self.drop_file(planned);
        Ok(going)
    }

    /// Removes a data file and the delete files that apply only to it.
    pub(crate) fn drop_file(&mut self, planned: &PlannedFile) {
        self.change.remove.push(planned.file.file());
        let path = planned.file.path();
        let own = planned.deletes.iter().filter(|delete| delete.data().referenced_data_file().as_deref() == Some(path));
        self.change.remove.extend(own.map(|delete| delete.file()));
    }

    /// Rewrites a file without the rows that pass the test.
    async fn keep_others(&mut self, planned: &PlannedFile, test: Test<'_>) -> LakeResult<()> {
        let mut batches = self.table.read_files(std::slice::from_ref(planned), None)?;
        while let Some(batch) = batches.try_next().await.map_err(LakeError::source)? {
            let staying = filter_record_batch(&batch, &not(&test(&batch)?)?)?;
            let staying = self.writer.conform(&staying)?;
            self.writer.write(staying).await?;
        }
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> LakeResult<Change> {
        self.change.add = self.writer.close().await?;
        self.change.add.extend(position::write(&self.table, self.positions).await?);
        Ok(self.change)
    }
}
