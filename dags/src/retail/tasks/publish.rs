//! Publishing tables of a layer: all of them in the one transaction that records the success of the task, or none.

use super::{NAMESPACE, table_uri};
use crate::common::lakehouse::Lakehouse;
use crate::retail::contracts::contract;
use crate::retail::days::Days;
use crate::retail::schema::Table;
use crate::retail::silver::TableFrame;
use arrow::array::RecordBatch;
use futures::StreamExt as _;
use iceberg::spec::Transform;
use orch::prelude::*;
use orch_lake::batches::{BATCH_ROWS, Batches, write_both};
use orch_lake::bucket::Bucket;
use orch_lake::contract::{Facts, KeySet, quarantine_of};
use orch_lake::format::csv::{self, Csv};
use orch_lake::frame::{batches_of, conform, to_batches};
use orch_lake::table::CommitStep;
use orch_lake::{Change, Filter, TableDef, TableName};
use polars::prelude::DataFrame;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a task published: rows by table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub tables: BTreeMap<String, u64>,
}

/// The tables of a layer on their way.
pub(super) struct Layer<'a> {
    ctx: &'a Ctx,
    place: &'a Lakehouse,
    bucket: Bucket,
    facts: Facts,
    /// Of the table that is kept by day: which days are replaced.
    days: Vec<Days>,
    changes: Vec<Change>,
    published: BTreeMap<String, u64>,
}

pub(super) fn table_name(name: &str) -> TaskResult<TableName> {
    Ok(TableName::new(NAMESPACE, name)?)
}

impl<'a> Layer<'a> {
    pub(super) async fn new(
        ctx: &'a Ctx,
        place: &'a Lakehouse,
        bucket: &str,
        days: Vec<Days>,
    ) -> TaskResult<Layer<'a>> {
        Ok(Layer {
            ctx,
            place,
            bucket: place.bucket(bucket).await?,
            facts: Facts::at(ctx.run_after()),
            days,
            changes: Vec::new(),
            published: BTreeMap::new(),
        })
    }

    /// Remembers the keys of a table, for contracts that refer to it.
    pub(super) fn remember_keys(&mut self, made: &TableFrame) -> TaskResult<()> {
        if let Some(key) = made.table.required_key() {
            let (_, keys) = batches_of(made.frame.select(key.iter().copied())?)?;
            self.facts = self.facts.clone().keys(made.table.name, KeySet::of(&keys, key)?);
        }
        Ok(())
    }

    /// Checks the rows, which come in lots, against the contract of their table and writes their files. Readers do not see them
    /// before [`Layer::publish`].
    pub(super) async fn add(
        &mut self,
        table: &'static Table,
        lots: impl Iterator<Item = TaskResult<DataFrame>> + Send + 'static,
        finish: impl FnOnce(Change) -> Change,
    ) -> TaskResult<()> {
        // Whether a value may be missing is for the contract to say.
        let (schema, or_null) = (Arc::new(table.arrow()), Arc::new(table.arrow_or_null()));
        let wanted = or_null.clone();
        let rows = Batches::made(or_null, lots.map(move |lot| Ok(in_batches(&to_batches(lot?, &wanted)?))));
        let (passing, pending) = contract(table).check_on_the_way(self.facts.clone(), rows, None);
        let wanted = schema.clone();
        let passing = Batches::new(schema, passing.map(move |batch| conform(&batch?, &wanted)));
        // Side by side: each keeps a processor busy.
        let written = write_both(
            passing.report_progress_from(self.ctx, self.published.values().sum(), 0),
            async |rows| csv::write(&self.bucket, &self.object(table), rows, Csv::default()).await,
            async |rows| self.replacing(table, rows).await,
        )
        .await;
        let report = pending.take().map(|checked| checked.report);
        if let Some(report) = &report {
            self.ctx.commit(report.trail(self.ctx))?;
            report.ok().map_err(|broken| fatal(broken.to_string()))?;
        }
        let (csv, change) = written?;
        self.changes.push(finish(change));
        let quarantined = report.map(|report| report.quarantined).unwrap_or_default();
        if !quarantined.is_empty() || self.has_quarantine(table).await? {
            self.put_aside(table, quarantined).await?;
        }
        self.published.insert(table.name.into(), csv.rows);
        Ok(())
    }

    /// Leaves one commit of all tables for the end of the task.
    pub(super) fn publish(self) -> TaskResult<Published> {
        for (table, rows) in &self.published {
            self.ctx.info(format!("{rows} rows of `{NAMESPACE}.{table}`"));
            self.ctx.emit(AssetEvent::of(table_uri(table)).rows(*rows))?;
        }
        self.ctx.commit(CommitStep::new(&self.place.lake, self.changes))?;
        Ok(Published { tables: self.published })
    }

    async fn replacing(&self, table: &Table, rows: Batches) -> TaskResult<Change> {
        let definition = TableDef::of(&table.arrow())?;
        let now = self.place.lake.ensure(&table_name(table.name)?, &self.definition(table, definition)).await?;
        Ok(now.overwrite(self.replaced(table), rows).await?.by(self.ctx))
    }

    /// Of the same days as the rows that went in: a run again finds them here, or mended.
    async fn put_aside(&mut self, table: &Table, rows: Vec<RecordBatch>) -> TaskResult<()> {
        let name = quarantine_of(table.name);
        let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
        if count > 0 {
            self.ctx.warning(format!("{count} rows were put aside into `{NAMESPACE}.{name}`"));
        }
        let reason = arrow::datatypes::Field::new(orch_lake::contract::REASON, arrow::datatypes::DataType::Utf8, false);
        let mut fields: Vec<_> = table.arrow_or_null().fields().iter().cloned().collect();
        fields.push(Arc::new(reason));
        let schema = Arc::new(arrow::datatypes::Schema::new(fields));
        let definition = TableDef::of(&schema)?.location(self.location(&name));
        let now = self.place.lake.ensure(&table_name(&name)?, &definition).await?;
        self.changes.push(now.overwrite(self.replaced(table), Batches::of(schema, rows)).await?.by(self.ctx));
        Ok(())
    }

    async fn has_quarantine(&self, table: &Table) -> TaskResult<bool> {
        Ok(self.place.lake.find(&table_name(&quarantine_of(table.name))?).await?.is_some())
    }

    fn definition(&self, table: &Table, columns: TableDef) -> TableDef {
        let key = table.required_key().unwrap_or_default();
        let definition = columns.location(self.location(table.name)).key(key.iter().copied());
        match table.by_month {
            Some(column) => definition.partition(column, Transform::Month),
            None => definition,
        }
    }

    fn location(&self, table: &str) -> String {
        self.bucket.location(&format!("{NAMESPACE}/{table}"))
    }

    /// The object that people know: `TABLE.csv`, or that of some days beside it.
    fn object(&self, table: &Table) -> String {
        match (table.by_month, self.days.as_slice()) {
            (Some(_), [days]) if !days.is_all() => format!("{}/{}.csv", table.name, days.label()),
            _ => format!("{}.csv", table.name),
        }
    }

    /// Which rows of the table make place.
    fn replaced(&self, table: &Table) -> Filter {
        let Some(column) = table.by_month else { return Filter::All };
        let window = |days: &Days| {
            let from = days.from.map_or(Filter::All, |day| Filter::ge(column, day.to_string()));
            from.and(days.until.map_or(Filter::All, |day| Filter::lt(column, day.to_string())))
        };
        self.days.iter().map(window).reduce(Filter::or).unwrap_or(Filter::All)
    }
}

/// In pieces, so that a few of them at once are some megabytes.
fn in_batches(lot: &[RecordBatch]) -> Vec<RecordBatch> {
    let pieces = lot.iter().flat_map(|batch| {
        let starts = (0..batch.num_rows().max(1)).step_by(BATCH_ROWS);
        starts.map(|start| batch.slice(start, BATCH_ROWS.min(batch.num_rows() - start)))
    });
    pieces.collect()
}
