//! The tables that the changes of the source keep, in the place of the source: `retail_cdc.orders` and so on.

use super::days::Days;
use super::extract::BY_DAY;
use super::schema::{self, Table};
use crate::retail::capture::{CAPTURE, LEFT_OUT, NAMESPACE};
use anyhow::Context as _;
use arrow::array::{ArrayRef, AsArray as _, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int32Type, TimestampMicrosecondType};
use chrono::DateTime;
use futures::TryStreamExt as _;
use futures::stream::StreamExt as _;
use orch::{TaskResult, fatal};
use orch_lake::batches::Batches;
use orch_lake::frame::conform;
use orch_lake::{Lake, TableName};
use std::collections::HashSet;
use std::sync::Arc;

/// The rows that the table has now; of orders and their items, those of these days.
///
/// # Errors
/// A fatal one when the table is not kept.
pub(super) async fn read(lake: &Lake, table: &'static Table, days: Days) -> TaskResult<Batches> {
    let orders = match (table.name, days.is_all()) {
        ("order_items", false) => Some(orders_of(lake, days).await?),
        _ => None,
    };
    let is_by_date = table.name == "orders" && !days.is_all();
    debug_assert!(BY_DAY.contains(&table.name) || !is_by_date, "only orders have a day");
    let rows = all(lake, table).await?;
    let schema = Arc::new(table.arrow_or_null());
    let wanted = schema.clone();
    let fit = move |batch: TaskResult<RecordBatch>| {
        let batch = with_left_out(&batch?, table)?;
        let batch = match &orders {
            Some(orders) => of_orders(&batch, orders)?,
            None if is_by_date => of_days(&batch, days)?,
            None => batch,
        };
        conform(&batch, &wanted).map_err(|error| error.context(format!("table `{NAMESPACE}.{}`", table.name)))
    };
    Ok(Batches::new(schema, rows.map(fit)))
}

async fn all(lake: &Lake, table: &Table) -> TaskResult<Batches> {
    let name = TableName::new(NAMESPACE, table.name)?;
    let found = lake.find(&name).await?.filter(|table| table.current_snapshot().is_some());
    let found = found.ok_or_else(|| {
        fatal(format!(
            "table `{name}` is not kept\n\
             hint: `orch streams resume {CAPTURE}` and `orch streams resume retail_{}`, and wait for its rows",
            table.name
        ))
    })?;
    let columns = table.columns.iter().map(|column| column.name).filter(|column| (table.name, *column) != LEFT_OUT);
    Ok(found.scan().columns(columns).stream().await?)
}

/// What is in no topic is empty.
fn with_left_out(batch: &RecordBatch, table: &Table) -> TaskResult<RecordBatch> {
    let column = |column: &schema::Column| -> TaskResult<(&'static str, ArrayRef, bool)> {
        let found: ArrayRef = match batch.column_by_name(column.name) {
            Some(found) => found.clone(),
            None => Arc::new(StringArray::from(vec![""; batch.num_rows()])),
        };
        Ok((column.name, found, true))
    };
    let columns = table.columns.iter().map(column).collect::<TaskResult<Vec<_>>>()?;
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

async fn orders_of(lake: &Lake, days: Days) -> TaskResult<HashSet<i32>> {
    let orders = schema::raw("orders").context("the shop has orders")?;
    let mut rows = all(lake, orders).await?;
    let mut found = HashSet::new();
    while let Some(batch) = rows.try_next().await? {
        let batch = of_days(&batch, days)?;
        let ids = batch.column_by_name("order_id").context("orders have an id")?;
        found.extend(ids.as_primitive::<Int32Type>().iter().flatten());
    }
    Ok(found)
}

fn of_days(batch: &RecordBatch, days: Days) -> TaskResult<RecordBatch> {
    let dates = batch.column_by_name("order_date").context("orders have a date")?;
    let dates = dates.as_primitive::<TimestampMicrosecondType>();
    let is_held = |micros| DateTime::from_timestamp_micros(micros).is_some_and(|at| days.hold(at.date_naive()));
    let kept: BooleanArray = dates.iter().map(|at| Some(at.is_some_and(is_held))).collect();
    Ok(filter_record_batch(batch, &kept)?)
}

fn of_orders(batch: &RecordBatch, orders: &HashSet<i32>) -> TaskResult<RecordBatch> {
    let ids = batch.column_by_name("order_item_order_id").context("items have an order")?;
    let kept: BooleanArray =
        ids.as_primitive::<Int32Type>().iter().map(|id| Some(id.is_some_and(|id| orders.contains(&id)))).collect();
    Ok(filter_record_batch(batch, &kept)?)
}
