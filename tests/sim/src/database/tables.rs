//! The rows as the migrations declare them, without columns that only users read.

use orch_core::gates::Gates;
use orch_core::plan::{Plan, TaskIdx};
use orch_core::run::Run;
use orch_core::transition::Skip;
use orch_spec::state::{RunState, TaskState};
use orch_store::version::Version;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Key of an instance: (run, task, `map_index`).
pub(crate) type Key = (Uuid, TaskIdx, i32);

#[derive(Debug)]
pub(crate) struct Dag {
    pub(crate) version: Arc<Version>,
    pub(crate) max_active_runs: usize,
}

#[derive(Debug)]
pub(crate) struct RunRow {
    /// Sequence number from 1; scripts identify a run by it.
    pub(crate) number: u64,
    pub(crate) version: Arc<Version>,
    pub(crate) rev: i32,
    pub(crate) clear_number: i16,
    pub(crate) run: Run,
    pub(crate) fold_xmin: u64,
    /// Older versions of the row, for older snapshots.
    pub(crate) past: Vec<RunRowVersion>,
}

/// A version of a run's row, visible from commit `since`.
#[derive(Debug, Clone)]
pub(crate) struct RunRowVersion {
    pub(crate) since: u64,
    pub(crate) rev: i32,
    pub(crate) version: i32,
    pub(crate) clear_number: i16,
    pub(crate) run: Run,
}

/// A row of `task_instance`.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) attempt: Uuid,
    pub(crate) worker: Option<i32>,
    pub(crate) try_no: i16,
    pub(crate) max_tries: i16,
    pub(crate) lease_no: i32,
    pub(crate) lost_no: i16,
    /// `TaskState::None` if the instance is cleared.
    pub(crate) state: TaskState,
}

/// A row of `ready`, `held` or `waiting`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PendingTry {
    pub(crate) key: Key,
    pub(crate) attempt: Uuid,
    pub(crate) version: i32,
    pub(crate) queue: i32,
    pub(crate) priority: i32,
    pub(crate) try_no: i16,
    pub(crate) max_tries: i16,
    pub(crate) lease_no: i32,
    pub(crate) lost_no: i16,
}

/// A row of `slot`.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) slots: i32,
    pub(crate) key: Key,
}

/// Identifies the row of `ready`, `waiting` or `held` in which an instance waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PendingTryKey {
    /// `seq` of the row.
    Ready(u64),
    Waiting(Key),
    Held(Key),
}

/// A row of `stop_order`.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) worker: i32,
    pub(crate) key: Key,
    pub(crate) attempt: Uuid,
    pub(crate) why: &'static str,
}

#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) of: PendingTry,
    pub(crate) wake_at: Instant,
}

#[derive(Debug, Clone)]
pub(crate) struct Unfolded {
    pub(crate) id: u64,
    pub(crate) key: Key,
    pub(crate) state: TaskState,
    pub(crate) list_len: Option<i32>,
    pub(crate) skip: Vec<Skip>,
    pub(crate) xid: u64,
    pub(crate) recorded: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerState {
    Running,
    Draining,
    Stopped,
    Lost,
}

#[derive(Debug)]
pub(crate) struct WorkerRow {
    pub(crate) state: WorkerState,
    pub(crate) expires_at: Instant,
    /// The commit that ended it; `None` while it runs.
    pub(crate) since: Option<u64>,
    pub(crate) queues: Vec<i32>,
    pub(crate) versions: Vec<i32>,
}

#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) dags: BTreeMap<String, Dag>,
    pub(crate) runs: BTreeMap<Uuid, RunRow>,
    pub(crate) instances: BTreeMap<Key, Instance>,
    /// By `seq`, with the commit that made the row visible.
    pub(crate) ready: BTreeMap<u64, (u64, PendingTry)>,
    pub(crate) held: BTreeMap<Key, PendingTry>,
    pub(crate) waiting: BTreeMap<Key, Waiting>,
    pub(crate) unfolded: Vec<Unfolded>,
    pub(crate) workers: BTreeMap<i32, WorkerRow>,
    /// Tries that a retry superseded (table `attempt`).
    pub(crate) history: BTreeSet<(Key, Uuid)>,
    /// Kinds of failures by attempt and lease number.
    pub(crate) failures: BTreeMap<(Uuid, i32), &'static str>,
    pub(crate) outputs: BTreeMap<Key, String>,
    pub(crate) orders: Vec<Order>,
    /// Slots by pool name. Empty in worlds without gates.
    pub(crate) pools: BTreeMap<String, i32>,
    pub(crate) lines: BTreeMap<i32, Arc<Gates>>,
    /// By attempt and limit.
    pub(crate) slots: BTreeMap<(Uuid, String), Slot>,
    next: u64,
}

impl Tables {
    /// Returns the next number of the sequence that all tables share.
    pub(crate) fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn instances_of(&self, run: Uuid) -> impl Iterator<Item = (&Key, &Instance)> {
        self.instances.range((run, 0, i32::MIN)..=(run, TaskIdx::MAX, i32::MAX))
    }

    /// Returns the rows in which instances of a run wait.
    pub(crate) fn places_of(&self, run: Uuid) -> Vec<(PendingTryKey, PendingTry)> {
        let ready = self.ready.iter().map(|(seq, (_, t))| (PendingTryKey::Ready(*seq), t));
        let waiting = self.waiting.iter().map(|(key, w)| (PendingTryKey::Waiting(*key), &w.of));
        let held = self.held.iter().map(|(key, t)| (PendingTryKey::Held(*key), t));
        let all = ready.chain(waiting).chain(held).filter(|(_, t)| t.key.0 == run);
        all.map(|(place, t)| (place, t.clone())).collect()
    }

    /// Returns the ids of the lines in which tries of a plan wait, and creates missing lines.
    pub(crate) fn lines_of(&mut self, plan: &Plan) -> Vec<i32> {
        let mut line = |gates: &Gates| {
            let known = self.lines.iter().find(|(_, known)| ***known == *gates).map(|(id, _)| *id);
            known.unwrap_or_else(|| {
                let id = self.lines.len() as i32 + 1;
                self.lines.insert(id, Arc::new(gates.clone()));
                id
            })
        };
        plan.tasks.iter().map(|task| line(&task.gates)).collect()
    }

    pub(crate) fn is_alive(&self, worker: i32) -> bool {
        self.workers.get(&worker).is_some_and(|w| matches!(w.state, WorkerState::Running | WorkerState::Draining))
    }

    /// Returns true if nothing is left to do.
    pub(crate) fn is_quiet(&self) -> bool {
        let over = |r: &RunRow| r.run.state.is_finished();
        self.runs.values().all(over) && self.unfolded.is_empty()
    }

    pub(crate) fn running_runs(&self, dag_id: &str) -> usize {
        let runs = |r: &&RunRow| r.version.dag_id == dag_id && r.run.state == RunState::Running;
        self.runs.values().filter(runs).count()
    }
}

/// Maximum number of versions kept of a run's row. No snapshot needs older ones.
const PAST: usize = 64;

impl RunRow {
    /// Stores the current row as the version that is visible from commit `since`.
    pub(crate) fn remember(&mut self, since: u64) {
        if self.past.len() == PAST {
            self.past.remove(0);
        }
        let (rev, version, clear_number) = (self.rev, self.version.id, self.clear_number);
        self.past.push(RunRowVersion { since, rev, version, clear_number, run: self.run.clone() });
    }

    /// Returns the row that a snapshot taken after commit `seen` shows.
    pub(crate) fn as_of(&self, seen: u64) -> RunRowVersion {
        let old = self.past.iter().rev().find(|past| past.since <= seen);
        old.cloned().unwrap_or_else(|| RunRowVersion {
            since: seen,
            rev: self.rev,
            version: self.version.id,
            clear_number: self.clear_number,
            run: self.run.clone(),
        })
    }
}

/// Returns the time `millis` after `now`; negative values count as 0.
pub(crate) fn in_a_while(now: Instant, millis: i64) -> Instant {
    now + Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
