//! silver → gold: the sums, in one commit of seven tables.

use super::publish::{Layer, Published, table_name};
use super::{GOLD_BUCKET, table_uri};
use crate::common::lakehouse::Lakehouse;
use crate::retail::gold::{SOURCES, gold};
use crate::retail::schema::{self, Table};
use crate::retail::silver::TableFrame;
use arrow::array::RecordBatch;
use orch::prelude::*;
use orch_lake::frame::{blocking, from_batches};
use polars::prelude::DataFrame;
use std::iter::once;

/// Makes all gold tables of silver as it is now, and publishes them in one commit.
///
/// They are computed anew each time: some ten thousand rows, and nothing of an earlier run can be wrong in them.
#[task(retries = 3, retry_delay = secs(5), retry_backoff = 2.0, timeout = hours(1))]
pub async fn generate_gold_tables(ctx: Ctx) -> TaskResult<Published> {
    let place = Lakehouse::of(&ctx).await?;
    let mut read = Vec::new();
    for (name, columns) in SOURCES {
        let table = schema::lake(name).ok_or_else(|| fatal(format!("the lake has no table `{name}` of retail")))?;
        let now = place.lake.table(&table_name(name)?).await?;
        let batches = now.scan().columns(columns.iter().copied()).collect().await?;
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        ctx.info(format!("{rows} rows of `{}`", now.name()));
        read.push((table, batches));
    }
    let made = blocking(move |_| {
        let silver =
            read.iter().map(|(table, batches)| made(table, batches)).collect::<TaskResult<Vec<TableFrame>>>()?;
        Ok(gold(&silver)?)
    });
    let mut layer = Layer::new(&ctx, &place, GOLD_BUCKET, Vec::new()).await?;
    for one in made.await? {
        layer.add(one.table, once(Ok(one.frame)), |change| change).await?;
    }
    let published = layer.publish()?;
    for (table, rows) in &published.tables {
        for source in sources(table) {
            ctx.lineage(&table_uri(source), &table_uri(table), *rows)?;
        }
    }
    Ok(published)
}

fn made(table: &'static Table, batches: &[RecordBatch]) -> TaskResult<TableFrame> {
    let frame = match batches {
        [] => DataFrame::empty_with_schema(&table.frame()),
        some => from_batches(some)?,
    };
    Ok(TableFrame { table, frame })
}

/// What each table is made of.
fn sources(gold: &str) -> &'static [&'static str] {
    match gold {
        "orders_time_series" => &["orders_fact"],
        "sales_by_customer" | "sales_by_state" => &["orders_fact", "customer_dim"],
        "sales_by_product" => &["orders_fact", "product_dim"],
        _ => &["orders_fact", "product_dim", "category_dim"],
    }
}
