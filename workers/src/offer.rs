//! The DAG versions that this worker can run, with the functions of their tasks.

use orch_core::plan::TaskIdx;
use orch_sdk::task::{Conditions, TaskFn};
use orch_spec::Isolation;
use orch_store::version::Version;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A DAG version with the task function of each task, in the order of the tasks.
pub(crate) struct Offer {
    pub(crate) version: Arc<Version>,
    pub(crate) bodies: Vec<Option<TaskFn>>,
}

impl Offer {
    fn new(version: Arc<Version>, bodies: &HashMap<String, TaskFn>) -> Offer {
        let of = |t: usize| bodies.get(version.plan.task_id(TaskIdx::try_from(t).ok()?)).cloned();
        let bodies = (0..version.plan.tasks.len()).map(of).collect();
        Offer { version, bodies }
    }
}

/// All DAG versions that a worker can run, by id. Versions of changed DAG files are added while the worker runs.
#[derive(Default)]
pub struct Offers {
    bundle: String,
    by_version: RwLock<HashMap<i32, Arc<Offer>>>,
    /// Incremented with every change, to notify receivers.
    joined: watch::Sender<u64>,
    may_grow: bool,
    conditions: Conditions,
    /// Cancelled to retire the worker: it then leaves its versions to other workers that offer them.
    retiring: CancellationToken,
    /// Versions that a retiring worker still claims because no other worker offers them. `None` means all versions.
    kept: RwLock<Option<HashSet<i32>>>,
    /// Number of attempts that the worker currently holds.
    held: AtomicUsize,
}

impl Offers {
    pub fn new(bundle: impl Into<String>) -> Self {
        Offers { bundle: bundle.into(), ..Offers::default() }
    }

    /// Adds a registered DAG version of the bundle.
    pub fn add(&mut self, version: Arc<Version>, bodies: &HashMap<String, TaskFn>) {
        let offer = Offer::new(version, bodies);
        self.by_version.get_mut().unwrap_or_else(PoisonError::into_inner).insert(offer.version.id, Arc::new(offer));
    }

    /// Permits adding versions later. Their tasks may have any isolation.
    pub fn let_grow(&mut self) {
        self.may_grow = true;
    }

    /// Adds versions while the worker runs. The worker claims their attempts from now on.
    pub fn join(&self, more: Vec<(Arc<Version>, HashMap<String, TaskFn>)>) {
        if more.is_empty() {
            return;
        }
        let more = more.into_iter().map(|(version, bodies)| (version.id, Arc::new(Offer::new(version, &bodies))));
        self.by_version.write().unwrap_or_else(PoisonError::into_inner).extend(more);
        self.joined.send_modify(|joined| *joined += 1);
    }

    /// Returns a receiver that is notified of every change of the offered versions.
    pub(crate) fn joined(&self) -> watch::Receiver<u64> {
        self.joined.subscribe()
    }

    /// Adds the bundle's conditions to the built-in conditions.
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

    /// Returns true if any task has this isolation, or if a version that is added later could have one.
    pub(crate) fn have(&self, isolation: Isolation) -> bool {
        self.may_grow
            || self.all().iter().any(|offer| offer.version.plan.tasks.iter().any(|task| task.isolation == isolation))
    }

    /// Returns true if any version of the DAG has callbacks for its runs.
    pub(crate) fn tells(&self, dag_id: &str) -> bool {
        let tells =
            |offer: &Arc<Offer>| offer.version.dag_id == *dag_id && !offer.version.plan.spec.callbacks.is_empty();
        self.read().values().any(tells)
    }

    pub(crate) fn get(&self, version: i32) -> Option<Arc<Offer>> {
        self.read().get(&version).cloned()
    }

    /// Returns the ids of the versions that this worker can run.
    pub fn ids(&self) -> Vec<i32> {
        let mut ids: Vec<i32> = self.read().keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Returns the ids of the versions that this worker claims, which are also written to its row in the database.
    pub(crate) fn claimed(&self) -> Vec<i32> {
        let mut ids = self.ids();
        if let Some(kept) = &*self.kept.read().unwrap_or_else(PoisonError::into_inner) {
            ids.retain(|id| kept.contains(id));
        }
        ids
    }

    /// Retires the worker: it leaves its versions to other workers that offer them, and stops when none is left.
    pub fn retire(&self) {
        self.retiring.cancel();
    }

    pub(crate) fn retiring(&self) -> CancellationToken {
        self.retiring.clone()
    }

    /// Restricts claims to these versions. Returns true if the set of claimed versions changes.
    pub(crate) fn keep(&self, versions: HashSet<i32>) -> bool {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref() == Some(&versions) {
            return false;
        }
        *kept = Some(versions);
        drop(kept);
        self.joined.send_modify(|joined| *joined += 1);
        true
    }

    pub(crate) fn set_held(&self, tries: usize) {
        self.held.store(tries, Ordering::Relaxed);
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// The lock is held for a lookup only, never across an await point.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<i32, Arc<Offer>>> {
        self.by_version.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_core::plan::Plan;
    use serde_json::{from_value, json};

    #[test]
    fn a_retiring_worker_claims_what_it_keeps_and_can_run_all() {
        let mut offers = Offers::new("b");
        for id in [3, 1, 2] {
            let spec = from_value(json!({ "dag_id": "d", "tasks": [] })).unwrap();
            let plan = Plan::new(Arc::new(spec)).unwrap();
            offers.add(Arc::new(Version::new(id, id, plan, Vec::new(), Vec::new())), &HashMap::new());
        }
        let mut told = offers.joined();
        assert_eq!(offers.claimed(), [1, 2, 3]);
        assert!(offers.keep(HashSet::from([2, 9])) && told.has_changed().unwrap());
        told.mark_unchanged();
        assert!(!offers.keep(HashSet::from([9, 2])) && !told.has_changed().unwrap(), "nothing new is not told");
        assert_eq!((offers.claimed(), offers.ids()), (vec![2], vec![1, 2, 3]));
        assert!(offers.keep(HashSet::new()));
        assert!(offers.claimed().is_empty() && offers.get(3).is_some(), "what runs goes on");
    }
}
