//! Commits as a part of a task's completion: the tables change exactly if the task's success is recorded, in the same
//! Postgres transaction. All files are written before that transaction begins; in it only rows of the catalog are
//! compared and swapped, and no file is read or written. If another writer was faster the step asks to prepare again.
//!
//! A catalog that answers over HTTP is no part of a transaction: there the tables are committed before it, once for the try.

mod apart;

use super::commit::{EarlierCommit, Staged, check_conflicts, find_earlier_commit, pause, stage};
use super::{Change, TableName};
use crate::{
    boxed,
    catalog::{PgCatalog, Swapped},
    error::{LakeError, LakeResult},
    lake::Lake,
    lake::home::HINT,
};
use futures::future::try_join_all;
use orch_sdk::task::{TaskResult, fatal};
use orch_store::completion::{CompletionStep, Outdated, StepFuture};
use sqlx::postgres::PgConnection;

/// Tables that are prepared at the same time: each has a few requests under way, and a session at the catalog for
/// milliseconds.
const TABLES_AT_ONCE: usize = 16;

/// Leave it with `ctx.commit(change.step(&lake))`. Changes of several tables belong into one step: their rows of the
/// catalog are taken in the order of their names, so that two tasks never wait for each other.
#[derive(Debug)]
#[must_use = "leave it with `ctx.commit`"]
pub struct CommitStep {
    lake: Lake,
    tables: Vec<OfTable>,
}

/// The changes of one table, in the order in which they were made: each is laid onto what the one before it leaves.
#[derive(Debug)]
struct OfTable {
    name: TableName,
    parts: Vec<StepChange>,
    /// How often another writer was faster.
    outdated: u32,
}

#[derive(Debug)]
struct StepChange {
    change: Change,
    state: State,
    /// The transaction did not find the table where it was staged.
    moved: bool,
}

#[derive(Debug)]
enum State {
    Unprepared,
    Staged(Box<Staged>),
    /// The table has it already, or there is nothing to do.
    Done,
}

impl CommitStep {
    pub fn new(lake: &Lake, mut changes: Vec<Change>) -> Self {
        changes.sort_by(|one, other| one.table().cmp(other.table()));
        let mut tables: Vec<OfTable> = vec![];
        for change in changes {
            let part = StepChange { state: State::Unprepared, change, moved: false };
            match tables.last_mut() {
                Some(last) if last.name == *part.change.table() => last.parts.push(part),
                _ => tables.push(OfTable { name: part.change.table().clone(), parts: vec![part], outdated: 0 }),
            }
        }
        Self { lake: lake.clone(), tables }
    }

    /// Writes all files of the commit, of several tables at the same time. Nobody sees them yet.
    ///
    /// # Errors
    /// `LakeError::Conflict` as in `Change::commit`.
    #[boxed]
    pub async fn stage(&mut self) -> LakeResult<()> {
        catalog(&self.lake)?;
        self.stage_all().await
    }

    async fn stage_all(&mut self) -> LakeResult<()> {
        self.lake.check_owner_of_commit().await?;
        for tables in self.tables.chunks_mut(TABLES_AT_ONCE) {
            try_join_all(tables.iter_mut().map(|table| table.stage(&self.lake))).await?;
        }
        Ok(())
    }

    fn is_apart(&self) -> bool {
        self.lake.catalog().postgres().is_none()
    }

    /// Publishes what was staged, on any transaction of the database that the catalog is in. Whoever began it commits it.
    ///
    /// # Errors
    /// `LakeError::Moved` if another writer was faster, or nothing was staged: roll back, stage again, and try again.
    #[boxed]
    pub async fn swap_on(&mut self, db: &mut PgConnection) -> LakeResult<()> {
        let catalog = catalog(&self.lake)?;
        for table in &mut self.tables {
            table.swap(catalog, db).await?;
        }
        Ok(())
    }
}

fn catalog(lake: &Lake) -> LakeResult<&PgCatalog> {
    lake.catalog().postgres().ok_or_else(|| {
        let what = "the catalog of this lake is not in Postgres".to_owned();
        LakeError::input(what, "commit with `change.commit(&lake)`")
    })
}

impl OfTable {
    async fn stage(&mut self, lake: &Lake) -> LakeResult<()> {
        if self.outdated > 0 {
            tokio::time::sleep(pause(self.outdated)).await;
        }
        let mut head = lake.table(&self.name).await?;
        for part in &mut self.parts {
            head = match std::mem::replace(&mut part.state, State::Unprepared) {
                // What was rolled back is of use again if nobody has moved the table.
                State::Staged(staged) if staged.base() == head.metadata_location() => {
                    if part.moved {
                        return Err(never(&self.name));
                    }
                    part.keep(staged, lake)?
                }
                before => {
                    let staged = match before {
                        State::Staged(staged) => Some(staged),
                        _ => None,
                    };
                    // A commit whose answer was lost is the table by now.
                    let staged_at: Vec<_> = staged.iter().map(|staged| staged.location().to_owned()).collect();
                    if part.change.is_empty()
                        || find_earlier_commit(&part.change, &staged_at, &head) != EarlierCommit::Nothing
                    {
                        part.state = State::Done;
                        continue;
                    }
                    if let Some(stale) = staged {
                        stale.discard(lake).await;
                    }
                    check_conflicts(&part.change, &head).await?;
                    let staged = stage(&part.change, &head).await?;
                    part.keep(Box::new(staged), lake)?
                }
            };
        }
        Ok(())
    }

    async fn swap(&mut self, catalog: &PgCatalog, db: &mut PgConnection) -> LakeResult<()> {
        for part in &mut self.parts {
            let swapped = match &part.state {
                State::Done => Swapped::Done(None),
                State::Unprepared => Swapped::Moved,
                State::Staged(staged) => catalog.swap_on(db, &staged.swap()).await?,
            };
            if swapped == Swapped::Moved {
                (self.outdated, part.moved) = (self.outdated + 1, true);
                return Err(LakeError::Moved { table: self.name.clone() });
            }
        }
        Ok(())
    }
}

impl StepChange {
    /// Gives the table as the next change of it finds it.
    fn keep(&mut self, staged: Box<Staged>, lake: &Lake) -> LakeResult<super::Table> {
        let table = staged.table(lake)?;
        (self.state, self.moved) = (State::Staged(staged), false);
        Ok(table)
    }
}

/// The catalog has not moved the table, and yet the transaction found it elsewhere: it always will.
fn never(table: &TableName) -> LakeError {
    let what = format!(
        "table `{table}` cannot be committed with the outcome of its task: the transaction does not see it as its catalog does"
    );
    let hint = format!("{HINT}, and all changes of one table into one step: `CommitStep::new(&lake, vec![…])`");
    LakeError::input(what, hint)
}

impl CompletionStep for CommitStep {
    fn name(&self) -> String {
        let names: Vec<_> = self.tables.iter().map(|table| format!("`{}`", table.name)).collect();
        format!("commit {}", names.join(", "))
    }

    fn prepare(&mut self) -> StepFuture<'_> {
        Box::pin(async move { for_task(if self.is_apart() { apart::commit(self).await } else { self.stage().await }) })
    }

    fn run<'a>(&'a mut self, db: &'a mut PgConnection) -> StepFuture<'a> {
        Box::pin(async move { for_task(if self.is_apart() { Ok(()) } else { self.swap_on(db).await }) })
    }
}

fn for_task(done: LakeResult<()>) -> TaskResult<()> {
    match done {
        Ok(()) => Ok(()),
        Err(error @ LakeError::Moved { .. }) => Err(Outdated(error.to_string()).into()),
        Err(error) if error.is_fatal() => Err(fatal(error.to_string())),
        Err(error) => Err(error.into()),
    }
}
