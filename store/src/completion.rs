//! What a task commits together with its outcome: steps that run in the transaction that records how it ended. All of it
//! is there, or nothing: a try that was lost meanwhile, that is too slow, or whose worker dies has published nothing.
//! Steps prepare before that transaction begins; in it they only publish what they have prepared.

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

/// A step at work on its connection.
pub type StepFuture<'a> = Pin<Box<dyn Future<Output = TaskResult<()>> + Send + 'a>>;

/// One thing that is true exactly if its task has succeeded: a snapshot is published, an offset moves, rows are there.
///
/// `run` works on the connection of the completion transaction, which the worker begins and commits: short statements
/// of the metadata database, nothing that waits for others (all steps of a try have five seconds). An error rolls
/// everything back and fails the try, to be tried again unless it is `fatal`. When the database takes a transaction back
/// or its connection breaks before the commit, the step runs again, so it must not count what it did before as done.
pub trait CompletionStep: Send + 'static {
    /// What it does, in a few words for logs and errors: "commit `retail.orders`".
    fn name(&self) -> String;

    /// Does what takes long before the transaction begins: writes files, asks servers. No row is locked meanwhile, and all
    /// steps of a try prepare at the same time, as long as the task's timeout allows. Called again when a step was
    /// [`Outdated`]: what is still right stays as it is. An error fails the try, like one of `run`.
    fn prepare(&mut self) -> StepFuture<'_> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Publishes what was prepared. The error [`Outdated`] asks to prepare again.
    fn run<'a>(&'a mut self, db: &'a mut PgConnection) -> StepFuture<'a>;

    /// Is it carried out too when the try fails, in the transaction that records the failure? For what tells of the try,
    /// like the results of checks; never for what publishes its work.
    fn on_failure(&self) -> bool {
        false
    }

    /// Given once it is committed: what others may look at now.
    fn hint(&self) -> Option<Hint> {
        None
    }
}

/// The error of a step whose preparation no longer fits what the transaction found: the transaction is rolled back, and
/// all steps prepare again before the next one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Outdated(pub String);

/// `ctx.commit(step)`.
pub trait Commit {
    /// Leaves a step for the moment at which the success of this try is recorded. Steps run in the order in which they
    /// were left. A try that fails leaves none behind, but those that say so (`CompletionStep::on_failure`).
    ///
    /// # Errors
    /// A fatal error in a child process: a step cannot leave it.
    fn commit(&self, step: impl CompletionStep) -> TaskResult<()>;
}

impl Commit for Ctx {
    fn commit(&self, step: impl CompletionStep) -> TaskResult<()> {
        let step: Box<dyn CompletionStep> = Box::new(step);
        self.host().leave(Box::new(step))
    }
}

/// The database that records how the task ends, for what orch keeps there for tasks, such as topics.
///
/// # Errors
/// A fatal error where nothing is recorded, or not by this process.
pub fn database(ctx: &Ctx) -> TaskResult<PgPool> {
    let given = ctx.host().database()?.downcast::<PgPool>();
    given.map(|pool| *pool).map_err(|_| fatal("the database of this task's host is no pool of Postgres"))
}

/// What was given to `Host::leave`, as the step it is.
pub fn as_step(left: Box<dyn Any + Send>) -> TaskResult<Box<dyn CompletionStep>> {
    let step = left.downcast::<Box<dyn CompletionStep>>();
    step.map(|step| *step).map_err(|_| fatal("what this task left for its end is no step of `ctx.commit`"))
}

/// The steps that tasks left in a test, in order.
pub fn left(host: &MemoryHost) -> Vec<Box<dyn CompletionStep>> {
    host.take_left().into_iter().filter_map(|left| as_step(left).ok()).collect()
}

impl fmt::Debug for dyn CompletionStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CompletionStep").field(&self.name()).finish()
    }
}

/// A step of ordinary SQL: `ctx.commit(step("move the offset", move |db| Box::pin(async move { … })))?`.
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
