//! raw → silver: what was extracted, cleaned and joined, in one commit of five tables.

use super::publish::{Layer, Published, table_name};
use super::{RAW_BUCKET, SILVER_BUCKET, object_uri, table_uri};
use crate::common::lakehouse::Lakehouse;
use crate::retail::contracts::order_items;
use crate::retail::days::Days;
use crate::retail::extract::{Extract, Extracts, known_until as advanced, last_words};
use crate::retail::schema::{self, RAW, SILVER};
use crate::retail::silver::{OrderFacts, Raw, Silver, TableFrame};
use chrono::NaiveDate;
use orch::prelude::*;
use orch_lake::Change;
use orch_lake::bucket::Bucket;
use orch_lake::contract::{Facts, KeySet};
use orch_lake::format::parquet::frame_of;
use orch_lake::frame::{batches_of, blocking};
use polars::prelude::*;
use std::collections::HashMap;
use std::iter::once;
use std::sync::{Arc, Mutex, PoisonError};

/// The last day up to which all orders are known, in the snapshots of `orders_fact`.
const KNOWN_UNTIL: &str = "retail.known-until";
const FACTS: &str = "orders_fact";

/// Makes the silver layer of what the ingests of this run extracted, and publishes its five tables in one commit.
///
/// Of the days that were extracted the facts are replaced, of others they stay: the same run twice is the same table.
#[task(retries = 3, retry_delay = secs(5), retry_backoff = 2.0, timeout = hours(1))]
pub async fn transform_retail_data(ctx: Ctx, extracts: Vec<Extract>) -> TaskResult<Published> {
    let extracts = Extracts::of(extracts).map_err(|missing| fatal(format!("nothing was extracted of `{missing}`")))?;
    publish(&ctx, vec![extracts]).await
}

/// The same of what the updates that began this run tell of: one ingest or several, of which the last word counts. Started
/// by hand it takes what the last full ingest left in the bucket.
#[task(retries = 3, retry_delay = secs(5), retry_backoff = 2.0, timeout = hours(1))]
pub async fn transform_newest(ctx: Ctx) -> TaskResult<Published> {
    let events = ctx.triggering_events().await?;
    let said = events
        .into_iter()
        .filter_map(|event| Some((event.source_run_id?, serde_json::from_value::<Extract>(event.extra).ok()?)));
    let mut extracts = Extracts::of_runs(said);
    if extracts.is_empty() {
        ctx.info("no ingest began this run: it takes the whole tables that lie in the bucket");
        extracts.push(Extracts::whole());
    }
    publish(&ctx, extracts).await
}

/// The last day up to which all orders are in the lake; `None` while nothing is.
pub(super) async fn known_until(place: &Lakehouse) -> TaskResult<Option<NaiveDate>> {
    let Some(table) = place.lake.find(&table_name(FACTS)?).await? else { return Ok(None) };
    let metadata = table.metadata();
    let mut snapshot = metadata.current_snapshot();
    // Snapshots of others (compaction) say nothing of it.
    while let Some(one) = snapshot {
        if let Some(day) = one.summary().additional_properties.get(KNOWN_UNTIL) {
            return Ok(day.parse().ok());
        }
        snapshot = one.parent_snapshot_id().and_then(|id| metadata.snapshot_by_id(id));
    }
    Ok(None)
}

async fn publish(ctx: &Ctx, extracts: Vec<Extracts>) -> TaskResult<Published> {
    let place = Lakehouse::of(ctx).await?;
    let bucket = place.bucket(RAW_BUCKET).await?;
    // What came before the last full one is all in that.
    let begin = extracts.iter().rposition(|one| one.days().is_all()).unwrap_or(0);
    let extracts = &extracts[begin..];
    let days: Vec<Days> = extracts.iter().map(Extracts::days).collect();
    let mut parts = Vec::new();
    for extract in extracts {
        parts.push(read(ctx, &bucket, extract).await?);
    }
    let last = extracts.last().map(Extracts::rows).unwrap_or_default();
    ctx.info(format!("{last} rows in the newest of {} extracts", extracts.len()));

    let (made, windows) = (blocking(move |_| layers_of(parts)).await?, days.clone());
    let known = known_until(&place).await?;
    let mut layer = Layer::new(ctx, &place, SILVER_BUCKET, days.clone()).await?;
    for one in made.dimensions {
        layer.remember_keys(&one)?;
        layer.add(one.table, once(Ok(one.frame)), |change| change).await?;
    }
    let newest = Arc::new(Mutex::new(None));
    let seen = newest.clone();
    let facts = made.facts.into_iter().enumerate().flat_map(move |(number, facts)| {
        let windows = windows.clone();
        facts.map(move |lot| its_days(lot?, &windows, number))
    });
    let facts = facts.inspect(move |lot| see_newest(lot.as_ref().ok(), &seen));
    let table = schema::lake(FACTS).ok_or_else(|| fatal(format!("the lake has no table `{FACTS}` of retail")))?;
    let with_known_day = |change: Change| {
        let newest = *newest.lock().unwrap_or_else(PoisonError::into_inner);
        let known = days.iter().fold(known, |known, days| advanced(known, *days, newest));
        known.into_iter().fold(change, |change, day| change.property(KNOWN_UNTIL, day.to_string()))
    };
    layer.add(table, facts, with_known_day).await?;
    let published = layer.publish()?;
    for table in &RAW {
        let of = SILVER.iter().filter(|silver| sources(silver.name).contains(&table.name));
        for silver in of {
            let rows = published.tables.get(silver.name).copied();
            ctx.lineage(&object_uri(RAW_BUCKET, table.name), &table_uri(silver.name), rows)?;
        }
    }
    Ok(published)
}

/// What each table is made of.
fn sources(silver: &str) -> &'static [&'static str] {
    match silver {
        "customer_dim" => &["customers"],
        "department_dim" => &["departments"],
        "category_dim" => &["categories", "departments"],
        "product_dim" => &["products", "categories"],
        _ => &["order_items", "orders", "customers", "products", "categories", "departments"],
    }
}

/// The objects of an extract as frames of the types that raw has.
async fn read(ctx: &Ctx, bucket: &Bucket, extract: &Extracts) -> TaskResult<Raw> {
    let mut frames = HashMap::new();
    for table in &RAW {
        let key = &extract.table(table.name).parquet;
        if bucket.find(key).await?.is_none() {
            return Err(fatal(format!(
                "`{}` is not there\nhint: run the ingest first: `orch dags trigger mysql_to_minio_ingestion`",
                bucket.location(key)
            )));
        }
        // In one piece: another run may replace the object while it is read.
        let bytes = bucket.get(key).await?;
        let location = bucket.location(key);
        let frame = blocking(move |_| fitting(frame_of(bytes, &location)?, table, &location)).await?;
        frames.insert(table.name, frame);
    }
    let raw = Raw::from_tables(|name| frames.remove(name).ok_or_else(|| fatal(format!("`{name}` was not read"))))?;
    let orders = batches_of(raw.orders.select(["order_id"])?)?.1;
    let facts = Facts::at(ctx.run_after()).keys("orders", KeySet::of(&orders, &["order_id"])?);
    let items = batches_of(raw.order_items.select(["order_item_id", "order_item_order_id"])?)?.1;
    let report = order_items().check(&items, &facts)?;
    ctx.commit(report.trail(ctx))?;
    Ok(raw)
}

/// # Errors
/// A column is missing or has another type: somebody else wrote the object.
fn fitting(frame: DataFrame, table: &schema::Table, location: &str) -> TaskResult<DataFrame> {
    let wrong = |problem: String| fatal(format!("`{location}` {problem}\nhint: run the ingest of this table again"));
    for column in table.columns {
        let wanted = column.kind.frame();
        match frame.schema().get(column.name) {
            None => return Err(wrong(format!("has no column `{}`", column.name))),
            Some(found) if *found != wanted => {
                return Err(wrong(format!("has the type {found} in column `{}`, not {wanted}", column.name)));
            }
            Some(_) => {}
        }
    }
    Ok(frame)
}

/// The tables of several extracts.
struct Layers {
    /// As the newest extract has them.
    dimensions: Vec<TableFrame>,
    /// Of each extract, oldest first.
    facts: Vec<OrderFacts>,
}

fn layers_of(extracts: Vec<Raw>) -> TaskResult<Layers> {
    let mut layers = Layers { dimensions: Vec::new(), facts: Vec::new() };
    for raw in extracts {
        let Silver { dimensions, facts } = Silver::of(raw)?;
        layers.dimensions = dimensions;
        layers.facts.push(facts);
    }
    Ok(layers)
}

/// The facts of the days about which this extract has the last word.
fn its_days(facts: DataFrame, days: &[Days], number: usize) -> TaskResult<DataFrame> {
    if days.len() == 1 && days[0].is_all() {
        return Ok(facts);
    }
    let dates = facts.column("order_date")?.cast(&DataType::Date)?;
    let kept: BooleanChunked =
        dates.date()?.as_date_iter().map(|day| day.is_some_and(|day| last_words(days, number, day))).collect();
    Ok(facts.filter(&kept)?)
}

/// Remembers the newest day of a lot of facts, if it is the newest so far.
fn see_newest(facts: Option<&DataFrame>, newest: &Mutex<Option<NaiveDate>>) {
    let dates = facts.and_then(|facts| facts.column("order_date").ok()?.cast(&DataType::Date).ok());
    let day = dates.and_then(|dates| dates.date().ok()?.as_date_iter().flatten().max());
    let mut newest = newest.lock().unwrap_or_else(PoisonError::into_inner);
    *newest = day.max(*newest);
}
