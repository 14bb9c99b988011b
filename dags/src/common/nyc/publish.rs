//! What a task changes: rows that keep their contract, in the transaction that records the success of the task.

use super::sources;
use super::table::Table;
use crate::common::lakehouse::Lakehouse;
use crate::common::nyc::schema::ZONES;
use anyhow::anyhow;
use chrono::{DateTime, Utc};
use orch::prelude::*;
use orch_lake::batches::Batches;
use orch_lake::contract::{CheckTrail, Contract, Facts, Report, verdict};
use orch_lake::table::CommitStep;
use orch_lake::{Change, Filter};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use tokio::runtime::Handle;

const ROWS_AT_ONCE: usize = 16_384;

/// Rows by table.
pub type Published = BTreeMap<String, u64>;

/// The changes of one task, until all are there.
pub(crate) struct Publish<'a> {
    ctx: &'a Ctx,
    place: &'a Lakehouse,
    pub(crate) now: DateTime<Utc>,
    pub(crate) facts: Facts,
    changes: Vec<Change>,
    published: Published,
}

impl Publish<'_> {
    pub(crate) async fn begin<'a>(ctx: &'a Ctx, place: &'a Lakehouse) -> TaskResult<Publish<'a>> {
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

    /// The same for more rows than memory should hold: `make` gives one lot of rows after the other, and each is checked and
    /// written while the next is made. `false`: the write has failed, and no more rows are needed.
    pub(crate) async fn replace_while_made<R: Send>(
        &mut self,
        table: &'static Table<R>,
        rows: Filter,
        contract: Contract,
        make: impl FnOnce(&dyn Fn(Vec<R>) -> bool) -> TaskResult<()> + Send + 'static,
    ) -> TaskResult<()> {
        let target = self.place.lake.ensure(&table.id()?, &table.definition()?).await?;
        let (facts, now, checked) = (self.facts.clone(), self.now, Arc::new(Mutex::new(None)));
        let (uri, place) = (contract.uri().to_owned(), checked.clone());
        let batches = Batches::read_ahead(table.schema(), move |taker| async move {
            let (give, lots) = mpsc::sync_channel(1);
            let making = tokio::task::spawn_blocking(move || make(&|lot| give.send(lot).is_ok()));
            let handle = Handle::current();
            let checking = tokio::task::spawn_blocking(move || {
                let (mut checker, mut count) = (contract.begin(&facts)?, 0);
                for lot in lots {
                    for rows in lot.chunks(ROWS_AT_ONCE) {
                        let passed = checker.check_batch(&table.batch(rows, now)?)?.passed;
                        count += passed.num_rows() as u64;
                        if !handle.block_on(taker.take(passed)) {
                            return Ok(None);
                        }
                    }
                }
                TaskResult::Ok(Some((checker.end(), count)))
            });
            let found = checking.await.map_err(|error| anyhow!(error))??;
            making.await.map_err(|error| anyhow!(error))??;
            *place.lock().unwrap_or_else(PoisonError::into_inner) = found;
            Ok(())
        });
        let change = target.overwrite(rows, batches).await?.by(self.ctx);
        let checked = checked.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (findings, count) = checked.context("the rows of a table broke off")?;
        self.ctx.commit(CheckTrail::new(self.ctx, &uri, findings.clone()))?;
        verdict(&uri, &findings).map_err(|broken| fatal(broken.to_string()))?;
        self.published.insert(table.uri(), count);
        self.changes.push(change);
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
