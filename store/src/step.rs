//! One step of a worker: record what ended, move the ledgers, put out what is ready, take what runs next. One statement.
//!
//! The ledger moves by compare-and-swap on the run's revision. When a run has moved on meanwhile, its outcomes are
//! recorded all the same, as unfolded, and folded under the run's lock (`run_lock`): losing a race loses nothing.

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

/// One try of one instance in one pair of hands. What an attempt writes carries all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    pub run: Uuid,
    pub task: TaskIdx,
    pub map_index: i32,
    pub attempt: Uuid,
    pub lease_no: i32,
}

/// How a try ended, as far as the engine is concerned.
#[derive(Debug, Clone)]
pub struct EndedTry {
    pub lease: Lease,
    /// `success`, `failed`, `skipped`: for good. `up_for_retry`, `up_for_reschedule`, `deferred`, `awaiting_input`: see `next`.
    pub state: TaskState,
    /// For people who are told.
    pub try_no: i16,
    pub list_len: Option<i32>,
    pub skip: Vec<Skip>,
    /// Revision of the run that this end makes, or at which it is recorded.
    pub rev: i32,
    /// What goes on after a state that is not for good.
    pub next: Option<NextTry>,
    /// Small outputs by key; written only if this try still counts.
    pub outputs: Vec<(Text, JsonText)>,
    pub failure: Option<Failure>,
    /// What it did to assets, written with a success only.
    pub touched: Option<Box<Touched>>,
    /// Who is told of it.
    pub alerts: Vec<NewAlert>,
}

/// Kind of the failure of a try whose end cannot be written.
pub const UNRECORDABLE: &str = "unrecordable";

/// What a try did to assets.
#[derive(Debug, Clone, PartialEq)]
pub struct Touched {
    pub dag_id: String,
    pub run_id: String,
    pub task_id: String,
    pub events: Vec<AssetEvent>,
    pub edges: Vec<LineageEdge>,
}

/// Why a try failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// `retryable`, `fatal`, `timeout`, `panic`, `lost`, `exit`, `unrecordable`.
    pub kind: &'static str,
    /// Outermost first.
    pub causes: Vec<Text>,
}

/// Of a failure that says more: the outermost ones.
const MOST_CAUSES: usize = 64;

impl Failure {
    pub fn new(kind: &'static str, causes: impl IntoIterator<Item = String>) -> Failure {
        Failure { kind, causes: causes.into_iter().take(MOST_CAUSES).map(Text::new).collect() }
    }
}

/// The try after this one, or the same one in a while.
#[derive(Debug, Clone)]
pub struct NextTry {
    /// A new uuid for a retry, the same one for a reschedule and a deferral.
    pub attempt: Uuid,
    pub wake_in_ms: i64,
    pub version: i32,
    pub queue: i32,
    pub priority: i32,
    /// Of a deferral.
    pub wait: Option<Box<NewWait>>,
}

/// What a deferred try waits for.
#[derive(Debug, Clone)]
pub struct NewWait {
    /// Kind and config of its condition; `None`: it waits for its time alone.
    pub condition: Option<(Text, JsonText)>,
    /// By the clock of the database, if it waits for a time.
    pub wake_in_ms: i64,
    /// Instead of `wake_in_ms`.
    pub wake_at: Option<DateTime<Utc>>,
    pub poke_ms: i64,
    pub timeout_ms: Option<i64>,
    pub on_timeout: OnTimeout,
    pub carried: Option<JsonText>,
    /// People are asked: the state is `awaiting_input`, and the condition says what.
    pub asks: Option<Request>,
}

/// Of a try that asks people, what is kept beside its question.
#[derive(Debug, Clone)]
pub struct Request {
    pub task_id: String,
    /// What is taken when there is no answer in time.
    pub fallback: Option<JsonText>,
}

/// A try that comes to be.
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
    /// Revision of the run that makes it ready.
    pub rev: i32,
}

/// A run at a revision, as tries that come to be need to know it.
#[derive(Debug, Clone, Copy)]
pub struct RunAt {
    pub run: Uuid,
    pub rev: i32,
    pub run_type: RunType,
}

/// A run's ledger as computed from revision `rev`.
#[derive(Debug, Clone)]
pub struct Move {
    pub run: Uuid,
    pub rev: i32,
    pub to: Run,
}

/// What to take from `ready`.
#[derive(Debug, Clone)]
pub struct Claim {
    /// 0: only look how urgent the most urgent is.
    pub most: i32,
    pub queues: Arc<[i32]>,
    pub versions: Arc<[i32]>,
}

/// Everything one step writes.
#[derive(Debug, Clone, Default)]
pub struct WorkerStep {
    pub moves: Vec<Move>,
    pub ended: Vec<EndedTry>,
    /// Tries this worker goes on with at once.
    pub keep: Vec<NewTry>,
    /// Tries for whoever comes.
    pub queue: Vec<NewTry>,
    pub hold: Vec<NewTry>,
    /// How many held elements of a task may go.
    pub admit: Vec<(Uuid, TaskIdx, i32)>,
    pub decided: Vec<(Uuid, TaskIdx, i32, TaskState)>,
    /// Why tasks of `decided` failed as a whole.
    pub reasons: Vec<(Uuid, TaskIdx, String)>,
    /// Who is told of runs that end with their moves.
    pub alerts: Vec<(Uuid, NewAlert)>,
    pub claim: Option<Claim>,
    pub mode: Mode,
    /// Some of what ended was let in at a gate: its slots are free again.
    pub release: bool,
    /// Some of the runs were cleared once: a try that comes to be may not be the first of its instance.
    pub cleared: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// An outcome that no longer counts takes the whole step back (`StoreError::FenceLost`).
    #[default]
    Strict,
    /// Outcomes that still count are recorded and named in the reply.
    Record,
    /// Under the run's lock. `fold_xmin`: outcomes recorded by older transactions are all in the ledger now.
    Locked { fold_xmin: u64 },
}

/// Sends steps; remembers the texts it has composed. One for each connection.
#[derive(Debug, Default)]
pub struct Stepper {
    texts: HashMap<(u32, Option<Leaf>), Arc<str>>,
    /// When a statement last sent `Hint::Recorded`.
    hinted_at: Option<Instant>,
}

impl Stepper {
    /// Carries out a step for `worker`. An empty step is not sent.
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
    /// It waits for people, for ever: this question, as JSON text.
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
    /// An end that leaves nothing but its state.
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

    /// The instance it is of.
    pub fn place(&self) -> (Uuid, TaskIdx, i32) {
        (self.lease.run, self.lease.task, self.lease.map_index)
    }

    /// The same end, failed for good and told in words of our own: what it said cannot be written.
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

    /// What the core is told, once the end is for good.
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
