//! Maintenance of the lake. `lake_upkeep` compacts and cleans all tables once a day, or the tables that a run names.
//! `lake_rollback` restores the rows of an older snapshot, and `lake_adopt` takes over a warehouse. `orch lake
//! compact`, `expire`, `orphans`, `rollback` and `adopt` trigger runs.

use crate::common::lakehouse::{Lakehouse, without_retry};
use crate::common::spark_sql::{self, CATALOG};
use chrono::{DateTime, TimeDelta, Utc};
use iceberg::spec::Operation;
use orch::prelude::*;
use orch_lake::table::maintain::{Compacted, Compaction, Expiry, Orphans, Share, Upkeep, UpkeepReport};
use orch_lake::table::{At, CommitStep};
use orch_lake::{Adopted, Lake, LakeResult, Table, TableName};

pub fn dags() -> Vec<Dag> {
    vec![lake_upkeep(), lake_rollback(), lake_adopt()]
}

/// A kind of maintenance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Merge small data files and apply delete files.
    Compact,
    /// Merge small manifests.
    Manifests,
    /// Delete old snapshots, and after a delay the files that only they refer to.
    Expire,
    /// Delete files that no snapshot refers to.
    Orphans,
}

/// The tables and their maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpkeepOptions {
    /// Tables, such as `retail.orders`. Default: all tables, except those with the property `orch.upkeep` = `off`.
    pub tables: Vec<String>,
    /// Maintenance to run.
    pub work: Vec<Work>,
    /// Minimum number of small files in a compacted partition. Default: the table's property `orch.upkeep.min-files`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 10_000))]
    pub min_files: Option<u32>,
    /// Minimum age in hours of deleted snapshots and files. Default for snapshots: the table's property
    /// `history.expire.max-snapshot-age-ms`, or five days. Default for files: three days. Minimum for files: one day.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 876_000))]
    pub older_than_hours: Option<u32>,
    /// Number of snapshots to keep. Default: the table's property `history.expire.min-snapshots-to-keep`, or 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub keep_last: Option<u32>,
    /// Only count the files that no snapshot refers to.
    pub only_count: bool,
    /// Bytes that each task compacts. Tables with more bytes to compact are divided among several tasks.
    #[schemars(range(min = 1))]
    pub bytes_per_task: u64,
    /// Spark compacts tables with at least this number of bytes to compact, if the connection `spark_default` has the
    /// lake as its catalog `orch`.
    #[schemars(range(min = 1))]
    pub spark_from_bytes: u64,
}

const MAX_TASKS_PER_TABLE: u64 = 64;

impl Default for UpkeepOptions {
    fn default() -> Self {
        UpkeepOptions {
            tables: Vec::new(),
            work: vec![Work::Compact, Work::Manifests, Work::Expire, Work::Orphans],
            min_files: None,
            older_than_hours: None,
            keep_last: None,
            only_count: false,
            bytes_per_task: 8 << 30,     // A few minutes of work.
            spark_from_bytes: 128 << 30, // A few hours of work for one worker.
        }
    }
}

impl UpkeepOptions {
    fn includes(&self, work: Work) -> bool {
        self.work.contains(&work)
    }

    /// Returns the maintenance of one table. Table properties supply settings that the options leave out.
    fn upkeep(&self, table: &Table, now: DateTime<Utc>) -> TaskResult<Upkeep> {
        let compaction = if self.includes(Work::Compact) { Some(self.compaction(table)?) } else { None };
        // The nightly run skips a table that must not be cleaned. A run that names the table fails.
        let may_clean = !self.tables.is_empty() || table.property("gc.enabled") != Some("false");
        let expiry = (may_clean && self.includes(Work::Expire)).then(|| {
            let expiry = self.keep_last.map_or(table.usual_expiry(), |count| Expiry::new().keep_last(count as usize));
            self.age().into_iter().fold(expiry, |expiry, age| expiry.older_than(now - age))
        });
        let orphans = if may_clean { self.orphans()? } else { None };
        Ok(Upkeep { compaction, merge_manifests: self.includes(Work::Manifests), expiry, orphans })
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
        if !self.includes(Work::Orphans) {
            return Ok(None);
        }
        // A file younger than a day may belong to a write in progress. In a run that also expires snapshots, an age of
        // a few hours therefore applies to the snapshots only.
        let age = self.age().map(|age| if self.includes(Work::Expire) { age.max(TimeDelta::days(1)) } else { age });
        let orphans = age.map_or(Ok(Orphans::new()), |age| Orphans::new().older_than(age))?;
        Ok(Some(if self.only_count { orphans.only_count() } else { orphans }))
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableUpkeep {
    table: String,
    #[serde(flatten)]
    compacted: Compacted,
    manifests_before: usize,
    manifests_after: usize,
    /// Number of expired snapshots.
    snapshots: usize,
    /// Number of files that only these snapshots referred to. They are deleted after the table's configured delay.
    #[serde(default)]
    expired_files: u64,
    /// Number of files that an earlier run expired and this run deleted.
    removed_files: u64,
    orphans: u64,
    orphan_bytes: u64,
}

impl TableUpkeep {
    fn of(table: String, report: &UpkeepReport) -> Self {
        let UpkeepReport { compacted, manifests, expired, orphans } = report;
        TableUpkeep {
            table,
            compacted: *compacted,
            manifests_before: manifests.before,
            manifests_after: manifests.after,
            snapshots: expired.snapshots.len(),
            expired_files: expired.files,
            removed_files: expired.deleted,
            orphans: orphans.files,
            orphan_bytes: orphans.bytes,
        }
    }

    fn log(&self, ctx: &Ctx, options: &UpkeepOptions) {
        let TableUpkeep { table, compacted, snapshots, expired_files, removed_files, orphans, orphan_bytes, .. } = self;
        let Compacted { files_before, files_after, .. } = compacted;
        let found = if options.only_count { "found" } else { "removed" };
        ctx.info(format!(
            "{table}: files rewritten: {files_before} as {files_after}; snapshots expired: {snapshots}, with files to delete \
             later: {expired_files}; files of earlier expiries deleted: {removed_files}; orphans {found}: {orphans} \
             ({orphan_bytes} bytes)"
        ));
    }
}

/// Lists the tables that need maintenance. Reads only their metadata.
#[task(retries = 2, retry_delay = mins(1), timeout = hours(1))]
async fn find_tables(ctx: Ctx, options: UpkeepOptions) -> TaskResult<Vec<String>> {
    let Lakehouse { lake, .. } = Lakehouse::of(&ctx).await?;
    let now = lake.now().await?;
    // An age below the minimum must fail the run, even if no table needs maintenance.
    options.orphans().map_err(without_retry)?;
    let is_named = !options.tables.is_empty();
    let names = if is_named {
        let parsed = options.tables.iter().map(|name| name.parse::<TableName>());
        parsed.collect::<LakeResult<Vec<_>>>().map_err(without_retry)?
    } else {
        lake.tables(None).await?
    };
    let mut found = Vec::new();
    for name in &names {
        match needs_upkeep(&lake, name, &options, now).await {
            Ok(true) => found.push(name.to_string()),
            Ok(false) => {}
            Err(error) if is_named => return Err(without_retry(error)),
            // A damaged table must not stop the maintenance of the others.
            Err(error) => ctx.warning(format!("skipping table `{name}`: {error:#}")),
        }
    }
    ctx.info(format!("{} of {} tables need upkeep", found.len(), names.len()));
    Ok(found)
}

async fn needs_upkeep(lake: &Lake, name: &TableName, options: &UpkeepOptions, now: DateTime<Utc>) -> TaskResult<bool> {
    let table = lake.table(name).await?;
    if options.tables.is_empty() && table.is_left_alone()? {
        return Ok(false);
    }
    Ok(table.needs(&options.upkeep(&table, now)?, now).await?)
}

/// The part of a large table that one task compacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableShare {
    table: String,
    /// `None` if Spark compacts the whole table.
    share: Option<Share>,
}

/// Divides the compaction of large tables among tasks, and leaves the largest to Spark. Small tables are compacted by
/// `keep_up`.
#[task(retries = 2, retry_delay = mins(1), timeout = hours(1))]
async fn divide_large_tables(ctx: Ctx, tables: Vec<String>, options: UpkeepOptions) -> TaskResult<Vec<TableShare>> {
    let mut shares = Vec::new();
    if !options.includes(Work::Compact) {
        return Ok(shares);
    }
    let Lakehouse { lake, .. } = Lakehouse::of(&ctx).await?;
    for table in tables {
        let bytes = match bytes_to_compact(&lake, &table, &options).await {
            Ok(bytes) => bytes,
            Err(error) => {
                ctx.warning(format!("table `{table}` is not divided: {error:#}"));
                continue;
            }
        };
        if bytes >= options.spark_from_bytes && spark_sql::has_lake_catalog(&ctx).await? {
            ctx.info(format!("{bytes} bytes of `{table}` are compacted by Spark"));
            shares.push(TableShare { table, share: None });
            continue;
        }
        let of = bytes.div_ceil(options.bytes_per_task.max(1)).min(MAX_TASKS_PER_TABLE) as u32;
        if of > 1 {
            ctx.info(format!("{bytes} bytes of `{table}` are compacted by {of} tasks"));
            let share = |number| TableShare { table: table.clone(), share: Some(Share { number, of }) };
            shares.extend((0..of).map(share));
        }
    }
    Ok(shares)
}

async fn bytes_to_compact(lake: &Lake, table: &str, options: &UpkeepOptions) -> TaskResult<u64> {
    let table = lake.table(&table.parse()?).await?;
    Ok(table.bytes_to_compact(&options.compaction(&table)?).await?)
}

/// Compacts a share of a large table, or the whole table on Spark.
#[task(retries = 2, retry_delay = mins(1), timeout = hours(6))]
async fn compact_share(ctx: Ctx, part: TableShare, options: UpkeepOptions) -> TaskResult<TableUpkeep> {
    let Lakehouse { lake, .. } = Lakehouse::of(&ctx).await?;
    let name: TableName = part.table.parse()?;
    let compaction = options.compaction(&lake.table(&name).await?)?;
    let done = match part.share {
        None => compact_on_spark(&ctx, &lake, &name, &compaction).await?,
        Some(share) => {
            let upkeep = Upkeep { compaction: Some(compaction.share(share)), ..Upkeep::default() };
            let report = lake.keep_up(&name, &upkeep, Some(&ctx), lake.now().await?).await?;
            TableUpkeep::of(part.table, &report)
        }
    };
    done.log(&ctx, &options);
    Ok(done)
}

/// Row that Iceberg's procedure `rewrite_data_files` returns.
#[derive(Deserialize)]
struct RewrittenFiles {
    rewritten_data_files_count: u64,
    rewritten_bytes_count: u64,
    added_data_files_count: u64,
    removed_delete_files_count: u64,
}

/// Compacts a table with Iceberg's procedure `rewrite_data_files`, which divides the files among executors.
async fn compact_on_spark(
    ctx: &Ctx,
    lake: &Lake,
    name: &TableName,
    compaction: &Compaction,
) -> TaskResult<TableUpkeep> {
    let is_sorted = !lake.table(name).await?.metadata().default_sort_order().is_unsorted();
    let statement = compaction.spark_statement(CATALOG, name, is_sorted);
    let rows: Vec<RewrittenFiles> = spark_sql::run_statements(ctx, "lake_upkeep", &[statement]).await?;
    let done = rows.into_iter().next().ok_or_else(|| fatal("Spark did not report what it compacted"))?;
    // The procedure does not return the number of bytes that it wrote; the summary of its snapshot has it.
    let table = lake.table(name).await?;
    let rewrites = table.metadata().snapshots().filter(|one| one.summary().operation == Operation::Replace);
    let last = rewrites.max_by_key(|snapshot| snapshot.sequence_number()).filter(|_| done.added_data_files_count > 0);
    let bytes_after = last.and_then(|one| one.summary().additional_properties.get("added-files-size")?.parse().ok());
    let compacted = Compacted {
        files_before: done.rewritten_data_files_count,
        bytes_before: done.rewritten_bytes_count,
        files_after: done.added_data_files_count,
        bytes_after: bytes_after.unwrap_or_default(),
        deletes: done.removed_delete_files_count,
    };
    Ok(TableUpkeep { table: name.to_string(), compacted, ..TableUpkeep::default() })
}

/// Maintains one table after the shares of large tables are compacted or have failed. A commit of a concurrent writer
/// leads to another attempt on the new snapshot (optimistic locking).
#[task(retries = 2, retry_delay = mins(1), timeout = hours(6), max_active = 1, trigger_rule = AllDone)]
async fn keep_up(ctx: Ctx, table: String, options: UpkeepOptions) -> TaskResult<TableUpkeep> {
    let Lakehouse { lake, .. } = Lakehouse::of(&ctx).await?;
    let now = lake.now().await?;
    let name: TableName = table.parse()?;
    let found = lake.table(&name).await?;
    let mut upkeep = options.upkeep(&found, now)?;
    if let Some(compaction) = &upkeep.compaction
        && spark_sql::has_lake_catalog(&ctx).await?
    {
        let bytes = found.bytes_to_compact(compaction).await?;
        if bytes >= options.spark_from_bytes {
            ctx.warning(format!("{bytes} bytes of `{table}` are left for the next run: Spark has not compacted them"));
            upkeep.compaction = None;
        }
    }
    let done = TableUpkeep::of(table, &lake.keep_up(&name, &upkeep, Some(&ctx), now).await?);
    done.log(&ctx, &options);
    Ok(done)
}

/// Lists the results of all tables. `orch lake` prints the list.
#[task(trigger_rule = NoneFailed)]
async fn report(tables: Vec<Option<TableUpkeep>>, parts: Vec<Option<TableUpkeep>>) -> TaskResult<Vec<TableUpkeep>> {
    let mut tables: Vec<TableUpkeep> = tables.into_iter().flatten().collect();
    for part in parts.iter().flatten() {
        if let Some(table) = tables.iter_mut().find(|table| table.table == part.table) {
            table.compacted.add(part.compacted);
        }
    }
    Ok(tables)
}

fn lake_upkeep() -> Dag {
    dag("lake_upkeep")
        .describe("Compacts the tables of the lake, and removes old snapshots and orphaned files")
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

/// The snapshot to restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Table, such as `retail.orders`.
    pub table: String,
    /// Snapshot whose rows the table gets. It must be in the history of the current snapshot.
    pub snapshot_id: i64,
}

/// Restores a snapshot. The table changes in the transaction that records the success of this task; DAGs that wait for
/// the table start then.
#[task]
async fn roll_back(ctx: Ctx, to: Rollback) -> TaskResult<i64> {
    let Lakehouse { lake, .. } = Lakehouse::of(&ctx).await?;
    let name: TableName = to.table.parse().map_err(without_retry)?;
    let table = lake.table(&name).await.map_err(without_retry)?;
    let change = table.roll_back(At::Snapshot(to.snapshot_id)).map_err(without_retry)?;
    ctx.commit(CommitStep::new(&lake, vec![change]))?;
    ctx.asset_event(&name.asset_uri(), serde_json::json!({ "snapshot_id": to.snapshot_id }))?;
    ctx.info(format!("restored snapshot {} of `{}`", to.snapshot_id, to.table));
    Ok(to.snapshot_id)
}

fn lake_rollback() -> Dag {
    dag("lake_rollback")
        .describe("Restores the rows of an older snapshot of a table of the lake")
        .tags(["lake"])
        .owners(["orch"])
        .unpaused()
        .build(|d| {
            d.add(roll_back(d.params::<Rollback>()));
        })
}

/// Makes the catalog of the lake the owner of the warehouse.
#[task]
async fn adopt_warehouse(ctx: Ctx) -> TaskResult<Adopted> {
    let Lakehouse { lake, .. } = Lakehouse::of(&ctx).await?;
    let adopted = lake.adopt().await.map_err(without_retry)?;
    let previous = adopted.previous.as_ref().map_or("no catalog", |owner| owner.catalog.as_str());
    ctx.info(format!("warehouse `{}`: owned by {previous}, now by {}", adopted.warehouse, adopted.owner.catalog));
    Ok(adopted)
}

fn lake_adopt() -> Dag {
    dag("lake_adopt")
        .describe("Takes over the warehouse of the lake after a restore into another database")
        .tags(["lake"])
        .owners(["orch"])
        .unpaused()
        .build(|d| {
            d.add(adopt_warehouse());
        })
}
