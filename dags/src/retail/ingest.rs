//! Source → raw: writes one table as a CSV object for users and as typed Parquet for silver, in one pass over its rows.

use super::days::Days;
use super::extract::{BY_DAY, Extract};
use super::options::{From, Mode, Retail};
use super::silver::known_until;
use super::source::Source;
use super::tables::{RAW_BUCKET, object_uri, raw_table};
use crate::common::connections::RETAIL_MYSQL;
use crate::common::lakehouse::Lakehouse;
use orch::prelude::*;
use orch_lake::batches::write_both;
use orch_lake::format::csv::{self, Csv};
use orch_lake::format::parquet;

/// Copies one table of the source into the bucket `raw-retail-data`, as `TABLE.csv` and `TABLE.parquet`; for orders and items
/// of some days as `TABLE/DAYS.csv` and `TABLE/DAYS.parquet`. An object is written completely or not at all.
#[task(retries = 2, retry_delay = secs(10), retry_backoff = 2.0, timeout = hours(1))]
pub async fn ingest(ctx: Ctx, table: String, hand_over: Option<String>, options: Retail) -> TaskResult<Extract> {
    let table = raw_table(&table)?;
    let lakehouse = Lakehouse::of(&ctx).await?;
    let source = match options.source {
        From::Shop => Source::of(&ctx.connection(RETAIL_MYSQL).await?)?,
        From::Changes => Source::Changes(lakehouse.lake.clone()),
    };
    let known = if options.mode == Mode::Incremental { known_until(&lakehouse).await? } else { None };
    let days = options.days(ctx.logical_date().map(|date| date.date_naive()), known)?;
    let days = if BY_DAY.contains(&table.name) { days } else { Days::all() };
    let bucket = lakehouse.bucket(RAW_BUCKET).await?;
    let mut extract = Extract::at(table.name, days);
    let rows = source.read(table, days).await?.report_progress(&ctx);
    let (parquet, csv) = write_both(
        rows,
        async |rows| parquet::write(&bucket, &extract.parquet, rows).await,
        async |rows| csv::write(&bucket, &extract.csv, rows, Csv::default()).await,
    )
    .await?;
    (extract.rows, extract.bytes) = (parquet.rows, parquet.bytes + csv.bytes);

    ctx.info(format!("{} rows of `{}` ({}) are in `{}`", extract.rows, table.name, days.label(), bucket.url()));
    let object = object_uri(RAW_BUCKET, table.name);
    ctx.emit(AssetEvent::of(&*object).extra(json!({ "days": days, "csv": extract.csv })).rows(extract.rows))?;
    ctx.lineage(&source.uri(table.name), &object, extract.rows)?;
    if let Some(uri) = hand_over {
        ctx.emit(AssetEvent::of(uri).extra(serde_json::to_value(&extract)?).rows(extract.rows))?;
    }
    Ok(extract)
}
