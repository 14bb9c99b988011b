//! Reads the mirrors in `retail_cdc` instead of the source.

use super::capture::{CAPTURE, LEFT_OUT, NAMESPACE};
use super::days::Days;
use super::tables::raw_table;
use arrow::array::RecordBatch;
use futures::TryStreamExt as _;
use futures::stream::StreamExt as _;
use orch::prelude::*;
use orch_lake::frame::sql::SqlFrames;
use orch_lake::frame::{conform, from_batches, to_batches};
use orch_lake::{Batches, Filter, Lake, TableName, TableSpec};

/// Returns the current rows of a table. `days` restricts orders and items by order date.
///
/// # Errors
/// Returns a fatal error if the table is not mirrored.
pub(super) async fn read(lake: &Lake, table: &'static TableSpec, days: Days) -> TaskResult<Batches> {
    let mut frames = SqlFrames::default();
    let (filter, statement) = match table.name {
        "orders" => (days.rows("order_date"), None),
        "order_items" if !days.is_all() => {
            let orders = scan(lake, raw_table("orders")?, days.rows("order_date")).await?;
            let orders: Vec<RecordBatch> = orders.try_collect().await?;
            frames.set("orders", from_batches(&orders)?);
            let items = "SELECT rows.* FROM rows SEMI JOIN orders ON rows.order_item_order_id = orders.order_id";
            (Filter::All, Some(items.to_owned()))
        }
        name if name == LEFT_OUT.0 => (Filter::All, Some(format!("SELECT *, '' AS {} FROM rows", LEFT_OUT.1))),
        _ => (Filter::All, None),
    };
    let (rows, schema) = (scan(lake, table, filter).await?, table.unchecked_schema());
    let typed = schema.clone();
    let fit = move |batch: TaskResult<RecordBatch>| {
        let batch = batch?;
        let Some(statement) = &statement else { return conform(&batch, &typed) };
        frames.set("rows", from_batches(&[batch])?);
        let batches = to_batches(frames.query(statement)?, &typed)?;
        Ok(arrow::compute::concat_batches(&typed, &batches)?)
    };
    Ok(Batches::new(schema, rows.map(fit)))
}

async fn scan(lake: &Lake, table: &TableSpec, filter: Filter) -> TaskResult<Batches> {
    let name = TableName::new(NAMESPACE, table.name)?;
    let found = lake.find(&name).await?.filter(|table| table.current_snapshot().is_some());
    let hint = format!("run `orch streams resume {CAPTURE}` and `orch streams resume retail_{}`", table.name);
    let found = found.ok_or_else(|| {
        fatal(format!("table `{name}` is not mirrored\nhint: {hint}, then wait until the table has rows"))
    })?;
    let columns = table.column_names().filter(|column| (table.name, *column) != LEFT_OUT);
    Ok(found.scan().columns(columns).filter(filter).stream().await?)
}
