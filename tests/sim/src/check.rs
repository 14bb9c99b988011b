//! What must hold after every commit. Kept apart from the tables: who was given what, and what the pure core makes of the
//! outcomes that were accepted. A mistake in the store shows as a difference between the two.

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

/// An instance in somebody's hands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) attempt: Uuid,
    pub(crate) lease_no: i32,
    pub(crate) worker: i32,
}

/// Without the attempt: its id is random, and a violation replays to the letter.
impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} with lease {}", self.worker, self.lease_no)
    }
}

pub(crate) struct Books {
    pub(crate) violation: Option<String>,
    pub(crate) bodies: Bodies,
    /// When something last went on.
    pub(crate) progress: Instant,
    models: BTreeMap<Uuid, Model>,
    grants: BTreeMap<Key, Grant>,
    /// The highest lease of each attempt, and the highest try of each instance.
    leases: HashMap<Uuid, i32>,
    tries: HashMap<Key, i16>,
    /// Outcomes as they were accepted.
    outcomes: BTreeMap<Key, Outcome>,
    /// How a run ended because somebody said so.
    said: BTreeMap<Uuid, RunState>,
    /// Runs that people have changed: they do not go as undisturbed ones do.
    touched: BTreeSet<Uuid>,
    /// Instances whose state somebody else set than the body.
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

    /// The first violation counts; what follows it follows from it.
    pub(crate) fn fail(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    pub(crate) fn outcome(&self, key: &Key) -> Option<&Outcome> {
        self.outcomes.get(key)
    }

    pub(crate) fn outcomes(&self) -> impl Iterator<Item = (&Key, &Outcome)> {
        self.outcomes.iter()
    }

    /// A run began; `run` is its row's ledger.
    pub(crate) fn began(&mut self, id: Uuid, model: Model, run: &Run) {
        if model.run != *run {
            self.fail(format!("run {id} began as {run:?}, not as {:?}", model.run));
        }
        self.progress = Instant::now();
        self.models.insert(id, model);
    }

    /// An instance was given to a worker.
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

    /// A worker's word about an instance was accepted.
    pub(crate) fn accepted(&mut self, key: Key, grant: Grant) {
        self.progress = Instant::now();
        match self.grants.remove(&key) {
            Some(current) if current == grant => {}
            other => self.fail(format!("an outcome of {key:?} by {grant:?} was accepted while {other:?} had it")),
        }
    }

    /// An instance was taken from a worker that is gone.
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

    /// A ledger moved because of these events: so must the core's.
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

/// Tells the core what happened.
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
    // The model checks itself: nothing is ready or decided twice.
    let told = catch_unwind(AssertUnwindSafe(|| {
        ended.iter().for_each(|(task, index, outcome)| model.note_end(*task, *index, outcome));
        stopped.iter().for_each(|(task, index)| model.note_stop(*task, *index));
        model.apply(events);
    }));
    told.map_err(|_| format!("the core cannot follow {events:?}"))
}

/// A legal step of an instance's state; `None` before it has a row.
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

/// Where an instance is, when it is in flight.
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
