//! The tables of a bucket that are made together. Their objects lie in folders by the tables' names; which of them count is
//! said by one object, `_tables.json`, which is replaced as a whole: who reads by it sees all tables of one run, or all of
//! another. Those that are no longer named are removed after it, so who lists a folder finds the new rows alone a moment later.

use super::engine;
use super::hash::ContentHash;
use super::job::{Format, Job, Target, View, read_all};
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt as _;
use orch::prelude::*;
use orch_lake::batches::Batches;
use orch_lake::bucket::Bucket;
use orch_lake::contract::{CheckTrail, Facts, verdict};
use std::collections::{BTreeMap, BTreeSet};

const TABLES: &str = "_tables.json";
/// Below it are what engines write, a folder for each try.
const WRITING: &str = "_writing";
/// What a try that was killed left is removed after so long.
const ABANDONED: chrono::Duration = chrono::Duration::days(1);

/// A table of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerTable {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// The same rows have the same one, whichever engine wrote them.
    pub(crate) hash: String,
    format: Format,
    objects: Vec<String>,
}

/// What a job made, as the output of its task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layer {
    pub(crate) engine: String,
    pub(crate) tables: BTreeMap<String, LayerTable>,
}

impl Layer {
    /// Which place a try writes below.
    pub(crate) fn place(ctx: &Ctx) -> String {
        format!("{WRITING}/{}", ctx.attempt().simple())
    }

    /// Carries a job out and publishes its tables.
    ///
    /// # Errors
    /// That of the engine, or an object of it is not what it should be; then no table has changed.
    pub(crate) async fn make(ctx: &Ctx, job: &Job) -> TaskResult<Layer> {
        let layer = Layer::give(ctx, job, async |layer| publish(ctx, job, layer).await).await?;
        for (name, table) in &layer.tables {
            let LayerTable { rows, bytes, hash, .. } = table;
            let bucket = job.bucket.url();
            ctx.info(format!("`{bucket}/{name}`: {rows} rows, {bytes} bytes, content {}", &hash[..16]));
        }
        Ok(layer)
    }

    /// Carries a job out and gives its tables to `then`, which publishes none: they are removed after it.
    ///
    /// # Errors
    /// As [`Layer::make`], or that of `then`.
    pub(crate) async fn give<T>(ctx: &Ctx, job: &Job, then: impl AsyncFnOnce(Layer) -> TaskResult<T>) -> TaskResult<T> {
        sweep(ctx, job).await?;
        let given = match make(ctx, job).await {
            Ok(layer) => then(layer).await,
            Err(error) => Err(error),
        };
        let removed = job.bucket.delete_all(&job.place).await;
        let given = given?;
        removed?;
        Ok(given)
    }

    /// The tables as they are now.
    ///
    /// # Errors
    /// No task has made the tables yet. `hint` says which one does.
    pub(crate) async fn of(bucket: &Bucket, hint: &str) -> TaskResult<Layer> {
        let found = find(bucket).await?;
        found.ok_or_else(|| fatal(format!("`{}` is not there\nhint: {hint}", bucket.location(TABLES))))
    }

    /// A table as a view.
    ///
    /// # Errors
    /// There is no such table.
    pub(crate) fn view(&self, bucket: &Bucket, name: &'static str, schema: SchemaRef) -> TaskResult<View> {
        let table = self.table(bucket, name)?;
        Ok(View::of_objects(name, schema, bucket, (table.format, table.objects.clone())))
    }

    /// The rows of a table.
    ///
    /// # Errors
    /// As [`Layer::view`]; in the stream, that an object is gone or does not fit.
    pub(crate) fn rows(&self, bucket: &Bucket, name: &str, schema: SchemaRef) -> TaskResult<Batches> {
        let table = self.table(bucket, name)?;
        Ok(read_all(bucket.clone(), table.format, table.objects.clone(), schema))
    }

    fn table(&self, bucket: &Bucket, name: &str) -> TaskResult<&LayerTable> {
        self.tables.get(name).ok_or_else(|| fatal(format!("`{}` has no table `{name}`", bucket.url())))
    }
}

async fn find(bucket: &Bucket) -> TaskResult<Option<Layer>> {
    if bucket.find(TABLES).await?.is_none() {
        return Ok(None);
    }
    let text = bucket.get(TABLES).await?;
    let layer = serde_json::from_slice(&text);
    layer.map(Some).map_err(|error| fatal(format!("`{}` is not one of orch's: {error}", bucket.location(TABLES))))
}

async fn make(ctx: &Ctx, job: &Job) -> TaskResult<Layer> {
    let engine = engine(ctx, job).await?;
    let said = engine.write(ctx, job).await?;
    let mut tables = BTreeMap::new();
    for target in &job.tables {
        let written = written(ctx, job, target).await?;
        let rows = said.get(target.name).copied();
        if rows != Some(written.rows) {
            return Err(anyhow::anyhow!(
                "table `{}`: {} rows are in its objects, but the engine wrote {}",
                target.name,
                written.rows,
                rows.map_or_else(|| "none".into(), |rows| rows.to_string())
            ));
        }
        tables.insert(target.name.to_owned(), written);
    }
    Ok(Layer { engine: engine.name().into(), tables })
}

/// Reads back what an engine wrote: it is there, has the right types, no null where none may be, and keeps its contract.
async fn written(ctx: &Ctx, job: &Job, target: &Target) -> TaskResult<LayerTable> {
    let mut entries = job.bucket.list_all(&job.place_of(target)).await?;
    // Beside them are marks and checksums of Hadoop.
    entries.retain(|entry| entry.key.rsplit('/').next().is_some_and(|name| !name.starts_with(['_', '.'])));
    let objects: Vec<String> = entries.iter().map(|entry| entry.key.clone()).collect();
    let rows = read_all(job.bucket.clone(), job.format, objects.clone(), target.schema.clone());
    let mut rows = rows.report_progress(ctx);
    let (mut hash, facts) = (ContentHash::default(), Facts::at(ctx.run_after()));
    let mut checker = target.contract.begin(&facts)?;
    while let Some(batch) = rows.try_next().await? {
        checker.check_batch(&batch)?;
        hash = orch_lake::frame::blocking(move |_| {
            hash.add(&batch)?;
            Ok(hash)
        })
        .await?;
    }
    let (uri, found) = (target.contract.uri(), checker.end());
    let verdict = verdict(uri, &found);
    ctx.commit(CheckTrail::new(ctx, uri, found))?;
    verdict.map_err(|broken| fatal(broken.to_string()))?;
    let bytes = entries.iter().map(|entry| entry.bytes).sum();
    Ok(LayerTable { rows: hash.rows, bytes, hash: hash.text(), format: job.format, objects })
}

/// Puts the objects into the folders of their tables, then the word that they count in the place of those before.
async fn publish(ctx: &Ctx, job: &Job, mut layer: Layer) -> TaskResult<Layer> {
    let before = find(&job.bucket).await?;
    let attempt = ctx.attempt().simple().to_string();
    for (name, table) in &mut layer.tables {
        for (number, object) in table.objects.iter_mut().enumerate() {
            let key = format!("{name}/part-{number:05}-{attempt}.{}", table.format.suffix());
            job.bucket.copy(object, &key).await?;
            *object = key;
        }
    }
    job.bucket.put(TABLES, serde_json::to_vec(&layer)?).await?;
    let now: BTreeSet<&String> = layer.tables.values().flat_map(|table| &table.objects).collect();
    // Never those of others that write at the same time: what they name last is there.
    let gone = before.iter().flat_map(|layer| layer.tables.values()).flat_map(|table| &table.objects);
    for object in gone.filter(|object| !now.contains(object)) {
        job.bucket.delete(object).await?;
    }
    Ok(layer)
}

/// Removes what this try wrote before its worker was lost, and what others left long ago.
async fn sweep(ctx: &Ctx, job: &Job) -> TaskResult<()> {
    job.bucket.delete_all(&job.place).await?;
    let named = find(&job.bucket).await?;
    let named: BTreeSet<&String> =
        named.iter().flat_map(|layer| layer.tables.values()).flat_map(|table| &table.objects).collect();
    let parts: Vec<String> = job.tables.iter().map(|target| format!("{}/part-", target.name)).collect();
    for entry in job.bucket.list_all("").await? {
        let is_ours = entry.key.starts_with(WRITING) || parts.iter().any(|part| entry.key.starts_with(part));
        if is_ours && ctx.run_after() - entry.modified > ABANDONED && !named.contains(&entry.key) {
            job.bucket.delete(&entry.key).await?;
        }
    }
    Ok(())
}
