//! Which bodies run, and where. No two of one instance at the same time: a worker that lost its lease must have stopped
//! what it ran before anybody else begins it. And no more than limits allow, with those that are being stopped. Only a process that stands still cannot know, so what it runs is not counted.

use super::limits::{Takes, exceeded};
use crate::database::tables::Key;
use orch_core::plan::TaskIdx;
use std::collections::BTreeMap;
use uuid::Uuid;

#[derive(Debug, Default)]
pub(crate) struct Bodies {
    running: BTreeMap<u64, Body>,
    next: u64,
    /// How often each instance was looked at, for sensors.
    looks: BTreeMap<Key, u32>,
    /// Instances whose try was cut short by the clock: their end is not that of the script.
    disturbed: BTreeMap<Key, u32>,
}

#[derive(Debug)]
struct Body {
    key: Key,
    node: usize,
    takes: Vec<Takes>,
    /// Its process has stood still, and may not know that it was given up.
    excused: bool,
    /// Somebody has said how it ended, and its process has yet to hear of it.
    over: bool,
}

impl Bodies {
    /// A body begins; gives its ticket, and what is wrong with that: another one of the same instance still runs, or a limit
    /// is exceeded. However long a process stood still, it knows what it runs itself.
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

    /// Whatever runs on this node runs on without knowing the time.
    pub(crate) fn excuse(&mut self, node: usize) {
        self.running.values_mut().filter(|b| b.node == node).for_each(|b| b.excused = true);
    }

    /// Somebody has said how this instance ended.
    pub(crate) fn ended(&mut self, key: Key) {
        self.running.values_mut().filter(|b| b.key == key).for_each(|b| b.over = true);
    }

    /// Tasks of a run stand elsewhere; none of it runs as far as the database knows.
    pub(crate) fn renumber(&mut self, run: Uuid, places: &[Option<TaskIdx>]) {
        self.running.values_mut().filter(|b| b.key.0 == run).for_each(|b| b.over = true);
        self.looks = super::users::renumber(std::mem::take(&mut self.looks), run, places);
        self.disturbed = super::users::renumber(std::mem::take(&mut self.disturbed), run, places);
    }

    /// Does somebody work who may?
    pub(crate) fn any_awake(&self, gone: impl Fn(usize) -> bool) -> bool {
        self.running.values().any(|b| !gone(b.node))
    }

    /// Counts a look of a sensor and gives how many came before.
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
