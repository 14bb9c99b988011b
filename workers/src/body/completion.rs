//! Records attempts that commit something together with their outcome (completion steps).
//!
//! The attempt records its outcome itself, on a separate connection, so that the worker's main loop, which serves all
//! attempts, never waits for a step. Steps are first prepared without a transaction, within the task's timeout. After
//! an error before the commit, they are prepared and run again. If the commit gets no response, the fencing token is
//! queried to find out whether it succeeded. A failing step fails the attempt and rolls back the steps before it.

use super::Shared;
use crate::job::{CompletionSteps, Job};
use crate::logs::{AttemptLog, LogLine};
use crate::outcome::{self, Finish};
use crate::patience::patiently;
use futures::FutureExt;
use orch_sdk::task::{LogLevel, TaskError};
use orch_spec::state::TaskState;
use orch_store::completion::{self, CompletionStep, Stands, Unrecorded};
use orch_store::connect::Loan;
use orch_store::hot::ServerSession;
use orch_store::step::{EndedTry, Lease};
use orch_store::{StoreError, StoreResult};
use serde_json::Map;
use sqlx::PgPool;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Maximum number of repeated preparations after conflicts. Each conflict means that another attempt has succeeded.
const MOST_OUTDATED: u32 = 100;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Records the outcome of an attempt that has completion steps. An outcome without steps is returned unchanged and
/// recorded by the main loop. `until` is the deadline from the task's timeout.
pub(super) async fn complete(
    job: &Job,
    shared: &Shared,
    (left, log): (&CompletionSteps, &Arc<AttemptLog>),
    until: Option<Instant>,
    finish: Finish,
) -> Finish {
    let mut steps = left.take();
    let fails = matches!(&finish, Finish::Error { error: TaskError::Retryable { .. } | TaskError::Fatal { .. }, .. });
    if !(fails || matches!(finish, Finish::Gave { .. })) || !steps.iter().any(|step| !fails || step.on_failure()) {
        return finish;
    }
    let lease = job.claimed.lease;
    let Some(mut ended) = decide(job, finish) else { return Finish::Stopped };
    if ended.state == TaskState::Success {
        let error = match record_success(job, shared, &mut steps, &mut ended, until).await {
            Ok(()) => {
                steps.iter().filter_map(|step| step.hint()).for_each(|hint| shared.hints.give(hint));
                let names: Vec<String> = steps.iter().map(|step| step.name()).collect();
                let event = format!("committed with its success: {}", names.join(", "));
                log.say(&LogLine::new(LogLevel::Info, "orch", event, Map::new()));
                return Finish::Decided { ended: Box::new(ended), recorded: true };
            }
            Err(error) => error,
        };
        // Downstream tasks must not receive the output of an attempt whose steps were not committed.
        shared.recent.forget(&(lease.run, lease.task, lease.map_index));
        let Some(failure) = as_failure(error) else { return Finish::Stopped };
        let Some(failed) = decide(job, failure.masked()) else { return Finish::Stopped };
        ended = failed;
    }
    steps.retain(|step| step.on_failure());
    let recorded = if steps.is_empty() {
        Ok(false)
    } else {
        record_failure(job, shared, &mut steps, &mut ended).await.map(|()| true)
    };
    match recorded {
        Ok(recorded) => Finish::Decided { ended: Box::new(ended), recorded },
        Err(Unrecorded::NotOurs) => Finish::Stopped,
        Err(error) => {
            // The failure is recorded without the completion steps.
            let event = format!("not committed with its failure: {}", text(&error));
            log.say(&LogLine::new(LogLevel::Warning, "orch", event, Map::new()));
            Finish::Decided { ended: Box::new(ended), recorded: false }
        }
    }
}

/// Determines the outcome to record. Its revision 0 is a placeholder that is replaced when the outcome is recorded.
fn decide(job: &Job, finish: Finish) -> Option<EndedTry> {
    let facts = &job.run.facts;
    let delay = || outcome::retry_delay_ms(&job.offer, &job.claimed, facts.logical_date);
    outcome::ended(&job.offer, &job.claimed, (0, facts.run_type), finish, delay)
}

/// Returns the failure to record, or `None` if this worker no longer owns the attempt.
fn as_failure(error: Unrecorded) -> Option<Finish> {
    let (error, kind) = match error {
        Unrecorded::NotOurs => return None,
        Unrecorded::Failed { step, error } => {
            let with = |causes: Vec<String>| {
                let mut all = vec![format!("the step `{step}` failed, so nothing was committed")];
                all.extend(causes);
                all
            };
            match error {
                TaskError::Fatal { causes } => (TaskError::Fatal { causes: with(causes) }, None),
                TaskError::Retryable { causes } => (TaskError::Retryable { causes: with(causes) }, None),
                other => (TaskError::Retryable { causes: with(vec![other.to_string()]) }, None),
            }
        }
        slow @ Unrecorded::TooSlow { .. } => {
            let hint = "hint: do what takes long in the task itself, and leave short statements to `ctx.commit`";
            (TaskError::retryable(format!("{slow}\n{hint}")), Some("timeout"))
        }
        late @ Unrecorded::OutOfTime { .. } => {
            let hint = "hint: raise the timeout of the task, or look at how long its storage takes to answer";
            (TaskError::retryable(format!("{late}\n{hint}")), Some("timeout"))
        }
        outdated @ Unrecorded::Outdated { .. } => {
            let causes = vec![outdated.to_string(), format!("it was prepared {} times", MOST_OUTDATED + 1)];
            (TaskError::Retryable { causes }, None)
        }
        Unrecorded::Store(error) => {
            let causes = vec!["its success could not be recorded".into(), error.to_string(), error.source_text()];
            (TaskError::Retryable { causes }, None)
        }
    };
    Some(Finish::Error { error, kind })
}

fn text(error: &Unrecorded) -> String {
    match error {
        Unrecorded::Failed { error: cause, .. } => format!("{error}: {cause}"),
        Unrecorded::Store(cause) => format!("{error}: {}", cause.source_text()),
        Unrecorded::NotOurs
        | Unrecorded::TooSlow { .. }
        | Unrecorded::OutOfTime { .. }
        | Unrecorded::Outdated { .. } => error.to_string(),
    }
}

/// Prepares the steps and records the success together with them. Prepares again after a conflict with another writer.
async fn record_success(
    job: &Job,
    shared: &Shared,
    steps: &mut [Box<dyn CompletionStep>],
    ended: &mut EndedTry,
    until: Option<Instant>,
) -> Result<(), Unrecorded> {
    let mut outdated = 0;
    loop {
        tokio::select! {
            biased;
            prepared = in_time(steps, until) => prepared?,
            () = job.cancel.cancelled() => return Err(Unrecorded::NotOurs),
        }
        match record(job, shared, steps, ended).await {
            Err(Unrecorded::Outdated { why, .. }) if outdated < MOST_OUTDATED => {
                outdated += 1;
                tracing::debug!(why, outdated, "the steps of a try prepare again");
            }
            done => return done,
        }
    }
}

async fn record_failure(
    job: &Job,
    shared: &Shared,
    steps: &mut [Box<dyn CompletionStep>],
    ended: &mut EndedTry,
) -> Result<(), Unrecorded> {
    in_time(steps, Some(Instant::now() + completion::LIMIT)).await?;
    record(job, shared, steps, ended).await
}

/// Prepares the steps until the deadline `until`. Converts a panic to an error.
async fn in_time(steps: &mut [Box<dyn CompletionStep>], until: Option<Instant>) -> Result<(), Unrecorded> {
    let names: Vec<String> = steps.iter().map(|step| step.name()).collect();
    let over = async {
        match until {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        done = AssertUnwindSafe(prepared(steps)).catch_unwind() => done.unwrap_or_else(|panic| Err(panicked(&*panic))),
        () = over => Err(Unrecorded::OutOfTime { steps: names.join(", ") }),
    }
}

/// Prepares the steps. Retries transient database errors with backoff, as the transaction does.
async fn prepared(steps: &mut [Box<dyn CompletionStep>]) -> Result<(), Unrecorded> {
    let mut pause = FIRST_PAUSE;
    loop {
        match completion::prepare(steps).await {
            Err(Unrecorded::Store(error)) if error.passes() => {
                tracing::debug!(%error, cause = error.source_text(), "the steps of a try prepare again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            done => return done,
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Unrecorded {
    let error = TaskError::retryable(super::panic_text(panic));
    Unrecorded::Failed { step: "one of its steps".into(), error }
}

/// Records the outcome. Retries until the database responds or this worker is disconnected for too long.
async fn record(
    job: &Job,
    shared: &Shared,
    steps: &mut [Box<dyn CompletionStep>],
    ended: &mut EndedTry,
) -> Result<(), Unrecorded> {
    let release = job.offer.version.is_gated(job.claimed.lease.task);
    let mut pause = FIRST_PAUSE;
    loop {
        match once(&shared.completions, steps, ended, release).await {
            Err(Unrecorded::Store(error)) if error.passes() => {
                tracing::debug!(%error, cause = error.source_text(), "an end is recorded again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            done => return done,
        }
    }
}

async fn once(
    pool: &PgPool,
    steps: &mut [Box<dyn CompletionStep>],
    ended: &mut EndedTry,
    release: bool,
) -> Result<(), Unrecorded> {
    let mut loan = Loan::of(pool).await?;
    let session = ServerSession::of(&mut loan).await?;
    let lease = ended.lease;
    let done = AssertUnwindSafe(completion::record(&mut loan, steps, ended, release)).catch_unwind().await;
    match done {
        Ok(Err(Unrecorded::Store(error @ StoreError::Unreachable(_)))) => {
            drop(loan);
            match over(pool, session, lease).await? {
                Stands::Recorded => Ok(()),
                Stands::NotOurs => Err(Unrecorded::NotOurs),
                Stands::Running => Err(Unrecorded::Store(error)),
            }
        }
        Ok(slow @ Err(Unrecorded::TooSlow { .. })) => {
            drop(loan);
            over(pool, session, lease).await?;
            slow
        }
        Ok(done) => {
            loan.give_back();
            done
        }
        Err(panic) => {
            drop(loan);
            over(pool, session, lease).await?;
            Err(panicked(&*panic))
        }
    }
}

/// Waits until the database session has ended and released its locks. Returns the state of the attempt.
async fn over(pool: &PgPool, session: ServerSession, lease: Lease) -> StoreResult<Stands> {
    let ask = || async {
        let mut db = pool.acquire().await?;
        session.end(&mut db).await?;
        completion::stands(&mut db, lease).await
    };
    patiently(ask).await
}
