//! silver → gold: the sums, in one commit of seven tables.

use super::publish::{Layer, Published, table_name};
use super::{GOLD_BUCKET, table_uri};
use crate::place::Place;
use crate::retail::gold::gold;
use orch::prelude::*;
use orch_lake::frame::{blocking, from_batches};

/// Makes all gold tables of `orders_fact` as it is now, and publishes them in one commit.
///
/// They are computed anew each time: some ten thousand rows, and nothing of an earlier run can be wrong in them.
#[task(retries = 3, retry_delay = secs(5), retry_backoff = 2.0, timeout = hours(1))]
pub async fn generate_gold_tables(ctx: Ctx) -> TaskResult<Published> {
    let place = Place::of(&ctx).await?;
    let facts = place.lake.table(&table_name("orders_fact")?).await?;
    let columns = [
        "order_id",
        "order_date",
        "customer_id",
        "customer_fname",
        "customer_lname",
        "customer_state",
        "product_id",
        "product_name",
        "category_id",
        "category_name",
        "department_id",
        "department_name",
        "order_item_quantity",
        "order_item_subtotal",
    ];
    let batches = facts.scan().columns(columns).collect().await?;
    let rows: usize = batches.iter().map(arrow::array::RecordBatch::num_rows).sum();
    ctx.info(format!("{rows} rows of `{}`", facts.name()));
    let made = blocking(move |_| Ok(gold(&from_batches(&batches)?)?)).await?;
    let mut layer = Layer::new(&ctx, &place, GOLD_BUCKET, Vec::new()).await?;
    for one in made {
        layer.add(one, &[]).await?;
    }
    let published = layer.publish()?;
    for (table, rows) in &published.tables {
        ctx.lineage(&table_uri("orders_fact"), &table_uri(table), *rows)?;
    }
    Ok(published)
}
