//! A minimal pipeline: a CSV file in a bucket becomes a table in Postgres.

use crate::common::connections::{BUCKETS, RETAIL_POSTGRES};
use crate::common::engine::{Format, Job, Layer, Target, View};
use crate::common::lakehouse::bucket_of;
use arrow::util::display::array_value_to_string;
use futures::TryStreamExt as _;
use orch::prelude::*;
use orch_lake::bucket::Buckets;
use orch_lake::contract::Contract;
use orch_lake::format::csv::{self, Csv};
use orch_lake::load::{Load, Loaded, ensure_database};
use orch_lake::{TableSpec, columns};

const BUCKET: &str = "raw-data";
const OBJECT: &str = "sample_data.csv";
/// The table in Postgres; the file has the same columns.
const TRANSACTIONS: TableSpec =
    TableSpec::new("public", "transactions", &["id"], columns! { id: i32, name: String, amount: f64 });
const URI: &str = "postgres://public/transactions";
/// The initial file in the bucket, until you replace it.
const SAMPLE: &str = "id,name,amount\n1,Alice,100\n2,Bob,200\n3,Charlie,300\n";
/// Adds ten percent to every amount.
const STATEMENT: &str = "SELECT id, name, amount * CAST(1.1 AS DOUBLE) AS amount FROM sample_data";

/// Puts the sample into the bucket `raw-data`, unless it has a file already.
#[task(retries = 1, retry_delay = secs(10))]
async fn ingest_to_minio(ctx: Ctx) -> TaskResult<String> {
    let bucket = bucket_of(&ctx, BUCKET).await?;
    let is_new = bucket.put_if_absent(OBJECT, SAMPLE).await?;
    let location = bucket.location(OBJECT);
    ctx.info(if is_new { format!("the sample is at `{location}`") } else { format!("`{location}` exists already") });
    Ok(location)
}

/// Adds ten percent to each amount of the file and replaces the table `transactions` by its rows: on Spark if it is set up, else
/// in the worker. A line that cannot be parsed fails the task and leaves the table unchanged.
#[task(retries = 1, retry_delay = secs(10), timeout = mins(30))]
async fn minio_to_postgres(ctx: Ctx) -> TaskResult<Loaded> {
    let buckets = Buckets::of(&ctx.connection(BUCKETS).await?)?;
    let bucket = buckets.bucket(BUCKET)?;
    let target = ctx.connection(RETAIL_POSTGRES).await?;
    ensure_database(&target).await?;
    let file = (Format::Csv, vec![OBJECT.to_owned()]);
    let job = Job {
        name: "etl_minio_postgres",
        views: vec![View::of_objects("sample_data", TRANSACTIONS.schema(), &bucket, file)],
        tables: vec![Target::new(TRANSACTIONS.name, TRANSACTIONS.schema(), STATEMENT, Contract::of(URI))],
        format: Format::Parquet,
        bucket: bucket.clone(),
        options: buckets.options().clone(),
        place: Layer::place(&ctx),
    };
    let loaded = Layer::give(&ctx, &job, async |layer| {
        let rows = layer.rows(&bucket, TRANSACTIONS.name, TRANSACTIONS.schema())?;
        Load::into(TRANSACTIONS.namespace, TRANSACTIONS.name)
            .once_in(&ctx)
            .replace(&target, rows.report_progress(&ctx))
            .await
    });
    let loaded = loaded.await?;
    ctx.info(format!("{} rows are in `{}`", loaded.rows, loaded.table));
    ctx.lineage(&format!("bucket://{BUCKET}/{OBJECT}"), URI, loaded.rows)?;
    Ok(loaded)
}

pub(super) fn etl_minio_postgres() -> Dag {
    dag("etl_minio_postgres")
        .describe("A CSV file of the bucket `raw-data` into the table `transactions`, on demand")
        .start("2025-01-01")
        .tags(["retail"])
        .build(|d| {
            let file = d.add(ingest_to_minio());
            d.add(minio_to_postgres().after(file).outlet(asset(URI).named("transactions")));
        })
}

/// Logs the first lines of each batch of the file, and returns the number of rows.
#[task]
async fn read_csv_from_minio(ctx: Ctx) -> TaskResult<u64> {
    let bucket = bucket_of(&ctx, BUCKET).await?;
    let mut rows = csv::read(&bucket, OBJECT, TRANSACTIONS.schema(), Csv::default()).await?;
    let mut count = 0;
    while let Some(batch) = rows.try_next().await? {
        for row in 0..batch.num_rows().min(MAX_LOGGED_ROWS) {
            let values = batch.columns().iter().map(|column| array_value_to_string(column, row));
            ctx.info(values.collect::<Result<Vec<String>, _>>()?.join(", "));
        }
        count += batch.num_rows() as u64;
    }
    Ok(count)
}

/// Maximum number of rows of each batch that are logged.
const MAX_LOGGED_ROWS: usize = 100;

pub(super) fn read_minio_csv() -> Dag {
    dag("read_minio_csv")
        .describe("Logs the lines of the CSV file in the bucket `raw-data`")
        .start("2025-01-01")
        .tags(["retail"])
        .build(|d| {
            d.add(read_csv_from_minio());
        })
}
