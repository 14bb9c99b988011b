//! Commits table changes in the Postgres transaction that records the success of a task, so that either both or
//! neither take effect. All files are written before the transaction starts; within it, only catalog rows are
//! compared and swapped. If another writer committed first, the files are prepared again and the transaction is
//! retried.
//!
//! A REST catalog cannot take part in a Postgres transaction. Its tables are committed before the transaction, once
//! per task attempt.

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

/// Maximum number of tables whose commits are prepared concurrently. Each has a few requests in flight and uses a
/// database session of the catalog for milliseconds.
const TABLES_AT_ONCE: usize = 16;

/// Completion step that commits table changes: `ctx.commit(change.step(&lake))`. Changes of several tables must be in
/// the same step. It locks their catalog rows in the order of the table names, which prevents deadlocks between
/// tasks.
#[derive(Debug)]
#[must_use = "leave it with `ctx.commit`"]
pub struct CommitStep {
    lake: Lake,
    tables: Vec<OfTable>,
}

/// The changes of one table, in order. Each change is applied to the result of the previous one.
#[derive(Debug)]
struct OfTable {
    name: TableName,
    parts: Vec<StepChange>,
    /// Number of lost races, in which another writer committed first.
    outdated: u32,
}

#[derive(Debug)]
struct StepChange {
    change: Change,
    state: State,
    /// True if the transaction found the table in a different state than the prepared files assume.
    moved: bool,
}

#[derive(Debug)]
enum State {
    Unprepared,
    Staged(Box<Staged>),
    /// The changes were already committed, or there is nothing to commit.
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

    /// Writes all files of the commit, for several tables concurrently. They are not visible to readers yet.
    ///
    /// # Errors
    /// Returns `LakeError::Conflict` for the same reasons as `Change::commit`.
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

    /// Publishes the staged changes in the caller's transaction, which must be in the catalog's database. The caller
    /// commits the transaction.
    ///
    /// # Errors
    /// Returns `LakeError::Moved` if another writer committed first or nothing was staged. The caller must roll back,
    /// stage again and retry.
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
                // After a rollback, the staged files are reused if the table has not changed.
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
                    // If the response of a commit was lost, the commit may have succeeded. Its metadata locations are
                    // kept to find out.
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
    /// Stores the staged commit. Returns the resulting table, on which the next change is based.
    fn keep(&mut self, staged: Box<Staged>, lake: &Lake) -> LakeResult<super::Table> {
        let table = staged.table(lake)?;
        (self.state, self.moved) = (State::Staged(staged), false);
        Ok(table)
    }
}

/// Returns the error for a permanent mismatch: the transaction sees another table state although the catalog is
/// unchanged, so a retry cannot succeed.
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
