//! The dozen things a worker says to the store while it works. A trait, so that the same loop runs over Postgres and,
//! in the simulation, over a model with faults.

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
    /// Carries out a step for `worker`; all of it or nothing.
    fn step(&mut self, step: &WorkerStep, worker: i32) -> impl Future<Output = StoreResult<Reply>> + Send;

    /// Folds what is recorded and not yet in the ledger, under the run's lock. Some tries `worker` keeps.
    fn fold_run(
        &mut self,
        run: Uuid,
        worker: i32,
        keep: Keep<'_>,
    ) -> impl Future<Output = StoreResult<Option<Folded>>> + Send;

    /// Folds events into a run as it is remembered, reading the element states that the decision asks for.
    fn decide(
        &mut self,
        version: &Version,
        run: Uuid,
        ledger: &Run,
        events: &[Event],
    ) -> impl Future<Output = StoreResult<(Run, Effects)>> + Send;

    /// What was cleared while it ran here has stopped; the fold that follows asks its rule anew.
    fn restarted(&mut self, lease: Lease) -> impl Future<Output = StoreResult<()>> + Send;

    /// A run of this DAG is over: those that waited for its place begin. Gives how many.
    fn start_queued_runs(&mut self, dag_id: &str) -> impl Future<Output = StoreResult<usize>> + Send;

    /// Lets in who waits at gates: slots became free, or somebody came. Gives how many may be claimed now.
    fn admit(&mut self) -> impl Future<Output = StoreResult<usize>> + Send;

    /// Tries of tasks without a pool have to be let in from now on, or no longer.
    fn set_default_pool(&mut self, has_size: bool);

    /// A new connection in place of one that broke: nothing that was said on the old one is carried out after this. What
    /// the database says that `worker` holds beyond the attempts it `has` goes to others. Gives the runs to fold.
    fn resume(&mut self, worker: i32, has: &[Uuid]) -> impl Future<Output = StoreResult<Vec<Uuid>>> + Send;

    /// A run that was claimed cannot be read: people are told, and this worker leaves its tries alone.
    fn park(&mut self, run: Uuid, why: &str) -> impl Future<Output = StoreResult<()>> + Send;

    /// Makes a version known that this worker has in its hands.
    fn know(&mut self, version: Arc<Version>);
}

/// Over one connection with the settings of the hot path.
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
        // From then on the heartbeat tells.
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
