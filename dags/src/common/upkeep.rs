//! The lake kept fast and small: `lake_upkeep` looks after every table once a day, or after those that a run names;
//! `lake_rollback` gives a table the state of an older snapshot. `orch lake compact`, `expire`, `orphans` and `rollback` are
//! runs of these.

use crate::common::lakehouse::{Lakehouse, asked_wrongly};
use crate::common::on_spark::{self, CATALOG};
use chrono::{DateTime, TimeDelta, Utc};
use iceberg::spec::Operation;
use orch::prelude::*;
use orch_lake::table::maintain::{Compaction, Expiry, Orphans, Share, Upkeep, UpkeepReport};
use orch_lake::table::{At, CommitStep};
use orch_lake::{Table, TableName};

pub fn dags() -> Vec<Dag> {
    vec![lake_upkeep(), lake_rollback()]
}

/// What is done for a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Small files are written together, deletes are applied.
    Compact,
    /// Many small manifests become few.
    Manifests,
    /// Old snapshots go, with the files that only they reach.
    Expire,
    /// Files that no snapshot reaches go.
    Orphans,
}

/// Which tables, and what is done for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpkeepOptions {
    /// Such as `retail.orders`. Without any all, but those whose property `orch.upkeep` is `off`.
    pub tables: Vec<String>,
    /// What is done for them.
    pub work: Vec<Work>,
    /// Compaction: a partition with fewer small files is left as it is. Without it the table's property `orch.upkeep.min-files`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 10_000))]
    pub min_files: Option<u32>,
    /// Snapshots, and files that no snapshot reaches, go when they are older than so many hours. Without it the table's
    /// property `history.expire.max-snapshot-age-ms` (five days), and three days for files; a file is a day old at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 876_000))]
    pub older_than_hours: Option<u32>,
    /// So many snapshots stay, however old. Without it the table's property `history.expire.min-snapshots-to-keep`, or 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub keep_last: Option<u32>,
    /// Count the files that no snapshot reaches, and remove none.
    pub only_count: bool,
    /// Compaction: of a table in which more bytes are to be written anew, tasks take so many each, side by side.
    #[schemars(range(min = 1))]
    pub bytes_per_task: u64,
    /// Compaction: a table in which at least so many bytes are to be written anew is left to Spark, if the connection `spark_default` leads to
    /// one that knows the lake as its catalog `orch`.
    #[schemars(range(min = 1))]
    pub spark_from_bytes: u64,
}

/// Some minutes of work.
const BYTES_PER_TASK: u64 = 8 << 30;
/// Some hours of a worker with few processors.
const SPARK_FROM_BYTES: u64 = 128 << 30;
const MOST_TASKS_PER_TABLE: u64 = 64;

impl Default for UpkeepOptions {
    fn default() -> Self {
        UpkeepOptions {
            tables: Vec::new(),
            work: vec![Work::Compact, Work::Manifests, Work::Expire, Work::Orphans],
            min_files: None,
            older_than_hours: None,
            keep_last: None,
            only_count: false,
            bytes_per_task: BYTES_PER_TASK,
            spark_from_bytes: SPARK_FROM_BYTES,
        }
    }
}

impl UpkeepOptions {
    fn asks(&self, work: Work) -> bool {
        self.work.contains(&work)
    }

    /// For one table: what was not asked for is as the table says.
    fn upkeep(&self, table: &Table, now: DateTime<Utc>) -> TaskResult<Upkeep> {
        let compaction = if self.asks(Work::Compact) { Some(self.compaction(table)?) } else { None };
        // The nightly round skips a table that must not be cleaned. A person who names such a table gets the error.
        let may_clean = !self.tables.is_empty() || table.property("gc.enabled") != Some("false");
        let expiry = (may_clean && self.asks(Work::Expire)).then(|| {
            let expiry = self.keep_last.map_or(table.usual_expiry(), |count| Expiry::new().keep_last(count as usize));
            self.age().map_or(expiry.clone(), |age| expiry.older_than(now - age))
        });
        let orphans = if may_clean { self.orphans()? } else { None };
        Ok(Upkeep { compaction, merge_manifests: self.asks(Work::Manifests), expiry, orphans })
    }

    fn compaction(&self, table: &Table) -> TaskResult<Compaction> {
        match self.min_files {
            Some(count) => Ok(Compaction::new().min_files(count as usize)),
            None => Ok(table.usual_compaction()?),
        }
    }

    fn age(&self) -> Option<TimeDelta> {
        self.older_than_hours.map(|hours| TimeDelta::hours(hours.into()))
    }

    fn orphans(&self) -> TaskResult<Option<Orphans>> {
        if !self.asks(Work::Orphans) {
            return Ok(None);
        }
        // Younger files may belong to a write that is under way; snapshots may be asked for by the hour in the same run.
        let age = self.age().map(|age| if self.asks(Work::Expire) { age.max(TimeDelta::days(1)) } else { age });
        let orphans = age.map_or(Ok(Orphans::new()), |age| Orphans::new().older_than(age))?;
        Ok(Some(if self.only_count { orphans.only_count() } else { orphans }))
    }
}

/// What came of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableUpkeep {
    table: String,
    files_before: u64,
    files_after: u64,
    bytes_before: u64,
    bytes_after: u64,
    /// Delete files that were applied.
    deletes: u64,
    manifests_before: usize,
    manifests_after: usize,
    /// Snapshots that went, and files that only they reached.
    snapshots: usize,
    removed_files: u64,
    orphans: u64,
    orphan_bytes: u64,
}

impl TableUpkeep {
    fn of(table: String, kept: &UpkeepReport) -> Self {
        let UpkeepReport { compacted, manifests, expired, orphans } = kept;
        TableUpkeep {
            table,
            files_before: compacted.files_before,
            files_after: compacted.files_after,
            bytes_before: compacted.bytes_before,
            bytes_after: compacted.bytes_after,
            deletes: compacted.deletes,
            manifests_before: manifests.before,
            manifests_after: manifests.after,
            snapshots: expired.snapshots.len(),
            removed_files: expired.files,
            orphans: orphans.files,
            orphan_bytes: orphans.bytes,
        }
    }

    /// Of parts of the same table: what was compacted.
    fn add(&mut self, part: &TableUpkeep) {
        self.files_before += part.files_before;
        self.files_after += part.files_after;
        self.bytes_before += part.bytes_before;
        self.bytes_after += part.bytes_after;
        self.deletes += part.deletes;
    }

    fn words(&self, only_count: bool) -> String {
        let orphans = if only_count { "orphans found" } else { "orphans removed" };
        format!(
            "{}: files rewritten: {} as {}; snapshots expired: {}, with files: {}; {orphans}: {} ({} bytes)",
            self.table,
            self.files_before,
            self.files_after,
            self.snapshots,
            self.removed_files,
            self.orphans,
            self.orphan_bytes
        )
    }
}

/// The tables that there is something to do for. Only their metadata is read.
#[task(retries = 2, retry_delay = mins(1), timeout = hours(1))]
async fn find_tables(ctx: Ctx, options: UpkeepOptions) -> TaskResult<Vec<String>> {
    let place = Lakehouse::of(&ctx).await?;
    let now = place.now().await?;
    // An age that is too young is wrong for each table, and none of them would say so.
    options.orphans().map_err(asked_wrongly)?;
    let names = if options.tables.is_empty() {
        place.lake.tables(None).await?
    } else {
        let parsed = options.tables.iter().map(|name| Ok(name.parse::<TableName>()?));
        parsed.collect::<TaskResult<Vec<_>>>().map_err(asked_wrongly)?
    };
    let mut found = Vec::new();
    for name in &names {
        let is_named = !options.tables.is_empty();
        match needs(&place, name, is_named, &options, now).await {
            Ok(true) => found.push(name.to_string()),
            Ok(false) => {}
            Err(error) if is_named => return Err(asked_wrongly(error)),
            // One damaged table is no reason to leave the others.
            Err(error) => ctx.warning(format!("table `{name}` is left alone: {error:#}")),
        }
    }
    ctx.info(format!("{} of {} tables need upkeep", found.len(), names.len()));
    Ok(found)
}

async fn needs(
    place: &Lakehouse,
    name: &TableName,
    is_named: bool,
    options: &UpkeepOptions,
    now: DateTime<Utc>,
) -> TaskResult<bool> {
    let table = place.lake.table(name).await?;
    if !is_named && table.is_left_alone()? {
        return Ok(false);
    }
    Ok(table.needs(&options.upkeep(&table, now)?, now).await?)
}

/// A part of a large table, for a task of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableShare {
    table: String,
    /// `None`: all of it, by Spark.
    share: Option<Share>,
}

/// Divides what is to be compacted of large tables among tasks, and leaves the largest to Spark. Small ones are left to the task of the table.
#[task(retries = 2, retry_delay = mins(1), timeout = hours(1))]
async fn divide_large_tables(ctx: Ctx, tables: Vec<String>, options: UpkeepOptions) -> TaskResult<Vec<TableShare>> {
    let mut shares = Vec::new();
    if !options.asks(Work::Compact) {
        return Ok(shares);
    }
    let place = Lakehouse::of(&ctx).await?;
    for table in tables {
        let bytes = async {
            let now = place.lake.table(&table.parse()?).await?;
            anyhow::Ok(now.bytes_to_compact(&options.compaction(&now)?).await?)
        };
        let bytes = match bytes.await {
            Ok(bytes) => bytes,
            Err(error) => {
                ctx.warning(format!("table `{table}` is not divided: {error:#}"));
                continue;
            }
        };
        if bytes >= options.spark_from_bytes && on_spark::knows_the_lake(&ctx).await? {
            ctx.info(format!("{bytes} bytes of `{table}` are compacted by Spark"));
            shares.push(TableShare { table, share: None });
            continue;
        }
        let count = bytes.div_ceil(options.bytes_per_task.max(1)).min(MOST_TASKS_PER_TABLE) as u32;
        if count > 1 {
            ctx.info(format!("{bytes} bytes of `{table}` are compacted by {count} tasks"));
            shares.extend(
                (0..count).map(|number| TableShare { table: table.clone(), share: Some(Share { number, of: count }) }),
            );
        }
    }
    Ok(shares)
}

/// Compacts a part of a large table, or has Spark compact it.
#[task(retries = 2, retry_delay = mins(1), timeout = hours(6))]
async fn compact_share(ctx: Ctx, part: TableShare, options: UpkeepOptions) -> TaskResult<TableUpkeep> {
    let place = Lakehouse::of(&ctx).await?;
    let name: TableName = part.table.parse()?;
    let compaction = options.compaction(&place.lake.table(&name).await?)?;
    let Some(share) = part.share else {
        let done = compact_on_spark(&ctx, &name, &compaction).await?;
        ctx.info(done.words(options.only_count));
        return Ok(done);
    };
    let compaction = compaction.share(share);
    let upkeep = Upkeep { compaction: Some(compaction), ..Upkeep::default() };
    let report = place.lake.keep_up(&name, &upkeep, Some(&ctx), place.now().await?).await?;
    let done = TableUpkeep::of(part.table, &report);
    ctx.info(done.words(options.only_count));
    Ok(done)
}

/// What the procedure of Iceberg says it did.
#[derive(Deserialize)]
struct Rewritten {
    rewritten_data_files_count: u64,
    rewritten_bytes_count: u64,
    added_data_files_count: u64,
    removed_delete_files_count: u64,
}

/// One call of Iceberg's own procedure, which divides the files among executors.
async fn compact_on_spark(ctx: &Ctx, name: &TableName, compaction: &Compaction) -> TaskResult<TableUpkeep> {
    let place = Lakehouse::of(ctx).await?;
    let is_sorted = !place.lake.table(name).await?.metadata().default_sort_order().is_unsorted();
    let statement = compaction.spark_statement(CATALOG, name, is_sorted);
    let said: Vec<Rewritten> = on_spark::run(ctx, "lake_upkeep", &[statement]).await?;
    let done = said.into_iter().next().ok_or_else(|| fatal("Spark did not say what it compacted"))?;
    let now = place.lake.table(name).await?;
    let last = now.metadata().snapshots().filter(|one| one.summary().operation == Operation::Replace);
    let last = last.max_by_key(|snapshot| snapshot.sequence_number()).filter(|_| done.added_data_files_count > 0);
    let bytes_after = last.and_then(|one| one.summary().additional_properties.get("added-files-size")?.parse().ok());
    Ok(TableUpkeep {
        table: name.to_string(),
        files_before: done.rewritten_data_files_count,
        files_after: done.added_data_files_count,
        bytes_before: done.rewritten_bytes_count,
        bytes_after: bytes_after.unwrap_or_default(),
        deletes: done.removed_delete_files_count,
        ..TableUpkeep::default()
    })
}

/// One table, once the parts of large ones are compacted, or have failed. Writers go on meanwhile; what they change is seen, and then
/// it is done again.
#[task(retries = 2, retry_delay = mins(1), timeout = hours(6), max_active = 1, trigger_rule = AllDone)]
async fn keep_up(ctx: Ctx, table: String, options: UpkeepOptions) -> TaskResult<TableUpkeep> {
    let place = Lakehouse::of(&ctx).await?;
    let now = place.now().await?;
    let name: TableName = table.parse()?;
    let found = place.lake.table(&name).await?;
    let mut upkeep = options.upkeep(&found, now)?;
    if let Some(compaction) = &upkeep.compaction
        && on_spark::knows_the_lake(&ctx).await?
    {
        let bytes = found.bytes_to_compact(compaction).await?;
        if bytes >= options.spark_from_bytes {
            ctx.warning(format!("{bytes} bytes of `{table}` are left for the next run: Spark has not compacted them"));
            upkeep.compaction = None;
        }
    }
    let done = TableUpkeep::of(table, &place.lake.keep_up(&name, &upkeep, Some(&ctx), now).await?);
    ctx.info(done.words(options.only_count));
    Ok(done)
}

/// Lists what was done to each table. `orch lake` prints it.
#[task(trigger_rule = NoneFailed)]
async fn report(tables: Vec<Option<TableUpkeep>>, parts: Vec<Option<TableUpkeep>>) -> TaskResult<Vec<TableUpkeep>> {
    let mut tables: Vec<TableUpkeep> = tables.into_iter().flatten().collect();
    for part in parts.iter().flatten() {
        if let Some(table) = tables.iter_mut().find(|table| table.table == part.table) {
            table.add(part);
        }
    }
    Ok(tables)
}

fn lake_upkeep() -> Dag {
    dag("lake_upkeep")
        .describe("Tables of the lake: small files written together, old snapshots and lost files removed")
        .schedule("30 3 * * *")
        .start("2024-01-01")
        .tags(["lake"])
        .owners(["orch"])
        .max_active_runs(1)
        .unpaused()
        .build(|d| {
            let options = d.params::<UpkeepOptions>();
            let tables = d.add(find_tables(options));
            let shares = d.add(divide_large_tables(tables, options));
            let parts = d.map(shares, |part| compact_share(part, options));
            let done = d.map(tables, |table| keep_up(table, options).after(parts));
            d.add(report(done, parts));
        })
}

/// Back to which state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Back {
    /// Such as `retail.orders`.
    pub table: String,
    /// The snapshot whose rows the table has again. It is one of its own history.
    pub snapshot_id: i64,
}

/// The table changes if and only if this task is recorded as successful; DAGs that wait for the table begin.
#[task]
async fn roll_back(ctx: Ctx, to: Back) -> TaskResult<i64> {
    let place = Lakehouse::of(&ctx).await?;
    let back = async {
        let table = place.lake.table(&to.table.parse()?).await?;
        let change = table.roll_back(At::Snapshot(to.snapshot_id))?;
        anyhow::Ok((table, change))
    };
    let (table, change) = back.await.map_err(asked_wrongly)?;
    ctx.commit(CommitStep::new(&place.lake, vec![change]))?;
    ctx.asset_event(&table.name().asset_uri(), serde_json::json!({ "snapshot_id": to.snapshot_id }))?;
    ctx.info(format!("`{}` is as snapshot {} had it", to.table, to.snapshot_id));
    Ok(to.snapshot_id)
}

fn lake_rollback() -> Dag {
    dag("lake_rollback")
        .describe("A table of the lake gets the rows of an older snapshot")
        .tags(["lake"])
        .owners(["orch"])
        .unpaused()
        .build(|d| {
            d.add(roll_back(d.params::<Back>()));
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_what_the_commands_send() {
        let options: UpkeepOptions =
            serde_json::from_str(r#"{ "work": ["expire", "orphans"], "older_than_hours": 2 }"#).unwrap();
        assert!(options.tables.is_empty() && options.asks(Work::Expire) && !options.asks(Work::Compact));
        assert!(options.orphans().is_ok(), "beside snapshots by the hour files are a day old");
        let alone = UpkeepOptions { work: vec![Work::Orphans], ..options };
        let refused = alone.orphans().unwrap_err().to_string();
        assert!(refused.contains("hint: wait a day"), "{refused}");
    }
}
