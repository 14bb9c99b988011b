//! Loads one table of the lake into Postgres. The table is replaced atomically while users read it.

use super::tables::{NAMESPACE, lake, postgres_uri};
use crate::common::connections::RETAIL_POSTGRES;
use crate::common::lakehouse::Lakehouse;
use orch::prelude::*;
use orch_lake::load::{Load, Loaded, ensure_database};

/// Loads one table of the lake into the schema `retail` of Postgres. Readers see the old rows or the new ones, never both.
#[task(retries = 3, retry_delay = secs(5), retry_backoff = 2.0, timeout = hours(1))]
pub async fn load(ctx: Ctx, table: String) -> TaskResult<Loaded> {
    let table = lake().find(|one| one.name == table).ok_or_else(|| fatal(format!("retail has no table `{table}`")))?;
    let target = ctx.connection(RETAIL_POSTGRES).await?;
    ensure_database(&target).await?;
    let now = Lakehouse::of(&ctx).await?.lake.table(&table.id()?).await?;
    let rows = now.scan().columns(table.column_names()).in_order().stream().await?;
    let load = Load::into(NAMESPACE, table.name).key(table.required_key().iter().copied()).once_in(&ctx);
    // Some tools expect the facts under this name.
    let load = if table.name == "orders_fact" { load.alias("order_fact") } else { load };
    let loaded = load.replace(&target, rows.report_progress(&ctx)).await?;
    ctx.info(format!("{} rows are in `{}`, {} of them new or changed", loaded.rows, loaded.table, loaded.written));
    let uri = postgres_uri(NAMESPACE, table.name);
    ctx.emit(AssetEvent::of(&*uri).rows(loaded.rows))?;
    ctx.lineage(&table.uri(), &uri, loaded.rows)?;
    Ok(loaded)
}
