//! A worker's process: registers, lives, begins again after a loss, as `workers::run` does. It can be frozen: everything in
//! it stands still, while what it has sent arrives and the time goes on.

use crate::database::tables::Key;
use crate::database::{Session, pause};
use crate::rng::Rng;
use crate::script::{Act, Script};
use crate::store::{MemHeart, MemStore};
use orch_core::plan::TaskIdx;
use orch_core::task::{BoxFuture, Ctx, TaskError, TaskFn};
use orch_store::StoreError;
use orch_store::hint::Hints;
use orch_store::version::Version;
use orch_workers::sim::{Registered, live};
use orch_workers::{Offers, WorkerConfig};
use serde_json::Value;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The queue all tasks are in.
pub(crate) const QUEUE: i32 = 1;

/// What a process is started with.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) node: usize,
    pub(crate) session: Session,
    pub(crate) versions: Vec<Arc<Version>>,
    pub(crate) script: Script,
    pub(crate) lease: Duration,
    pub(crate) slots: usize,
    pub(crate) remembered_runs: usize,
    pub(crate) grace: Duration,
    pub(crate) hints: Hints,
    pub(crate) gate: Arc<Gate>,
}

/// Lets a process go on, or not.
#[derive(Default)]
pub(crate) struct Gate {
    /// While it is frozen: whom to wake.
    frozen: Mutex<Option<Vec<Waker>>>,
}

impl Gate {
    pub(crate) fn freeze(&self) {
        self.frozen.lock().expect("nothing panics while holding it").get_or_insert_default();
    }

    pub(crate) fn thaw(&self) {
        let wakers = self.frozen.lock().expect("nothing panics while holding it").take();
        wakers.unwrap_or_default().into_iter().for_each(Waker::wake);
    }

    fn is_open(&self, cx: &Context<'_>) -> bool {
        match self.frozen.lock().expect("nothing panics while holding it").as_mut() {
            None => true,
            Some(wakers) => {
                wakers.push(cx.waker().clone());
                false
            }
        }
    }
}

/// A part of a process.
struct Gated<F> {
    gate: Arc<Gate>,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if self.gate.is_open(cx) { self.work.as_mut().poll(cx) } else { Poll::Pending }
    }
}

/// Runs a worker until it is told to stop.
pub(crate) async fn process(program: Program, mut rng: Rng, stop: CancellationToken) {
    let gate = program.gate.clone();
    let lives = async move {
        let offers = Arc::new(program.offers());
        let config = WorkerConfig {
            slots: program.slots,
            remembered_runs: program.remembered_runs,
            lease: program.lease,
            grace: program.grace,
            ..WorkerConfig::new("postgres://simulated")
        };
        while !stop.is_cancelled() {
            match program.one_life(&config, &offers, &stop).await {
                Ok(()) => return,
                Err(error @ (StoreError::Corrupt { .. } | StoreError::Schema { .. })) => {
                    program.session.db.with(|s| s.books.fail(format!("worker {} ends: {error}", program.node)));
                    return;
                }
                Err(error) => {
                    let who = &program.session.who;
                    program.session.db.with(|s| s.say(who, format_args!("begins again: {error}")));
                    tokio::select! { biased; () = stop.cancelled() => {}, () = pause(rng.millis(50, 400)) => {} }
                }
            }
        }
    };
    Gated { gate, work: Box::pin(lives) }.await;
}

impl Program {
    async fn one_life(
        &self,
        config: &WorkerConfig,
        offers: &Arc<Offers>,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let began = Instant::now();
        let worker = self.session.register(vec![QUEUE], offers.ids(), self.lease).await?;
        let pulse = Session { pulse: true, under_way: Arc::default(), ..self.session.clone() };
        let heart = MemHeart { session: pulse, worker, lease: self.lease };
        let store = MemStore { session: self.session.clone() };
        let registered = Registered { worker, began, queues: vec![QUEUE] };
        live(config, offers, &self.hints, registered, (store, heart), stop).await
    }

    fn offers(&self) -> Offers {
        let mut offers = Offers::new("simulated");
        for version in &self.versions {
            let body = |task: TaskIdx| {
                let (program, version) = (self.clone(), version.clone());
                TaskFn::untyped(move |ctx, _| body(program.clone(), version.clone(), task, ctx))
            };
            let ids = version.plan.spec.tasks.iter().map(|t| t.task_id.clone());
            let bodies: HashMap<String, TaskFn> = ids.zip((0..).map(body)).collect();
            offers.add(version.clone(), &bodies);
        }
        offers
    }
}

/// A body is a part of its process too, although a task of its own.
fn body(
    program: Program,
    version: Arc<Version>,
    task: TaskIdx,
    ctx: Ctx,
) -> BoxFuture<Result<Option<Value>, TaskError>> {
    let gate = program.gate.clone();
    Box::pin(Gated { gate, work: Box::pin(perform(program, version, task, ctx)) })
}

/// On the stage while it runs, however it ends.
struct OnStage {
    session: Session,
    ticket: u64,
}

impl OnStage {
    fn enter(session: &Session, key: Key, node: usize) -> OnStage {
        let ticket = session.db.with(|s| {
            let (ticket, other) = s.books.bodies.enter(key, node);
            if let Some(other) = other {
                s.books.fail(format!("{key:?} runs on node {node} while it still runs on node {other}"));
            }
            ticket
        });
        OnStage { session: session.clone(), ticket }
    }
}

impl Drop for OnStage {
    fn drop(&mut self) {
        self.session.db.with(|s| s.books.bodies.leave(self.ticket));
    }
}

async fn perform(program: Program, version: Arc<Version>, task: TaskIdx, ctx: Ctx) -> Result<Option<Value>, TaskError> {
    let index = ctx.map_index().map_or(-1, |index| index as i32);
    let key = (ctx.run().run_key, task, index);
    let stage = OnStage::enter(&program.session, key, program.node);
    let run = program.session.db.with(|s| s.tables.runs.get(&key.0).map_or(0, |r| r.number));
    let play = program.script.play(&version.plan, run, task, index, ctx.try_number());
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
        Act::Fail | Act::Hang => Err(TaskError::retryable("the script says so")),
        Act::Fatal => Err(TaskError::fatal("the script says so")),
        Act::Skip => Err(TaskError::skipped("the script says so")),
        Act::Panic => std::panic::resume_unwind(Box::new("the script says so")),
    }
}
