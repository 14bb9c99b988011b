//! The lake → Postgres: one table, replaced as a whole while people read it.

use super::publish::table_name;
use super::{NAMESPACE, loaded_uri, table_uri};
use crate::common::connections::RETAIL_POSTGRES;
use crate::common::lakehouse::Lakehouse;
use crate::retail::schema;
use orch::prelude::*;
use orch_lake::load::{Load, Loaded, ensure_database};

/// Loads one table of the lake, as it is now, into the schema `retail` of Postgres. Whoever reads sees the rows before or
/// those after, never some of both.
#[task(retries = 3, retry_delay = secs(5), retry_backoff = 2.0, timeout = hours(1))]
pub async fn load(ctx: Ctx, table: String) -> TaskResult<Loaded> {
    let table = schema::lake(&table).ok_or_else(|| fatal(format!("the lake has no table `{table}` of retail")))?;
    let place = Lakehouse::of(&ctx).await?;
    let target = ctx.connection(RETAIL_POSTGRES).await?;
    ensure_database(&target).await?;
    let now = place.lake.table(&table_name(table.name)?).await?;
    let rows = now.scan().columns(table.columns.iter().map(|column| column.name)).in_order().stream().await?;
    let key = table.required_key().unwrap_or_default();
    let mut load = Load::into(NAMESPACE, table.name).key(key.iter().copied()).once_in(&ctx);
    if table.name == "orders_fact" {
        // As the tables of others call it.
        load = load.alias("order_fact");
    }
    let loaded = load.replace(&target, rows.report_progress(&ctx)).await?;
    ctx.info(format!("{} rows are in `{}`, {} of them were not before", loaded.rows, loaded.table, loaded.written));
    ctx.emit(AssetEvent::of(loaded_uri(table.name)).rows(loaded.rows))?;
    ctx.lineage(&table_uri(table.name), &loaded_uri(table.name), loaded.rows)?;
    Ok(loaded)
}
