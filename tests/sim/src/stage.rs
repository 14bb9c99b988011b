//! Runs task functions as their script says, and records which ones overlap.

use crate::check::takes_of;
use crate::database::tables::Key;
use crate::database::{Session, pause};
use crate::gate::gated;
use crate::node::Program;
use crate::script::Act;
use orch_core::plan::TaskIdx;
use orch_sdk::task::{BoxFuture, Ctx, TaskError};
use orch_store::version::Version;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The error message of failed tries. It contains a NUL, which no column accepts, because messages come from outside.
const WHY: &str = "the script says so\0";

/// Returns the task function. It is suspended with its process, although it is a separate future.
pub(crate) fn body(
    program: Program,
    version: Arc<Version>,
    task: TaskIdx,
    ctx: Ctx,
) -> BoxFuture<Result<Option<Value>, TaskError>> {
    let gate = program.gates.driver.clone();
    Box::pin(gated(&gate, perform(program, version, task, ctx)))
}

/// Guard that records a task function as running until it is dropped.
struct OnStage {
    session: Session,
    ticket: u64,
    key: Key,
    /// The time of the timeout, unless the script ends with the timeout anyway.
    cut_short: Option<Instant>,
}

impl OnStage {
    fn enter(program: &Program, key: Key, cut_short: Option<Instant>) -> OnStage {
        let (session, node) = (program.session.clone(), program.node);
        let unaware = program.gates.is_unaware();
        let ticket = session.db.with(|s| {
            let takes = takes_of(&s.tables, key);
            let (ticket, wrong) = s.books.bodies.enter(key, node, unaware, takes);
            s.say(&session.who, format_args!("     {} [{}, {}] begins", key.0.as_u128() & 0xffff, key.1, key.2));
            if let Some(wrong) = wrong {
                s.books.fail(wrong);
            }
            ticket
        });
        OnStage { session, ticket, key, cut_short }
    }
}

impl Drop for OnStage {
    fn drop(&mut self) {
        let cut_short = self.cut_short.is_some_and(|at| Instant::now() >= at);
        self.session.db.with(|s| {
            s.books.bodies.leave(self.ticket);
            if cut_short {
                s.books.bodies.disturb(self.key);
            }
        });
    }
}

async fn perform(program: Program, version: Arc<Version>, task: TaskIdx, ctx: Ctx) -> Result<Option<Value>, TaskError> {
    let index = ctx.map_index().map_or(-1, |index| index as i32);
    let key = (ctx.run().run_key, task, index);
    let run = program.session.db.with(|s| s.tables.runs.get(&key.0).map_or(0, |r| r.number));
    let play = program.script.play(&version.plan, run, task, index, ctx.try_number());
    let timeout = version.plan.spec.tasks[usize::from(task)].options.timeout_ms.filter(|_| play.act != Act::Hang);
    let stage = OnStage::enter(&program, key, timeout.map(|ms| Instant::now() + Duration::from_millis(ms)));
    let takes = if play.act == Act::Hang { Duration::from_hours(1) } else { play.takes };
    tokio::select! {
        biased;
        () = pause(takes) => {}
        () = ctx.cancelled() => {
            if play.act != Act::Hang {
                program.session.db.with(|s| s.books.bodies.disturb(key));
            }
        }
    }
    if play.looks > 0 && program.session.db.with(|s| s.books.bodies.look(key)) < play.looks {
        return Ok(None);
    }
    drop(stage);
    match play.act {
        Act::Give(value) => Ok(Some(value)),
        Act::Fail | Act::Hang => Err(TaskError::retryable(WHY)),
        Act::Fatal => Err(TaskError::fatal(WHY)),
        Act::Skip => Err(TaskError::skipped(WHY)),
        Act::Panic => std::panic::resume_unwind(Box::new(WHY)),
    }
}
