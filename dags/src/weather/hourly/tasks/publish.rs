//! Checked → lake: each table with its quarantine in one commit, in the transaction that records the success of the task.

use super::check::{Checked, Lot};
use super::{BUCKET, object_uri};
use crate::common::lakehouse::Lakehouse;
use crate::common::nyc::schema::{HOURLY, Table, ZONES};
use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType};
use futures::TryStreamExt as _;
use orch::prelude::*;
use orch_lake::batches::Batches;
use orch_lake::bucket::Bucket;
use orch_lake::contract::{REASON, quarantine_of};
use orch_lake::format::parquet;
use orch_lake::table::CommitStep;
use orch_lake::{Change, Filter, TableDef, TableName, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Of a snapshot of the zones: which list it is.
const DIGEST: &str = "reference.zones";

/// What a task published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub table: String,
    pub rows: u64,
    pub quarantined: u64,
}

/// Replaces the hours that were told, place by place, and leaves all others. Twice the same hours are the same table.
#[task(retries = 5, retry_delay = secs(2), retry_backoff = 2.0, timeout = mins(30))]
pub async fn weather_to_iceberg(ctx: Ctx, checked: Checked) -> TaskResult<Published> {
    let place = Lakehouse::of(&ctx).await?;
    let bucket = place.bucket(BUCKET).await?;
    let lot = &checked.weather;
    let rows: Vec<RecordBatch> =
        parquet::read_as(&bucket, &lot.passed, HOURLY.arrow()).await?.report_progress(&ctx).try_collect().await?;
    let aside = rows_aside(&bucket, lot).await?;
    let hours: BTreeSet<i64> = rows.iter().chain(&aside).flat_map(hours).collect();
    let table = place.lake.ensure(&HOURLY.id()?, &HOURLY.definition()?).await?;
    let upsert = table.upsert(&[], Batches::of(HOURLY.arrow(), rows)).await?.by(&ctx);
    let mut changes = vec![upsert];
    // Of the same hours as the rows: whatever was put aside of them before is found here again, or mended.
    let at = hours.into_iter().map(|micros| Value::Datum(iceberg::spec::Datum::timestamptz_micros(micros)));
    changes.extend(quarantine(&ctx, &place, Filter::is_in("timestamp", at), aside).await?);
    publish(&ctx, &place, &HOURLY, lot, changes)
}

/// Publishes the list of zones, if it is another than the table has.
#[task(retries = 5, retry_delay = secs(2), retry_backoff = 2.0, timeout = mins(10))]
pub async fn location_to_iceberg(ctx: Ctx, checked: Checked) -> TaskResult<Published> {
    let place = Lakehouse::of(&ctx).await?;
    let bucket = place.bucket(BUCKET).await?;
    let table = place.lake.ensure(&ZONES.id()?, &ZONES.definition()?).await?;
    let now = table.current_snapshot().map(|snapshot| &snapshot.summary().additional_properties);
    let mut changes = Vec::new();
    if now.and_then(|properties| properties.get(DIGEST)) == Some(&checked.zones_digest) {
        ctx.info(format!("`{}` has these zones already", table.name()));
    } else {
        let rows = parquet::read_as(&bucket, &checked.zones.passed, ZONES.arrow()).await?;
        let change = table.overwrite(Filter::All, rows.report_progress(&ctx)).await?.by(&ctx);
        changes.push(change.property(DIGEST, &checked.zones_digest));
    }
    publish(&ctx, &place, &ZONES, &checked.zones, changes)
}

fn publish(ctx: &Ctx, place: &Lakehouse, table: &Table, lot: &Lot, changes: Vec<Change>) -> TaskResult<Published> {
    ctx.commit(CommitStep::new(&place.lake, changes))?;
    let uri = table.uri();
    ctx.emit(AssetEvent::of(&*uri).rows(lot.rows))?;
    // Rows in are rows out and rows aside.
    ctx.lineage(&object_uri(&lot.from), &uri, lot.rows)?;
    if lot.rows_aside > 0 {
        ctx.lineage(
            &object_uri(&lot.from),
            &format!("lake://{}/{}", table.namespace, quarantine_of(table.name)),
            lot.rows_aside,
        )?;
    }
    let published = Published { table: table.id()?.to_string(), rows: lot.rows, quarantined: lot.rows_aside };
    ctx.info(format!("{} rows of `{}`, {} put aside", published.rows, published.table, published.quarantined));
    Ok(published)
}

async fn rows_aside(bucket: &Bucket, lot: &Lot) -> TaskResult<Vec<RecordBatch>> {
    if lot.rows_aside == 0 {
        return Ok(Vec::new());
    }
    parquet::read_as(bucket, &lot.aside, aside_schema()).await?.try_collect().await
}

fn aside_schema() -> SchemaRef {
    let mut fields: Vec<_> = HOURLY.arrow().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(REASON, DataType::Utf8, false)));
    Arc::new(Schema::new(fields))
}

/// `None` where nothing was put aside, now or ever.
async fn quarantine(
    ctx: &Ctx,
    place: &Lakehouse,
    replaced: Filter,
    rows: Vec<RecordBatch>,
) -> TaskResult<Option<Change>> {
    let name = TableName::new(HOURLY.namespace, quarantine_of(HOURLY.name))?;
    if rows.is_empty() && place.lake.find(&name).await?.is_none() {
        return Ok(None);
    }
    let table = place.lake.ensure(&name, &TableDef::of(&aside_schema())?).await?;
    Ok(Some(table.overwrite(replaced, Batches::of(aside_schema(), rows)).await?.by(ctx)))
}

fn hours(batch: &RecordBatch) -> Vec<i64> {
    let column = batch.column_by_name("timestamp").expect("both schemas have it");
    column.as_primitive::<TimestampMicrosecondType>().values().to_vec()
}
