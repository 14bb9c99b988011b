//! What a task changes: rows that keep their contract, in the transaction that records the success of the task.

use super::sources;
use super::table::Table;
use crate::place::Place;
use crate::weather::schema::ZONES;
use chrono::{DateTime, Utc};
use orch::prelude::*;
use orch_lake::batches::Batches;
use orch_lake::contract::{Facts, Report};
use orch_lake::table::CommitStep;
use orch_lake::{Change, Filter};
use std::collections::BTreeMap;

/// Rows by table.
pub type Published = BTreeMap<String, u64>;

/// The changes of one task, until all are there.
pub(crate) struct Publish<'a> {
    ctx: &'a Ctx,
    place: &'a Place,
    pub(crate) now: DateTime<Utc>,
    pub(crate) facts: Facts,
    changes: Vec<Change>,
    published: Published,
}

impl Publish<'_> {
    pub(crate) async fn begin<'a>(ctx: &'a Ctx, place: &'a Place) -> TaskResult<Publish<'a>> {
        let now = place.now().await?;
        let facts = Facts::at(now).keys(ZONES.uri(), sources::zones(place).await?.keys()?);
        Ok(Publish { ctx, place, now, facts, changes: Vec::new(), published: Published::new() })
    }

    /// Replaces the rows of a filter, if the new ones keep their contract.
    pub(crate) async fn replace<R>(&mut self, table: &Table<R>, rows: Filter, report: Report) -> TaskResult<()> {
        let (target, batches) = self.checked(table, report).await?;
        self.changes.push(target.overwrite(rows, batches).await?.by(self.ctx));
        Ok(())
    }

    /// Writes rows in the place of those with the same key.
    pub(crate) async fn upsert<R>(&mut self, table: &Table<R>, report: Report) -> TaskResult<()> {
        let (target, batches) = self.checked(table, report).await?;
        self.changes.push(target.upsert(table.key, batches).await?.by(self.ctx));
        Ok(())
    }

    async fn checked<R>(&mut self, table: &Table<R>, report: Report) -> TaskResult<(orch_lake::Table, Batches)> {
        self.ctx.commit(report.trail(self.ctx))?;
        report.ok().map_err(|broken| fatal(broken.to_string()))?;
        let target = self.place.lake.ensure(&table.id()?, &table.definition()?).await?;
        self.published.insert(table.uri(), report.rows_passed() as u64);
        Ok((target, Batches::of(table.schema(), report.passed)))
    }

    pub(crate) fn end(self) -> TaskResult<Published> {
        self.ctx.commit(CommitStep::new(&self.place.lake, self.changes))?;
        for (uri, rows) in &self.published {
            self.ctx.emit(AssetEvent::of(&**uri).rows(*rows))?;
            self.ctx.info(format!("{rows} rows of `{uri}`"));
        }
        Ok(self.published)
    }
}
