//! Binds the values of a worker step to its SQL statement, in the order of the numbered parameters.

use super::reply::{self, Reply};
use super::sql::{self, ASK, CLAIM, DEFER, ENDED, HOLD, KEEP, LOCKED, LOOK, MOVES, NEXT, QUEUE};
use super::{EndedTry, Mode, NewTry, NewWait, WorkerStep, alerts, asks, assets};
use crate::StoreResult;
use crate::narrow;
use orch_spec::text::{JsonText, Text};
use sqlx::postgres::{PgArguments, PgConnection, Postgres};
use sqlx::{Arguments, AssertSqlSafe, Encode, Type};
use std::sync::Arc;

pub(super) struct Values(PgArguments);

impl Values {
    fn add<'q, T: Encode<'q, Postgres> + Type<Postgres>>(&mut self, value: T) -> StoreResult<()> {
        self.0.add(value).map_err(|e| sqlx::Error::Encode(e).into())
    }

    /// Binds one field of all rows as an array parameter.
    pub(super) fn column<R, T>(&mut self, rows: &[R], of: impl Fn(&R) -> T) -> StoreResult<()>
    where
        for<'q> Vec<T>: Encode<'q, Postgres> + Type<Postgres>,
    {
        self.add(rows.iter().map(of).collect::<Vec<T>>())
    }

    fn new_tries(&mut self, tries: &[NewTry]) -> StoreResult<()> {
        self.column(tries, |t| t.run)?;
        self.column(tries, |t| t.task as i16)?;
        self.column(tries, |t| t.map_index)?;
        self.column(tries, |t| t.attempt)?;
        self.column(tries, |t| t.version)?;
        self.column(tries, |t| t.queue)?;
        self.column(tries, |t| t.priority)?;
        self.column(tries, |t| t.retries)?;
        self.column(tries, |t| t.rev)
    }
}

/// Executes the statement. If `hints` is true, the statement sends `Hint::Recorded` if it records an outcome without
/// applying it to its run.
pub(super) async fn send(
    db: &mut PgConnection,
    text: Arc<str>,
    step: &WorkerStep,
    worker: i32,
    hints: bool,
) -> StoreResult<Reply> {
    let shape = sql::shape(step);
    let has = |bit: u32| shape & bit != 0;
    let mut values = Values(PgArguments::default());
    values.add(worker)?;
    if has(MOVES) {
        moves(&mut values, step)?;
        if let (true, Mode::Locked { fold_xmin }) = (has(LOCKED), step.mode) {
            values.add(fold_xmin.to_string())?;
        }
    }
    if has(ENDED) {
        ended(&mut values, step)?;
        values.add(hints)?;
        if has(NEXT) {
            next_tries(&mut values, step)?;
            if has(DEFER) {
                waits(&mut values, step)?;
            }
            if has(ASK) {
                asks::bind(&mut values, step)?;
            }
        }
        if has(sql::OUTPUTS) {
            let rows: Vec<_> =
                placed(step).flat_map(|(place, end)| end.outputs.iter().map(move |o| (place, o))).collect();
            values.column(&rows, |r| r.0)?;
            values.add(rows.iter().map(|r| r.1.0.as_str()).collect::<Vec<_>>())?;
            values.add(rows.iter().map(|r| r.1.1.as_str()).collect::<Vec<_>>())?;
        }
        if has(sql::FAILURES) {
            let rows: Vec<_> = placed(step).filter_map(|(place, end)| Some((place, end.failure.as_ref()?))).collect();
            values.column(&rows, |r| r.0)?;
            values.column(&rows, |r| r.1.kind)?;
            values.column(&rows, |r| causes(&r.1.causes))?;
        }
        if has(sql::EVENTS) {
            assets::bind_events(&mut values, step)?;
        }
        if has(sql::EDGES) {
            assets::bind_edges(&mut values, step)?;
        }
        if has(sql::TRY_ALERTS) {
            alerts::bind_of_tries(&mut values, step)?;
        }
        if has(sql::ELEMENT_ALERTS) {
            alerts::bind_of_elements(&mut values, step)?;
        }
    }
    if has(sql::RUN_ALERTS) {
        alerts::bind_of_runs(&mut values, step)?;
    }
    if has(KEEP) {
        values.new_tries(&step.keep)?;
    }
    if has(QUEUE) {
        values.new_tries(&step.queue)?;
    }
    if has(HOLD) {
        values.new_tries(&step.hold)?;
    }
    if has(sql::ADMIT) {
        values.column(&step.admit, |a| a.0)?;
        values.column(&step.admit, |a| a.1 as i16)?;
        values.column(&step.admit, |a| a.2)?;
    }
    if has(sql::DECIDED) {
        values.column(&step.decided, |d| d.0)?;
        values.column(&step.decided, |d| d.1 as i16)?;
        values.column(&step.decided, |d| d.2)?;
        values.column(&step.decided, |d| d.3.as_str())?;
        if has(sql::REASONS) {
            values.column(&step.reasons, |r| r.0)?;
            values.column(&step.reasons, |r| r.1 as i16)?;
            values.column(&step.reasons, |r| r.2.clone())?;
        }
    }
    if let (true, Some(claim)) = (has(CLAIM) || has(LOOK), &step.claim) {
        if has(CLAIM) {
            values.add(claim.most)?;
        }
        values.add(claim.queues.to_vec())?;
        values.add(claim.versions.to_vec())?;
    }
    let rows = sqlx::query_with(AssertSqlSafe(text), values.0).fetch_all(db).await?;
    reply::read(&rows)
}

/// Binds the ledgers (stored states) of all runs as one concatenated array, together with the bounds of each ledger in
/// it.
fn moves(values: &mut Values, step: &WorkerStep) -> StoreResult<()> {
    let (mut ledgers, mut counters): (Vec<i16>, Vec<i32>) = (Vec::new(), Vec::new());
    let (mut lo, mut hi, mut co, mut ci) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for m in &step.moves {
        lo.push(narrow::int(ledgers.len() + 1));
        ledgers.extend_from_slice(&m.to.ledger);
        hi.push(narrow::int(ledgers.len()));
        co.push(narrow::int(counters.len() + 1));
        counters.extend_from_slice(&m.to.counters);
        ci.push(narrow::int(counters.len()));
    }
    values.column(&step.moves, |m| m.run)?;
    values.column(&step.moves, |m| m.rev)?;
    values.column(&step.moves, |m| m.to.state.as_str())?;
    values.add(lo)?;
    values.add(hi)?;
    values.add(co)?;
    values.add(ci)?;
    values.add(ledgers)?;
    values.add(counters)
}

fn ended(values: &mut Values, step: &WorkerStep) -> StoreResult<()> {
    let (mut skips, mut lo, mut hi) = (Vec::new(), Vec::new(), Vec::new());
    for end in &step.ended {
        lo.push(narrow::int(skips.len() + 1));
        skips.extend(end.skip.iter().flat_map(|s| [i32::from(s.task), s.index.unwrap_or(-1)]));
        hi.push(narrow::int(skips.len()));
    }
    values.column(&step.ended, |e| e.lease.run)?;
    values.column(&step.ended, |e| e.lease.task as i16)?;
    values.column(&step.ended, |e| e.lease.map_index)?;
    values.column(&step.ended, |e| e.lease.attempt)?;
    values.column(&step.ended, |e| e.lease.lease_no)?;
    values.column(&step.ended, |e| e.state.as_str())?;
    values.column(&step.ended, |e| e.list_len)?;
    values.add(lo)?;
    values.add(hi)?;
    values.column(&step.ended, |e| e.rev)?;
    values.add(skips)
}

fn next_tries(values: &mut Values, step: &WorkerStep) -> StoreResult<()> {
    let next: Vec<_> = placed(step).filter_map(|(place, end)| Some((place, end.next.as_ref()?))).collect();
    values.column(&next, |(place, _)| *place)?;
    values.column(&next, |(_, n)| n.attempt)?;
    values.column(&next, |(_, n)| n.wake_in_ms)?;
    values.column(&next, |(_, n)| n.version)?;
    values.column(&next, |(_, n)| n.queue)?;
    values.column(&next, |(_, n)| n.priority)
}

fn waits(values: &mut Values, step: &WorkerStep) -> StoreResult<()> {
    let waits: Vec<_> =
        placed(step).filter_map(|(place, end)| Some((place, end.next.as_ref()?.wait.as_deref()?))).collect();
    values.column(&waits, |(place, _)| *place)?;
    values.column(&waits, |(_, wait)| condition(wait).map(|(kind, _)| kind.into_string()))?;
    values.column(&waits, |(_, wait)| condition(wait).map(|(_, config)| config.into_string()))?;
    values.column(&waits, |(_, wait)| wait.wake_at)?;
    values.column(&waits, |(_, wait)| wait.poke_ms)?;
    values.column(&waits, |(_, wait)| wait.timeout_ms)?;
    values.column(&waits, |(_, wait)| wait.on_timeout.as_str())?;
    values.column(&waits, |(_, wait)| wait.carried.clone().map(JsonText::into_string))
}

fn condition(wait: &NewWait) -> Option<(Text, JsonText)> {
    wait.condition.clone()
}

/// Returns error causes as a JSON list. Postgres has no arrays of arrays with different lengths, so JSON lists are
/// bound as text instead.
fn causes(causes: &[Text]) -> String {
    serde_json::Value::from(causes.iter().map(Text::as_str).collect::<Vec<_>>()).to_string()
}

/// Returns the ended attempts, each with its index in the bound arrays. Indexes start at 1, as in SQL.
pub(super) fn placed(step: &WorkerStep) -> impl Iterator<Item = (i64, &EndedTry)> {
    (1_i64..).zip(&step.ended)
}
