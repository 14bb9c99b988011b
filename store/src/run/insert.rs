//! The SQL statement that inserts a run, with its request and its result. The modules that create, start or end runs
//! import this module; it imports none of them.

use super::word;
use crate::{StoreResult, hint::Hint, step::RunAt, version::Version};
use chrono::{DateTime, Utc};
use orch_core::plan::{Plan, TaskIdx};
use orch_core::run::{LEDGER_FORMAT, Run};
use orch_core::transition::{Effects, start, start_some};
use orch_spec::ids::RunId;
use orch_spec::schedule::{Calendar, DataInterval, run_id};
use orch_spec::state::{RunState, RunType, TaskState, TriggeredBy};
use orch_spec::text::{JsonText, Text};
use serde_json::Value;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// A request to create a run. Fields that are `None` are derived from the DAG and the current time.
#[derive(Debug, Clone)]
pub struct NewRun {
    pub dag_id: String,
    pub run_id: Option<RunId>,
    pub logical_date: Option<DateTime<Utc>>,
    pub interval: Option<DataInterval>,
    /// Earliest start time. If `None`, the run may start now, even if its logical date is in the future.
    pub run_after: Option<DateTime<Utc>>,
    pub run_type: RunType,
    /// Key of the data partition that the run processes.
    pub partition_key: Option<String>,
    /// Run configuration, at most 1 MB. The caller must check the size.
    pub conf: Option<Value>,
    pub triggered_by: TriggeredBy,
    pub user: Option<String>,
    pub note: Option<String>,
    /// Key that makes the request idempotent: a repeated request with the same key returns the existing run.
    pub idempotency_key: Option<String>,
    /// Hash of the request, stored with the idempotency key. A request with the same key but a different hash is
    /// rejected.
    pub request_hash: Option<Vec<u8>>,
    /// Ids of the tasks to run. All other tasks are removed from the run. `None` runs all tasks.
    pub tasks: Option<Vec<String>>,
    /// Details for the audit log entry. If `None`, no entry is written.
    pub deed: Option<Value>,
}

impl NewRun {
    /// Returns a request for a manual run that may start now.
    pub fn manual(dag_id: impl Into<String>, triggered_by: TriggeredBy) -> NewRun {
        NewRun::of(dag_id, RunType::Manual, triggered_by)
    }

    /// Returns a request for a run of type `run_type` that may start now.
    pub fn of(dag_id: impl Into<String>, run_type: RunType, triggered_by: TriggeredBy) -> NewRun {
        NewRun {
            dag_id: dag_id.into(),
            run_id: None,
            logical_date: None,
            interval: None,
            run_after: None,
            run_type,
            partition_key: None,
            conf: None,
            triggered_by,
            user: None,
            note: None,
            idempotency_key: None,
            request_hash: None,
            tasks: None,
            deed: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    pub id: Uuid,
    pub dag_id: String,
    pub run_id: String,
    pub state: RunState,
    pub run_after: DateTime<Utc>,
    pub interval: Option<DataInterval>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub version: i32,
    pub version_number: i32,
    pub version_created_at: DateTime<Utc>,
    pub bundle: String,
    /// True if other runs were cancelled in favor of this run. Their workers should then check for stop orders.
    pub stopping: bool,
    /// True if the run has started, so tasks may be claimable. If false, the run waits for its start time, for other
    /// runs, or until its DAG is unpaused.
    pub started: bool,
    /// True if schedulers should process the run now, because some of its first attempts need admission or because it
    /// has deadlines.
    pub to_look_at: bool,
}

impl RunRow {
    /// Returns the hints (wake-up signals) that the caller has to send.
    pub fn hints(&self) -> Vec<Hint> {
        let mut hints = vec![if self.started { Hint::Ready } else { Hint::Run }];
        hints.extend(self.to_look_at.then_some(Hint::Due));
        hints.extend(self.stopping.then_some(Hint::Stop));
        hints
    }
}

/// State in which a new run is inserted: started immediately if nothing prevents it, or queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    MayBegin,
    Waits,
}

pub(super) enum Inserted {
    Run(RunRow),
    /// The run was not created, because another run already has this run id or logical date.
    Taken,
    NewerVersion(i32),
    NoSuchDag,
}

pub(super) async fn insert(
    db: &mut PgConnection,
    version: &Version,
    id: Uuid,
    new: &NewRun,
    reached: Reached,
) -> StoreResult<Inserted> {
    let plan = &version.plan;
    let data_interval = interval_of(version, new);
    let name = match (&new.run_id, new.run_after) {
        (Some(name), _) => Some(name.to_string()),
        (None, Some(after)) => Some(run_id(new.run_type, after, new.logical_date, &suffix())),
        // The database generates the run id from the time of its own clock.
        (None, None) => None,
    };
    let before = Run::new(plan);
    let (begun, effects) = begin(plan, new.tasks.as_deref());
    let of = (id, new.run_type);
    let (ready, held) = (Tries::new(version, of, &effects.ready), Tries::new(version, of, &effects.hold));
    let decided = Decided::new(&effects.decided);
    let row = sqlx::query_file!(
        "queries/run/create.sql",
        new.dag_id,
        version.id,
        id,
        LEDGER_FORMAT,
        begun.state.as_str(),
        &begun.ledger,
        &begun.counters,
        &before.ledger,
        &before.counters,
        new.run_type.as_str(),
        name,
        format!("{}__", new.run_type),
        format!("_{}", suffix()),
        new.logical_date,
        data_interval.map(|i| i.start),
        data_interval.map(|i| i.end),
        new.run_after,
        plan.spec.run_timeout_ms.map(|ms| ms.min(i64::MAX as u64) as i64),
        new.triggered_by.as_str(),
        new.user,
        new.conf.as_ref().map(|conf| JsonText::of(conf).into_string()),
        new.note.as_deref().map(|note| Text::new(note).into_string()),
        new.idempotency_key,
        &ready.task,
        &ready.map_index,
        &ready.attempt,
        &ready.queue,
        &ready.priority,
        &ready.retries,
        &held.task,
        &held.map_index,
        &held.attempt,
        &held.queue,
        &held.priority,
        &held.retries,
        &decided.task,
        &decided.map_index,
        &decided.state,
        new.deed.as_ref().map(ToString::to_string),
        new.request_hash,
        new.tasks.as_deref(),
        new.partition_key,
        reached == Reached::MayBegin
    )
    .fetch_optional(&mut *db)
    .await?;
    let Some(row) = row else { return Ok(Inserted::NoSuchDag) };
    if row.newest != version.id {
        return Ok(Inserted::NewerVersion(row.newest));
    }
    let (Some(run_id), Some(state), Some(run_after), Some(created_at)) =
        (row.run_id, row.state, row.run_after, row.created_at)
    else {
        return Ok(Inserted::Taken);
    };
    let state: RunState = word(&state)?;
    if state != RunState::Queued {
        put_reasons(db, &[id], &effects.reasons).await?;
    }
    Ok(Inserted::Run(RunRow {
        id,
        dag_id: new.dag_id.clone(),
        run_id,
        state,
        run_after,
        interval: interval(row.interval_start, row.interval_end),
        created_at,
        started_at: row.started_at,
        ended_at: row.ended_at,
        version: version.id,
        version_number: version.number,
        version_created_at: row.version_created_at,
        bundle: row.bundle,
        started: state != RunState::Queued,
        stopping: false,
        to_look_at: state != RunState::Queued && ready.queue.iter().any(|&place| place < 0),
    }))
}

/// Returns the initial state of a run, with all tasks or only the given ones.
pub(super) fn begin(plan: &Plan, tasks: Option<&[String]>) -> (Run, Effects) {
    match tasks {
        None => start(plan),
        Some(tasks) => start_some(plan, &tasks.iter().filter_map(|id| plan.index_of(id)).collect()),
    }
}

/// Returns the data interval of a new run. For a manual run with a logical date, this is the interval of the scheduled
/// run for that date.
fn interval_of(version: &Version, new: &NewRun) -> Option<DataInterval> {
    let spec = &version.plan.spec;
    let usual = |date| Calendar::new(&spec.schedule, spec.timetable).ok()?.manual_interval(date);
    new.interval.or_else(|| new.logical_date.and_then(usual))
}

/// The first attempts of a run, as one vector per database column.
pub(super) struct Tries {
    pub task: Vec<i16>,
    pub map_index: Vec<i32>,
    pub attempt: Vec<Uuid>,
    pub queue: Vec<i32>,
    pub priority: Vec<i32>,
    pub retries: Vec<i16>,
}

impl Tries {
    pub(super) fn new(version: &Version, (run, run_type): (Uuid, RunType), instances: &[(TaskIdx, i32)]) -> Tries {
        let at = RunAt { run, rev: 0, run_type };
        let tries: Vec<_> = instances.iter().map(|&instance| version.new_try(at, instance)).collect();
        Tries {
            task: tries.iter().map(|t| t.task as i16).collect(),
            map_index: tries.iter().map(|t| t.map_index).collect(),
            attempt: tries.iter().map(|t| t.attempt).collect(),
            queue: tries.iter().map(|t| t.queue).collect(),
            priority: tries.iter().map(|t| t.priority).collect(),
            retries: tries.iter().map(|t| t.retries).collect(),
        }
    }
}

impl Tries {
    pub(super) fn extend(&mut self, more: Tries) {
        self.task.extend(more.task);
        self.map_index.extend(more.map_index);
        self.attempt.extend(more.attempt);
        self.queue.extend(more.queue);
        self.priority.extend(more.priority);
        self.retries.extend(more.retries);
    }
}

/// Instances that are decided without an attempt, as one vector per database column.
pub(super) struct Decided {
    pub task: Vec<i16>,
    pub map_index: Vec<i32>,
    pub state: Vec<String>,
}

impl Decided {
    pub(super) fn new(decided: &[(TaskIdx, i32, TaskState)]) -> Decided {
        Decided {
            task: decided.iter().map(|d| d.0 as i16).collect(),
            map_index: decided.iter().map(|d| d.1).collect(),
            state: decided.iter().map(|d| d.2.as_str().into()).collect(),
        }
    }
}

/// Stores the error messages of tasks in these runs that failed without an attempt.
pub(super) async fn put_reasons(
    db: &mut PgConnection,
    runs: &[Uuid],
    reasons: &[(TaskIdx, String)],
) -> StoreResult<()> {
    if reasons.is_empty() {
        return Ok(());
    }
    let (tasks, reasons): (Vec<i16>, Vec<&str>) =
        reasons.iter().map(|(task, why)| (*task as i16, why.as_str())).unzip();
    sqlx::query(
        "insert into failure (run, attempt, lease_no, kind, causes)
        select t.run, t.attempt, t.lease_no, 'fatal', array[w.reason]
        from unnest($1::uuid[]) as r (run), unnest($2::smallint[], $3::text[]) as w (task, reason), task_instance t
        where t.run = r.run and t.task = w.task and t.map_index = -1 and t.state = 'failed'
        on conflict do nothing",
    )
    .bind(runs)
    .bind(&tasks)
    .bind(&reasons)
    .execute(db)
    .await?;
    Ok(())
}

/// Returns eight random letters and digits, which make a run id unique.
fn suffix() -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut random = Uuid::new_v4().as_u128() >> 66;
    (0..8)
        .map(|_| {
            let letter = LETTERS[(random % 62) as usize];
            random /= 62;
            char::from(letter)
        })
        .collect()
}

pub(super) fn interval(start: Option<DateTime<Utc>>, end: Option<DateTime<Utc>>) -> Option<DataInterval> {
    start.zip(end).map(|(start, end)| DataInterval { start, end })
}
