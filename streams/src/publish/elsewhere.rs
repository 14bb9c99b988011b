//! Into a table of the lake whose catalog is not in the database of orch. How far the table has read is in a property of it, which changes with its
//! rows; the offsets in the database of orch follow. After a crash between the two the stream reads some records again, and leaves out those
//! that the table has.

use super::lake::{LakeTarget, LotChanges, beside};
use super::{Lot, is_new, unknown};
use crate::declare::Stream;
use anyhow::Context as _;
use orch_lake::load::Offsets;
use orch_lake::{Change, Filter, Table};
use orch_sdk::task::{TaskResult, fatal};
use orch_store::StoreError;
use orch_store::stream::{Covered, Lease, StartAt};
use serde::{Deserialize, Serialize};

/// How far a table has read the topic of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct ReadProgress {
    /// Tells the stream from another one of its name.
    owner: String,
    /// The greatest that has written: a lower one is refused.
    epoch: i64,
    next: Offsets,
}

/// What the property of a table says.
struct ReadProgressProperty {
    property: String,
    text: Option<String>,
    read: ReadProgress,
}

impl ReadProgressProperty {
    fn of(table: Option<&Table>, lease: &Lease) -> TaskResult<ReadProgressProperty> {
        let property = format!("orch.stream.{}.read", lease.name);
        let text = table.and_then(|table| table.property(&property)).map(str::to_owned);
        let read = match &text {
            Some(text) => {
                serde_json::from_str(text).with_context(|| format!("the property `{property}` of the table"))?
            }
            None => ReadProgress::default(),
        };
        Ok(ReadProgressProperty { property, text, read })
    }

    fn check_not_behind(&self, covered: &[Covered], lease: &Lease) -> TaskResult<()> {
        let behind = covered
            .iter()
            .find_map(|one| Some((one, self.read.next.get(&one.partition).filter(|at| **at < one.from)?)));
        let Some((Covered { partition, from, .. }, at)) = behind else { return Ok(()) };
        Err(fatal(format!(
            "the table of stream `{}` has partition {partition} up to offset {at}, and the stream is at {from}: was its catalog restored \
             from a backup?\n\
             hint: go back with `orch streams reset {} --to-offset {at} --partition {partition}`",
            lease.name, lease.name
        )))
    }

    /// Commits only while the property says what it said when it was read.
    fn moved(&self, change: Change, to: &ReadProgress) -> TaskResult<Change> {
        Ok(change.moves(&self.property, self.text.as_deref(), serde_json::to_string(to)?))
    }
}

/// From here on no process with a lower epoch publishes.
///
/// # Errors
/// `StoreError::FenceLost`: a process with a higher epoch has claimed it. A fatal error: the table is kept by another stream of this name.
pub(super) async fn claim(
    to: &LakeTarget,
    lease: &Lease,
    owner: &str,
    at: &[StartAt],
    empties: bool,
) -> TaskResult<()> {
    let moved = || at.iter().filter(|one| one.moves).map(|one| (one.partition, one.offset));
    for name in [to.table.name.clone(), beside(&to.table.name)?] {
        let Some(table) = to.lake.find(&name).await? else { continue };
        let known = ReadProgressProperty::of(Some(&table), lease)?;
        let mut next = known.read.next.clone();
        if known.text.is_some() && known.read.owner != owner {
            if moved().next().is_none() {
                return Err(fatal(format!(
                    "table `{name}` is kept by another stream `{}`: of another orch, or one that was deleted\n\
                     hint: take it over with `orch streams reset {} --to-earliest --empty-table`",
                    lease.name, lease.name
                )));
            }
            next.clear();
        } else if known.read.epoch > lease.epoch {
            return Err(StoreError::FenceLost.into());
        }
        next.extend(moved());
        let change = if empties { table.delete(Filter::All).await? } else { table.append_written([])? };
        let read = ReadProgress { owner: owner.into(), epoch: lease.epoch, next };
        known.moved(change.property("orch.stream", &lease.name), &read)?.commit(&to.lake).await?;
    }
    Ok(())
}

/// Publishes what the tables do not have yet, one table after the other. Returns the number of incomplete rows.
///
/// # Errors
/// `StoreError::FenceLost`: the table is claimed by another process. A conflict: the table has changed meanwhile, so this is to be done again. A
/// fatal error: the table has less than it had.
pub(super) async fn publish(
    to: &LakeTarget,
    lease: &Lease,
    owner: &str,
    stream: &Stream,
    lot: &Lot,
) -> TaskResult<i64> {
    let aside = to.lake.find(&beside(&to.table.name)?).await?;
    let table = to.lake.table(&to.table.name).await?;
    let known = ReadProgressProperty::of(Some(&table), lease)?;
    let mut of_aside = ReadProgressProperty::of(aside.as_ref(), lease)?;
    let is_mine = known.read.owner == owner && known.read.epoch == lease.epoch;
    if !is_mine || (of_aside.read.owner == owner && of_aside.read.epoch > lease.epoch) {
        return Err(StoreError::FenceLost.into());
    }
    if of_aside.read.owner != owner {
        // Made after the claim, by a process that had lost the table already.
        of_aside.read.next.clear();
    }
    known.check_not_behind(&lot.covered, lease)?;
    let rows = lot.rows.iter().map(|rows| unknown(stream, rows, &known.read.next));
    let gone = lot.gone.iter().filter(|one| is_new(&known.read.next, one.partition, one.offset));
    let put_aside = lot.aside.iter().filter(|one| is_new(&of_aside.read.next, one.partition, one.offset));
    let new = Lot {
        rows: rows.collect::<TaskResult<_>>()?,
        gone: gone.cloned().collect(),
        aside: put_aside.cloned().collect(),
        covered: lot.covered.iter().filter_map(|one| rest(one, &known.read.next)).collect(),
        merged: lot.merged.clone(),
        ..Lot::default()
    };
    let LotChanges { mut changes, incomplete } = to.changes(stream, lease, &new).await?;
    if !new.covered.is_empty() && changes.iter().all(|change| *change.table() != to.table.name) {
        // Nothing of it is a row, and the table says nevertheless that it was read.
        changes.insert(0, table.append_written([])?);
    }
    for change in changes {
        let before = if *change.table() == to.table.name { &known } else { &of_aside };
        let mut read = ReadProgress { owner: owner.into(), epoch: lease.epoch, next: before.read.next.clone() };
        for one in &lot.covered {
            let next = read.next.entry(one.partition).or_insert(one.to);
            *next = one.to.max(*next);
        }
        before.moved(change, &read)?.commit(&to.lake).await?;
    }
    Ok(incomplete)
}

/// What of a range the table does not have.
fn rest(covered: &Covered, known: &Offsets) -> Option<Covered> {
    let from = known.get(&covered.partition).map_or(covered.from, |next| covered.from.max(*next));
    (from < covered.to).then_some(Covered { from, ..*covered })
}
