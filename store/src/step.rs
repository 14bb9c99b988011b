//! Worker steps. A step is a single SQL statement that records the outcomes of attempts, advances the ledgers (stored
//! state) of their runs, queues attempts that became ready, and claims the next attempts for the worker.
//!
//! A ledger is advanced by compare-and-swap on the run's revision. If another process has advanced the run meanwhile,
//! the step's outcomes are stored as unfolded (not yet applied) and are folded later under the run's lock (`run_lock`).
//! A lost race therefore loses no outcome.

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

/// A worker's lease on an attempt of a task instance. Every write of the attempt contains all of these fields, so that
/// writes under an outdated lease are rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    pub run: Uuid,
    pub task: TaskIdx,
    pub map_index: i32,
    pub attempt: Uuid,
    pub lease_no: i32,
}

/// The outcome of an attempt, as a worker reports it.
#[derive(Debug, Clone)]
pub struct EndedTry {
    pub lease: Lease,
    /// `success`, `failed` and `skipped` are final. After `up_for_retry`, `up_for_reschedule`, `deferred` and
    /// `awaiting_input`, the instance continues with `next`.
    pub state: TaskState,
    /// Number of the attempt, shown in alerts.
    pub try_no: i16,
    pub list_len: Option<i32>,
    pub skip: Vec<Skip>,
    /// Revision of the run that this outcome creates. If the outcome is recorded without being applied, the revision of
    /// the run at that time.
    pub rev: i32,
    /// How the instance continues; `None` if the state is final.
    pub next: Option<NextTry>,
    /// Small outputs by key. They are written only if the attempt's lease is still valid.
    pub outputs: Vec<(Text, JsonText)>,
    pub failure: Option<Failure>,
    /// Asset events and lineage of the attempt, written only if the attempt succeeded.
    pub touched: Option<Box<Touched>>,
    /// Alerts about this outcome.
    pub alerts: Vec<NewAlert>,
}

/// Failure kind for attempts whose outcome cannot be stored.
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
    /// Kind of failure: `retryable`, `fatal`, `timeout`, `panic`, `lost`, `exit` or `unrecordable`.
    pub kind: &'static str,
    /// Error messages from the outermost error to its root cause.
    pub causes: Vec<Text>,
}

/// Maximum number of error causes stored per failure. Only the outermost ones are kept.
const MOST_CAUSES: usize = 64;

impl Failure {
    pub fn new(kind: &'static str, causes: impl IntoIterator<Item = String>) -> Failure {
        Failure { kind, causes: causes.into_iter().take(MOST_CAUSES).map(Text::new).collect() }
    }
}

/// How an unfinished instance continues: with a new attempt, or with the same attempt after a delay.
#[derive(Debug, Clone)]
pub struct NextTry {
    /// Id of the next attempt: a new UUID for a retry, and the current attempt's UUID after a reschedule or a deferral.
    pub attempt: Uuid,
    pub wake_in_ms: i64,
    pub version: i32,
    pub queue: i32,
    pub priority: i32,
    /// What a deferred attempt waits for; `None` if the attempt is not deferred.
    pub wait: Option<Box<NewWait>>,
}

/// The condition or time for which a deferred attempt waits.
#[derive(Debug, Clone)]
pub struct NewWait {
    /// Kind and configuration of the condition. `None` if the attempt waits only for a time.
    pub condition: Option<(Text, JsonText)>,
    /// Delay by the database clock, in milliseconds, if the attempt waits for a time.
    pub wake_in_ms: i64,
    /// Time at which the wait ends. If set, it replaces `wake_in_ms`.
    pub wake_at: Option<DateTime<Utc>>,
    pub poke_ms: i64,
    pub timeout_ms: Option<i64>,
    pub on_timeout: OnTimeout,
    pub carried: Option<JsonText>,
    /// Set if the attempt waits for an answer from a user. Its state is then `awaiting_input`, and `condition` contains
    /// the question.
    pub asks: Option<Request>,
}

/// Data stored with a question that an attempt asks users.
#[derive(Debug, Clone)]
pub struct Request {
    pub task_id: String,
    /// Answer that is used if no user responds in time.
    pub fallback: Option<JsonText>,
}

/// An attempt to be created.
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
    /// Revision of the run at which the attempt became ready.
    pub rev: i32,
}

/// Identifies a run at one revision, with the fields that new attempts of the run need.
#[derive(Debug, Clone, Copy)]
pub struct RunAt {
    pub run: Uuid,
    pub rev: i32,
    pub run_type: RunType,
}

/// New ledger (stored state) of a run. It was computed from revision `rev` and is written only if the run is still at
/// that revision.
#[derive(Debug, Clone)]
pub struct Move {
    pub run: Uuid,
    pub rev: i32,
    pub to: Run,
}

/// Parameters for claiming attempts from the table `ready`.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Maximum number of attempts to claim. If 0, only the priority of the most urgent attempt is read.
    pub most: i32,
    pub queues: Arc<[i32]>,
    pub versions: Arc<[i32]>,
}

/// Everything that one worker step writes.
#[derive(Debug, Clone, Default)]
pub struct WorkerStep {
    pub moves: Vec<Move>,
    pub ended: Vec<EndedTry>,
    /// New attempts that the reporting worker starts immediately.
    pub keep: Vec<NewTry>,
    /// New attempts that any worker may claim.
    pub queue: Vec<NewTry>,
    pub hold: Vec<NewTry>,
    /// Per mapped task, the number of elements that a concurrency limit held back and that may now be queued.
    pub admit: Vec<(Uuid, TaskIdx, i32)>,
    pub decided: Vec<(Uuid, TaskIdx, i32, TaskState)>,
    /// Error messages for the tasks in `decided` that failed without an attempt.
    pub reasons: Vec<(Uuid, TaskIdx, String)>,
    /// Alerts about runs that finish in this step.
    pub alerts: Vec<(Uuid, NewAlert)>,
    pub claim: Option<Claim>,
    pub mode: Mode,
    /// True if some of the ended attempts occupy pool slots, which the step must release.
    pub release: bool,
    /// True if some of the runs were cleared. A new attempt may then not be the first of its instance.
    pub cleared: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// If any lease is invalid, the whole step is rolled back (`StoreError::FenceLost`).
    #[default]
    Strict,
    /// Only outcomes with a valid lease are recorded; the reply lists them.
    Record,
    /// The caller holds the run's lock, and all outcomes of transactions older than `fold_xmin` have been applied to
    /// the run.
    Locked { fold_xmin: u64 },
}

/// Sends worker steps, and caches the SQL text of each combination of parts. Each connection has its own `Stepper`.
#[derive(Debug, Default)]
pub struct Stepper {
    texts: HashMap<(u32, Option<Leaf>), Arc<str>>,
    /// Time of the last statement that sent `Hint::Recorded`.
    hinted_at: Option<Instant>,
}

impl Stepper {
    /// Executes a step for `worker`. If the step is empty, returns an empty reply without a query.
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
    /// Returns a wait without a timeout for a user's answer. `question` is JSON text.
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
    /// Returns an outcome with the given state; all other fields are empty.
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

    /// Returns the key of the attempt's instance: run, task and map index.
    pub fn place(&self) -> (Uuid, TaskIdx, i32) {
        (self.lease.run, self.lease.task, self.lease.map_index)
    }

    /// Returns a final failure with a fixed message, as a replacement for this outcome, whose values cannot be written
    /// to the database.
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

    /// Returns the event that applies this outcome to its run, or `None` if the state is not final.
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
