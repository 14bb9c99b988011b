//! The order of row locks, as types. Two transactions that lock the same rows in different orders deadlock, so all take
//! them in one order:
//!
//! 1. DAGs, by id;
//! 2. runs;
//! 3. the instances of a run that is locked, by task and index, with their rows in the queues;
//! 4. the row of `admission`, which guards the slots of pools and limits.
//!
//! A function that waits for such a row requires proof that no row of a later level is locked: [`Locks`] of its level,
//! [`DagLock`] or [`RunLock`]. The types do not check the order among rows of one level. A backfill is locked before
//! its DAG, and a worker before the runs of its instances. Three kinds of code need no proof: statements that skip or
//! refuse locked rows instead of waiting, statements that lock rows of several levels in this order by themselves (a
//! step, a claim, a wake-up), and functions that lock rows of one level in a separate transaction (registration).
//!
//! Claims and wake-ups lock a row of a queue and then its instance without the run's lock, so a caller that locks
//! instances retries on a deadlock (`StoreError::TryAgain`).

use crate::{StoreResult, boxed};
use sqlx::postgres::PgConnection;
use std::marker::PhantomData;
use uuid::Uuid;

/// Level of a transaction that may lock DAGs, and everything after them.
#[derive(Debug)]
pub enum Dags {}

/// Level of a transaction that may lock runs and their instances, but no further DAG.
#[derive(Debug)]
pub enum Runs {}

/// Level of a transaction that may lock the row of `admission` only.
#[derive(Debug)]
pub enum Slots {}

/// The locks that a transaction may still take: rows of `Level` and of later levels. Moving to a later level consumes
/// the value, so the transaction cannot go back.
///
/// The right order compiles:
///
/// ```
/// use orch_store::locks::{Locks, lock_dag};
/// use orch_store::run::{cancel_run, start_queued_runs_of};
/// use orch_store::{StoreResult, version::Versions};
///
/// async fn cancel(db: &mut sqlx::PgConnection, versions: &mut Versions, run: uuid::Uuid) -> StoreResult<()> {
///     let dag = lock_dag(db, Locks::begin(), "etl").await?;
///     cancel_run(db, dag.runs(), versions, run).await?;
///     start_queued_runs_of(db, &dag, versions).await?;
///     Ok(())
/// }
/// ```
///
/// A DAG cannot be locked after a run:
///
/// ```compile_fail,E0308
/// use orch_store::locks::{Locks, lock_dag};
/// use orch_store::run::{cancel_run, start_queued_runs_of};
/// use orch_store::{StoreResult, version::Versions};
///
/// async fn cancel(db: &mut sqlx::PgConnection, versions: &mut Versions, run: uuid::Uuid) -> StoreResult<()> {
///     let runs = Locks::begin().runs();
///     cancel_run(db, &runs, versions, run).await?;
///     let dag = lock_dag(db, runs, "etl").await?;
///     start_queued_runs_of(db, &dag, versions).await?;
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Locks<Level>(PhantomData<Level>);

#[expect(clippy::unused_self, reason = "a level is consumed, so that a transaction cannot go back to it")]
impl Locks<Dags> {
    /// The locks of a transaction that has locked no row yet. Only the code that begins the transaction calls this; a
    /// test in `tests/tidy` lists these files.
    pub fn begin() -> Locks<Dags> {
        Locks(PhantomData)
    }

    /// Returns the locks of a transaction that locks no further DAG.
    pub fn runs(self) -> Locks<Runs> {
        Locks(PhantomData)
    }

    /// Returns the locks of a transaction that locks no further DAG, run or instance.
    pub fn slots(self) -> Locks<Slots> {
        Locks(PhantomData)
    }

    /// Returns the proof for a statement that locks the row of this DAG itself, before any other row.
    pub(crate) fn dag(self, dag_id: &str) -> DagLock {
        DagLock { dag_id: dag_id.into(), runs: self.runs() }
    }

    /// Returns the proofs for a statement that has locked the rows of these DAGs in the order of their ids.
    pub(crate) fn dags(self, dag_ids: Vec<String>) -> Vec<DagLock> {
        dag_ids.into_iter().map(|dag_id| DagLock { dag_id, runs: Locks(PhantomData) }).collect()
    }
}

#[expect(clippy::unused_self, reason = "the level is the proof")]
impl Locks<Runs> {
    /// Returns the proof for a statement that has locked the row of this run.
    pub(crate) fn run(&self, run: Uuid) -> RunLock {
        RunLock { run }
    }
}

/// Proof that a transaction has locked the row of a DAG, if the DAG exists, and may lock runs.
#[derive(Debug)]
pub struct DagLock {
    dag_id: String,
    runs: Locks<Runs>,
}

impl DagLock {
    pub fn dag_id(&self) -> &str {
        &self.dag_id
    }

    pub fn runs(&self) -> &Locks<Runs> {
        &self.runs
    }
}

/// Proof that a transaction has locked the row of a run, and may lock the instances of this run.
#[derive(Debug)]
pub struct RunLock {
    run: Uuid,
}

impl RunLock {
    pub fn run(&self) -> Uuid {
        self.run
    }
}

/// Locks the row of a DAG until the transaction ends. A transaction that ends runs of a DAG and then starts its queued
/// runs calls this first.
#[boxed]
pub async fn lock_dag(db: &mut PgConnection, locks: Locks<Dags>, dag_id: &str) -> StoreResult<DagLock> {
    sqlx::query("select from dag where dag_id = $1 for no key update").bind(dag_id).execute(db).await?;
    Ok(locks.dag(dag_id))
}
