//! Publishes to a lake table whose catalog is not in orch's database.
//!
//! A property of the table stores the next offsets and changes atomically with the rows. The offsets in orch's database
//! are committed second. After a crash between the two commits, the stream reads some records again and skips those
//! that the table already contains.

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

/// Next offsets of a stream, as stored in its table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct ReadProgress {
    /// Creation time of the stream, which identifies it among streams with the same name.
    owner: String,
    /// Highest fencing token (epoch) that has written to the table. Lower ones are rejected.
    epoch: i64,
    next: Offsets,
}

/// The table property that stores a [`ReadProgress`].
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

    /// Turns the commit into a compare-and-swap: it fails if the property has changed since it was read.
    fn moved(&self, change: Change, to: &ReadProgress) -> TaskResult<Change> {
        Ok(change.moves(&self.property, self.text.as_deref(), serde_json::to_string(to)?))
    }
}

/// Claims the tables: processes with a lower fencing token can no longer publish.
///
/// # Errors
/// Returns `StoreError::FenceLost` if a process with a higher token has claimed a table, or a fatal error if another
/// stream with the same name writes to it.
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

/// Publishes the records that the tables do not contain yet, first to one table and then to the other. Returns the
/// number of incomplete rows.
///
/// # Errors
/// Returns `StoreError::FenceLost` if another process has claimed a table, a conflict if a table has changed and the
/// caller must retry, or a fatal error if a table contains fewer records than the stream has committed.
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
        // After the claim, a process that had already lost the lease created this table. Ignore its progress.
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
        // No row changes, but the stored progress must still advance.
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

/// Returns the part of an offset range that the table does not contain.
fn rest(covered: &Covered, known: &Offsets) -> Option<Covered> {
    let from = known.get(&covered.partition).map_or(covered.from, |next| covered.from.max(*next));
    (from < covered.to).then_some(Covered { from, ..*covered })
}
