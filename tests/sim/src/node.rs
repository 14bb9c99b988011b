//! A worker process: it registers, works, and restarts after a loss, like `workers::drive_worker`. It can be frozen:
//! both threads stop while sent messages still arrive and time passes, and on thaw they resume one after the other. A
//! task function can also block everything except the heartbeat thread.

use crate::database::{Session, pause};
use crate::gate::{Gates, gated};
use crate::rng::Rng;
use crate::script::Script;
use crate::stage::body;
use crate::store::{MemHeart, MemStore};
use orch_core::plan::TaskIdx;
use orch_sdk::task::TaskFn;
use orch_store::StoreError;
use orch_store::hint::Hints;
use orch_store::version::Version;
use orch_workers::sim::{Registered, threads};
use orch_workers::{Offers, WorkerConfig};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The queue of all tasks.
pub(crate) const QUEUE: i32 = 1;

/// The configuration of a process.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) node: usize,
    pub(crate) session: Session,
    pub(crate) versions: Vec<Arc<Version>>,
    pub(crate) script: Script,
    pub(crate) lease: Duration,
    pub(crate) slots: usize,
    pub(crate) remembered_runs: usize,
    pub(crate) grace: Duration,
    pub(crate) hints: Hints,
    pub(crate) gates: Gates,
}

/// Runs a worker until `stop` is cancelled.
pub(crate) async fn process(program: Program, mut rng: Rng, stop: CancellationToken) {
    let gate = program.gates.driver.clone();
    let offers = Arc::new(program.offers());
    let config = WorkerConfig {
        slots: program.slots,
        remembered_runs: program.remembered_runs,
        lease: program.lease,
        grace: program.grace,
        ..WorkerConfig::new("postgres://simulated")
    };
    while !stop.is_cancelled() {
        match program.one_life(&config, &offers, &stop).await {
            Ok(()) => return,
            Err(error @ (StoreError::Corrupt { .. } | StoreError::Schema { .. })) => {
                return program.session.db.with(|s| s.books.fail(format!("worker {} ends: {error}", program.node)));
            }
            Err(error) => {
                let who = &program.session.who;
                program.session.db.with(|s| s.say(who, format_args!("begins again: {error}")));
                let rest = pause(rng.millis(50, 400));
                gated(&gate, async {
                    tokio::select! { biased; () = stop.cancelled() => {}, () = rest => {} }
                })
                .await;
            }
        }
    }
}

impl Program {
    async fn one_life(
        &self,
        config: &WorkerConfig,
        offers: &Arc<Offers>,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let began = Instant::now();
        let registering = self.session.register(vec![QUEUE], offers.ids(), self.lease);
        let worker = gated(&self.gates.driver, registering).await?;
        let pulse = Session { pulse: true, under_way: Arc::default(), ..self.session.clone() };
        let heart = MemHeart { session: pulse, worker, lease: self.lease };
        let store = MemStore { session: self.session.clone() };
        let registered = Registered { worker, began, queues: vec![QUEUE] };
        let (driving, beating) = threads(config, offers, &self.hints, registered, (store, heart), stop.clone())?;
        let (result, ()) = tokio::join!(gated(&self.gates.driver, driving), gated(&self.gates.pulse, beating));
        result
    }

    fn offers(&self) -> Offers {
        let mut offers = Offers::new("simulated");
        for version in &self.versions {
            let body = |task: TaskIdx| {
                let (program, version) = (self.clone(), version.clone());
                TaskFn::untyped(move |ctx, _| body(program.clone(), version.clone(), task, ctx))
            };
            let ids = version.plan.spec.tasks.iter().map(|t| t.task_id.clone());
            let bodies: HashMap<String, TaskFn> = ids.zip((0..).map(body)).collect();
            offers.add(version.clone(), &bodies);
        }
        offers
    }
}
