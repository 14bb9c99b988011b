//! `lake_merge` merges one table of the lake into another by key: new rows replace old ones with the same key, and the rest is added. The sizes
//! of both tables decide how many tasks write a part each, or that Spark does the merge. `orch lake merge` is a run of it.

use crate::common::lakehouse::{Lakehouse, asked_wrongly};
use crate::common::on_spark::{self, CATALOG};
use orch::prelude::*;
use orch_lake::Table;
use orch_lake::table::maintain::Share;
use orch_lake::table::{CommitStep, Merge, MergedShare};

pub fn dags() -> Vec<Dag> {
    vec![lake_merge()]
}

/// Which rows come into which table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeOptions {
    /// The table that has the new rows, such as `staging.orders`.
    pub from: String,
    /// The table that they come into, such as `retail.orders`. A column that the new rows do not have is null in them.
    pub into: String,
    /// The columns by which rows are the same. Without any the own key of the table that changes.
    #[serde(default)]
    pub key: Vec<String>,
    /// Tasks take so many bytes each, of both tables together, side by side. Each holds the keys of its new rows in memory.
    #[serde(default = "bytes_per_task")]
    #[schemars(range(min = 1))]
    pub bytes_per_task: u64,
    /// From so many bytes on the merge is left to Spark, if the connection `spark_default` leads to one that knows the lake as its catalog `orch`.
    #[serde(default = "spark_from_bytes")]
    #[schemars(range(min = 1))]
    pub spark_from_bytes: u64,
}

/// Some ten million rows, whose keys take about a gigabyte at most.
fn bytes_per_task() -> u64 {
    256 << 20
}

/// Some hours of a worker with few processors.
fn spark_from_bytes() -> u64 {
    128 << 30
}

const MOST_TASKS: u64 = 256;

/// A part of a merge, for a task of its own: of both tables as they were when the merge began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergePart {
    from_snapshot: i64,
    /// `None`: it was empty.
    into_snapshot: Option<i64>,
    /// `None`: all of it, by Spark.
    share: Option<Share>,
}

/// What came of a part. `None`: Spark has merged all.
#[derive(Debug, Serialize, Deserialize)]
pub struct MergedPart {
    part: MergePart,
    written: Option<MergedShare>,
}

/// What came of all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeReport {
    table: String,
    rows: u64,
    /// Old rows that had the key of a new one. Spark does not report them.
    replaced: Option<u64>,
    by: String,
}

impl MergeOptions {
    async fn tables(&self, place: &Lakehouse) -> TaskResult<(Table, Table)> {
        let [into, from] = [&self.into, &self.from].map(|name| name.parse());
        Ok((place.lake.table(&into?).await?, place.lake.table(&from?).await?))
    }

    async fn merge_of(&self, ctx: &Ctx, part: &MergePart) -> TaskResult<Merge> {
        let (into, from) = self.tables(&Lakehouse::of(ctx).await?).await?;
        let merge = Merge::new(&into.as_of(part.into_snapshot)?, &from.as_of(Some(part.from_snapshot))?, &self.key)?;
        Ok(merge.in_shares(part.share.map_or(1, |share| share.of)))
    }
}

/// Looks at the sizes of both tables. Only their metadata is read.
#[task(retries = 2, retry_delay = mins(1), timeout = hours(1))]
async fn divide_merge(ctx: Ctx, options: MergeOptions) -> TaskResult<Vec<MergePart>> {
    let (into, from) = options.tables(&Lakehouse::of(&ctx).await?).await.map_err(asked_wrongly)?;
    let merge = Merge::new(&into, &from, &options.key).map_err(|error| asked_wrongly(error.into()))?;
    let Some(from_snapshot) = from.current_snapshot().map(|snapshot| snapshot.snapshot_id()) else {
        ctx.info(format!("table `{}` has no rows yet", options.from));
        return Ok(Vec::new());
    };
    let into_snapshot = into.current_snapshot().map(|snapshot| snapshot.snapshot_id());
    let part = |share| MergePart { from_snapshot, into_snapshot, share };
    let bytes = merge.bytes().await?;
    if bytes >= options.spark_from_bytes && on_spark::knows_the_lake(&ctx).await? {
        ctx.info(format!("{bytes} bytes are merged by Spark"));
        return Ok(vec![part(None)]);
    }
    let of = bytes.div_ceil(options.bytes_per_task.max(1)).clamp(1, MOST_TASKS) as u32;
    ctx.info(format!("{bytes} bytes are merged by {of} tasks"));
    Ok((0..of).map(|number| part(Some(Share { number, of }))).collect())
}

/// Writes the files of a part without committing them, or has Spark do the whole merge.
#[task(retries = 2, retry_delay = mins(1), timeout = hours(6))]
async fn merge_share(ctx: Ctx, part: MergePart, options: MergeOptions) -> TaskResult<MergedPart> {
    let merge = options.merge_of(&ctx, &part).await?;
    let Some(share) = part.share else {
        let _: Vec<serde_json::Value> = on_spark::run(&ctx, "lake_merge", &merge.spark_statements(CATALOG)).await?;
        return Ok(MergedPart { part, written: None });
    };
    let written = merge.share(share.number).await.map_err(|error| asked_wrongly(error.into()))?;
    ctx.info(format!("rows written: {}, in the place of others: {}", written.rows, written.replaced));
    Ok(MergedPart { part, written: Some(written) })
}

/// The table changes if and only if this task is recorded as successful; DAGs that wait for the table begin.
#[task(retries = 2, retry_delay = secs(5), timeout = hours(1), trigger_rule = NoneFailed)]
async fn commit_merge(
    ctx: Ctx,
    parts: Vec<Option<MergedPart>>,
    options: MergeOptions,
) -> TaskResult<Option<MergeReport>> {
    let parts: Vec<MergedPart> = parts.into_iter().flatten().collect();
    let Some(MergedPart { part, .. }) = parts.first() else { return Ok(None) };
    let merge = options.merge_of(&ctx, part).await?;
    let report = |rows, replaced, by| MergeReport { table: options.into.clone(), rows, replaced, by };
    let shares: Vec<&MergedShare> = parts.iter().filter_map(|part| part.written.as_ref()).collect();
    let (lake, name, from) = (merge.target().lake().clone(), merge.target().name().clone(), merge.source().name());
    if part.share.is_none() {
        let rows = merge.source().count().await?;
        ctx.lineage(&from.asset_uri(), &name.asset_uri(), rows)?;
        return Ok(Some(report(rows, None, "Spark".to_owned())));
    }
    let sum = |count: fn(&MergedShare) -> u64| shares.iter().copied().map(count).sum();
    let (rows, replaced) = (sum(|share| share.rows), sum(|share| share.replaced));
    ctx.lineage(&from.asset_uri(), &name.asset_uri(), rows)?;
    let change = merge.change(shares).await?;
    ctx.commit(CommitStep::new(&lake, vec![change.by(&ctx)]))?;
    ctx.asset_event(&name.asset_uri(), serde_json::json!({ "rows": rows, "replaced": replaced }))?;
    ctx.info(format!(
        "{rows} rows of `{}` come into `{name}`, {replaced} of them in the place of others",
        options.from
    ));
    let by = if parts.len() == 1 { "1 task".to_owned() } else { format!("{} tasks", parts.len()) };
    Ok(Some(report(rows, Some(replaced), by)))
}

fn lake_merge() -> Dag {
    dag("lake_merge")
        .describe("Rows of one table of the lake merged into another by key")
        .tags(["lake"])
        .owners(["orch"])
        .unpaused()
        .build(|d| {
            let options = d.params::<MergeOptions>();
            let parts = d.map(d.add(divide_merge(options)), |part| merge_share(part, options));
            d.add(commit_merge(parts, options));
        })
}
