//! Layers: the tables of a bucket that a job publishes together.
//!
//! The objects of a table are in a folder with its name. The object `_tables.json` lists the current objects, and is
//! replaced atomically: a reader that uses it sees all tables of one run. Objects that are no longer listed are deleted
//! afterwards, so a reader that lists a folder may briefly see old and new rows.

use super::Engine;
use super::check::{CheckedTable, check};
use super::hash::ContentHash;
use super::job::{Format, Job, View, read_all};
use crate::common::data_end;
use arrow::datatypes::SchemaRef;
use orch::prelude::*;
use orch_lake::batches::Batches;
use orch_lake::bucket::Bucket;
use orch_lake::contract::{Facts, KeySet};
use orch_lake::frame::blocking;
use std::collections::{BTreeMap, BTreeSet};

const TABLES: &str = "_tables.json";
/// Engines write into a subfolder of it for each attempt.
const WRITING: &str = "_writing";
/// Age after which objects of a killed attempt are deleted.
const ABANDONED_AFTER: chrono::Duration = chrono::Duration::days(1);

/// A table of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerTable {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Content hash: equal for equal rows, whichever engine wrote them.
    pub(crate) hash: String,
    /// Number of rows that break each rule of the contract and are therefore not in the table. A row may break several
    /// rules.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) removed: BTreeMap<String, u64>,
    format: Format,
    objects: Vec<String>,
}

/// The tables that a job built, as the output of its task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layer {
    pub(crate) engine: String,
    /// Tables by name. Quarantined rows of `orders` are in the table `orders_quarantine`.
    pub(crate) tables: BTreeMap<String, LayerTable>,
}

impl LayerTable {
    pub(super) fn new(format: Format, objects: Vec<String>, hash: &ContentHash, bytes: u64) -> LayerTable {
        LayerTable { rows: hash.rows, bytes, hash: hash.hex(), removed: BTreeMap::new(), format, objects }
    }
}

impl Layer {
    /// Returns the folder of the attempt.
    pub(crate) fn place(ctx: &Ctx) -> String {
        format!("{WRITING}/{}", ctx.attempt().simple())
    }

    /// Runs a job and publishes its tables. If the engine fails, or its rows break a contract, no table changes.
    pub(crate) async fn make(ctx: &Ctx, job: &Job) -> TaskResult<Layer> {
        let layer = Layer::give(ctx, job, async |layer| publish(ctx, job, layer).await).await?;
        for (name, table) in &layer.tables {
            let LayerTable { rows, bytes, hash, .. } = table;
            let bucket = job.bucket.url();
            ctx.info(format!("`{bucket}/{name}`: {rows} rows, {bytes} bytes, content {}", &hash[..16]));
        }
        Ok(layer)
    }

    /// Runs a job and passes its tables to `then`. They are not published, and are deleted when `then` returns.
    pub(crate) async fn give<T>(ctx: &Ctx, job: &Job, then: impl AsyncFnOnce(Layer) -> TaskResult<T>) -> TaskResult<T> {
        delete_abandoned(ctx, job).await?;
        let result = match run_and_check(ctx, job).await {
            Ok(layer) => then(layer).await,
            Err(error) => Err(error),
        };
        let deleted = job.bucket.delete_all(&job.place).await;
        let result = result?;
        deleted?;
        Ok(result)
    }

    /// Returns the published tables of a bucket. If there are none yet, the error names the DAG that builds them.
    pub(crate) async fn of(bucket: &Bucket, made_by: &str) -> TaskResult<Layer> {
        let hint = format!("run the DAG that makes it first: `orch dags trigger {made_by}`");
        let found = find(bucket).await?;
        found.ok_or_else(|| fatal(format!("`{}` does not exist\nhint: {hint}", bucket.location(TABLES))))
    }

    /// Returns a table as a view.
    pub(crate) fn view(&self, bucket: &Bucket, name: &'static str, schema: SchemaRef) -> TaskResult<View> {
        let table = self.table(bucket, name)?;
        Ok(View::of_objects(name, schema, bucket, (table.format, table.objects.clone())))
    }

    /// Returns the rows of a table. The stream fails if an object was deleted or does not have the columns of the
    /// schema.
    pub(crate) fn rows(&self, bucket: &Bucket, name: &str, schema: SchemaRef) -> TaskResult<Batches> {
        let table = self.table(bucket, name)?;
        Ok(read_all(bucket.clone(), table.format, table.objects.clone(), schema))
    }

    fn table(&self, bucket: &Bucket, name: &str) -> TaskResult<&LayerTable> {
        self.tables.get(name).ok_or_else(|| fatal(format!("`{}` has no table `{name}`", bucket.url())))
    }

    fn objects(&self) -> impl Iterator<Item = &String> {
        self.tables.values().flat_map(|table| &table.objects)
    }
}

async fn find(bucket: &Bucket) -> TaskResult<Option<Layer>> {
    if bucket.find(TABLES).await?.is_none() {
        return Ok(None);
    }
    let layer = serde_json::from_slice(&bucket.get(TABLES).await?);
    layer.map(Some).map_err(|error| fatal(format!("cannot parse `{}`: {error}", bucket.location(TABLES))))
}

async fn run_and_check(ctx: &Ctx, job: &Job) -> TaskResult<Layer> {
    let engine = Engine::choose(ctx, job).await?;
    let reported = engine.write(ctx, job).await?;
    let (mut tables, mut facts) = (BTreeMap::new(), Facts::at(data_end(ctx)));
    for target in &job.tables {
        let checked = check(ctx, job, target, &facts, reported.get(target.name).copied()).await?;
        let CheckedTable { table, quarantine, keys } = checked;
        let key = target.referenced_key;
        if !key.is_empty() {
            let keys = blocking(move |_| Ok(KeySet::of(&keys, key)?)).await?;
            facts = facts.keys(target.name, keys);
        }
        tables.insert(target.name.to_owned(), table);
        tables.extend(quarantine.map(|table| (target.quarantine(), table)));
    }
    Ok(Layer { engine: engine.name().into(), tables })
}

/// Copies the objects into the folders of their tables, then lists them in `_tables.json` instead of the previous
/// objects.
async fn publish(ctx: &Ctx, job: &Job, mut layer: Layer) -> TaskResult<Layer> {
    let previous = find(&job.bucket).await?;
    let attempt = ctx.attempt().simple().to_string();
    for (name, table) in &mut layer.tables {
        for (number, object) in table.objects.iter_mut().enumerate() {
            let key = format!("{name}/part-{number:05}-{attempt}.{}", table.format.extension());
            job.bucket.copy(object, &key).await?;
            *object = key;
        }
    }
    job.bucket.put(TABLES, serde_json::to_vec(&layer)?).await?;
    let published: BTreeSet<&String> = layer.objects().collect();
    // Deletes only objects that were listed before: a concurrent attempt may have written others that it lists next.
    for object in previous.iter().flat_map(Layer::objects).filter(|object| !published.contains(object)) {
        job.bucket.delete(object).await?;
    }
    Ok(layer)
}

/// Deletes the objects that an earlier worker of this attempt wrote, and those that killed attempts left more than a
/// day ago.
async fn delete_abandoned(ctx: &Ctx, job: &Job) -> TaskResult<()> {
    job.bucket.delete_all(&job.place).await?;
    let published = find(&job.bucket).await?;
    let published: BTreeSet<&String> = published.iter().flat_map(Layer::objects).collect();
    let names = job.tables.iter().flat_map(|target| [target.name.to_owned(), target.quarantine()]);
    let parts: Vec<String> = names.map(|name| format!("{name}/part-")).collect();
    for entry in job.bucket.list_all("").await? {
        let is_ours = entry.key.starts_with(WRITING) || parts.iter().any(|part| entry.key.starts_with(part));
        if is_ours && ctx.run_after() - entry.modified > ABANDONED_AFTER && !published.contains(&entry.key) {
            job.bucket.delete(&entry.key).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::job::Target;
    use super::*;
    use arrow::datatypes::{DataType, Field, Schema};
    use orch::{Connection, MemoryHost};
    use orch_lake::bucket::Options;
    use orch_lake::contract::{Contract, Policy};
    use std::sync::Arc;

    #[tokio::test]
    async fn rows_that_break_a_contract_are_published_in_another_table() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}", folder.path().display());
        let bucket = Bucket::open(&url, &Options::default()).unwrap();
        bucket.put("in/customers.csv", "id\n1\n2\n2\n").await.unwrap();
        bucket.put("in/orders.csv", "customer_id,amount\n1,5\n2,-1\n3,7\n").await.unwrap();
        let schema = |names: &[&str]| {
            let fields = names.iter().map(|name| Field::new(*name, DataType::Int32, false));
            Arc::new(Schema::new(fields.collect::<Vec<_>>()))
        };
        let (customer, order) = (schema(&["id"]), schema(&["customer_id", "amount"]));
        let view = |name: &'static str, schema: &SchemaRef| {
            View::of_objects(name, schema.clone(), &bucket, (Format::Csv, vec![format!("in/{name}.csv")]))
        };
        let unique = Contract::of("bucket://out/customer_dim").unique(["id"]).or(Policy::Quarantine);
        let known = Contract::of("bucket://out/order_fact").references(["customer_id"], "customer_dim");
        let known = known.or(Policy::Quarantine).rules([("positive_amount", "amount > 0")]).or_remove();
        let customers = Target::new("customer_dim", customer.clone(), "SELECT * FROM customers", unique);
        let customers = Target { referenced_key: &["id"], ..customers };
        let orders = Target::new("order_fact", order.clone(), "SELECT * FROM orders", known);
        let connection = Connection { id: "spark_default".into(), conn_type: "local".into(), ..Connection::default() };
        let ctx = MemoryHost::new().with_connection(connection).ctx();
        let job = Job {
            name: "orders",
            views: vec![view("customers", &customer), view("orders", &order)],
            tables: vec![customers, orders],
            format: Format::Csv,
            bucket: bucket.clone(),
            options: Options::default(),
            place: Layer::place(&ctx),
        };
        let layer = Layer::make(&ctx, &job).await.unwrap();
        assert_eq!(layer, Layer::of(&bucket, "").await.unwrap());
        let expected = [
            ("customer_dim", 2, "id\n1\n2\n"),
            ("customer_dim_quarantine", 1, "id,quarantine_reason\n2,"),
            ("order_fact", 1, "customer_id,amount\n1,5\n"),
            ("order_fact_quarantine", 1, "customer_id,amount,quarantine_reason\n3,7,"),
        ];
        assert_eq!(layer.tables.len(), expected.len());
        for (name, rows, start) in expected {
            let text = bucket.get(&layer.tables[name].objects[0]).await.unwrap();
            assert!(layer.tables[name].rows == rows && text.starts_with(start.as_bytes()), "{name}: {text:?}");
        }
        assert_eq!(layer.tables["order_fact"].removed["positive_amount"], 1);
        assert!(bucket.list_all(WRITING).await.unwrap().is_empty());
    }
}
