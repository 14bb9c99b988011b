//! Services that the worker provides to the task function of an attempt.

use crate::job::{CompletionSteps, Job};
use crate::logs::{AttemptLog, LogLine};
use crate::patience::patiently;
use crate::secrets::Secrets;
use crate::touched::TouchedAssets;
use orch_core::plan::Plan;
use orch_sdk::task::{BoxFuture, Connection, Host, LogLevel, TaskResult, TriggerRequest, Triggered, fatal};
use orch_spec::asset::{AssetEvent, LineageEdge, TriggeringEvent};
use orch_spec::ids::{DagId, RunId};
use orch_spec::schedule::is_near;
use orch_spec::state::{RunType, TriggeredBy};
use orch_spec::text::{MOST_DEPTH, clean_value, is_too_deep};
use orch_store::hint::{Hint, Hints};
use orch_store::locks::Locks;
use orch_store::run::{CreateRun, NewRun, create_run};
use orch_store::step::Lease;
use orch_store::version::Versions;
use orch_store::{asset, identity, output};
use serde_json::{Map, Value, json};
use sqlx::PgPool;
use std::any::Any;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Maximum size of a run configuration in bytes. Same limit as for runs that users trigger.
const MOST_CONF_BYTES: usize = 1 << 20;

/// The task instance that starts a run.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    dag_id: String,
    run_id: String,
    task_id: String,
}

impl Origin {
    pub(crate) fn of(job: &Job) -> Origin {
        let facts = &job.run.facts;
        let plan = &job.offer.version.plan;
        let task_id = plan.task_id(job.claimed.lease.task).to_string();
        Origin { dag_id: facts.dag_id.to_string(), run_id: facts.run_id.to_string(), task_id }
    }
}

pub(crate) struct WorkerHost {
    pub(crate) lease: Lease,
    pub(crate) plan: Arc<Plan>,
    pub(crate) log: Arc<AttemptLog>,
    pub(crate) cancel: CancellationToken,
    pub(crate) pool: PgPool,
    /// True for a trial run, whose database is deleted afterwards. `home` then returns `None`.
    pub(crate) is_trial: bool,
    pub(crate) secrets: Secrets,
    pub(crate) said: TouchedAssets,
    pub(crate) left: Arc<CompletionSteps>,
    pub(crate) hints: Hints,
    pub(crate) origin: Origin,
}

impl Host for WorkerHost {
    fn log(&self, level: LogLevel, message: &str, fields: Map<String, Value>) {
        self.log.say(&LogLine::from_body(level, message, fields));
    }

    fn progress(&self, rows: u64, bytes: u64) {
        self.log.progress(rows, bytes);
    }

    fn cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn cancelled_future(&self) -> BoxFuture<()> {
        let cancel = self.cancel.clone();
        Box::pin(async move { cancel.cancelled().await })
    }

    fn connection(&self, id: &str) -> BoxFuture<TaskResult<Connection>> {
        let (secrets, id) = (self.secrets.clone(), id.to_string());
        Box::pin(async move { secrets.connection(&id).await })
    }

    fn variable(&self, key: &str) -> BoxFuture<TaskResult<Option<String>>> {
        let (secrets, key) = (self.secrets.clone(), key.to_string());
        Box::pin(async move { secrets.variable(&key).await })
    }

    fn push(&self, key: &str, mut value: Value) -> BoxFuture<TaskResult<()>> {
        let (pool, lease, key) = (self.pool.clone(), self.lease, key.to_string());
        let secrets = self.secrets.clone();
        Box::pin(async move {
            check_key(&key)?;
            if is_too_deep(&value) {
                return Err(fatal(format!("`{key}` is nested more than {MOST_DEPTH} deep: it could not be read back")));
            }
            clean_value(&mut value);
            let (kept, _) = secrets.kept(lease.run, &value)?;
            let put = || async {
                let mut db = pool.acquire().await?;
                output::put(&mut db, lease, &key, &kept).await
            };
            if patiently(put).await? {
                return Ok(());
            }
            Err(fatal("this try is not the current one any more"))
        })
    }

    fn pull(&self, task_id: &str, key: &str, map_index: Option<u32>) -> BoxFuture<TaskResult<Option<Value>>> {
        let (pool, run, key, task_id) = (self.pool.clone(), self.lease.run, key.to_string(), task_id.to_string());
        let task = self.plan.index_of(&task_id);
        let secrets = self.secrets.clone();
        Box::pin(async move {
            let task = task.ok_or_else(|| fatal(format!("this dag has no task `{task_id}`")))?;
            check_key(&key)?;
            let index = map_index.map_or(-1, |i| i as i32);
            let get = || async {
                let mut db = pool.acquire().await?;
                output::get(&mut db, run, task, index, &key).await
            };
            let found = patiently(get).await?;
            Ok(found.map(|value| secrets.given(run, value)).transpose()?)
        })
    }

    fn asset_event(&self, event: AssetEvent) -> TaskResult<()> {
        self.said.event(event)
    }

    fn lineage(&self, edge: LineageEdge) -> TaskResult<()> {
        self.said.edge(edge)
    }

    fn leave(&self, step: Box<dyn Any + Send>) -> TaskResult<()> {
        self.left.leave(step)
    }

    fn home(&self) -> BoxFuture<TaskResult<Option<String>>> {
        let (pool, is_trial) = (self.pool.clone(), self.is_trial);
        Box::pin(async move {
            if is_trial {
                return Ok(None);
            }
            let get = || async {
                let mut db = pool.acquire().await?;
                identity::identity(&mut db).await
            };
            Ok(Some(patiently(get).await?))
        })
    }

    fn database(&self) -> TaskResult<Box<dyn Any + Send>> {
        Ok(Box::new(self.pool.clone()))
    }

    fn triggering_events(&self) -> BoxFuture<TaskResult<Vec<TriggeringEvent>>> {
        let (pool, run) = (self.pool.clone(), self.lease.run);
        Box::pin(async move {
            let get = || async {
                let mut db = pool.acquire().await?;
                asset::triggering_events(&mut db, run).await
            };
            Ok(patiently(get).await?)
        })
    }

    fn trigger(&self, wish: TriggerRequest) -> BoxFuture<TaskResult<Triggered>> {
        let (pool, hints, attempt) = (self.pool.clone(), self.hints.clone(), self.lease.attempt);
        let origin = self.origin.clone();
        Box::pin(async move { trigger(&pool, &hints, attempt, &origin, wish).await })
    }
}

/// Returns an error if a value cannot be stored under this key.
fn check_key(key: &str) -> TaskResult<()> {
    if key.is_empty() || key.len() > 512 || key.contains('\0') {
        return Err(fatal(format!("the key {key:?} cannot be used: 1 to 512 bytes without NUL")));
    }
    Ok(())
}

/// Starts a run. Idempotent: its key is derived from the attempt and the request. A repetition after a lost response,
/// or by a worker that takes over the attempt, returns the same run.
async fn trigger(
    pool: &PgPool,
    hints: &Hints,
    attempt: Uuid,
    origin: &Origin,
    wish: TriggerRequest,
) -> TaskResult<Triggered> {
    DagId::new(&wish.dag_id).map_err(|error| fatal(error.to_string()))?;
    let run_id = wish.run_id.as_deref().map(RunId::new).transpose().map_err(|error| fatal(error.to_string()))?;
    if let Some(date) = wish.logical_date.filter(|date| !is_near(*date)) {
        return Err(fatal(format!("{date} is no logical date: the years 1 to 9999 are")));
    }
    if wish.conf.as_ref().is_some_and(is_too_deep) {
        return Err(fatal(format!("the conf is nested more than {MOST_DEPTH} deep")));
    }
    let conf_bytes = wish.conf.as_ref().map_or(0, |conf| conf.to_string().len());
    if conf_bytes > MOST_CONF_BYTES {
        return Err(fatal(format!("the conf has {conf_bytes} bytes, more than {MOST_CONF_BYTES}")));
    }
    let told = serde_json::to_string(&wish).unwrap_or_default();
    let key = format!("try {attempt} {}", Uuid::new_v5(&attempt, told.as_bytes()));
    let new = NewRun {
        run_id,
        logical_date: wish.logical_date,
        conf: wish.conf.clone(),
        note: wish.note.clone(),
        idempotency_key: Some(key),
        deed: Some(json!({ "by": { "dag_id": origin.dag_id, "run_id": origin.run_id, "task_id": origin.task_id } })),
        ..NewRun::of(&wish.dag_id, RunType::OperatorTriggered, TriggeredBy::Operator)
    };
    let create = || async {
        let mut db = pool.acquire().await?;
        create_run(&mut db, Locks::begin(), &mut Versions::default(), &new).await
    };
    let dag_id = &wish.dag_id;
    let created = patiently(create).await.map_err(|error| {
        let is_for_good = error.is_of_one_item();
        if is_for_good { fatal(format!("the run cannot be recorded: {}", error.in_full())) } else { error.into() }
    });
    match created? {
        CreateRun::Created(run) | CreateRun::Same(run) => {
            run.hints().into_iter().for_each(|hint| hints.give(hint));
            hints.give(Hint::Run);
            Ok(Triggered { dag_id: run.dag_id, run_id: run.run_id, logical_date: wish.logical_date })
        }
        CreateRun::NoSuchDag => Err(fatal(format!("there is no dag `{dag_id}`"))),
        CreateRun::RunIdTaken => Err(fatal(format!(
            "dag `{dag_id}` has a run `{}` already: name another, or leave it to orch",
            wish.run_id.unwrap_or_default()
        ))),
        CreateRun::LogicalDateTaken => Err(fatal(format!("dag `{dag_id}` has a run for that logical date already"))),
        CreateRun::BadConf(bad) => Err(fatal(format!("the conf does not fit dag `{dag_id}`: {bad}"))),
        CreateRun::OtherRequest => Err(fatal("this try has started another run with the same key")),
    }
}
