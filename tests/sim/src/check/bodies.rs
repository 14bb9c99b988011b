//! Tracks which task functions run, and on which node. Two executions of one instance never overlap: a worker that
//! lost its lease must stop the function before another worker starts it. Limits also count functions that are being
//! stopped. A frozen process cannot notice that its lease is gone, so its functions are not counted.

use super::limits::{Takes, exceeded};
use crate::database::tables::Key;
use orch_core::plan::TaskIdx;
use std::collections::BTreeMap;
use uuid::Uuid;

#[derive(Debug, Default)]
pub(crate) struct Bodies {
    running: BTreeMap<u64, Body>,
    next: u64,
    /// Number of pokes of each sensor instance.
    looks: BTreeMap<Key, u32>,
    /// Number of tries of each instance that a timeout cut short, so that they did not end as scripted.
    disturbed: BTreeMap<Key, u32>,
}

#[derive(Debug)]
struct Body {
    key: Key,
    node: usize,
    takes: Vec<Takes>,
    /// The process was frozen and may not have noticed that it lost its lease.
    excused: bool,
    /// The outcome was set elsewhere, and the process has not been notified yet.
    over: bool,
}

impl Bodies {
    /// Records the start of a task function. Returns its ticket, and a violation if the same instance still runs or a
    /// limit is exceeded. Two functions of one instance on the same node are a violation even if the process was
    /// frozen.
    pub(crate) fn enter(&mut self, key: Key, node: usize, excused: bool, takes: Vec<Takes>) -> (u64, Option<String>) {
        let counts = |b: &&Body| b.key == key && !b.over && (b.node == node || !(b.excused || excused));
        let other = self.running.values().find(counts).map(|b| b.node);
        self.next += 1;
        self.running.insert(self.next, Body { key, node, takes, excused, over: false });
        let in_view = self.running.values().filter(|b| !b.excused);
        let wrong =
            other.map(|other| format!("{key:?} runs on node {node} while it still runs on node {other}")).or_else(
                || exceeded(in_view.flat_map(|b| &b.takes)).map(|what| format!("{what} by bodies, as {key:?} begins")),
            );
        (self.next, wrong)
    }

    pub(crate) fn leave(&mut self, ticket: u64) {
        self.running.remove(&ticket);
    }

    /// Marks all functions on this node as excused, because the node was frozen or busy.
    pub(crate) fn excuse(&mut self, node: usize) {
        self.running.values_mut().filter(|b| b.node == node).for_each(|b| b.excused = true);
    }

    /// Records that the outcome of this instance was set.
    pub(crate) fn ended(&mut self, key: Key) {
        self.running.values_mut().filter(|b| b.key == key).for_each(|b| b.over = true);
    }

    /// Applies the task renumbering of a run that moves to another version. None of its functions run any more as far
    /// as the database is concerned.
    pub(crate) fn renumber(&mut self, run: Uuid, places: &[Option<TaskIdx>]) {
        self.running.values_mut().filter(|b| b.key.0 == run).for_each(|b| b.over = true);
        self.looks = super::users::renumber(std::mem::take(&mut self.looks), run, places);
        self.disturbed = super::users::renumber(std::mem::take(&mut self.disturbed), run, places);
    }

    /// Returns true if a function runs on a node that is not gone.
    pub(crate) fn any_awake(&self, gone: impl Fn(usize) -> bool) -> bool {
        self.running.values().any(|b| !gone(b.node))
    }

    /// Counts a sensor poke and returns the number of earlier pokes.
    pub(crate) fn look(&mut self, key: Key) -> u32 {
        let looks = self.looks.entry(key).or_default();
        *looks += 1;
        *looks - 1
    }

    pub(crate) fn disturb(&mut self, key: Key) {
        *self.disturbed.entry(key).or_default() += 1;
    }

    pub(crate) fn was_disturbed(&self, key: &Key) -> bool {
        self.disturbed.contains_key(key)
    }
}
