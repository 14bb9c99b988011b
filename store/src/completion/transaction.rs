//! The completion transaction: the steps of a try, then the fenced statement that records its end, then the commit.
//!
//! Nothing of orch is locked before the steps are done, and the run's row not at all: the outcome is recorded as
//! unfolded, in this transaction, and whoever called folds it afterwards. So a slow step holds up nobody but itself. The
//! fence comes last: a try that was lost meanwhile takes its steps back with it.

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

/// All steps of a try together may take so long, and each of their statements: what they lock, others wait for.
pub const LIMIT: Duration = Duration::from_secs(5);

/// Steps work as `orch_lake`, which cannot read orch's own tables, if the server lets this user become that role.
/// `orch.completing` ends with the transaction: a step that commits by itself is noticed.
const BEGIN: &str = "begin; set local statement_timeout = '5s'; set local idle_in_transaction_session_timeout = '5s';
    set local orch.completing = 'yes';
    select set_config('role', 'orch_lake', true) where steps_have_a_role()";

/// It took longer than `statement_timeout`.
const CANCELLED: &str = "57014";
/// Something failed before, so nothing can be done but roll back.
const ABORTED: &str = "25P02";
const DEADLOCK: &str = "40P01";
const SERIALIZATION: &str = "40001";

/// Why an end was not recorded. Then nothing of its steps is there either; but after the commit was sent nobody knows
/// (`Store`), and `stands` tells.
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
    /// What this step had prepared no longer fits: prepare again, then record again.
    #[error("what the step `{step}` had prepared is outdated: {why}")]
    Outdated { step: String, why: String },
    /// The connection broke, or the database took the transaction back.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for Unrecorded {
    fn from(error: sqlx::Error) -> Self {
        Unrecorded::Store(error.into())
    }
}

/// Runs the steps and records the end of their try: all of it or nothing. `release`: the try was let in at a gate. Whoever
/// drops this future, or is told `TooSlow`, closes the connection: it may be in the middle of a statement.
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
        // On a connection that broke this says so, and the steps may run again on another one.
        tx.rollback().await?;
        return Err(again.unwrap_or_else(|| failed(at_work, error)));
    }
    ended.rev = revision(&mut tx, ended.lease, &at_work).await?;
    let step = WorkerStep { ended: vec![ended.clone()], mode: Mode::Record, release, ..WorkerStep::default() };
    // Record mode claims nothing and keeps nothing, so no worker is named.
    let reply = Stepper::default().send(&mut tx, &step, 0).await?;
    if reply.accepted.is_empty() {
        tx.rollback().await?;
        return Err(Unrecorded::NotOurs);
    }
    tx.commit().await?;
    Ok(())
}

/// `at_work` is the name of the step that was begun last.
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

/// The revision that this end makes if nobody else ends meanwhile. From here on the connection is orch's own again.
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

/// What is told of a step that failed. Only what the task itself may say can end a try otherwise than failed.
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

/// The step or the database asks for another transaction: the try does not fail for that.
fn again(step: &str, error: &anyhow::Error) -> Option<Unrecorded> {
    if let Some(Outdated(why)) = error.chain().find_map(|cause| cause.downcast_ref()) {
        return Some(Unrecorded::Outdated { step: step.into(), why: why.clone() });
    }
    let again = matches!(code(error).as_deref(), Some(DEADLOCK | SERIALIZATION));
    again.then(|| Unrecorded::Store(StoreError::TryAgain(sqlx::Error::Protocol(error.to_string()))))
}

/// What Postgres said, however deep in the causes.
fn code(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let said = cause.downcast_ref::<PgDatabaseError>().map(|said| said.code().to_string());
        let by_sqlx = || cause.downcast_ref::<sqlx::Error>()?.as_database_error()?.code().map(Into::into);
        said.or_else(by_sqlx)
    })
}

/// What became of a try whose commit got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// Nothing was recorded: it still runs.
    Running,
    Recorded,
    /// It is in other hands, or is no more.
    NotOurs,
}

/// Asked after the session that sent the commit has ended (`hot::ServerSession`).
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
