//! A step of a worker is a single statement: it records outcomes, advances ledgers, queues ready attempts and claims
//! the next ones.
//!
//! A ledger is advanced by compare-and-swap on the run's revision. If the run has advanced meanwhile, its outcomes are
//! recorded as unfolded and are folded later under the run's lock (`run_lock`), so a lost race loses nothing.

mod alerts;
mod asks;
mod assets;
mod bind;
mod reply;
mod sql;

pub(crate) use alerts::json;
pub use reply::{Claimed, KnownRun, Reply, RunFacts};
pub use sql::text_variants;

use crate::{StoreResult, boxed, hint::RECORDED_EVERY, leaf::Leaf};
use chrono::{DateTime, Utc};
use orch_core::alert::NewAlert;
use orch_core::plan::TaskIdx;
use orch_core::run::Run;
use orch_core::transition::{Event, Outcome, Skip};
use orch_sdk::task::OnTimeout;
use orch_spec::approval::ANSWER;
use orch_spec::asset::{AssetEvent, LineageEdge};
use orch_spec::state::{RunType, TaskState};
use orch_spec::text::{JsonText, Text};
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// A lease of an attempt of a task instance. Everything that an attempt writes contains all of these fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    pub run: Uuid,
    pub task: TaskIdx,
    pub map_index: i32,
    pub attempt: Uuid,
    pub lease_no: i32,
}

/// The end of an attempt, as far as the engine is concerned.
#[derive(Debug, Clone)]
pub struct EndedTry {
    pub lease: Lease,
    /// `success`, `failed` and `skipped` are final. `up_for_retry`, `up_for_reschedule`, `deferred` and
    /// `awaiting_input` continue with `next`.
    pub state: TaskState,
    /// Number of the attempt, for alerts.
    pub try_no: i16,
    pub list_len: Option<i32>,
    pub skip: Vec<Skip>,
    /// Revision of the run that this outcome creates, or at which it is recorded.
    pub rev: i32,
    /// The continuation after a state that is not final.
    pub next: Option<NextTry>,
    /// Small outputs by key. They are written only if the lease is still valid.
    pub outputs: Vec<(Text, JsonText)>,
    pub failure: Option<Failure>,
    /// Asset events and lineage, written only on success.
    pub touched: Option<Box<Touched>>,
    /// Alerts about this outcome.
    pub alerts: Vec<NewAlert>,
}

/// Kind of the failure of an attempt whose outcome cannot be recorded.
pub const UNRECORDABLE: &str = "unrecordable";

/// Asset events and lineage of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Touched {
    pub dag_id: String,
    pub run_id: String,
    pub task_id: String,
    pub events: Vec<AssetEvent>,
    pub edges: Vec<LineageEdge>,
}

#[derive(Debug, Clone)]
pub struct Failure {
    /// `retryable`, `fatal`, `timeout`, `panic`, `lost`, `exit`, `unrecordable`.
    pub kind: &'static str,
    /// The outermost cause first.
    pub causes: Vec<Text>,
}

/// Maximum number of causes of a failure. Only the outermost ones are kept.
const MOST_CAUSES: usize = 64;

impl Failure {
    pub fn new(kind: &'static str, causes: impl IntoIterator<Item = String>) -> Failure {
        Failure { kind, causes: causes.into_iter().take(MOST_CAUSES).map(Text::new).collect() }
    }
}

/// The next attempt, or the same attempt after a delay.
#[derive(Debug, Clone)]
pub struct NextTry {
    /// A new UUID for a retry; the same UUID for a reschedule or a deferral.
    pub attempt: Uuid,
    pub wake_in_ms: i64,
    pub version: i32,
    pub queue: i32,
    pub priority: i32,
    /// `None` unless the attempt is deferred.
    pub wait: Option<Box<NewWait>>,
}

/// The condition or time that a deferred attempt waits for.
#[derive(Debug, Clone)]
pub struct NewWait {
    /// Kind and config of the condition. `None` means that the attempt waits only for a time.
    pub condition: Option<(Text, JsonText)>,
    /// Delay by the clock of the database, if the attempt waits for a time.
    pub wake_in_ms: i64,
    /// Timestamp to use instead of `wake_in_ms`.
    pub wake_at: Option<DateTime<Utc>>,
    pub poke_ms: i64,
    pub timeout_ms: Option<i64>,
    pub on_timeout: OnTimeout,
    pub carried: Option<JsonText>,
    /// Set if users are asked. The state is then `awaiting_input`, and the condition contains the question.
    pub asks: Option<Request>,
}

/// Data that is stored with the question of an attempt that asks users.
#[derive(Debug, Clone)]
pub struct Request {
    pub task_id: String,
    /// Answer to use if no user answers in time.
    pub fallback: Option<JsonText>,
}

/// An attempt to create.
#[derive(Debug, Clone, Copy)]
pub struct NewTry {
    pub run: Uuid,
    pub task: TaskIdx,
    pub map_index: i32,
    pub attempt: Uuid,
    pub version: i32,
    pub queue: i32,
    pub priority: i32,
    pub retries: i16,
    /// Revision of the run that makes the attempt ready.
    pub rev: i32,
}

/// A run at a revision, as far as new attempts depend on it.
#[derive(Debug, Clone, Copy)]
pub struct RunAt {
    pub run: Uuid,
    pub rev: i32,
    pub run_type: RunType,
}

/// The ledger of a run, computed from revision `rev`.
#[derive(Debug, Clone)]
pub struct Move {
    pub run: Uuid,
    pub rev: i32,
    pub to: Run,
}

/// Parameters of a claim from `ready`.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Maximum number of attempts to claim. 0 only reads the priority of the most urgent one.
    pub most: i32,
    pub queues: Arc<[i32]>,
    pub versions: Arc<[i32]>,
}

/// Everything that one step writes.
#[derive(Debug, Clone, Default)]
pub struct WorkerStep {
    pub moves: Vec<Move>,
    pub ended: Vec<EndedTry>,
    /// Attempts that this worker starts immediately.
    pub keep: Vec<NewTry>,
    /// Attempts for any worker.
    pub queue: Vec<NewTry>,
    pub hold: Vec<NewTry>,
    /// Number of held elements of a task that may be queued.
    pub admit: Vec<(Uuid, TaskIdx, i32)>,
    pub decided: Vec<(Uuid, TaskIdx, i32, TaskState)>,
    /// Reasons why tasks in `decided` failed as a whole.
    pub reasons: Vec<(Uuid, TaskIdx, String)>,
    /// Alerts about runs that end with these moves.
    pub alerts: Vec<(Uuid, NewAlert)>,
    pub claim: Option<Claim>,
    pub mode: Mode,
    /// Some of the ended attempts hold slots, which have to be released.
    pub release: bool,
    /// Some of the runs were cleared, so a new attempt may not be the first of its instance.
    pub cleared: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// An outcome with an invalid lease rolls back the whole step (`StoreError::FenceLost`).
    #[default]
    Strict,
    /// Outcomes with a valid lease are recorded and listed in the reply.
    Record,
    /// The run is locked. All outcomes of transactions older than `fold_xmin` are in the ledger now.
    Locked { fold_xmin: u64 },
}

/// Sends steps and caches the composed statements. Each connection has its own.
#[derive(Debug, Default)]
pub struct Stepper {
    texts: HashMap<(u32, Option<Leaf>), Arc<str>>,
    /// Time when a statement last sent `Hint::Recorded`.
    hinted_at: Option<Instant>,
}

impl Stepper {
    /// Executes a step for `worker`. An empty step is not sent.
    #[boxed]
    pub async fn send(&mut self, db: &mut PgConnection, step: &WorkerStep, worker: i32) -> StoreResult<Reply> {
        let shape = sql::shape(step);
        if shape == 0 {
            return Ok(Reply::default());
        }
        let leaf = Leaf::shared(step.ended.iter().map(|e| e.lease.run));
        let text = self.texts.entry((shape, leaf)).or_insert_with(|| sql::text(shape, leaf).into()).clone();
        let hints = self.hinted_at.is_none_or(|at| at.elapsed() >= RECORDED_EVERY);
        let reply = bind::send(db, text, step, worker, hints).await?;
        if reply.hinted {
            self.hinted_at = Some(Instant::now());
        }
        Ok(reply)
    }
}

impl NewWait {
    /// Returns a wait for an answer of users, without a timeout. `question` is JSON text.
    pub fn for_answer(question: String, request: Request) -> NewWait {
        NewWait {
            condition: Some((ANSWER.into(), question.into())),
            wake_in_ms: 0,
            wake_at: None,
            poke_ms: 0,
            timeout_ms: None,
            on_timeout: OnTimeout::Fail,
            carried: None,
            asks: Some(request),
        }
    }
}

impl EndedTry {
    /// Returns an outcome with nothing but its state.
    pub fn new(lease: Lease, state: TaskState) -> EndedTry {
        EndedTry {
            lease,
            state,
            try_no: 0,
            list_len: None,
            skip: Vec::new(),
            rev: 0,
            next: None,
            outputs: Vec::new(),
            failure: None,
            touched: None,
            alerts: Vec::new(),
        }
    }

    /// Returns the instance of the attempt.
    pub fn place(&self) -> (Uuid, TaskIdx, i32) {
        (self.lease.run, self.lease.task, self.lease.map_index)
    }

    /// Returns this outcome as a final failure with a fixed message, because its own values cannot be written.
    #[must_use]
    pub fn unrecordable(&self) -> EndedTry {
        let words =
            "the outcome of this attempt cannot be recorded: a value of it does not fit the database, or the database \
            is damaged; the log of the worker has its message"
                .to_string();
        EndedTry {
            rev: self.rev,
            try_no: self.try_no,
            failure: Some(Failure::new(UNRECORDABLE, [words])),
            ..EndedTry::new(self.lease, TaskState::Failed)
        }
    }

    /// Returns the event for the core, or `None` if the state is not final.
    pub fn event(&self) -> Option<Event> {
        let outcome = match self.state {
            TaskState::Success => Outcome::Success { list_len: self.list_len, skip: self.skip.clone() },
            TaskState::Failed => Outcome::Failed,
            TaskState::Skipped => Outcome::Skipped { skip: self.skip.clone() },
            _ => return None,
        };
        Some(Event::Finished { task: self.lease.task, index: self.lease.map_index, outcome })
    }
}
