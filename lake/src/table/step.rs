//! Commits as a part of a task's completion: the tables change exactly if the task's success is recorded, in the same
//! Postgres transaction.

use super::Change;
use super::commit::{Found, Staged, check_conflicts, look, stage};
use crate::catalog::{PgCatalog, Swapped, no_table};
use crate::error::{LakeError, LakeResult};
use crate::lake::Lake;
use orch_core::task::fatal;
use orch_store::completion::{CompletionStep, StepFuture};
use sqlx::postgres::PgConnection;

/// Leave it with `ctx.commit(change.step(&lake))`. Changes of several tables belong into one step: their rows of the
/// catalog are taken in the order of their names, so that two tasks never wait for each other.
#[derive(Debug)]
#[must_use = "leave it with `ctx.commit`"]
pub struct CommitStep {
    lake: Lake,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    change: Change,
    /// What was written the last time; it is of use again if the table has not moved.
    staged: Option<Staged>,
}

impl CommitStep {
    pub fn new(lake: &Lake, mut changes: Vec<Change>) -> Self {
        changes.sort_by(|one, other| one.table().cmp(other.table()));
        let parts = changes.into_iter().map(|change| Part { change, staged: None });
        Self { lake: lake.clone(), parts: parts.collect() }
    }

    /// The same on any transaction of the database that the catalog is in. Whoever began it commits it.
    ///
    /// # Errors
    /// `LakeError::Conflict` as in `Change::commit`; nothing has happened when the transaction is rolled back.
    pub async fn run_on(&mut self, db: &mut PgConnection) -> LakeResult<()> {
        let Some(catalog) = self.lake.catalog().postgres() else {
            let what = "the catalog of this lake is not in Postgres".to_owned();
            return Err(LakeError::input(what, "commit with `change.commit(&lake)`"));
        };
        for part in &mut self.parts {
            part.run(&self.lake, catalog, db).await?;
        }
        Ok(())
    }
}

impl Part {
    async fn run(&mut self, lake: &Lake, catalog: &PgCatalog, db: &mut PgConnection) -> LakeResult<()> {
        let name = self.change.table();
        let Some(location) = catalog.lock_on(db, name).await? else {
            return Err(no_table(name, crate::catalog::Catalog::name(catalog)));
        };
        // Nobody else moves the table from here on.
        let staged = match self.staged.take_if(|staged| staged.base() == location) {
            Some(staged) => staged,
            None => {
                let head = lake.table_at(name, &location).await?;
                // Its answer was lost: what is staged is the table by now.
                let staged_at: Vec<_> = self.staged.iter().map(|staged| staged.location().to_owned()).collect();
                if look(&self.change, &staged_at, &head) != Found::Nothing || self.change.is_empty() {
                    return Ok(());
                }
                if let Some(stale) = self.staged.take() {
                    stale.discard(lake).await;
                }
                check_conflicts(&self.change, &head).await?;
                let staged = stage(&self.change, &head).await?;
                staged.remember(lake);
                staged
            }
        };
        let swapped = catalog.swap_on(db, &staged.swap()).await?;
        self.staged = Some(staged);
        match swapped {
            Swapped::Done => Ok(()),
            Swapped::Moved => {
                Err(LakeError::conflict(self.change.table(), "its row in the catalog changed under a lock"))
            }
        }
    }
}

impl CompletionStep for CommitStep {
    fn name(&self) -> String {
        let names: Vec<_> = self.parts.iter().map(|part| format!("`{}`", part.change.table())).collect();
        format!("commit {}", names.join(", "))
    }

    fn run<'a>(&'a mut self, db: &'a mut PgConnection) -> StepFuture<'a> {
        Box::pin(async move {
            match self.run_on(db).await {
                Ok(()) => Ok(()),
                Err(error) if error.is_fatal() => Err(fatal(error.to_string())),
                Err(error) => Err(error.into()),
            }
        })
    }
}
