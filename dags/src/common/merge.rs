//! `lake_merge` merges one table of the lake into another by key: new rows replace old rows with the same key, and
//! other new rows are added. Several tasks write one share each, or Spark merges very large tables. `orch lake merge`
//! triggers a run.

use crate::common::lakehouse::{Lakehouse, without_retry};
use crate::common::spark_sql::{self, CATALOG};
use orch::prelude::*;
use orch_lake::Table;
use orch_lake::table::maintain::Share;
use orch_lake::table::{CommitStep, Merge, MergedShare};

/// The tables of a merge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeOptions {
    /// The table with the new rows, such as `staging.orders`.
    pub from: String,
    /// The table that is changed, such as `retail.orders`. New rows are null in columns that only this table has.
    pub into: String,
    /// The columns that identify a row. Default: the key of the table that is changed.
    #[serde(default)]
    pub key: Vec<String>,
    /// Bytes of both tables that each task merges. A task holds the keys of its new rows in memory.
    #[serde(default = "bytes_per_task")]
    #[schemars(range(min = 1))]
    pub bytes_per_task: u64,
    /// Spark merges tables with at least this number of bytes, if the connection `spark_default` has the lake as its
    /// catalog `orch`.
    #[serde(default = "spark_from_bytes")]
    #[schemars(range(min = 1))]
    pub spark_from_bytes: u64,
}

/// About ten million rows; their keys need at most one gigabyte of memory.
fn bytes_per_task() -> u64 {
    256 << 20
}

/// A few hours of work for one worker.
fn spark_from_bytes() -> u64 {
    128 << 30
}

const MAX_TASKS: u64 = 256;

/// The work of one task, based on the snapshots that were current when the merge started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergePart {
    from_snapshot: i64,
    /// `None` if the table was empty.
    into_snapshot: Option<i64>,
    /// `None` if Spark does the whole merge.
    share: Option<Share>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct MergedPart {
    part: MergePart,
    /// `None` if Spark did the whole merge.
    written: Option<MergedShare>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeReport {
    table: String,
    rows: u64,
    /// Number of old rows that had the key of a new row. `None` if Spark did the merge: it does not report the number.
    replaced: Option<u64>,
    by: String,
}

impl MergeOptions {
    async fn tables(&self, ctx: &Ctx) -> TaskResult<(Table, Table)> {
        let lake = Lakehouse::of(ctx).await?.lake;
        let [into, from] = [&self.into, &self.from].map(|name| name.parse());
        Ok((lake.table(&into?).await?, lake.table(&from?).await?))
    }

    async fn merge(&self, ctx: &Ctx, part: &MergePart) -> TaskResult<Merge> {
        let (into, from) = self.tables(ctx).await?;
        let merge = Merge::new(&into.as_of(part.into_snapshot)?, &from.as_of(Some(part.from_snapshot))?, &self.key)?;
        Ok(merge.in_shares(part.share.map_or(1, |share| share.of)))
    }
}

/// Divides a merge among tasks by the size of both tables. Reads only their metadata.
#[task(retries = 2, retry_delay = mins(1), timeout = hours(1))]
async fn divide_merge(ctx: Ctx, options: MergeOptions) -> TaskResult<Vec<MergePart>> {
    let (into, from) = options.tables(&ctx).await.map_err(without_retry)?;
    let merge = Merge::new(&into, &from, &options.key).map_err(without_retry)?;
    let Some(from_snapshot) = from.current_snapshot().map(|snapshot| snapshot.snapshot_id()) else {
        ctx.info(format!("table `{}` has no rows yet", options.from));
        return Ok(Vec::new());
    };
    let into_snapshot = into.current_snapshot().map(|snapshot| snapshot.snapshot_id());
    let part = |share| MergePart { from_snapshot, into_snapshot, share };
    let bytes = merge.bytes().await?;
    if bytes >= options.spark_from_bytes && spark_sql::has_lake_catalog(&ctx).await? {
        ctx.info(format!("{bytes} bytes are merged by Spark"));
        return Ok(vec![part(None)]);
    }
    let of = bytes.div_ceil(options.bytes_per_task.max(1)).clamp(1, MAX_TASKS) as u32;
    ctx.info(format!("{bytes} bytes are merged by {of} tasks"));
    Ok((0..of).map(|number| part(Some(Share { number, of }))).collect())
}

/// Writes the files of a share without committing them, or runs the whole merge on Spark.
#[task(retries = 2, retry_delay = mins(1), timeout = hours(6))]
async fn merge_share(ctx: Ctx, part: MergePart, options: MergeOptions) -> TaskResult<MergedPart> {
    let merge = options.merge(&ctx, &part).await?;
    let Some(share) = part.share else {
        let statements = merge.spark_statements(CATALOG);
        spark_sql::run_statements::<serde_json::Value>(&ctx, "lake_merge", &statements).await?;
        return Ok(MergedPart { part, written: None });
    };
    let written = merge.share(share.number).await.map_err(without_retry)?;
    ctx.info(format!("wrote {} rows, which replace {} rows", written.rows, written.replaced));
    Ok(MergedPart { part, written: Some(written) })
}

/// Commits the files of all shares. The table changes in the transaction that records the success of this task; DAGs
/// that wait for the table start then.
#[task(retries = 2, retry_delay = secs(5), timeout = hours(1), trigger_rule = NoneFailed)]
async fn commit_merge(
    ctx: Ctx,
    parts: Vec<Option<MergedPart>>,
    options: MergeOptions,
) -> TaskResult<Option<MergeReport>> {
    let parts: Vec<MergedPart> = parts.into_iter().flatten().collect();
    let Some(MergedPart { part, .. }) = parts.first() else { return Ok(None) };
    let merge = options.merge(&ctx, part).await?;
    let (from, into) = (merge.source().name().asset_uri(), merge.target().name().asset_uri());
    let report = |rows, replaced, by| MergeReport { table: options.into.clone(), rows, replaced, by };
    if part.share.is_none() {
        let rows = merge.source().count().await?;
        ctx.lineage(&from, &into, rows)?;
        return Ok(Some(report(rows, None, "Spark".to_owned())));
    }
    let shares: Vec<&MergedShare> = parts.iter().filter_map(|part| part.written.as_ref()).collect();
    let (rows, replaced) = shares.iter().fold((0, 0), |sum, share| (sum.0 + share.rows, sum.1 + share.replaced));
    ctx.lineage(&from, &into, rows)?;
    let lake = merge.target().lake().clone();
    let change = merge.change(shares).await?;
    ctx.commit(CommitStep::new(&lake, vec![change.by(&ctx)]))?;
    ctx.asset_event(&into, serde_json::json!({ "rows": rows, "replaced": replaced }))?;
    ctx.info(format!("merged {rows} rows of `{}` into `{}`, replacing {replaced} rows", options.from, options.into));
    let by = if parts.len() == 1 { "1 task".to_owned() } else { format!("{} tasks", parts.len()) };
    Ok(Some(report(rows, Some(replaced), by)))
}

pub fn dags() -> Vec<Dag> {
    let lake_merge = dag("lake_merge")
        .describe("Merges rows of one table of the lake into another by key")
        .tags(["lake"])
        .owners(["orch"])
        .unpaused()
        .build(|d| {
            let options = d.params::<MergeOptions>();
            let parts = d.map(d.add(divide_merge(options)), |part| merge_share(part, options));
            d.add(commit_merge(parts, options));
        });
    vec![lake_merge]
}
