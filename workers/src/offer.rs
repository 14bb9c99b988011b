//! What this worker can run: the DAG versions of its bundle, with the functions of their tasks.

use orch_core::plan::TaskIdx;
use orch_core::spec::Isolation;
use orch_core::task::{Conditions, TaskFn};
use orch_store::version::Version;
use std::collections::HashMap;
use std::sync::Arc;

/// A version with the function of each task, in the order of the tasks.
pub(crate) struct Offer {
    pub(crate) version: Arc<Version>,
    pub(crate) bodies: Vec<Option<TaskFn>>,
}

/// All versions a worker offers, by id.
#[derive(Default)]
pub struct Offers {
    bundle: String,
    by_version: HashMap<i32, Arc<Offer>>,
    conditions: Conditions,
}

impl Offers {
    pub fn new(bundle: impl Into<String>) -> Self {
        Offers { bundle: bundle.into(), ..Offers::default() }
    }

    /// Adds a registered version of a DAG of the bundle.
    pub fn add(&mut self, version: Arc<Version>, bodies: &HashMap<String, TaskFn>) {
        let of = |t: usize| bodies.get(version.plan.task_id(t as TaskIdx)).cloned();
        let bodies = (0..version.plan.tasks.len()).map(of).collect();
        self.by_version.insert(version.id, Arc::new(Offer { version, bodies }));
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

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Offer>> {
        self.by_version.values()
    }

    /// Does any task run like this?
    pub(crate) fn have(&self, isolation: Isolation) -> bool {
        self.all().any(|offer| offer.version.plan.tasks.iter().any(|task| task.isolation == isolation))
    }

    pub(crate) fn get(&self, version: i32) -> Option<&Arc<Offer>> {
        self.by_version.get(&version)
    }

    /// Ids of the versions, for claims and for registration.
    pub fn ids(&self) -> Vec<i32> {
        let mut ids: Vec<i32> = self.by_version.keys().copied().collect();
        ids.sort_unstable();
        ids
    }
}
