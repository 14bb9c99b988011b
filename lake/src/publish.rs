//! Publishes tables from a task.
//!
//! Each [`Layer`] holds the new rows of one table. Rows are checked against a contract while they are written; rows
//! that the contract quarantines go to a sibling table. No change is visible until the task succeeds: all tables
//! change in the transaction that records its success.

use crate::batches::{Batches, write_both};
use crate::bucket::Bucket;
use crate::contract::{CheckedLot, Contract, Facts, REASON, Removed, quarantine_of};
use crate::format::csv::{self, Csv};
use crate::table::{Change, CommitStep, Filter, TableDef, TableName, TableSpec};
use crate::{Lake, LakeError, Table};
use anyhow::Context as _;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::{DateTime, Utc};
use orch_sdk::task::{AssetEvent, Ctx, TaskResult, fatal};
use orch_store::Commit as _;
use orch_store::completion::CompletionStep;
use polars::prelude::DataFrame;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The new rows of one table.
#[derive(Debug)]
pub struct Layer {
    table: TableSpec,
    rows: Batches,
    contract: Contract,
    replaced: Filter,
    is_upsert: bool,
    csv: Option<(Bucket, String)>,
    tally: Option<&'static str>,
    sources: Vec<String>,
    location: Option<String>,
}

impl Layer {
    /// Creates a layer whose rows replace all rows of the table. The rows may have columns that the table has but its
    /// declaration lacks.
    pub fn new(table: &TableSpec, rows: Batches) -> Layer {
        Layer {
            table: *table,
            rows,
            contract: table.contract(),
            replaced: Filter::All,
            is_upsert: false,
            csv: None,
            tally: None,
            sources: Vec::new(),
            location: None,
        }
    }

    /// Sets the contract that checks the rows. Default: [`TableSpec::contract`].
    #[must_use]
    pub fn contract(self, contract: Contract) -> Layer {
        Layer { contract, ..self }
    }

    /// Replaces only the rows that match the filter. Every new row must match it too.
    #[must_use]
    pub fn replacing(self, replaced: Filter) -> Layer {
        Layer { replaced, ..self }
    }

    /// Upserts: each new row replaces the existing row with the same key, and all other rows are kept. `quarantine`
    /// selects which rows of the quarantine table are replaced.
    #[must_use]
    pub fn upserting(self, quarantine: Filter) -> Layer {
        Layer { is_upsert: true, replaced: quarantine, ..self }
    }

    /// Also writes the rows to a CSV object.
    #[must_use]
    pub fn csv(self, bucket: &Bucket, key: String) -> Layer {
        Layer { csv: Some((bucket.clone(), key)), ..self }
    }

    /// Sets a summary query, such as partial sums or the newest date. It is a `SELECT` from `rows` that is run on
    /// groups of a few batches of rows that passed the checks. [`Written::tally`] contains the results.
    #[must_use]
    pub fn tally(self, statement: &'static str) -> Layer {
        Layer { tally: Some(statement), ..self }
    }

    /// Records the URIs of the input data for lineage.
    #[must_use]
    pub fn sources<S: Into<String>>(self, sources: impl IntoIterator<Item = S>) -> Layer {
        Layer { sources: sources.into_iter().map(Into::into).collect(), ..self }
    }

    /// Sets the folder in which the table and its quarantine table are created if they do not exist. Default: a
    /// folder in the warehouse.
    #[must_use]
    pub fn below(self, folder: String) -> Layer {
        Layer { location: Some(folder), ..self }
    }
}

/// The result of writing one layer. The change is not visible to readers yet.
#[derive(Debug)]
pub struct Written {
    pub rows: u64,
    pub quarantined: u64,
    pub removed: Removed,
    /// The results of [`Layer::tally`]. Has no columns if no tally was set or there were no rows.
    pub tally: DataFrame,
}

/// The row counts of one published table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedTable {
    pub rows: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub quarantined: u64,
    /// Number of rows that violate each rule. A row that violates several rules is counted for each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(rows: &u64) -> bool {
    *rows == 0
}

/// The output of a task that publishes tables, by table name without the namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub tables: BTreeMap<String, PublishedTable>,
}

/// Collects the table changes of a task and publishes all of them atomically.
pub struct Publisher<'a> {
    ctx: &'a Ctx,
    lake: &'a Lake,
    /// The current time of the database server. It is not the logical date of the run.
    pub now: DateTime<Utc>,
    /// Keys and statistics that contracts of later layers refer to.
    pub facts: Facts,
    changes: Vec<Change>,
    events: Vec<AssetEvent>,
    published: Published,
}

impl<'a> Publisher<'a> {
    /// # Errors
    /// The catalog of the lake cannot be reached.
    pub async fn new(ctx: &'a Ctx, lake: &'a Lake) -> TaskResult<Publisher<'a>> {
        let now = lake.now().await?;
        let (facts, published) = (Facts::at(now), Published::default());
        Ok(Publisher { ctx, lake, now, facts, changes: Vec::new(), events: Vec::new(), published })
    }

    /// Returns the table, creating it if it does not exist.
    ///
    /// # Errors
    /// The catalog cannot be reached, or a table of that name has other columns.
    pub async fn table(&self, spec: &TableSpec, location: Option<&str>) -> TaskResult<Table> {
        let folder = location.map(|folder| format!("{folder}/{}", spec.name));
        let definition = folder.into_iter().fold(spec.definition()?, TableDef::location);
        self.lake.ensure(&spec.id()?, &definition).await.map_err(LakeError::without_retry)
    }

    /// Checks the rows of one table and writes them to files. They become visible with [`Publisher::publish`].
    ///
    /// # Errors
    /// Returns an error if the rows violate the contract, the source fails, or the files cannot be written.
    pub async fn add(&mut self, layer: Layer) -> TaskResult<Written> {
        let Layer { table, rows, contract, replaced, is_upsert, csv, tally, sources, location } = layer;
        let target = self.table(&table, location.as_deref()).await?;
        let before = self.published.tables.values().map(|table| table.rows).sum();
        let (passing, pending) = contract.check_on_the_way(self.facts.clone(), rows, tally);
        let (passing, schema) = (passing.report_progress_from(self.ctx, before, 0), table.schema());
        let write = async |rows| {
            let change =
                if is_upsert { target.upsert(&[], rows).await } else { target.overwrite(replaced.clone(), rows).await };
            TaskResult::Ok(change?.by(self.ctx))
        };
        let written = match csv {
            None => write(passing).await,
            Some((bucket, key)) => {
                let to_csv = async |rows| csv::write(&bucket, &key, rows, Csv::default()).await;
                write_both(passing, to_csv, write).await.map(|(_, change)| change)
            }
        };
        let Some(CheckedLot { report, tally }) = pending.take() else {
            drop(written?);
            return Err(anyhow::anyhow!("the rows of `{}` broke off", table.uri()));
        };
        self.ctx.commit(report.trail(self.ctx))?;
        report.ok().map_err(|broken| fatal(broken.to_string()))?;
        let change = written?;
        let quarantined = report.rows_quarantined() as u64;
        // The row count of the table change cannot be used here, because an upsert also rewrites unchanged rows of
        // the files that it touches.
        let rows = report.rows - report.removed.rows - quarantined;
        self.changes.push(change);
        self.quarantine(&table, &schema, replaced, report.quarantined, location.as_deref()).await?;
        let written = Written { rows, quarantined, removed: report.removed, tally };
        self.note(&table, &written, &sources)?;
        Ok(written)
    }

    /// Checks rows that are not published, and records the check results for the asset's page.
    ///
    /// # Errors
    /// Returns an error if the rows violate a check whose policy is to fail the task.
    pub fn check(&self, contract: &Contract, rows: &[RecordBatch], facts: &Facts) -> TaskResult<()> {
        let report = contract.check(rows, facts)?;
        self.ctx.commit(report.trail(self.ctx))?;
        report.ok().map_err(|broken| fatal(broken.to_string()))
    }

    /// Adds a snapshot property to a table that was already added to this publisher.
    pub fn property(&mut self, table: &TableSpec, name: &str, value: String) -> TaskResult<()> {
        let id = table.id()?;
        let change = self.changes.iter_mut().find(|change| *change.table() == id);
        change.context("the table was added before")?.properties.insert(name.to_owned(), value);
        Ok(())
    }

    /// Adds details to the asset event of a table that was already added to this publisher.
    pub fn extra(&mut self, table: &TableSpec, extra: &Value) {
        let events = self.events.iter_mut().filter(|event| event.uri == table.uri());
        events.for_each(|event| event.extra = extra.clone());
    }

    pub fn change(&mut self, change: Change) {
        self.changes.push(change.by(self.ctx));
    }

    pub fn also(&self, step: impl CompletionStep) -> TaskResult<()> {
        self.ctx.commit(step)
    }

    /// Registers all changes for the transaction that records the success of the task.
    ///
    /// # Errors
    /// Returns an error if a commit of tables is already registered for the task.
    pub fn publish(self) -> TaskResult<Published> {
        self.events.into_iter().try_for_each(|event| self.ctx.emit(event))?;
        self.ctx.commit(CommitStep::new(self.lake, self.changes))?;
        Ok(self.published)
    }

    fn note(&mut self, table: &TableSpec, written: &Written, sources: &[String]) -> TaskResult<()> {
        let Written { rows, quarantined, ref removed, .. } = *written;
        let (name, uri) = (format!("{}.{}", table.namespace, table.name), table.uri());
        self.ctx.info(format!("{rows} rows of `{name}`"));
        for (rule, rows) in removed.by_rule.iter().filter(|(_, rows)| **rows > 0) {
            self.ctx.info(format!("{rows} rows break the rule `{rule}`"));
        }
        self.events.push(AssetEvent::of(&*uri).rows(rows));
        let quarantine = quarantine_of(table.name);
        if quarantined > 0 {
            self.ctx.warning(format!("{quarantined} rows were quarantined in `{}.{quarantine}`", table.namespace));
        }
        for source in sources {
            self.ctx.lineage(source, &uri, rows)?;
            if quarantined > 0 {
                self.ctx.lineage(source, &format!("lake://{}/{quarantine}", table.namespace), quarantined)?;
            }
        }
        let rules = removed.by_rule.clone();
        self.published.tables.insert(table.name.into(), PublishedTable { rows, quarantined, rules });
        Ok(())
    }

    /// Replaces the rows that an earlier run quarantined for the same filter. A rerun quarantines the rows that are
    /// still bad, and drops those that have been repaired.
    async fn quarantine(
        &mut self,
        table: &TableSpec,
        schema: &SchemaRef,
        replaced: Filter,
        rows: Vec<RecordBatch>,
        location: Option<&str>,
    ) -> TaskResult<()> {
        let name = TableName::new(table.namespace, quarantine_of(table.name))?;
        if rows.is_empty() && self.lake.find(&name).await?.is_none() {
            return Ok(());
        }
        let all = rows.first().map_or_else(|| with_reason(schema), RecordBatch::schema);
        let folder = location.map(|folder| format!("{folder}/{}", name.name()));
        let definition = folder.into_iter().fold(TableDef::of(&all)?, TableDef::location);
        let quarantine = self.lake.ensure(&name, &definition).await.map_err(LakeError::without_retry)?;
        self.changes.push(quarantine.overwrite(replaced, Batches::of(all, rows)).await?.by(self.ctx));
        Ok(())
    }
}

fn with_reason(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.chain([Field::new(REASON, DataType::Utf8, false)]).collect::<Vec<_>>()))
}
