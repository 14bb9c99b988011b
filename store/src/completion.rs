//! Steps that a task commits together with its outcome, in the transaction that records it. The transaction is atomic:
//! an attempt publishes nothing if it was lost, is too slow, or its worker dies. Slow work happens in `prepare`, before
//! the transaction begins. Inside the transaction, steps only publish what they have prepared.

mod prepare;
mod transaction;

pub use prepare::prepare;
pub use transaction::{LIMIT, Stands, Unrecorded, record, stands};

use crate::hint::Hint;
use orch_sdk::task::{Ctx, MemoryHost, TaskResult, fatal};
use sqlx::PgPool;
use sqlx::postgres::PgConnection;
use std::any::Any;
use std::fmt;
use std::pin::Pin;

/// Future of a step that uses a connection.
pub type StepFuture<'a> = Pin<Box<dyn Future<Output = TaskResult<()>> + Send + 'a>>;

/// A change that happens if and only if its task succeeds: a snapshot is published, an offset advances, rows are
/// inserted.
///
/// `run` uses the connection of the completion transaction, which the worker begins and commits. It must only run short
/// statements in the metadata database, and not wait for anything else: all steps of an attempt have five seconds. An
/// error rolls everything back and fails the attempt, which is retried unless the error is `fatal`. If the database
/// rolls the transaction back, or the connection breaks before the commit, the step runs again, so it must not treat
/// earlier work as done.
pub trait CompletionStep: Send + 'static {
    /// Short description for logs and errors, such as "commit `retail.orders`".
    fn name(&self) -> String;

    /// Does slow work before the transaction begins, such as writing files or calling servers. No row is locked
    /// meanwhile, and all steps of an attempt prepare concurrently, within the task's timeout. Called again after a
    /// step returned [`Outdated`]: work that is still valid is kept. An error fails the attempt, like an error of
    /// `run`.
    fn prepare(&mut self) -> StepFuture<'_> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Publishes the prepared work. If it returns the error [`Outdated`], all steps prepare again.
    fn run<'a>(&'a mut self, db: &'a mut PgConnection) -> StepFuture<'a>;

    /// True if the step also runs when the attempt fails, in the transaction that records the failure. Meant for steps
    /// that describe the attempt, such as the results of checks. Steps that publish the attempt's work must return
    /// false.
    fn on_failure(&self) -> bool {
        false
    }

    /// Returns the hint (wake-up signal) to send after the commit.
    fn hint(&self) -> Option<Hint> {
        None
    }
}

/// Error of a step whose prepared work no longer matches the data that the transaction sees. The transaction is rolled
/// back, and all steps prepare again before the next one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Outdated(pub String);

/// Extension of `Ctx` that adds `ctx.commit(step)`.
pub trait Commit {
    /// Adds a step to the transaction that records the success of this attempt. Steps run in the order in which they
    /// were added. If the attempt fails, only those with `CompletionStep::on_failure` run.
    ///
    /// # Errors
    /// Returns a fatal error in a child process, because a step cannot be passed to its parent process.
    fn commit(&self, step: impl CompletionStep) -> TaskResult<()>;
}

impl Commit for Ctx {
    fn commit(&self, step: impl CompletionStep) -> TaskResult<()> {
        let step: Box<dyn CompletionStep> = Box::new(step);
        self.host().leave(Box::new(step))
    }
}

/// Returns a pool for the database in which the outcome of the task is recorded. Meant for data that tasks store in
/// orch, such as topics.
///
/// # Errors
/// Returns a fatal error if the outcome is not recorded, or is recorded by another process.
pub fn database(ctx: &Ctx) -> TaskResult<PgPool> {
    let given = ctx.host().database()?.downcast::<PgPool>();
    given.map(|pool| *pool).map_err(|_| fatal("the database of this task's host is no pool of Postgres"))
}

/// Converts a value that was passed to `Host::leave` back into a step.
pub fn as_step(left: Box<dyn Any + Send>) -> TaskResult<Box<dyn CompletionStep>> {
    let step = left.downcast::<Box<dyn CompletionStep>>();
    step.map(|step| *step).map_err(|_| fatal("what this task left for its end is no step of `ctx.commit`"))
}

/// Returns the steps that tasks added during a test, in order.
pub fn left(host: &MemoryHost) -> Vec<Box<dyn CompletionStep>> {
    host.take_left().into_iter().filter_map(|left| as_step(left).ok()).collect()
}

impl fmt::Debug for dyn CompletionStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CompletionStep").field(&self.name()).finish()
    }
}

/// Creates a step from a function that executes SQL: `ctx.commit(step("move the offset", move |db| Box::pin(async move
/// { … })))?`.
pub fn step<F>(name: impl Into<String>, run: F) -> impl CompletionStep
where
    F: for<'a> FnMut(&'a mut PgConnection) -> StepFuture<'a> + Send + 'static,
{
    ClosureStep { name: name.into(), run }
}

struct ClosureStep<F> {
    name: String,
    run: F,
}

impl<F> CompletionStep for ClosureStep<F>
where
    F: for<'a> FnMut(&'a mut PgConnection) -> StepFuture<'a> + Send + 'static,
{
    fn name(&self) -> String {
        self.name.clone()
    }

    fn run<'a>(&'a mut self, db: &'a mut PgConnection) -> StepFuture<'a> {
        (self.run)(db)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_task_leaves_in_a_test_can_be_looked_at() {
        let host = MemoryHost::new();
        let ctx = host.ctx();
        for name in ["publish", "move the offset"] {
            ctx.commit(step(name, |_| Box::pin(std::future::ready(Ok(()))))).expect("memory keeps it");
        }
        let names: Vec<String> = left(&host).iter().map(|step| step.name()).collect();
        assert_eq!(names, ["publish", "move the offset"]);
        assert!(left(&host).is_empty(), "they were handed over");
    }

    #[test]
    fn something_else_that_was_left_is_no_step() {
        assert!(as_step(Box::new(7)).is_err());
    }
}
