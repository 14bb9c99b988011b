//! The bodies: each makes a layer of the one before. Passwords stay in raw, as customers have them there.

use super::{GOLD_BUCKET, NAMESPACE, RAW_BUCKET, SILVER_BUCKET, gold, silver};
use crate::common::connections::{BUCKETS, RETAIL_MYSQL, RETAIL_POSTGRES};
use crate::common::engine::{Format, Job, Layer, Outside, Target, View};
use crate::retail::days::Days;
use crate::retail::extract::BY_DAY;
use crate::retail::schema::{GOLD, RAW, RetailColumnType, SILVER, Table};
use crate::retail::source::Source;
use crate::retail::tasks::object_uri;
use futures::FutureExt as _;
use orch::prelude::*;
use orch_lake::bucket::{Bucket, Buckets};
use orch_lake::contract::{Contract, Policy};
use orch_lake::load::{Load, Loaded, ensure_database};
use std::sync::Arc;

/// Copies every table of the source into the bucket `spark-raw-retail-data`.
#[task(retries = 2, retry_delay = secs(10), retry_backoff = 2.0, timeout = hours(1))]
pub(super) async fn ingest(ctx: Ctx) -> TaskResult<Layer> {
    let connection = ctx.connection(RETAIL_MYSQL).await?;
    let source = Source::of(&connection)?;
    let view = |table: &'static Table| {
        let key = BY_DAY.contains(&table.name).then(|| table.key[0]);
        let outside = matches!(source, Source::MySql(_));
        let outside =
            outside.then(|| Outside::MySql { connection: Box::new(connection.clone()), table: table.name, key });
        let source = source.clone();
        let open = move || {
            let source = source.clone();
            async move { source.read(table, Days::all()).await }.boxed()
        };
        View { name: table.name, schema: Arc::new(table.arrow_or_null()), open: Arc::new(open), outside }
    };
    let buckets = Buckets::of(&ctx.connection(BUCKETS).await?)?;
    let columns = |table: &Table| table.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
    let targets = RAW.iter().map(|table| {
        let statement = format!("SELECT {} FROM {}", columns(table), table.name);
        let contract = Contract::of(object_uri(RAW_BUCKET, table.name));
        Target::new(table.name, Arc::new(table.arrow_or_null()), statement, contract)
    });
    let to = (RAW_BUCKET, Format::Csv);
    let (layer, _) = make(&ctx, &buckets, "mysql_to_raw_all", to, (RAW.iter().map(view).collect(), targets)).await?;
    for (name, made) in &layer.tables {
        ctx.lineage(&source.uri(name), &object_uri(RAW_BUCKET, name), made.rows)?;
    }
    Ok(layer)
}

/// Makes dimensions and facts of raw, in the bucket `spark-silver-retail-data`.
#[task(retries = 2, retry_delay = secs(10), retry_backoff = 2.0, timeout = hours(1))]
pub(super) async fn raw_to_silver(ctx: Ctx) -> TaskResult<Layer> {
    let to = (SILVER_BUCKET, Format::Csv);
    let raw = RAW.iter().map(|table| (table, Arc::new(table.arrow_or_null())));
    let from = From { bucket: RAW_BUCKET, tables: raw.collect(), made_by: "ingest_mysql_to_raw_spark" };
    next_layer(&ctx, "raw_to_silver", from, to, silver()).await
}

/// Sums silver up, in the bucket `spark-gold-retail-data`.
#[task(retries = 2, retry_delay = secs(10), retry_backoff = 2.0, timeout = hours(1))]
pub(super) async fn silver_to_gold(ctx: Ctx) -> TaskResult<Layer> {
    let to = (GOLD_BUCKET, Format::Parquet);
    let silver = SILVER.iter().map(|table| (table, Arc::new(table.arrow())));
    let from = From { bucket: SILVER_BUCKET, tables: silver.collect(), made_by: "process_raw_to_silver" };
    next_layer(&ctx, "silver_to_gold", from, to, gold()).await
}

/// Loads silver and gold into the schema `retail_spark` of Postgres. One session replaces a table in one transaction, which
/// no engine of several processes could: the worker does it.
#[task(retries = 2, retry_delay = secs(10), retry_backoff = 2.0, timeout = hours(1))]
pub(super) async fn to_postgres(ctx: Ctx) -> TaskResult<Vec<Loaded>> {
    let buckets = Buckets::of(&ctx.connection(BUCKETS).await?)?;
    let target = ctx.connection(RETAIL_POSTGRES).await?;
    ensure_database(&target).await?;
    let mut loaded = Vec::new();
    for (bucket, tables, made_by) in
        [(SILVER_BUCKET, &SILVER[..], "process_raw_to_silver"), (GOLD_BUCKET, &GOLD[..], "process_silver_to_gold")]
    {
        let name = bucket;
        let bucket = buckets.bucket(bucket)?;
        let layer = Layer::of(&bucket, &hint(made_by)).await?;
        for table in tables {
            let rows = layer.rows(&bucket, table.name, Arc::new(table.arrow()))?;
            let key = table.required_key().unwrap_or_default();
            let load = Load::into(NAMESPACE, table.name).key(key.iter().copied()).once_in(&ctx);
            let done = load.replace(&target, rows.report_progress(&ctx)).await?;
            ctx.info(format!("{} rows are in `{}`", done.rows, done.table));
            let uri = format!("postgres://{NAMESPACE}/{}", table.name);
            ctx.lineage(&object_uri(name, table.name), &uri, done.rows)?;
            loaded.push(done);
        }
    }
    Ok(loaded)
}

/// What a layer is made of.
struct From {
    bucket: &'static str,
    tables: Vec<(&'static Table, arrow::datatypes::SchemaRef)>,
    made_by: &'static str,
}

fn hint(made_by: &str) -> String {
    format!("run what makes it first: `orch dags trigger {made_by}`")
}

async fn next_layer(
    ctx: &Ctx,
    name: &'static str,
    from: From,
    to: (&'static str, Format),
    tables: impl Iterator<Item = (&'static Table, &'static str)>,
) -> TaskResult<Layer> {
    let buckets = Buckets::of(&ctx.connection(BUCKETS).await?)?;
    let bucket = buckets.bucket(from.bucket)?;
    let before = Layer::of(&bucket, &hint(from.made_by)).await?;
    let views = from.tables.into_iter().map(|(table, schema)| before.view(&bucket, table.name, schema));
    let views = views.collect::<TaskResult<Vec<View>>>()?;
    let targets = tables
        .map(|(table, statement)| Target::new(table.name, Arc::new(table.arrow()), statement, contract(to.0, table)));
    let (layer, read) = make(ctx, &buckets, name, to, (views, targets)).await?;
    for (table, made) in &layer.tables {
        // Statements say in words what they read.
        for source in read.iter().filter(|(statement, _)| statement == table).flat_map(|(_, sources)| sources) {
            ctx.lineage(&object_uri(from.bucket, source), &object_uri(to.0, table), made.rows)?;
        }
    }
    Ok(layer)
}

/// Each key once; an amount below zero is strange.
fn contract(bucket: &str, table: &Table) -> Contract {
    let key = || table.key.iter().copied();
    let contract = Contract::of(object_uri(bucket, table.name)).key(key()).unique(key());
    let amounts = table.columns.iter().filter(|column| column.kind == RetailColumnType::Money);
    amounts.fold(contract, |contract, column| contract.at_least(column.name, "0.00").or(Policy::Warn))
}

/// Which views the statement of each table names.
type Reads = Vec<(String, Vec<&'static str>)>;

async fn make(
    ctx: &Ctx,
    buckets: &Buckets,
    name: &'static str,
    (bucket, format): (&str, Format),
    (views, targets): (Vec<View>, impl Iterator<Item = Target>),
) -> TaskResult<(Layer, Reads)> {
    let bucket: Bucket = buckets.bucket(bucket)?;
    bucket.ensure().await?;
    let (options, place) = (buckets.options().clone(), Layer::place(ctx));
    let job = Job { name, views, tables: targets.collect(), format, bucket, options, place };
    let names = |statement: &str| {
        let words: Vec<&str> = statement.split_whitespace().collect();
        job.views.iter().map(|view| view.name).filter(|name| words.contains(name)).collect::<Vec<_>>()
    };
    let reads = job.tables.iter().map(|target| (target.name.to_owned(), names(&target.statement))).collect();
    Ok((Layer::make(ctx, &job).await?, reads))
}
