//! The smallest pipeline there is: a CSV file in a bucket becomes a table in Postgres.

use crate::common::connections::{BUCKETS, RETAIL_POSTGRES};
use crate::common::engine::{Format, Job, Layer, Target, View};
use crate::common::lakehouse::bucket_of;
use arrow::array::AsArray as _;
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use futures::TryStreamExt as _;
use orch::prelude::*;
use orch_lake::bucket::Buckets;
use orch_lake::contract::Contract;
use orch_lake::format::csv::{self, Csv};
use orch_lake::load::{Load, Loaded, ensure_database};
use std::sync::{Arc, LazyLock};

const BUCKET: &str = "raw-data";
const OBJECT: &str = "sample_data.csv";
const TABLE: (&str, &str) = ("public", "transactions");
/// What lies in the bucket until somebody puts a file of their own there.
const SAMPLE: &str = "id,name,amount\n1,Alice,100\n2,Bob,200\n3,Charlie,300\n";
/// Ten percent on every amount.
const STATEMENT: &str = "SELECT id, name, amount * CAST(1.1 AS DOUBLE) AS amount FROM sample_data";

static SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    let field = |name, of| Field::new(name, of, false);
    Arc::new(Schema::new(vec![
        field("id", DataType::Int32),
        field("name", DataType::Utf8),
        field("amount", DataType::Float64),
    ]))
});

pub fn dags() -> Vec<Dag> {
    vec![etl_minio_postgres(), read_minio_csv()]
}

/// Puts the sample into the bucket `raw-data`, if no file lies there yet.
#[task(retries = 1, retry_delay = secs(10))]
async fn ingest_to_minio(ctx: Ctx) -> TaskResult<String> {
    let bucket = bucket_of(&ctx, BUCKET).await?;
    let is_new = bucket.put_if_absent(OBJECT, SAMPLE).await?;
    let location = bucket.location(OBJECT);
    ctx.info(if is_new { format!("the sample is at `{location}`") } else { format!("`{location}` is there") });
    Ok(location)
}

/// Reads the file, adds ten percent to each amount, and loads the rows into the table `transactions`, in the place of what
/// was there: on Spark, where one is set up, else in the worker. A line that cannot be read fails the task, and the table
/// stays as it was.
#[task(retries = 1, retry_delay = secs(10), timeout = mins(30))]
async fn minio_to_postgres(ctx: Ctx) -> TaskResult<Loaded> {
    let buckets = Buckets::of(&ctx.connection(BUCKETS).await?)?;
    let bucket = buckets.bucket(BUCKET)?;
    let target = ctx.connection(RETAIL_POSTGRES).await?;
    ensure_database(&target).await?;
    let file = (Format::Csv, vec![OBJECT.to_owned()]);
    let contract = Contract::of(format!("postgres://{}/{}", TABLE.0, TABLE.1));
    let job = Job {
        name: "etl_minio_postgres",
        views: vec![View::of_objects("sample_data", SCHEMA.clone(), &bucket, file)],
        tables: vec![Target::new(TABLE.1, SCHEMA.clone(), STATEMENT, contract)],
        format: Format::Parquet,
        bucket: bucket.clone(),
        options: buckets.options().clone(),
        place: Layer::place(&ctx),
    };
    let loaded = Layer::give(&ctx, &job, async |layer| {
        let rows = layer.rows(&bucket, TABLE.1, SCHEMA.clone())?;
        Load::into(TABLE.0, TABLE.1).once_in(&ctx).replace(&target, rows.report_progress(&ctx)).await
    });
    let loaded = loaded.await?;
    ctx.info(format!("{} rows are in `{}`", loaded.rows, loaded.table));
    ctx.lineage(&format!("bucket://{BUCKET}/{OBJECT}"), "postgres://public/transactions", loaded.rows)?;
    Ok(loaded)
}

fn etl_minio_postgres() -> Dag {
    dag("etl_minio_postgres")
        .describe("A CSV file of the bucket `raw-data` into the table `transactions`, on demand")
        .start("2025-01-01")
        .tags(["retail", "scenario 1"])
        .build(|d| {
            let file = d.add(ingest_to_minio());
            d.add(
                minio_to_postgres().after(file).outlet(asset("postgres://public/transactions").named("transactions")),
            );
        })
}

/// Says the lines of the file.
#[task]
async fn read_csv_from_minio(ctx: Ctx) -> TaskResult<u64> {
    let bucket = bucket_of(&ctx, BUCKET).await?;
    let mut rows = csv::read(&bucket, OBJECT, SCHEMA.clone(), Csv::default()).await?;
    let mut count = 0;
    while let Some(batch) = rows.try_next().await? {
        let (ids, names) =
            (batch.column(0).as_primitive::<arrow::datatypes::Int32Type>(), batch.column(1).as_string::<i32>());
        let amounts = batch.column(2).as_primitive::<Float64Type>();
        for row in 0..batch.num_rows().min(MOST_SAID) {
            ctx.info(format!("{}, {}, {}", ids.value(row), names.value(row), amounts.value(row)));
        }
        count += batch.num_rows() as u64;
    }
    Ok(count)
}

/// Of each batch: a log is no copy of a file.
const MOST_SAID: usize = 100;

fn read_minio_csv() -> Dag {
    dag("read_minio_csv")
        .describe("Says what stands in the CSV file of the bucket `raw-data`")
        .start("2025-01-01")
        .tags(["retail", "scenario 1"])
        .build(|d| {
            d.add(read_csv_from_minio());
        })
}
