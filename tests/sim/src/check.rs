//! Invariants that must hold after every commit. They are checked against separate records: which worker holds which
//! instance, and the state that the pure core computes from the accepted outcomes. A bug in the store shows up as a
//! difference between the two.

mod bodies;
mod books;
mod limits;
mod users;

pub(crate) use bodies::Bodies;
pub(crate) use limits::takes_of;
pub(crate) use users::renumber;

use crate::database::tables::{Key, Tables};
use orch_core::model::Model;
use orch_core::plan::TaskIdx;
use orch_core::run::Run;
use orch_core::transition::{Event, Outcome};
use orch_spec::state::{RunState, TaskState};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::time::Instant;
use uuid::Uuid;

/// The lease of a worker on an instance.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) attempt: Uuid,
    pub(crate) lease_no: i32,
    pub(crate) worker: i32,
}

/// Omits the attempt: its id is random, and the message of a violation must be identical on replay.
impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} with lease {}", self.worker, self.lease_no)
    }
}

pub(crate) struct Books {
    pub(crate) violation: Option<String>,
    pub(crate) bodies: Bodies,
    /// Last time that anything made progress.
    pub(crate) progress: Instant,
    models: BTreeMap<Uuid, Model>,
    grants: BTreeMap<Key, Grant>,
    /// The highest lease number of each attempt, and the highest try number of each instance.
    leases: HashMap<Uuid, i32>,
    tries: HashMap<Key, i16>,
    /// Accepted outcomes.
    outcomes: BTreeMap<Key, Outcome>,
    /// Final states that users set on finished runs.
    said: BTreeMap<Uuid, RunState>,
    /// Runs that users have changed. They are not compared with undisturbed runs.
    touched: BTreeSet<Uuid>,
    /// Instances whose state was not set by their task function.
    set: BTreeSet<Key>,
}

impl Books {
    pub(crate) fn new() -> Books {
        Books {
            violation: None,
            bodies: Bodies::default(),
            progress: Instant::now(),
            models: BTreeMap::new(),
            grants: BTreeMap::new(),
            leases: HashMap::new(),
            tries: HashMap::new(),
            outcomes: BTreeMap::new(),
            said: BTreeMap::new(),
            touched: BTreeSet::new(),
            set: BTreeSet::new(),
        }
    }

    /// Records a violation. Only the first one is kept, because later ones are usually its consequences.
    pub(crate) fn fail(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    pub(crate) fn outcome(&self, key: &Key) -> Option<&Outcome> {
        self.outcomes.get(key)
    }

    pub(crate) fn outcomes(&self) -> impl Iterator<Item = (&Key, &Outcome)> {
        self.outcomes.iter()
    }

    /// Records the start of a run. Reports a violation if the stored run `run` differs from the model.
    pub(crate) fn began(&mut self, id: Uuid, model: Model, run: &Run) {
        if model.run != *run {
            self.fail(format!("run {id} began as {run:?}, not as {:?}", model.run));
        }
        self.progress = Instant::now();
        self.models.insert(id, model);
    }

    /// Records that an instance was leased to a worker.
    pub(crate) fn granted(&mut self, key: Key, grant: Grant, try_no: i16) {
        self.progress = Instant::now();
        self.set.remove(&key);
        if let Some(other) = self.grants.insert(key, grant) {
            self.fail(format!("{key:?} was given to {grant:?} while {other:?} had it"));
        }
        let before = self.leases.insert(grant.attempt, grant.lease_no).unwrap_or(0);
        if before >= grant.lease_no {
            self.fail(format!("the lease of {key:?} went from {before} to {}", grant.lease_no));
        }
        let before = self.tries.insert(key, try_no).unwrap_or(0);
        if before > try_no || (before == try_no && grant.lease_no == 1) {
            self.fail(format!("{key:?} went from try {before} to try {try_no} with lease {}", grant.lease_no));
        }
    }

    /// Records that a worker's report about an instance was accepted.
    pub(crate) fn accepted(&mut self, key: Key, grant: Grant) {
        self.progress = Instant::now();
        match self.grants.remove(&key) {
            Some(current) if current == grant => {}
            other => self.fail(format!("an outcome of {key:?} by {grant:?} was accepted while {other:?} had it")),
        }
    }

    /// Records that an instance was taken away from a lost worker.
    pub(crate) fn taken_away(&mut self, key: Key, worker: i32) {
        self.progress = Instant::now();
        match self.grants.remove(&key) {
            Some(current) if current.worker == worker => {}
            other => self.fail(format!("{key:?} was taken from worker {worker} while {other:?} had it")),
        }
    }

    pub(crate) fn ended(&mut self, key: Key, outcome: Outcome) {
        if self.outcomes.insert(key, outcome).is_some() {
            self.fail(format!("{key:?} ended twice"));
        }
    }

    /// Applies the events to the core's model of the run, which must then equal the stored run `to`.
    pub(crate) fn moved(&mut self, id: Uuid, events: &[Event], to: &Run) {
        self.progress = Instant::now();
        let Some(model) = self.models.get_mut(&id) else {
            return self.fail(format!("run {id} moved before it began"));
        };
        if let Err(what) = follow(model, events) {
            return self.fail(format!("run {id}: {what}"));
        }
        if model.run != *to {
            let wanted = model.run.clone();
            self.fail(format!("run {id} moved by {events:?} to {to:?}, not to {wanted:?}"));
        }
    }
}

/// Applies the events to the model.
fn follow(model: &mut Model, events: &[Event]) -> Result<(), String> {
    let stopped: Vec<(TaskIdx, i32)> = events
        .iter()
        .filter_map(|event| match event {
            Event::Restarted { task, index } => Some((*task, *index)),
            _ => None,
        })
        .collect();
    let ended: Vec<(TaskIdx, i32, Outcome)> = events
        .iter()
        .filter_map(|event| match event {
            Event::Finished { task, index, outcome } => Some((*task, *index, outcome.clone())),
            _ => None,
        })
        .collect();
    let heard = ended.iter().map(|(t, i, _)| (*t, *i)).chain(stopped.iter().copied());
    if let Some((task, index)) = heard.into_iter().find(|at| !model.ready.contains(at)) {
        return Err(format!("it heard of the end of [{task}, {index}], which is not in flight"));
    }
    // The model panics if an instance becomes ready or is decided twice.
    let told = catch_unwind(AssertUnwindSafe(|| {
        ended.iter().for_each(|(task, index, outcome)| model.note_end(*task, *index, outcome));
        stopped.iter().for_each(|(task, index)| model.note_stop(*task, *index));
        model.apply(events);
    }));
    told.map_err(|_| format!("the core cannot follow {events:?}"))
}

/// Returns true if the state transition of an instance is legal. `from` is `None` before the row exists.
pub(crate) fn is_legal(from: Option<TaskState>, to: TaskState) -> bool {
    use TaskState as S;
    match from {
        None | Some(S::None) => matches!(to, S::Running | S::Skipped | S::UpstreamFailed | S::Failed),
        Some(S::Running) => {
            matches!(to, S::Success | S::Failed | S::Skipped | S::UpForRetry | S::UpForReschedule | S::Queued)
        }
        Some(S::Queued | S::UpForRetry | S::UpForReschedule) => to == S::Running,
        Some(_) => false,
    }
}

/// Returns in which tables each in-flight instance has a row.
fn in_flight(tables: &Tables, run: Uuid) -> BTreeMap<(TaskIdx, i32), Vec<&'static str>> {
    let mut places: BTreeMap<(TaskIdx, i32), Vec<&'static str>> = BTreeMap::new();
    let mut put = |key: Key, place| {
        if key.0 == run {
            places.entry((key.1, key.2)).or_default().push(place);
        }
    };
    tables.ready.values().for_each(|(_, t)| put(t.key, "ready"));
    tables.waiting.keys().for_each(|&key| put(key, "waiting"));
    tables.unfolded.iter().for_each(|u| put(u.key, "unfolded"));
    for (key, row) in tables.instances_of(run) {
        match row.state {
            TaskState::Running => put(*key, "running"),
            TaskState::Restarting => put(*key, "restarting"),
            _ => {}
        }
    }
    places
}
