//! Encodes the order of row locks in types. Transactions that lock the same rows in different orders deadlock, so all
//! of them lock rows in one order:
//!
//! 1. DAGs, by id;
//! 2. runs;
//! 3. the instances of a locked run, by task and index, and their rows in the queue tables;
//! 4. the single row of the table `admission`, which guards the slots of pools and limits.
//!
//! A function that may wait for one of these row locks requires proof that its transaction holds no lock of a later
//! level. The proof is [`Locks`] of its level, [`DagLock`] or [`RunLock`]. The types do not check the order among rows
//! of one level. A backfill is locked before its DAG, and a worker before the runs of its instances. Three kinds of
//! code need no proof: statements that skip or refuse locked rows instead of waiting, single statements that lock
//! several levels in this order themselves (a worker step, a claim, a wake-up), and functions that lock rows of one
//! level in a separate transaction (registration).
//!
//! Claims and wake-ups lock a queue row and then its instance without holding the run's lock. A caller that locks
//! instances therefore retries on a deadlock (`StoreError::TryAgain`).
//! instances retries on a deadlock (`StoreError::TryAgain`).

use crate::{StoreResult, boxed};
use sqlx::postgres::PgConnection;
use std::marker::PhantomData;
use uuid::Uuid;

/// Lock level of a transaction that may still lock DAGs, runs, instances and the `admission` row.
#[derive(Debug)]
pub enum Dags {}

/// Lock level of a transaction that may still lock runs, instances and the `admission` row, but no further DAG.
#[derive(Debug)]
pub enum Runs {}

/// Lock level of a transaction that may still lock only the `admission` row.
#[derive(Debug)]
pub enum Slots {}

/// Proof of which row locks a transaction may still take: locks of `Level` and of later levels. Moving to a later level
/// consumes the value, so the transaction cannot go back.
///
/// Locking the DAG before the run compiles:
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
/// Locking a DAG after a run does not compile:
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
    /// Returns the proof for a transaction that has locked no row yet. Only the code that begins the transaction calls
    /// this function; a test in `tests/tidy` lists the files that may.
    pub fn begin() -> Locks<Dags> {
        Locks(PhantomData)
    }

    /// Gives up the right to lock further DAGs.
    pub fn runs(self) -> Locks<Runs> {
        Locks(PhantomData)
    }

    /// Gives up the right to lock further DAGs, runs or instances.
    pub fn slots(self) -> Locks<Slots> {
        Locks(PhantomData)
    }

    /// Returns the proof for a statement that itself locks the row of this DAG, before any other row.
    pub(crate) fn dag(self, dag_id: &str) -> DagLock {
        DagLock { dag_id: dag_id.into(), runs: self.runs() }
    }

    /// Returns the proofs for a statement that has locked the rows of these DAGs in ascending order of id.
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

/// Locks the row of a DAG until the transaction ends. Required before a transaction ends runs of the DAG and then
/// starts the DAG's queued runs.
#[boxed]
pub async fn lock_dag(db: &mut PgConnection, locks: Locks<Dags>, dag_id: &str) -> StoreResult<DagLock> {
    sqlx::query("select from dag where dag_id = $1 for no key update").bind(dag_id).execute(db).await?;
    Ok(locks.dag(dag_id))
}
