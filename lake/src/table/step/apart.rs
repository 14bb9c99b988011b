//! Commits to a REST catalog before the outcome of the task is recorded. All tables are committed together if the
//! catalog supports it, otherwise one by one. If another worker takes over the task attempt, it finds the commits by
//! their idempotency key.

use super::{CommitStep, OfTable, State};
use crate::catalog::{RestCatalog, Swap, Swapped};
use crate::error::{LakeError, LakeResult};
use crate::table::TableName;
use crate::table::commit::retries;
use iceberg::{TableRequirement, TableUpdate};
use std::collections::HashSet;

/// All remaining changes of one table, combined into one commit.
struct Combined<'a> {
    table: &'a TableName,
    base: &'a str,
    next: &'a str,
    requirements: Vec<TableRequirement>,
    updates: Vec<TableUpdate>,
}

pub(super) async fn commit(step: &mut CommitStep) -> LakeResult<()> {
    for table in &mut step.tables {
        for (number, part) in table.parts.iter_mut().enumerate() {
            part.change = part.change.clone().once_of_try(number);
        }
    }
    let lake = step.lake.clone();
    match lake.catalog().transactions().await? {
        Some(catalog) if step.tables.len() > 1 => together(step, catalog).await,
        _ => one_by_one(step).await,
    }
}

async fn one_by_one(step: &mut CommitStep) -> LakeResult<()> {
    for part in step.tables.iter_mut().flat_map(|table| &mut table.parts) {
        if !matches!(part.state, State::Done) {
            part.change.clone().commit(&step.lake).await?;
            part.state = State::Done;
        }
    }
    Ok(())
}

async fn together(step: &mut CommitStep, catalog: &RestCatalog) -> LakeResult<()> {
    let tries = step.tables.iter().flat_map(|table| &table.parts).map(|part| retries(&part.change.base));
    let tries = tries.min().unwrap_or_default() + 1;
    let mut unknown = None;
    for _ in 0..tries {
        step.stage_all().await?;
        let left: Vec<Combined<'_>> = step.tables.iter().filter_map(Combined::of).collect();
        if left.is_empty() {
            return Ok(());
        }
        let swaps: Vec<Swap<'_>> = left.iter().map(Combined::swap).collect();
        match catalog.swap_together(&swaps).await {
            // The result is verified in the next round, because Iceberg's reference server silently skips a table
            // that another writer changed concurrently.
            Ok(Swapped::Done(_)) => step.tables.iter_mut().for_each(|table| table.sent(true)),
            Ok(Swapped::Moved) => step.tables.iter_mut().for_each(|table| table.outdated += 1),
            Err(refusal) if refusal.is_fatal() => return Err(refusal),
            Err(error) => {
                tracing::warn!(%error, "whether a commit of several tables was done is not known: looking again");
                unknown = Some(error);
                step.tables.iter_mut().for_each(|table| table.sent(false));
            }
        }
    }
    let first = &step.tables[0].name;
    Err(unknown.unwrap_or_else(|| LakeError::conflict(first, format!("others were faster {tries} times in a row"))))
}

impl<'a> Combined<'a> {
    /// Combines the changes that the table does not have yet. Returns `None` if it has all of them.
    fn of(table: &'a OfTable) -> Option<Combined<'a>> {
        let staged = table.parts.iter().filter_map(|part| match &part.state {
            State::Staged(staged) => Some(staged.swap()),
            State::Unprepared | State::Done => None,
        });
        let swaps: Vec<Swap<'a>> = staged.collect();
        let (first, last) = (swaps.first()?, swaps.last()?);
        let (mut branches, mut requirements) = (HashSet::new(), Vec::new());
        for requirement in swaps.iter().flat_map(|swap| swap.requirements) {
            // Only the first change of a branch needs a requirement. Each later change is based on the result of the
            // previous one.
            let is_new = match requirement {
                TableRequirement::RefSnapshotIdMatch { r#ref, .. } => branches.insert(r#ref),
                _ => true,
            };
            if is_new {
                requirements.push(requirement.clone());
            }
        }
        let updates = swaps.iter().flat_map(|swap| swap.updates).cloned().collect();
        Some(Combined { table: first.table, base: first.base, next: last.next, requirements, updates })
    }

    fn swap(&self) -> Swap<'_> {
        let Combined { table, base, next, requirements, updates } = self;
        Swap { table, base, next, requirements, updates }
    }
}

impl OfTable {
    /// Updates the state after the commit was sent. The files of a commit that may have succeeded are kept, because
    /// only the next refresh of the table shows whether it did.
    fn sent(&mut self, is_done: bool) {
        self.outdated += u32::from(!is_done);
        for part in &mut self.parts {
            if matches!(part.state, State::Staged(_)) {
                let is_sure = is_done && !part.change.makes_snapshot();
                part.state = if is_sure { State::Done } else { State::Unprepared };
            }
        }
    }
}
