//! Runs one attempt: resolves its inputs, polls the task function with its log and limits, and returns the outcome.
//!
//! A panic fails the attempt. A stopped task function has a few seconds to clean up before it is dropped.

mod completion;
mod deferral;
mod past;

pub(crate) use past::PastReader;

use crate::child;
use crate::host::{Origin, WorkerHost};
use crate::inputs::{Recent, Resolver};
use crate::job::{CompletionSteps, Job};
use crate::logs::{ATTEMPT_LOG, AttemptLog, Shipper};
use crate::memory;
use crate::outcome::Finish;
use crate::patience::patiently;
use crate::touched::TouchedAssets;
use crate::watch::Outlook;
use futures::FutureExt;
use orch_sdk::task::{Ctx, Resumed, TaskError, TryFacts};
use orch_spec::ids::TaskId;
use orch_spec::text::{MOST_DEPTH, clean_value, is_too_deep, take_apart};
use orch_spec::{Isolation, TaskSpec};
use orch_store::hint::Hints;
use orch_store::output;
use orch_store::step::Touched;
use serde_json::Value;
use sqlx::PgPool;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Maximum time for a stopped task function to clean up.
const CLEAN_UP: Duration = Duration::from_secs(5);

pub(crate) struct Shared {
    pub(crate) recent: Recent,
    pub(crate) cold: PgPool,
    /// Pool for recording attempts with completion steps. Separate from the pool of task functions, so that these
    /// cannot block it.
    pub(crate) completions: PgPool,
    pub(crate) past: PastReader,
    pub(crate) shipper: Shipper,
    /// Conditions that tasks may wait for, and the secrets that task functions and pokes may use.
    pub(crate) outlook: Outlook,
    pub(crate) hints: Hints,
    /// Default memory limit of a task's processes, in MB.
    pub(crate) process_memory_mb: u32,
    pub(crate) is_trial: bool,
}

pub(crate) async fn run_body(job: &Job, shared: &Shared) -> Finish {
    let task = job.claimed.lease.task;
    let plan = &job.offer.version.plan;
    let spec = &plan.spec.tasks[usize::from(task)];
    let Some(body) = job.offer.bodies.get(usize::from(task)).and_then(Option::as_ref) else {
        return fatal(format!("this worker has no function for task `{}` of kind `{}`", spec.task_id, spec.kind));
    };
    let log = AttemptLog::new(job.claimed.lease, shared.shipper.clone());
    let left = Arc::new(CompletionSteps::default());
    let working = async {
        let resumed = match deferral::resumed(job, shared, &log).await {
            Ok(resumed) => resumed,
            Err(finish) => return finish,
        };
        let resolver = Resolver {
            plan,
            run: job.claimed.lease.run,
            task,
            map_index: job.claimed.lease.map_index,
            params: &job.run.params,
            recent: &shared.recent,
            secrets: &shared.outlook.secrets,
            pool: &shared.cold,
        };
        let inputs = match resolver.resolve().await {
            Ok(inputs) if inputs.conditions_hold => inputs.values,
            Ok(_) => return Finish::ConditionUnmet,
            Err(error) => return Finish::Error { error, kind: None },
        };
        let (ctx, host) = match context(job, spec, shared, (&log, &left), resumed) {
            Ok(context) => context,
            Err(error) => return fatal(error),
        };
        let memory_mb = spec.options.memory_mb.unwrap_or(shared.process_memory_mb);
        let given = match plan.task(task).isolation {
            Isolation::Process => child::run_in_child(job, &ctx, inputs, &log, memory_mb).await,
            Isolation::InProcess => {
                let limit = memory::Limit::new(memory_mb);
                let given = memory::LIMIT.scope(limit.clone(), body.call(ctx, inputs)).await;
                given.map_err(|error| Finish::Error { error, kind: limit.was_exceeded().then_some("memory") })
            }
        };
        match given {
            Ok(Some(value)) => give(job, shared, value, host.said.touched(spec, &job.run.facts)).await,
            Ok(None) => deferral::not_yet(job, spec, shared).await,
            Err(Finish::Error { error: TaskError::Deferred { deferral }, .. }) => {
                deferral::begin(&deferral, spec, &shared.outlook.conditions)
            }
            Err(finish) => finish,
        }
    };
    let timeout = spec.options.timeout_ms.map(Duration::from_millis);
    let ended = async {
        let until = timeout.and_then(|limit| tokio::time::Instant::now().checked_add(limit));
        // Box the future, because each enclosing future would otherwise reserve space for it again.
        let finish = limited(Box::pin(working), timeout, &job.cancel).await.masked();
        completion::complete(job, shared, (&left, &log), until, finish).await
    };
    let finish = ATTEMPT_LOG.scope(log.clone(), ended).await;
    log.close(finish.in_words().as_ref());
    finish
}

/// Polls a task function until it ends, panics, times out or is stopped.
async fn limited(
    working: impl Future<Output = Finish>,
    timeout: Option<Duration>,
    cancel: &CancellationToken,
) -> Finish {
    let working = AssertUnwindSafe(working).catch_unwind();
    tokio::pin!(working);
    let end = async {
        match timeout {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        done = &mut working => done.unwrap_or_else(|panic| panicked(&*panic)),
        () = cancel.cancelled() => {
            // The context of the task function contains the same cancellation token, so it may clean up first.
            drop(tokio::time::timeout(CLEAN_UP, working).await);
            Finish::Stopped
        }
        () = end => {
            cancel.cancel();
            drop(tokio::time::timeout(CLEAN_UP, working).await);
            let cause = format!("it took longer than its timeout of {:?}", timeout.unwrap_or_default());
            Finish::Error { error: TaskError::Retryable { causes: vec![cause] }, kind: Some("timeout") }
        }
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Finish {
    let error = TaskError::Retryable { causes: vec![panic_text(panic)] };
    Finish::Error { error, kind: Some("panic") }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|t| (*t).to_string());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into());
    format!("it panicked: {text}")
}

fn fatal(cause: String) -> Finish {
    Finish::Error { error: TaskError::Fatal { causes: vec![cause] }, kind: None }
}

fn context(
    job: &Job,
    spec: &TaskSpec,
    shared: &Shared,
    (log, left): (&Arc<AttemptLog>, &Arc<CompletionSteps>),
    resumed: Option<Resumed>,
) -> Result<(Ctx, Arc<WorkerHost>), String> {
    let lease = job.claimed.lease;
    let this_try = TryFacts {
        task_id: TaskId::new(&spec.task_id).map_err(|e| e.to_string())?,
        map_index: u32::try_from(lease.map_index).ok(),
        try_number: u32::try_from(job.claimed.try_no).unwrap_or(1),
        max_tries: u32::try_from(job.claimed.max_tries).unwrap_or(0),
        attempt: lease.attempt,
        lease_no: lease.lease_no,
        resumed,
    };
    let host = Arc::new(WorkerHost {
        lease,
        plan: job.offer.version.plan.clone(),
        log: log.clone(),
        cancel: job.cancel.clone(),
        pool: shared.cold.clone(),
        is_trial: shared.is_trial,
        secrets: shared.outlook.secrets.clone(),
        hints: shared.hints.clone(),
        origin: Origin::of(job),
        said: TouchedAssets::default(),
        left: left.clone(),
    });
    Ok((Ctx::new(job.run.facts.clone(), this_try, job.run.params.clone(), host.clone()), host))
}

/// Prepares an output for storage. Small outputs are sent with the outcome; larger ones are stored immediately.
async fn give(job: &Job, shared: &Shared, mut value: Value, touched: Option<Box<Touched>>) -> Finish {
    if value.is_null() {
        return Finish::Gave { value, text: String::new(), stored: true, touched };
    }
    if is_too_deep(&value) {
        take_apart(value);
        return fatal(format!("the output is nested more than {MOST_DEPTH} deep: it could not be read back"));
    }
    clean_value(&mut value);
    let lease = job.claimed.lease;
    let (kept, text) = match shared.outlook.secrets.kept(lease.run, &value) {
        Ok(kept) => kept,
        Err(error) => return fatal(format!("the output cannot be sealed: {error}")),
    };
    if text.len() > output::MAX_BYTES {
        return fatal(format!(
            "the output has {} bytes, more than {}: write it to the object store and return where it is",
            text.len(),
            output::MAX_BYTES
        ));
    }
    if output::goes_with_the_step(&kept, &text) {
        drop(kept);
        shared.recent.remember((lease.run, lease.task, lease.map_index), Arc::new(value.clone()), text.len());
        return Finish::Gave { value, text, stored: false, touched };
    }
    let put = || async {
        let mut db = shared.cold.acquire().await?;
        output::put(&mut db, lease, output::RETURN_VALUE, &kept).await
    };
    let put = patiently(put).await;
    drop(kept);
    match put {
        Ok(true) => Finish::Gave { value, text: String::new(), stored: true, touched },
        Ok(false) => Finish::Stopped,
        Err(error) => Finish::Error {
            error: TaskError::Retryable { causes: vec!["the output cannot be stored".into(), error.to_string()] },
            kind: None,
        },
    }
}
