//! silver → gold: computes the sums of `sql/` over the current silver tables, and publishes all tables in one commit.
//! They are recomputed in full each time, so errors of an earlier run do not persist.

use super::silver::layer;
use super::tables::{GOLD, GOLD_BUCKET, silver};
use crate::common::lakehouse::Lakehouse;
use crate::common::model::columns_read;
use arrow::array::RecordBatch;
use orch::prelude::*;
use orch_lake::frame::sql::SqlFrames;
use orch_lake::frame::{empty_frame, from_batches};
use orch_lake::publish::{Published, Publisher};

#[task(retries = 3, retry_delay = secs(5), retry_backoff = 2.0, timeout = hours(1))]
pub async fn generate_gold_tables(ctx: Ctx) -> TaskResult<Published> {
    let lakehouse = Lakehouse::of(&ctx).await?;
    let bucket = lakehouse.bucket(GOLD_BUCKET).await?;
    let mut frames = SqlFrames::default();
    let statements: String = GOLD.iter().map(|model| model.statement).collect::<Vec<_>>().join("\n");
    for table in silver() {
        let now = lakehouse.lake.table(&table.id()?).await?;
        let batches = now.scan().columns(columns_read(&statements, &table)).collect().await?;
        ctx.info(format!("{} rows of `{}`", batches.iter().map(RecordBatch::num_rows).sum::<usize>(), now.name()));
        frames
            .set(table.name, if batches.is_empty() { empty_frame(&table.schema())? } else { from_batches(&batches)? });
    }
    let mut publisher = Publisher::new(&ctx, &lakehouse.lake).await?;
    for model in GOLD.iter() {
        let rows = frames.make(&model.table, model.statement).await?;
        publisher.add(layer(model, rows.into(), &bucket, format!("{}.csv", model.table.name))).await?;
    }
    publisher.publish()
}
