//! The completion transaction: the steps of an attempt, then the fenced statement that records its end, then the
//! commit.
//!
//! Rows of orch are locked only after the steps have run, and the run's row is not locked at all: the outcome is
//! recorded as unfolded, and the caller folds it (applies it to the run) afterwards. So a slow step delays only its own
//! attempt. The check of the lease comes last: if the attempt was lost meanwhile, its steps are rolled back.

use super::{CompletionStep, Outdated};
use crate::{
    StoreError, StoreResult, boxed,
    step::{EndedTry, Lease, Mode, Stepper, WorkerStep},
};
use orch_sdk::task::TaskError;
use sqlx::Connection;
use sqlx::postgres::{PgConnection, PgDatabaseError};
use std::time::Duration;
use tokio::time::timeout;

/// Time limit of all steps of an attempt together, and of each statement, because other transactions wait for their
/// locks.
pub const LIMIT: Duration = Duration::from_secs(5);

/// Steps run as the role `orch_lake`, which cannot read orch's own tables, if the login may switch to that role. The
/// setting `orch.completing` ends with the transaction: if it is gone, a step has committed by itself.
const BEGIN: &str = "begin; set local statement_timeout = '5s'; set local idle_in_transaction_session_timeout = '5s';
    set local orch.completing = 'yes';
    select set_config('role', 'orch_lake', true) where steps_have_a_role()";

/// SQLSTATE: a statement exceeded `statement_timeout`.
const CANCELLED: &str = "57014";
/// SQLSTATE: an earlier statement failed, so the transaction can only be rolled back.
const ABORTED: &str = "25P02";
const DEADLOCK: &str = "40P01";
const SERIALIZATION: &str = "40001";

/// Reason why the end of an attempt was not recorded. Its steps were rolled back too, unless the commit was already
/// sent. In that case the outcome is unknown (`Store`), and `stands` looks it up.
#[derive(Debug, thiserror::Error)]
pub enum Unrecorded {
    #[error("this try is not its worker's any more")]
    NotOurs,
    #[error("the step `{step}` failed")]
    Failed {
        step: String,
        #[source]
        error: TaskError,
    },
    #[error("`{step}` was still at work after {LIMIT:?}, which is all that the steps of a try have")]
    TooSlow { step: String },
    #[error("the time was over before the steps of the task were prepared: {steps}")]
    OutOfTime { steps: String },
    /// The work that the step prepared is outdated. The caller prepares all steps again, and then records again.
    #[error("what the step `{step}` had prepared is outdated: {why}")]
    Outdated { step: String, why: String },
    /// The connection broke, or the database rolled the transaction back.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for Unrecorded {
    fn from(error: sqlx::Error) -> Self {
        Unrecorded::Store(error.into())
    }
}

/// Runs the steps and records the end of their attempt, atomically. `release` is true if the attempt holds slots. A
/// caller that drops this future, or receives `TooSlow`, must close the connection: a statement may still run on it.
#[boxed]
pub async fn record(
    db: &mut PgConnection,
    steps: &mut [Box<dyn CompletionStep>],
    ended: &mut EndedTry,
    release: bool,
) -> Result<(), Unrecorded> {
    let mut tx = db.begin_with(BEGIN).await?;
    let mut at_work = String::new();
    let Ok(done) = timeout(LIMIT, run_steps(&mut tx, steps, &mut at_work)).await else {
        return Err(Unrecorded::TooSlow { step: at_work });
    };
    if let Err(error) = done {
        let again = again(&at_work, &error);
        // On a broken connection, the rollback fails, and its error lets the caller run the steps again on another
        // connection.
        tx.rollback().await?;
        return Err(again.unwrap_or_else(|| failed(at_work, error)));
    }
    ended.rev = revision(&mut tx, ended.lease, &at_work).await?;
    let step = WorkerStep { ended: vec![ended.clone()], mode: Mode::Record, release, ..WorkerStep::default() };
    // `Mode::Record` neither claims nor keeps attempts, so it needs no worker id.
    let reply = Stepper::default().send(&mut tx, &step, 0).await?;
    if reply.accepted.is_empty() {
        tx.rollback().await?;
        return Err(Unrecorded::NotOurs);
    }
    tx.commit().await?;
    Ok(())
}

/// Runs the steps in order. `at_work` receives the name of the step that started last, for error messages.
async fn run_steps(
    db: &mut PgConnection,
    steps: &mut [Box<dyn CompletionStep>],
    at_work: &mut String,
) -> Result<(), anyhow::Error> {
    for step in steps {
        *at_work = step.name();
        step.run(db).await?;
    }
    Ok(())
}

/// Resets the role of the steps. Returns the revision that the run will have after this end is recorded, unless another
/// attempt of the run ends first.
async fn revision(db: &mut PgConnection, lease: Lease, last: &str) -> Result<i32, Unrecorded> {
    let reset = sqlx::raw_sql("reset role").execute(&mut *db).await;
    if let Err(sqlx::Error::Database(error)) = &reset
        && error.code().as_deref() == Some(ABORTED)
    {
        let error = TaskError::retryable("one of its statements failed and it went on: everything is taken back");
        return Err(Unrecorded::Failed { step: last.into(), error });
    }
    reset?;
    let row = sqlx::query!(
        r#"select rev, coalesce(current_setting('orch.completing', true), '') = 'yes' as "still_ours!"
        from dag_run where id = $1"#,
        lease.run
    );
    match row.fetch_optional(db).await? {
        None => Err(Unrecorded::NotOurs), // the run was deleted
        Some(row) if row.still_ours => Ok(row.rev + 1),
        Some(_) => {
            let words = "it ended the transaction, or a step before it did: the worker commits, and only once";
            Err(Unrecorded::Failed { step: last.into(), error: TaskError::fatal(words) })
        }
    }
}

/// Converts the error of a step. A step can only fail its attempt; skipping and deferring are up to the task itself.
pub(super) fn failed(step: String, error: anyhow::Error) -> Unrecorded {
    if code(&error).as_deref() == Some(CANCELLED) {
        return Unrecorded::TooSlow { step };
    }
    let error = match TaskError::from(error) {
        TaskError::Skipped { reason } => TaskError::fatal(format!("a step cannot skip its task: {reason}")),
        TaskError::Deferred { .. } => TaskError::fatal("a step cannot wait"),
        other => other,
    };
    Unrecorded::Failed { step, error }
}

/// Returns the error that requests another transaction, if the step or the database requires one. The attempt does not
/// fail. `None` if the step itself failed.
fn again(step: &str, error: &anyhow::Error) -> Option<Unrecorded> {
    if let Some(Outdated(why)) = error.chain().find_map(|cause| cause.downcast_ref()) {
        return Some(Unrecorded::Outdated { step: step.into(), why: why.clone() });
    }
    let again = matches!(code(error).as_deref(), Some(DEADLOCK | SERIALIZATION));
    again.then(|| Unrecorded::Store(StoreError::TryAgain(sqlx::Error::Protocol(error.to_string()))))
}

/// Returns the SQLSTATE of the first Postgres error among the causes.
fn code(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let said = cause.downcast_ref::<PgDatabaseError>().map(|said| said.code().to_string());
        let by_sqlx = || cause.downcast_ref::<sqlx::Error>()?.as_database_error()?.code().map(Into::into);
        said.or_else(by_sqlx)
    })
}

/// State of an attempt after a commit whose response was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// Nothing was recorded: the attempt still runs.
    Running,
    Recorded,
    /// Another worker has the attempt, or it no longer exists.
    NotOurs,
}

/// Returns whether the end of an attempt was recorded. Call it only after the session that sent the commit has ended
/// (`hot::ServerSession`), because the commit may still execute until then.
#[boxed]
pub async fn stands(db: &mut PgConnection, lease: Lease) -> StoreResult<Stands> {
    let row = sqlx::query_scalar!(
        r#"select state in ('running', 'restarting') as "runs!" from task_instance
        where run = $1 and task = $2 and map_index = $3 and attempt = $4 and lease_no = $5"#,
        lease.run,
        lease.task as i16,
        lease.map_index,
        lease.attempt,
        lease.lease_no
    );
    Ok(match row.fetch_optional(db).await? {
        Some(true) => Stands::Running,
        Some(false) => Stands::Recorded,
        None => Stands::NotOurs,
    })
}
