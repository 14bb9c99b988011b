//! Checks the rows that an engine wrote against the contract of their table, before they are published.

use super::hash::ContentHash;
use super::job::{Job, Target, read_all};
use super::layer::LayerTable;
use arrow::array::RecordBatch;
use futures::TryStreamExt as _;
use orch::prelude::*;
use orch_lake::batches::Batches;
use orch_lake::contract::{CheckedLot, Facts};
use orch_lake::frame::blocking;

/// Folder of the attempt for rows that were rewritten without the quarantined ones.
const CHECKED: &str = "_checked";

/// A table whose rows satisfy its contract.
pub(super) struct CheckedTable {
    pub(super) table: LayerTable,
    /// Rows that break the contract, with the reason. `None` if all rows satisfy it.
    pub(super) quarantine: Option<LayerTable>,
    /// Values of the columns [`Target::referenced_key`].
    pub(super) keys: Vec<RecordBatch>,
}

/// Reads the rows that an engine wrote for a table, and checks them.
///
/// If all rows pass, the table consists of the engine's objects. Otherwise the passing rows are written again as one
/// object. Fails if a row does not have the types of the table or breaks a check with `Policy::Fail`, or if the number
/// of rows differs from the number that the engine reported.
pub(super) async fn check(
    ctx: &Ctx,
    job: &Job,
    target: &Target,
    facts: &Facts,
    reported: Option<u64>,
) -> TaskResult<CheckedTable> {
    let mut entries = job.bucket.list_all(&job.folder_of(target)).await?;
    // Hadoop writes success markers and checksums next to the objects.
    entries.retain(|entry| entry.key.rsplit('/').next().is_some_and(|name| !name.starts_with(['_', '.'])));
    let objects: Vec<String> = entries.iter().map(|entry| entry.key.clone()).collect();
    let passing = || {
        let rows = read_all(job.bucket.clone(), job.format, objects.clone(), target.schema.clone());
        target.contract.clone().check_on_the_way(facts.clone(), rows.report_progress(ctx), None)
    };

    let (rows, pending) = passing();
    let content = read(rows, target.referenced_key).await;
    let Some(CheckedLot { report, .. }) = pending.take() else {
        return Err(content.err().unwrap_or_else(|| anyhow::anyhow!("the check of `{}` was stopped", target.name)));
    };
    ctx.commit(report.trail(ctx))?;
    report.ok().map_err(|broken| fatal(broken.to_string()))?;
    let (hash, keys) = content?;
    if reported != Some(report.rows) {
        let (name, rows, reported) = (target.name, report.rows, reported.unwrap_or_default());
        return Err(anyhow::anyhow!("the objects of `{name}` have {rows} rows, but the engine reported {reported}"));
    }
    for (rule, rows) in report.removed.by_rule.iter().filter(|(_, rows)| **rows > 0) {
        ctx.info(format!("table `{}`: {rows} rows break the rule `{rule}`", target.name));
    }
    let quarantine = quarantine(ctx, job, target, report.quarantined).await?;
    let mut table = if hash.rows == report.rows {
        let bytes = entries.iter().map(|entry| entry.bytes).sum();
        LayerTable::new(job.format, objects, &hash, bytes)
    } else {
        // Whether rows were removed is known only after the last row, so the objects are read and checked a second
        // time.
        write(job, target.name, passing().0, &hash).await?
    };
    table.removed = report.removed.by_rule;
    Ok(CheckedTable { table, quarantine, keys })
}

async fn quarantine(
    ctx: &Ctx,
    job: &Job,
    target: &Target,
    batches: Vec<RecordBatch>,
) -> TaskResult<Option<LayerTable>> {
    let Some(schema) = batches.first().map(RecordBatch::schema) else { return Ok(None) };
    let (hash, _) = read(Batches::of(schema.clone(), batches.clone()), &[]).await?;
    let table = write(job, &target.quarantine(), Batches::of(schema, batches), &hash).await?;
    ctx.warning(format!("{} rows of `{}` were quarantined in `{}`", table.rows, target.name, target.quarantine()));
    Ok(Some(table))
}

async fn write(job: &Job, name: &str, rows: Batches, hash: &ContentHash) -> TaskResult<LayerTable> {
    let key = format!("{}/{CHECKED}/{name}.{}", job.place, job.format.extension());
    let written = job.format.write(&job.bucket, &key, rows).await?;
    Ok(LayerTable::new(job.format, vec![key], hash, written.bytes))
}

/// Reads all rows, and returns their hash and the values of their `key` columns.
async fn read(mut rows: Batches, key: &[&str]) -> TaskResult<(ContentHash, Vec<RecordBatch>)> {
    let schema = rows.schema();
    let columns = key.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
    let (mut hash, mut keys) = (ContentHash::default(), Vec::new());
    while let Some(batch) = rows.try_next().await? {
        keys.push(batch.project(&columns)?);
        hash = blocking(move |_| hash.add(&batch).map(|()| hash)).await?;
    }
    Ok((hash, keys))
}
