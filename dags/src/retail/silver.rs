//! raw → silver: runs the statements of `sql/` over the extracted rows, and publishes five tables in one commit.

use super::days::Days;
use super::extract::{BY_DAY, Extract, Extracts, is_newest_of, known_until_after};
use super::tables::{NAMESPACE, RAW, RAW_BUCKET, SILVER, SILVER_BUCKET, object_uri, raw_table};
use crate::common::lakehouse::Lakehouse;
use crate::common::model::Model;
use arrow::array::RecordBatch;
use chrono::NaiveDate;
use iceberg::spec::SnapshotRef;
use orch::prelude::*;
use orch_lake::bucket::Bucket;
use orch_lake::contract::{Contract, KeySet, Policy};
use orch_lake::format::parquet::frame_of;
use orch_lake::frame::sql::SqlFrames;
use orch_lake::frame::{batches_of, blocking, empty_frame};
use orch_lake::publish::{Layer, Published, Publisher};
use orch_lake::{Batches, Filter, TableName, TableSpec};
use polars::prelude::{ChunkAgg as _, DataFrame, IntoLazy as _, PolarsResult, SchemaExt as _, col, lit};

/// Snapshot property of `orders_fact` with the day up to which all orders are known.
const KNOWN_UNTIL: &str = "retail.known-until";
const FACTS: &str = "orders_fact";
/// Number of items that are joined at a time: a fact is three times as wide as its item.
const SLICE_ROWS: usize = 1 << 16;

/// Makes silver of what the ingests of this run extracted. The facts of the extracted days are replaced, all others stay.
#[task(retries = 3, retry_delay = secs(5), retry_backoff = 2.0, timeout = hours(1))]
pub async fn transform_retail_data(ctx: Ctx, extracts: Vec<Extract>) -> TaskResult<Published> {
    publish(&ctx, &[Extracts(extracts)]).await
}

/// Makes silver of the extracts whose asset events triggered this run; where several hold a day, the newest one counts. A
/// manual run takes the whole tables that the last full ingest left in the bucket.
#[task(retries = 3, retry_delay = secs(5), retry_backoff = 2.0, timeout = hours(1))]
pub async fn transform_newest(ctx: Ctx) -> TaskResult<Published> {
    let events = ctx.triggering_events().await?;
    let extracts = events
        .into_iter()
        .filter_map(|event| Some((event.source_run_id?, serde_json::from_value::<Extract>(event.extra).ok()?)));
    let mut extracts = Extracts::by_run(extracts);
    if extracts.is_empty() {
        ctx.info("no ingest triggered this run: reading the whole tables in the bucket");
        extracts.push(Extracts::whole());
    }
    publish(&ctx, &extracts).await
}

/// Returns the last day up to which all orders are in the lake; `None` before the first run.
pub(super) async fn known_until(lakehouse: &Lakehouse) -> TaskResult<Option<NaiveDate>> {
    let Some(table) = lakehouse.lake.find(&TableName::new(NAMESPACE, FACTS)?).await? else { return Ok(None) };
    // Snapshots of other writers, such as compaction, do not have the property.
    let before = |snapshot: &&SnapshotRef| table.metadata().snapshot_by_id(snapshot.parent_snapshot_id()?);
    let mut snapshots = std::iter::successors(table.current_snapshot(), before);
    Ok(snapshots.find_map(|one| one.summary().additional_properties.get(KNOWN_UNTIL)?.parse().ok()))
}

async fn publish(ctx: &Ctx, extracts: &[Extracts]) -> TaskResult<Published> {
    let lakehouse = Lakehouse::of(ctx).await?;
    let (raw, bucket) = (lakehouse.bucket(RAW_BUCKET).await?, lakehouse.bucket(SILVER_BUCKET).await?);
    // A full extract contains the rows of all earlier extracts.
    let first = extracts.iter().rposition(|extract| extract.days().is_ok_and(Days::is_all)).unwrap_or(0);
    let extracts = &extracts[first..];
    let windows = extracts.iter().map(Extracts::days).collect::<TaskResult<Vec<Days>>>()?;
    let (known, newest) = (known_until(&lakehouse).await?, extracts.last().context("a run has an extract")?);
    let mut publisher = Publisher::new(ctx, &lakehouse.lake).await?;
    let mut frames = SqlFrames::default();
    for table in RAW.iter().filter(|table| !BY_DAY.contains(&table.name)) {
        frames.set(table.name, read(&raw, newest, table).await?);
    }
    for model in SILVER.iter().filter(|model| model.table.name != FACTS) {
        let TableSpec { name, key, .. } = model.table;
        let rows = frames.make(&model.table, model.statement).await?;
        publisher.facts = publisher.facts.clone().keys(name, KeySet::of(&rows, key)?);
        publisher.add(layer(model, rows.into(), &bucket, format!("{name}.csv"))).await?;
    }
    // The facts are built from silver, so dropping the raw frames frees memory.
    RAW.iter().for_each(|table| frames.set(table.name, DataFrame::empty()));
    let facts = SILVER.iter().find(|model| model.table.name == FACTS).context("silver has facts")?;
    let mut slices = Vec::new();
    for (number, extract) in extracts.iter().enumerate() {
        let (orders, items) = (raw_table("orders")?, raw_table("order_items")?);
        let (orders, items) = (read(&raw, extract, orders).await?, read(&raw, extract, items).await?);
        let order_ids = KeySet::of(&batches_of(orders.select(["order_id"])?)?.1, &["order_id"])?;
        let ids = batches_of(items.select(["order_item_id", "order_item_order_id"])?)?.1;
        publisher.check(&items_with_orders(), &ids, &publisher.facts.clone().keys("orders", order_ids))?;
        slices.push(join(facts, frames.clone(), orders, items, is_newest_of(&windows, number)));
    }
    let rows = Batches::made(facts.table.unchecked_schema(), slices.into_iter().flatten());
    let object = Extract::at(FACTS, if let [days] = windows[..] { days } else { Days::all() }).csv;
    let layer = layer(facts, rows, &bucket, object)
        .replacing(windows.iter().map(|days| days.rows("order_date")).reduce(Filter::or).unwrap_or(Filter::All))
        .tally("SELECT max(CAST(order_date AS DATE)) AS newest FROM rows");
    let written = publisher.add(layer).await?;
    // Without rows the tally has no such column.
    let newest = written.tally.column("newest").ok().and_then(|days| days.date().ok()?.as_date_iter().flatten().max());
    if let Some(day) = windows.iter().fold(known, |known, days| known_until_after(known, *days, newest)) {
        publisher.property(&facts.table, KNOWN_UNTIL, day.to_string())?;
    }
    publisher.publish()
}

/// Returns a table of silver or gold as a layer, with its contract, its CSV object, and the tables that it is built
/// from.
pub(super) fn layer(model: &Model, rows: Batches, bucket: &Bucket, object: String) -> Layer {
    let source = |table: &&str| {
        let is_raw = RAW.iter().any(|raw| raw.name == *table);
        if is_raw { object_uri(RAW_BUCKET, table) } else { format!("lake://{NAMESPACE}/{table}") }
    };
    Layer::new(&model.table, rows)
        .contract(model.contract())
        .csv(bucket, object)
        .sources(model.reads.iter().map(source))
        .below(bucket.location(NAMESPACE))
}

/// Builds the facts of one extract, one slice of its items at a time. There is at least one slice. The condition
/// selects the facts that no later extract has.
fn join(
    model: &'static Model,
    mut frames: SqlFrames,
    orders: DataFrame,
    items: DataFrame,
    condition: Option<String>,
) -> impl Iterator<Item = TaskResult<Vec<RecordBatch>>> {
    let statement = match condition {
        None => model.statement.to_owned(),
        Some(condition) => format!("SELECT * FROM ({}) AS facts WHERE {condition}", model.statement),
    };
    (0..items.height().max(1)).step_by(SLICE_ROWS).map(move |start| {
        let slice = items.slice(i64::try_from(start)?, SLICE_ROWS);
        frames.set("orders", orders_of(&orders, &slice)?);
        frames.set("order_items", slice);
        frames.batches(&statement, model.table.key, &model.table.unchecked_schema())
    })
}

/// Returns the orders in the range of order IDs that a slice of items has. Items of one order have neighboring IDs, so
/// the range is narrow and the join reads few orders.
fn orders_of(orders: &DataFrame, items: &DataFrame) -> PolarsResult<DataFrame> {
    let ids = items.column("order_item_order_id")?.i32()?;
    let Some((first, last)) = ids.min().zip(ids.max()) else { return Ok(orders.clear()) };
    let id = || col("order_id");
    orders.clone().lazy().filter(id().gt_eq(lit(first)).and(id().lt_eq(lit(last)))).collect()
}

/// Returns the contract for items. Items whose order is missing are not sold yet.
fn items_with_orders() -> Contract {
    Contract::of(object_uri(RAW_BUCKET, "order_items"))
        .key(["order_item_id"])
        .references(["order_item_order_id"], "orders")
        .or(Policy::Warn)
}

/// Reads a whole object that an ingest wrote: another run may replace it meanwhile.
async fn read(bucket: &Bucket, extracts: &Extracts, table: &TableSpec) -> TaskResult<DataFrame> {
    let key = &extracts.table(table.name)?.parquet;
    let location = bucket.location(key);
    if bucket.find(key).await?.is_none() {
        return Err(fatal(format!(
            "`{location}` does not exist\nhint: run the ingest first: `orch dags trigger mysql_to_minio_ingestion`"
        )));
    }
    let (bytes, declared) = (bucket.get(key).await?, table.unchecked_schema());
    blocking(move |_| {
        let (frame, declared) = (frame_of(bytes, &location)?, empty_frame(&declared)?);
        let missing = declared
            .schema()
            .iter_fields()
            .find(|field| frame.schema().get_field(field.name()).as_ref() != Some(field));
        let Some(field) = missing else { return Ok(frame) };
        let (name, kind) = (field.name(), field.dtype());
        Err(fatal(format!(
            "`{location}` has no column `{name}` of type {kind}\nhint: run the ingest of this table again"
        )))
    })
    .await
}
