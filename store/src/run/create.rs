//! Creates a run, and begins it at once when nothing stands against it: one statement, so a trigger costs one commit.

use super::{policy, word};
use crate::{
    StoreError, StoreResult, boxed, deadline,
    hint::Hint,
    step::RunAt,
    version::{Version, Versions},
};
use chrono::{DateTime, Utc};
use orch_core::overlap::has_policy;
use orch_core::plan::{Plan, TaskIdx};
use orch_core::run::{LEDGER_FORMAT, Run};
use orch_core::transition::{Effects, start, start_some};
use orch_spec::ids::RunId;
use orch_spec::params::{BadConf, check_conf};
use orch_spec::schedule::{Calendar, DataInterval, run_id};
use orch_spec::state::{RunState, RunType, TaskState, TriggeredBy};
use orch_spec::text::{JsonText, Text};
use serde_json::Value;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::sync::Arc;
use uuid::Uuid;

/// A wish for a run. What is left out follows from the DAG and the time.
#[derive(Debug, Clone)]
pub struct NewRun {
    pub dag_id: String,
    pub run_id: Option<RunId>,
    pub logical_date: Option<DateTime<Utc>>,
    pub interval: Option<DataInterval>,
    /// Not before; now without it.
    pub run_after: Option<DateTime<Utc>>,
    pub run_type: RunType,
    /// The partition it is for.
    pub partition_key: Option<String>,
    /// At most a megabyte: the caller has checked.
    pub conf: Option<Value>,
    pub triggered_by: TriggeredBy,
    pub user: Option<String>,
    pub note: Option<String>,
    /// The same key gives the same run, however often it is sent.
    pub idempotency_key: Option<String>,
    /// Of what was sent with that key; another one is refused.
    pub request_hash: Option<Vec<u8>>,
    /// Only these run; the others are removed from it.
    pub tasks: Option<Vec<String>>,
    /// What the audit log says of it beside who and what; without it nothing is written there.
    pub deed: Option<Value>,
}

impl NewRun {
    /// A run by hand, now.
    pub fn manual(dag_id: impl Into<String>, triggered_by: TriggeredBy) -> NewRun {
        NewRun {
            dag_id: dag_id.into(),
            run_id: None,
            logical_date: None,
            interval: None,
            run_after: None,
            run_type: RunType::Manual,
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

#[derive(Debug, Clone)]
pub enum CreateRun {
    Created(RunRow),
    /// Its idempotency key was seen before: the run of then.
    Same(RunRow),
    /// Its idempotency key was seen before, with another request.
    OtherRequest,
    RunIdTaken,
    /// The DAG has a run for that date.
    LogicalDateTaken,
    /// What was asked for by hand does not fit the params of the DAG's newest version.
    BadConf(BadConf),
    NoSuchDag,
}

/// A run that was created.
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
    /// Others were cancelled for it: their workers should look at their orders.
    pub stopping: bool,
    /// It began: tasks may be claimable. Else it waits for its time, for other runs, or for its DAG to be unpaused.
    pub started: bool,
    /// Schedulers are to look: some of its first tries have to be let in, or it has deadlines.
    pub to_look_at: bool,
}

impl RunRow {
    /// What the caller gives.
    pub fn hints(&self) -> Vec<Hint> {
        let mut hints = vec![if self.started { Hint::Ready } else { Hint::Run }];
        hints.extend(self.to_look_at.then_some(Hint::Due));
        hints.extend(self.stopping.then_some(Hint::Stop));
        hints
    }
}

/// How often a DAG may get a new version while a run of it is created.
const LOOKS: usize = 5;

/// Creates a run. The caller gives its hints.
#[boxed]
pub async fn create_run(db: &mut PgConnection, versions: &mut Versions, new: &NewRun) -> StoreResult<CreateRun> {
    if let Some(key) = &new.idempotency_key
        && let Some(same) = of_key(db, key, new).await?
    {
        return Ok(same);
    }
    let id = Uuid::now_v7();
    versions.make_leaf(db, id).await?;
    for _ in 0..LOOKS {
        let guess = match versions.newest(&new.dag_id) {
            Some(id) => id,
            None => match newest_version(db, &new.dag_id).await? {
                Some(id) => id,
                None => return Ok(CreateRun::NoSuchDag),
            },
        };
        let version = versions.get(db, guess).await?;
        versions.set_newest(&new.dag_id, guess);
        if let Err(bad) = check(&version, new) {
            // A newer version may see it otherwise.
            match newest_version(db, &new.dag_id).await? {
                None => return Ok(CreateRun::NoSuchDag),
                Some(newest) if newest == guess => return Ok(CreateRun::BadConf(bad)),
                Some(newest) => versions.set_newest(&new.dag_id, newest),
            }
            continue;
        }
        let inserted = if version.plan.spec.deadlines.is_empty() {
            put(db, versions, &version, id, new).await
        } else {
            with_deadlines(db, versions, &version, id, new).await
        };
        match inserted {
            Ok(Inserted::Run(run)) => return Ok(CreateRun::Created(run)),
            Ok(Inserted::NoSuchDag) => return Ok(CreateRun::NoSuchDag),
            Ok(Inserted::Taken) => return why_taken(db, new).await,
            Ok(Inserted::NewerVersion(newer)) => versions.set_newest(&new.dag_id, newer),
            Err(error) if error.constraint() == Some("dag_run_detail_idempotency_key_key") => {
                let key = new.idempotency_key.as_deref().unwrap_or_default();
                return of_key(db, key, new).await?.ok_or(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::TryAgain(sqlx::Error::RowNotFound))
}

async fn put(
    db: &mut PgConnection,
    versions: &mut Versions,
    version: &Arc<Version>,
    id: Uuid,
    new: &NewRun,
) -> StoreResult<Inserted> {
    if has_policy(&version.plan.spec) {
        policy::create(db, versions, version, id, new).await
    } else {
        insert(db, version, id, new, Reached::MayBegin).await
    }
}

/// A run whose DAG says by when it is to be over.
async fn with_deadlines(
    db: &mut PgConnection,
    versions: &mut Versions,
    version: &Arc<Version>,
    id: Uuid,
    new: &NewRun,
) -> StoreResult<Inserted> {
    let mut tx = db.begin().await?;
    let mut inserted = put(&mut tx, versions, version, id, new).await?;
    if let Inserted::Run(run) = &mut inserted {
        deadline::set(&mut tx, version, id).await?;
        run.to_look_at = true;
    }
    tx.commit().await?;
    Ok(inserted)
}

/// Whether a run begins at once when nothing stands against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    MayBegin,
    Waits,
}

pub(super) enum Inserted {
    Run(RunRow),
    /// Its name or date belongs to another run.
    Taken,
    NewerVersion(i32),
    NoSuchDag,
}

/// What people ask for is judged; what a schedule, a backfill or an asset makes was judged with the DAG.
fn check(version: &Version, new: &NewRun) -> Result<(), BadConf> {
    match new.run_type {
        RunType::Manual | RunType::OperatorTriggered => {
            let nothing = Value::Object(serde_json::Map::new());
            check_conf(version.plan.spec.params_schema.as_ref(), new.conf.as_ref().unwrap_or(&nothing))
        }
        _ => Ok(()),
    }
}

async fn newest_version(db: &mut PgConnection, dag_id: &str) -> StoreResult<Option<i32>> {
    Ok(sqlx::query_scalar!("select version from dag where dag_id = $1", dag_id).fetch_optional(db).await?)
}

pub(super) async fn insert(
    db: &mut PgConnection,
    version: &Version,
    id: Uuid,
    new: &NewRun,
    reached: Reached,
) -> StoreResult<Inserted> {
    let plan = &version.plan;
    let when = When::of(version, new);
    let name = match (&new.run_id, when.run_after) {
        (Some(name), _) => Some(name.to_string()),
        (None, Some(after)) => Some(run_id(new.run_type, after, new.logical_date, &suffix())),
        // The database names it, by its own clock.
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
        when.interval.map(|i| i.start),
        when.interval.map(|i| i.end),
        when.run_after,
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
    .fetch_optional(db)
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

/// How a run begins, of which all tasks are to run or only these.
pub(super) fn begin(plan: &Plan, tasks: Option<&[String]>) -> (Run, Effects) {
    match tasks {
        None => start(plan),
        Some(tasks) => start_some(plan, &tasks.iter().filter_map(|id| plan.index_of(id)).collect()),
    }
}

/// The times a run is about.
pub(super) struct When {
    pub(super) run_after: Option<DateTime<Utc>>,
    interval: Option<DataInterval>,
}

impl When {
    /// A run by hand for a date is about what a scheduled one would be about, and due when that one would be.
    pub(super) fn of(version: &Version, new: &NewRun) -> When {
        let spec = &version.plan.spec;
        let usual = |date| Calendar::new(&spec.schedule, spec.timetable).ok()?.manual_interval(date);
        let interval = new.interval.or_else(|| new.logical_date.and_then(usual));
        let dated = new.logical_date.and(interval).map(|i| i.end);
        When { run_after: new.run_after.or(dated), interval }
    }
}

/// Tries that begin with a run, as columns.
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

/// Instances that end with the beginning of their run, as columns.
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

/// Eight random letters and digits.
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

async fn why_taken(db: &mut PgConnection, new: &NewRun) -> StoreResult<CreateRun> {
    let dated = sqlx::query_scalar!(
        r#"select exists (select from dag_run where dag_id = $1 and logical_date = $2) as "dated!""#,
        new.dag_id,
        new.logical_date
    );
    let named = sqlx::query_scalar!(
        r#"select exists (select from dag_run where dag_id = $1 and run_id = $2) as "named!""#,
        new.dag_id,
        new.run_id.as_deref()
    );
    if named.fetch_one(&mut *db).await? || !dated.fetch_one(db).await? {
        return Ok(CreateRun::RunIdTaken);
    }
    Ok(CreateRun::LogicalDateTaken)
}

async fn of_key(db: &mut PgConnection, key: &str, new: &NewRun) -> StoreResult<Option<CreateRun>> {
    let row = sqlx::query!(
        r#"select r.id, r.dag_id, r.run_id, r.state::text as "state!", r.run_after, r.interval_start, r.interval_end,
          r.created_at, r.started_at, r.ended_at, r.version, v.number, v.created_at as version_created_at, v.bundle, d.request_hash
        from dag_run_detail d join dag_run r on r.id = d.run join dag_version v on v.id = r.version
        where d.idempotency_key = $1"#,
        key
    )
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    // Runs of before the hash was kept have none.
    if row.request_hash.zip(new.request_hash.as_ref()).is_some_and(|(then, now)| then != *now) {
        return Ok(Some(CreateRun::OtherRequest));
    }
    let state: RunState = word(&row.state)?;
    Ok(Some(CreateRun::Same(RunRow {
        id: row.id,
        dag_id: row.dag_id,
        run_id: row.run_id,
        state,
        run_after: row.run_after,
        interval: interval(row.interval_start, row.interval_end),
        created_at: row.created_at,
        started_at: row.started_at,
        ended_at: row.ended_at,
        version: row.version,
        version_number: row.number,
        version_created_at: row.version_created_at,
        bundle: row.bundle,
        started: state != RunState::Queued,
        stopping: false,
        to_look_at: false,
    })))
}

fn interval(start: Option<DateTime<Utc>>, end: Option<DateTime<Utc>>) -> Option<DataInterval> {
    start.zip(end).map(|(start, end)| DataInterval { start, end })
}
