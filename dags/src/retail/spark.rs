//! Builds silver and gold with the same SQL files on Spark, on Sail, or in this process if neither is configured. Raw
//! and silver are CSV objects, gold is Parquet, each in a separate bucket. Only raw contains passwords.

use super::days::Days;
use super::extract::BY_DAY;
use super::source::Source;
use super::tables::{GOLD, RAW, SILVER, object_uri, postgres_uri, silver};
use crate::common::connections::{BUCKETS, RETAIL_MYSQL, RETAIL_POSTGRES};
use crate::common::engine::{Format, Job, Layer, Outside, Target, View};
use crate::common::model::Model;
use futures::FutureExt as _;
use orch::prelude::*;
use orch_lake::TableSpec;
use orch_lake::bucket::Buckets;
use orch_lake::contract::Contract;
use orch_lake::load::{Load, Loaded, ensure_database};
use std::sync::Arc;

pub const RAW_BUCKET: &str = "spark-raw-retail-data";
pub const SILVER_BUCKET: &str = "spark-silver-retail-data";
pub const GOLD_BUCKET: &str = "spark-gold-retail-data";
/// The schema in Postgres; the schema `retail` has the tables of the lake.
pub const NAMESPACE: &str = "retail_spark";

/// Copies every table of the source into the bucket `spark-raw-retail-data`.
#[task(retries = 2, retry_delay = secs(10), retry_backoff = 2.0, timeout = hours(1))]
pub(super) async fn ingest(ctx: Ctx) -> TaskResult<Layer> {
    let connection = ctx.connection(RETAIL_MYSQL).await?;
    let source = Source::of(&connection)?;
    let views = RAW.iter().map(|table| {
        let outside = matches!(source, Source::MySql(_)).then(|| Outside::MySql {
            connection: Box::new(connection.clone()),
            table: table.name,
            key: BY_DAY.contains(&table.name).then(|| table.key[0]),
        });
        let reader = source.clone();
        let open = move || {
            let reader = reader.clone();
            async move { reader.read(table, Days::all()).await }.boxed()
        };
        View { name: table.name, schema: table.unchecked_schema(), open: Arc::new(open), outside }
    });
    let targets = RAW.iter().map(|table| {
        let columns = table.column_names().collect::<Vec<_>>().join(", ");
        let statement = format!("SELECT {columns} FROM {}", table.name);
        let contract = Contract::of(object_uri(RAW_BUCKET, table.name));
        Target::new(table.name, table.unchecked_schema(), statement, contract)
    });
    let to = (RAW_BUCKET, Format::Csv);
    let layer = make(&ctx, "mysql_to_raw_all", to, views.collect(), targets.collect()).await?;
    for (name, made) in &layer.tables {
        ctx.lineage(&source.uri(name), &object_uri(RAW_BUCKET, name), made.rows)?;
    }
    Ok(layer)
}

/// Makes dimensions and facts from raw, in the bucket `spark-silver-retail-data`.
#[task(retries = 2, retry_delay = secs(10), retry_backoff = 2.0, timeout = hours(1))]
pub(super) async fn raw_to_silver(ctx: Ctx) -> TaskResult<Layer> {
    let from = (RAW_BUCKET, "ingest_mysql_to_raw_spark");
    next_layer(&ctx, "raw_to_silver", from, &RAW, (SILVER_BUCKET, Format::Csv), &SILVER).await
}

/// Sums up silver, in the bucket `spark-gold-retail-data`.
#[task(retries = 2, retry_delay = secs(10), retry_backoff = 2.0, timeout = hours(1))]
pub(super) async fn silver_to_gold(ctx: Ctx) -> TaskResult<Layer> {
    let from = (SILVER_BUCKET, "process_raw_to_silver");
    next_layer(&ctx, "silver_to_gold", from, &silver(), (GOLD_BUCKET, Format::Parquet), &GOLD).await
}

/// Loads silver and gold into the schema `retail_spark` of Postgres. The worker does this instead of Spark, because one
/// transaction must replace a table, and the processes of Spark have one session each.
#[task(retries = 2, retry_delay = secs(10), retry_backoff = 2.0, timeout = hours(1))]
pub(super) async fn to_postgres(ctx: Ctx) -> TaskResult<Vec<Loaded>> {
    let buckets = Buckets::of(&ctx.connection(BUCKETS).await?)?;
    let target = ctx.connection(RETAIL_POSTGRES).await?;
    ensure_database(&target).await?;
    let mut loaded = Vec::new();
    for (name, models, made_by) in
        [(SILVER_BUCKET, &SILVER, "process_raw_to_silver"), (GOLD_BUCKET, &GOLD, "process_silver_to_gold")]
    {
        let bucket = buckets.bucket(name)?;
        let layer = Layer::of(&bucket, made_by).await?;
        for table in models.iter().map(|model| model.table) {
            let rows = layer.rows(&bucket, table.name, table.schema())?;
            let load = Load::into(NAMESPACE, table.name).key(table.required_key().iter().copied()).once_in(&ctx);
            let done = load.replace(&target, rows.report_progress(&ctx)).await?;
            ctx.info(format!("{} rows are in `{}`", done.rows, done.table));
            ctx.lineage(&object_uri(name, table.name), &postgres_uri(NAMESPACE, table.name), done.rows)?;
            loaded.push(done);
        }
    }
    Ok(loaded)
}

/// Builds a layer from the tables of another bucket. `from`: that bucket, and the DAG that fills it.
async fn next_layer(
    ctx: &Ctx,
    name: &'static str,
    from: (&str, &str),
    tables: &[TableSpec],
    to: (&str, Format),
    models: &[Model],
) -> TaskResult<Layer> {
    let bucket = Buckets::of(&ctx.connection(BUCKETS).await?)?.bucket(from.0)?;
    let before = Layer::of(&bucket, from.1).await?;
    let views = tables.iter().map(|table| before.view(&bucket, table.name, table.unchecked_schema()));
    let targets = models.iter().map(|model| {
        let TableSpec { name, .. } = model.table;
        let contract = model.contract().about(object_uri(to.0, name));
        let target = Target::new(name, model.table.unchecked_schema(), model.statement, contract);
        let is_referenced = models.iter().any(|other| other.references().any(|(_, table)| table == name));
        Target { referenced_key: if is_referenced { model.table.key } else { &[] }, ..target }
    });
    let layer = make(ctx, name, to, views.collect::<TaskResult<_>>()?, targets.collect()).await?;
    for model in models {
        let made = layer.tables.get(model.table.name).map(|table| table.rows);
        for source in &model.reads {
            let bucket = if models.iter().any(|other| other.table.name == *source) { to.0 } else { from.0 };
            ctx.lineage(&object_uri(bucket, source), &object_uri(to.0, model.table.name), made)?;
        }
    }
    Ok(layer)
}

async fn make(
    ctx: &Ctx,
    name: &'static str,
    (bucket, format): (&str, Format),
    views: Vec<View>,
    tables: Vec<Target>,
) -> TaskResult<Layer> {
    let buckets = Buckets::of(&ctx.connection(BUCKETS).await?)?;
    let bucket = buckets.bucket(bucket)?;
    bucket.ensure().await?;
    let (options, place) = (buckets.options().clone(), Layer::place(ctx));
    Layer::make(ctx, &Job { name, views, tables, format, bucket, options, place }).await
}
