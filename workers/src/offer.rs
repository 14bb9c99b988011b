//! What this worker can run: the DAG versions of its bundle, with the functions of their tasks.

use orch_core::plan::TaskIdx;
use orch_core::spec::Isolation;
use orch_core::task::{Conditions, TaskFn};
use orch_store::version::Version;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::watch;

/// A version with the function of each task, in the order of the tasks.
pub(crate) struct Offer {
    pub(crate) version: Arc<Version>,
    pub(crate) bodies: Vec<Option<TaskFn>>,
}

impl Offer {
    fn new(version: Arc<Version>, bodies: &HashMap<String, TaskFn>) -> Offer {
        let of = |t: usize| bodies.get(version.plan.task_id(t as TaskIdx)).cloned();
        let bodies = (0..version.plan.tasks.len()).map(of).collect();
        Offer { version, bodies }
    }
}

/// All versions a worker offers, by id. More may join while it works: those of DAG files that change.
#[derive(Default)]
pub struct Offers {
    bundle: String,
    by_version: RwLock<HashMap<i32, Arc<Offer>>>,
    /// Grows with every version that joins later.
    joined: watch::Sender<u64>,
    may_grow: bool,
    conditions: Conditions,
}

impl Offers {
    pub fn new(bundle: impl Into<String>) -> Self {
        Offers { bundle: bundle.into(), ..Offers::default() }
    }

    /// Adds a registered version of a DAG of the bundle.
    pub fn add(&mut self, version: Arc<Version>, bodies: &HashMap<String, TaskFn>) {
        let offer = Offer::new(version, bodies);
        self.by_version.get_mut().unwrap_or_else(PoisonError::into_inner).insert(offer.version.id, Arc::new(offer));
    }

    /// Versions may join later, of whatever kind of task.
    pub fn let_grow(&mut self) {
        self.may_grow = true;
    }

    /// Versions join while the worker works: from now on it may claim their tries.
    pub fn join(&self, more: Vec<(Arc<Version>, HashMap<String, TaskFn>)>) {
        if more.is_empty() {
            return;
        }
        let more = more.into_iter().map(|(version, bodies)| (version.id, Arc::new(Offer::new(version, &bodies))));
        self.by_version.write().unwrap_or_else(PoisonError::into_inner).extend(more);
        self.joined.send_modify(|joined| *joined += 1);
    }

    /// Told each time versions have joined.
    pub(crate) fn joined(&self) -> watch::Receiver<u64> {
        self.joined.subscribe()
    }

    /// Conditions that the bundle brings besides those that every worker knows.
    pub fn know(&mut self, conditions: &Conditions) {
        self.conditions.extend(conditions);
    }

    pub(crate) fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    pub(crate) fn bundle(&self) -> &str {
        &self.bundle
    }

    pub(crate) fn all(&self) -> Vec<Arc<Offer>> {
        self.read().values().cloned().collect()
    }

    /// Does any task run like this, or could one that joins?
    pub(crate) fn have(&self, isolation: Isolation) -> bool {
        self.may_grow
            || self.all().iter().any(|offer| offer.version.plan.tasks.iter().any(|task| task.isolation == isolation))
    }

    /// Does any version of a DAG say who is told of its runs?
    pub(crate) fn tells(&self, dag_id: &str) -> bool {
        let tells =
            |offer: &Arc<Offer>| offer.version.dag_id == *dag_id && !offer.version.plan.spec.callbacks.is_empty();
        self.read().values().any(tells)
    }

    pub(crate) fn get(&self, version: i32) -> Option<Arc<Offer>> {
        self.read().get(&version).cloned()
    }

    /// Ids of the versions, for claims and for registration.
    pub fn ids(&self) -> Vec<i32> {
        let mut ids: Vec<i32> = self.read().keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Held for a look-up only, never while waiting.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<i32, Arc<Offer>>> {
        self.by_version.read().unwrap_or_else(PoisonError::into_inner)
    }
}
