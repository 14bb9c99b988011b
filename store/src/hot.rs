//! Operations that a worker needs while it executes tasks (the hot path). They are a trait, so that the same loop runs
//! on Postgres and, in the simulation, on a model with injected faults.

mod session;

use crate::{
    StoreResult, admission, boxed, clear, connect,
    locks::Locks,
    parked,
    refold::{self, Folded, Keep},
    run,
    step::{Lease, Reply, Stepper, WorkerStep},
    version::{Version, Versions},
    worker,
};
use orch_core::run::Run;
use orch_core::transition::{Effects, Event};
pub use session::ServerSession;
use sqlx::postgres::PgConnection;
use std::sync::Arc;
use uuid::Uuid;

pub trait Hot: Send {
    /// Executes a step of `worker` as one atomic statement.
    fn step(&mut self, step: &WorkerStep, worker: i32) -> impl Future<Output = StoreResult<Reply>> + Send;

    /// Folds recorded outcomes into the ledger of a run (applies them to its state), under the run's lock. Some
    /// attempts that become ready are assigned to `worker` directly.
    fn fold_run(
        &mut self,
        run: Uuid,
        worker: i32,
        keep: Keep<'_>,
    ) -> impl Future<Output = StoreResult<Option<Folded>>> + Send;

    /// Folds events into a cached run (applies them to its state). Reads the states of mapped elements that the
    /// decision needs.
    fn decide(
        &mut self,
        version: &Version,
        run: Uuid,
        ledger: &Run,
        events: &[Event],
    ) -> impl Future<Output = StoreResult<(Run, Effects)>> + Send;

    /// Records that this worker has stopped an instance that was cleared while it ran. The next fold evaluates the
    /// instance's trigger rule again.
    fn restarted(&mut self, lease: Lease) -> impl Future<Output = StoreResult<()>> + Send;

    /// Starts queued runs of a DAG after one of its runs has ended. Returns their number.
    fn start_queued_runs(&mut self, dag_id: &str) -> impl Future<Output = StoreResult<usize>> + Send;

    /// Admits waiting attempts. Called after slots were released or attempts were added. Returns the number of attempts
    /// that became claimable.
    fn admit(&mut self) -> impl Future<Output = StoreResult<usize>> + Send;

    /// Sets whether the default pool has a limit. If it has, attempts of tasks without a pool must be admitted.
    fn set_default_pool(&mut self, has_size: bool);

    /// Replaces a broken connection. Statements that were sent on the old connection are not executed after this
    /// returns. Attempts that `worker` holds in the database, but that are not in `has`, are released to other workers.
    /// Returns the runs to fold.
    fn resume(&mut self, worker: i32, has: &[Uuid]) -> impl Future<Output = StoreResult<Vec<Uuid>>> + Send;

    /// Parks a claimed run that cannot be read. The run is reported to users, and this worker ignores its attempts.
    fn park(&mut self, run: Uuid, why: &str) -> impl Future<Output = StoreResult<()>> + Send;

    /// Adds a DAG version that this worker has to the cache.
    fn know(&mut self, version: Arc<Version>);
}

/// Implements the hot path on one Postgres connection.
#[derive(Debug)]
pub struct PgHot {
    pub db: PgConnection,
    url: String,
    name: String,
    session: ServerSession,
    stepper: Stepper,
    versions: Versions,
}

impl PgHot {
    #[boxed]
    pub async fn connect(url: &str, name: &str) -> StoreResult<PgHot> {
        let mut db = connect::hot(url, name).await?;
        let session = ServerSession::of(&mut db).await?;
        let versions = Versions::default();
        // Later changes of the default pool's size are reported by the heartbeat.
        versions.set_default_pool(admission::default_pool_has_size(&mut db).await?);
        versions.will_be_told();
        let (url, name) = (url.to_string(), name.to_string());
        Ok(PgHot { db, url, name, session, stepper: Stepper::default(), versions })
    }
}

impl Hot for PgHot {
    async fn step(&mut self, step: &WorkerStep, worker: i32) -> StoreResult<Reply> {
        self.stepper.send(&mut self.db, step, worker).await
    }

    async fn fold_run(&mut self, run: Uuid, worker: i32, keep: Keep<'_>) -> StoreResult<Option<Folded>> {
        refold::fold_run(&mut self.db, &Locks::begin().runs(), &mut self.stepper, &mut self.versions, run, worker, keep)
            .await
    }

    async fn decide(
        &mut self,
        version: &Version,
        run: Uuid,
        ledger: &Run,
        events: &[Event],
    ) -> StoreResult<(Run, Effects)> {
        refold::fold_loading(&mut self.db, version, run, ledger, events).await
    }

    async fn restarted(&mut self, lease: Lease) -> StoreResult<()> {
        clear::restarted(&mut self.db, &Locks::begin().runs(), lease).await
    }

    async fn start_queued_runs(&mut self, dag_id: &str) -> StoreResult<usize> {
        Ok(run::start_queued_runs(&mut self.db, Locks::begin(), &mut self.versions, dag_id).await?.len())
    }

    async fn admit(&mut self) -> StoreResult<usize> {
        Ok(admission::admit(&mut self.db, &Locks::begin().slots(), &self.versions).await?.many)
    }

    fn set_default_pool(&mut self, has_size: bool) {
        self.versions.set_default_pool(has_size);
    }

    async fn resume(&mut self, worker: i32, has: &[Uuid]) -> StoreResult<Vec<Uuid>> {
        let mut db = connect::hot(&self.url, &self.name).await?;
        self.session.end(&mut db).await?;
        self.session = ServerSession::of(&mut db).await?;
        self.db = db;
        Ok(worker::give_back(&mut self.db, &Locks::begin().runs(), &mut self.versions, worker, has).await?.unfolded)
    }

    async fn park(&mut self, run: Uuid, why: &str) -> StoreResult<()> {
        parked::park(&mut self.db, run, why).await
    }

    fn know(&mut self, version: Arc<Version>) {
        self.versions.put(version);
    }
}
