//! The end of a try that commits something with its outcome. It is recorded here, by the task of the body and on a
//! connection of its own: the driver, which speaks for all tries of this worker, waits for no step.
//!
//! Whatever breaks before the commit, the steps run again; when the commit got no answer, the fence is asked what became
//! of it. A step that fails fails the try, and takes what went before it along.

use super::{Job, Shared};
use crate::logs::{AttemptLog, Line};
use crate::outcome::{self, Finish};
use crate::patience::patiently;
use futures::FutureExt;
use orch_core::state::TaskState;
use orch_core::task::{LogLevel, TaskError, TaskResult, fatal};
use orch_store::completion::{self, CompletionStep, Stands, Unrecorded};
use orch_store::hot::ServerSession;
use orch_store::step::{Ended, Lease};
use orch_store::{StoreError, StoreResult};
use serde_json::Map;
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use std::any::Any;
use std::ops::DerefMut;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Steps of one try. They have five seconds together.
const MOST_STEPS: usize = 100;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

type Steps = Vec<Box<dyn CompletionStep>>;

/// What a body left for its end.
#[derive(Default)]
pub(crate) struct Left(Mutex<Steps>);

impl Left {
    pub(crate) fn leave(&self, left: Box<dyn Any + Send>) -> TaskResult<()> {
        let step = completion::as_step(left)?;
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if steps.len() == MOST_STEPS {
            return Err(fatal(format!("a try can leave {MOST_STEPS} steps for its end: let one do more")));
        }
        steps.push(step);
        Ok(())
    }

    fn take(&self) -> Steps {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Records the end of a try that left steps for it. One that left none is given back as it is: the driver records it.
pub(super) async fn complete(job: &Job, shared: &Shared, left: &Left, log: &Arc<AttemptLog>, finish: Finish) -> Finish {
    let mut steps = left.take();
    let fails = matches!(&finish, Finish::Error { error: TaskError::Retryable { .. } | TaskError::Fatal { .. }, .. });
    if !(fails || matches!(finish, Finish::Gave { .. })) || !steps.iter().any(|step| !fails || step.on_failure()) {
        return finish;
    }
    let lease = job.claimed.lease;
    let Some(mut ended) = decide(job, finish) else { return Finish::Stopped };
    if ended.state == TaskState::Success {
        let error = match record(job, shared, &mut steps, &mut ended).await {
            Ok(()) => {
                let names: Vec<String> = steps.iter().map(|step| step.name()).collect();
                let event = format!("committed with its success: {}", names.join(", "));
                log.say(&Line::new(LogLevel::Info, "orch", event, Map::new()));
                return Finish::Decided { ended: Box::new(ended), recorded: true };
            }
            Err(error) => error,
        };
        // Whoever follows may not be given what a try gave that did not count.
        shared.recent.forget(&(lease.run, lease.task, lease.map_index));
        let Some(failure) = as_failure(error) else { return Finish::Stopped };
        let Some(failed) = decide(job, failure.masked()) else { return Finish::Stopped };
        ended = failed;
    }
    steps.retain(|step| step.on_failure());
    let recorded =
        if steps.is_empty() { Ok(false) } else { record(job, shared, &mut steps, &mut ended).await.map(|()| true) };
    match recorded {
        Ok(recorded) => Finish::Decided { ended: Box::new(ended), recorded },
        Err(Unrecorded::NotOurs) => Finish::Stopped,
        Err(error) => {
            // The failure counts without what it wanted to tell of itself.
            let event = format!("not committed with its failure: {}", text(&error));
            log.say(&Line::new(LogLevel::Warning, "orch", event, Map::new()));
            Finish::Decided { ended: Box::new(ended), recorded: false }
        }
    }
}

/// The revision is found out in the transaction, or by the driver.
fn decide(job: &Job, finish: Finish) -> Option<Ended> {
    let facts = &job.run.facts;
    let delay = || outcome::retry_delay_ms(&job.offer, &job.claimed, facts.logical_date);
    outcome::ended(&job.offer, &job.claimed, (0, facts.run_type), finish, delay)
}

/// `None`: there is nothing to be said of this try any more.
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
        Unrecorded::NotOurs | Unrecorded::TooSlow { .. } => error.to_string(),
    }
}

/// Until there is an answer. A worker that stays cut off for too long ends its bodies, and this with them.
async fn record(
    job: &Job,
    shared: &Shared,
    steps: &mut [Box<dyn CompletionStep>],
    ended: &mut Ended,
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
    ended: &mut Ended,
    release: bool,
) -> Result<(), Unrecorded> {
    let mut loan = Loan(Some(pool.acquire().await?));
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
            let error = TaskError::retryable(super::panic_text(&*panic));
            Err(Unrecorded::Failed { step: "one of its steps".into(), error })
        }
    }
}

/// Waits until the session is over, and what it locked is free; and how the try stands then.
async fn over(pool: &PgPool, session: ServerSession, lease: Lease) -> StoreResult<Stands> {
    let ask = || async {
        let mut db = pool.acquire().await?;
        session.end(&mut db).await?;
        completion::stands(&mut db, lease).await
    };
    patiently(ask).await
}

/// A connection that goes back to its pool only when nothing is under way on it.
struct Loan(Option<PoolConnection<Postgres>>);

impl Loan {
    fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl std::ops::Deref for Loan {
    type Target = sqlx::PgConnection;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref().expect("it is taken only when it is given back")
    }
}

impl DerefMut for Loan {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.0.as_mut().expect("it is taken only when it is given back")
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        drop(self.0.take().map(PoolConnection::detach)); // closed, not pooled
    }
}
