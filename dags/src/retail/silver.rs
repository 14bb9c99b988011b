//! raw → silver: the statements of `sql/` over what was extracted, published in one commit of five tables.

use super::buckets::{RAW_BUCKET, SILVER_BUCKET, object_uri};
use super::days::Days;
use super::extract::{Extract, Extracts, is_newest_of, known_until_after};
use super::tables::{NAMESPACE, RAW, SILVER};
use crate::common::lakehouse::Lakehouse;
use crate::common::model::Model;
use arrow::array::RecordBatch;
use chrono::NaiveDate;
use futures::TryStreamExt as _;
use orch::prelude::*;
use orch_lake::bucket::Bucket;
use orch_lake::contract::{Contract, KeySet, Policy};
use orch_lake::format::parquet::frame_of;
use orch_lake::frame::sql::SqlFrames;
use orch_lake::frame::{batches_of, blocking, empty_frame};
use orch_lake::publish::{Layer, Published, Publisher};
use orch_lake::{Batches, Filter, TableName, TableSpec};
use polars::prelude::*;

/// The snapshot property of `orders_fact` that says up to which day all orders are known.
const KNOWN_UNTIL: &str = "retail.known-until";
const FACTS: &str = "orders_fact";
/// Items that are joined at once: a fact is three times as wide as its item.
const SLICE_ROWS: usize = 1 << 17;

/// Makes silver of what the ingests of this run extracted. The facts of the extracted days are replaced, all others stay.
#[task(retries = 3, retry_delay = secs(5), retry_backoff = 2.0, timeout = hours(1))]
pub async fn transform_retail_data(ctx: Ctx, extracts: Vec<Extract>) -> TaskResult<Published> {
    let extracts = Extracts::of(extracts).map_err(|missing| fatal(format!("nothing was extracted of `{missing}`")))?;
    publish(&ctx, vec![extracts]).await
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
    publish(&ctx, extracts).await
}

/// The last day up to which all orders are in the lake; `None` before the first run.
pub(super) async fn known_until(lakehouse: &Lakehouse) -> TaskResult<Option<NaiveDate>> {
    let Some(table) = lakehouse.lake.find(&TableName::new(NAMESPACE, FACTS)?).await? else { return Ok(None) };
    let metadata = table.metadata();
    let mut snapshot = metadata.current_snapshot();
    // Snapshots of other writers, such as compaction, do not have the property.
    while let Some(one) = snapshot {
        if let Some(day) = one.summary().additional_properties.get(KNOWN_UNTIL) {
            return Ok(day.parse().ok());
        }
        snapshot = one.parent_snapshot_id().and_then(|id| metadata.snapshot_by_id(id));
    }
    Ok(None)
}

async fn publish(ctx: &Ctx, extracts: Vec<Extracts>) -> TaskResult<Published> {
    let lakehouse = Lakehouse::of(ctx).await?;
    let (raw, bucket) = (lakehouse.bucket(RAW_BUCKET).await?, lakehouse.bucket(SILVER_BUCKET).await?);
    // A full extract contains what came before it.
    let first = extracts.iter().rposition(|extract| extract.days().is_all()).unwrap_or(0);
    let windows: Vec<Days> = extracts[first..].iter().map(Extracts::days).collect();
    let known = known_until(&lakehouse).await?;
    let mut publisher = Publisher::new(ctx, &lakehouse.lake).await?;
    let mut extracted = Vec::new();
    for extract in &extracts[first..] {
        extracted.push(Extracted::read(&raw, extract, &publisher).await?);
    }
    let newest = extracted.last().context("a run has an extract")?;
    for model in SILVER.iter().filter(|model| model.table.name != FACTS) {
        let TableSpec { name, key, .. } = model.table;
        let rows = newest.frames.rows(model.statement, key, model.table.unchecked_schema()).await?;
        let rows: Vec<RecordBatch> = rows.try_collect().await?;
        publisher.facts = publisher.facts.clone().keys(name, KeySet::of(&rows, key)?);
        let rows = Batches::of(model.table.unchecked_schema(), rows);
        publisher.add(layer(model, rows, &bucket, format!("{name}.csv"))).await?;
    }
    let facts = SILVER.iter().find(|model| model.table.name == FACTS).context("silver has facts")?;
    let object = match windows.as_slice() {
        [days] if !days.is_all() => format!("{FACTS}/{}.csv", days.label()),
        _ => format!("{FACTS}.csv"),
    };
    let slices = extracted.into_iter().enumerate().flat_map({
        let windows = windows.clone();
        move |(number, extract)| extract.facts(facts, is_newest_of(&windows, number))
    });
    let rows = Batches::made(facts.table.unchecked_schema(), slices);
    let layer = layer(facts, rows, &bucket, object)
        .replacing(windows.iter().map(|days| days.rows("order_date")).reduce(Filter::or).unwrap_or(Filter::All))
        .tally("SELECT max(CAST(order_date AS DATE)) AS newest FROM rows");
    let written = publisher.add(layer).await?;
    let newest = match written.tally.width() {
        0 => None,
        _ => written.tally.column("newest")?.date()?.as_date_iter().flatten().max(),
    };
    if let Some(day) = windows.iter().fold(known, |known, days| known_until_after(known, *days, newest)) {
        publisher.property(&facts.table, KNOWN_UNTIL, day.to_string())?;
    }
    publisher.publish()
}

/// A table of silver or gold with its contract, its CSV object, and the tables that it is made of.
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

/// The tables of one extract, and the dimensions made of them.
struct Extracted {
    frames: SqlFrames,
    items: DataFrame,
    orders: DataFrame,
}

impl Extracted {
    async fn read(bucket: &Bucket, extract: &Extracts, publisher: &Publisher<'_>) -> TaskResult<Extracted> {
        let mut frames = SqlFrames::default();
        let (mut items, mut orders) = (DataFrame::empty(), DataFrame::empty());
        for table in &RAW {
            let frame = read_object(bucket, &extract.table(table.name).parquet, table).await?;
            match table.name {
                "order_items" => items = frame.clone(),
                "orders" => orders = frame.clone(),
                _ => {}
            }
            frames.set(table.name, frame);
        }
        let order_ids = KeySet::of(&batches_of(orders.select(["order_id"])?)?.1, &["order_id"])?;
        let ids = batches_of(items.select(["order_item_id", "order_item_order_id"])?)?.1;
        publisher.check(&items_with_orders(), &ids, &publisher.facts.clone().keys("orders", order_ids))?;
        let made = blocking(move |_| {
            for model in SILVER.iter().filter(|model| model.table.name != FACTS) {
                let frame = frames.query(model.statement)?;
                frames.set(model.table.name, frame);
            }
            Ok(frames)
        });
        Ok(Extracted { frames: made.await?, items, orders })
    }

    /// The facts of this extract for which a condition holds, slice by slice of its items. There is always one slice.
    fn facts(
        self,
        model: &'static Model,
        condition: Option<String>,
    ) -> impl Iterator<Item = TaskResult<Vec<RecordBatch>>> {
        let Extracted { mut frames, items, orders } = self;
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
}

/// Returns the orders in the range of order IDs that a slice of items has. Items of one order have neighboring IDs, so the range is
/// narrow and the join reads few orders.
fn orders_of(orders: &DataFrame, items: &DataFrame) -> PolarsResult<DataFrame> {
    let ids = items.column("order_item_order_id")?.i32()?;
    let Some((first, last)) = ids.min().zip(ids.max()) else { return Ok(orders.clear()) };
    let id = || col("order_id");
    orders.clone().lazy().filter(id().gt_eq(lit(first)).and(id().lt_eq(lit(last)))).collect()
}

/// Items whose order is missing are not sold yet.
fn items_with_orders() -> Contract {
    Contract::of(object_uri(RAW_BUCKET, "order_items"))
        .key(["order_item_id"])
        .references(["order_item_order_id"], "orders")
        .or(Policy::Warn)
}

/// Reads an object that an ingest wrote, in one piece: another run may replace it meanwhile.
async fn read_object(bucket: &Bucket, key: &str, table: &TableSpec) -> TaskResult<DataFrame> {
    let location = bucket.location(key);
    if bucket.find(key).await?.is_none() {
        return Err(fatal(format!(
            "`{location}` does not exist\nhint: run the ingest first: `orch dags trigger mysql_to_minio_ingestion`"
        )));
    }
    let (bytes, declared) = (bucket.get(key).await?, table.unchecked_schema());
    blocking(move |_| {
        let (frame, expected) = (frame_of(bytes, &location)?, empty_frame(&declared)?);
        let wrong = expected
            .columns()
            .iter()
            .find(|column| frame.column(column.name()).map_or(true, |found| found.dtype() != column.dtype()));
        match wrong {
            None => Ok(frame),
            Some(column) => Err(fatal(format!(
                "`{location}` has no column `{}` of type {}\nhint: run the ingest of this table again",
                column.name(),
                column.dtype()
            ))),
        }
    })
    .await
}
