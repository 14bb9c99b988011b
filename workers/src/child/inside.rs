//! The child's side of task functions that run in child processes.

use super::LINGER;
use super::frame::{End, Frame, HostReply, MARK, Request, ToChild};
use crate::family;
use crate::folder::BodyOf;
use crate::program::adopt_orphans;
use crate::touched::room;
use futures::FutureExt;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{getpgrp, getpid};
use orch_sdk::task::{
    BoxFuture, BundleDag, Connection, Ctx, Host, LogLevel, TaskError, TaskResult, TriggerRequest, Triggered, fatal,
};
use orch_spec::asset::{AssetEvent, LineageEdge, TriggeringEvent};
use serde_json::{Map, Value};
use std::any::Any;
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Runs a child process from start to end: reads its request, runs the task function, sends the outcome. `dag` finds a
/// DAG of the binary, `body_of` builds the task function of a task in a DAG file.
pub fn run_attempt(dag: impl FnOnce(&str) -> Option<BundleDag>, body_of: BodyOf) -> ExitCode {
    adopt_orphans();
    let mut first = String::new();
    let request: Request = match std::io::stdin().lock().read_line(&mut first).map(|_| serde_json::from_str(&first)) {
        Ok(Ok(request)) => request,
        _ => return ExitCode::from(2), // only a worker starts this process
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::from(2);
    };
    let host = Arc::new(ChildHost::new(&request.nonce));
    listen(host.clone());
    let end = runtime.block_on(attempt(request, host.clone(), dag, body_of));
    host.send(&Frame::End(end));
    drop(runtime); // waits for blocking work that the task function left on threads
    family::kill_descendants(getpid());
    ExitCode::SUCCESS
}

async fn attempt(
    request: Request,
    host: Arc<ChildHost>,
    dag: impl FnOnce(&str) -> Option<BundleDag>,
    body_of: BodyOf,
) -> End {
    let (dag_id, task_id) = (request.run.dag_id.to_string(), request.this_try.task_id.to_string());
    let body = match &request.of_file {
        Some(task) => body_of(task).ok(),
        None => dag(&dag_id).and_then(|dag| dag.bodies.get(&task_id).cloned()),
    };
    let Some(body) = body else {
        let cause = format!("this binary has no function for task `{task_id}` of dag `{dag_id}`");
        return End::Error(TaskError::Fatal { causes: vec![cause] });
    };
    let ctx = Ctx::new(Arc::new(request.run), request.this_try, Arc::new(request.params), host);
    let body = AssertUnwindSafe(body.call(ctx, request.inputs)).catch_unwind();
    match body.await {
        Ok(Ok(Some(value))) => End::Gave(value),
        Ok(Ok(None)) => End::NotYet,
        Ok(Err(error)) => End::Error(error),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|t| (*t).to_string());
            End::Panicked(text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default())
        }
    }
}

/// Receives the worker's messages on a separate thread. When the worker has died, kills this process and its
/// descendants.
fn listen(host: Arc<ChildHost>) {
    let hear = move || {
        for line in std::io::stdin().lock().lines() {
            match line.map(|line| serde_json::from_str(&line)) {
                Ok(Ok(ToChild::Cancel)) => host.cancel.cancel(),
                Ok(Ok(ToChild::Answer(answer))) => host.answered(answer),
                Ok(Err(_)) => {} // a newer worker may send messages that this version does not have
                Err(_) => break,
            }
        }
        if host.ended.load(Ordering::Acquire) {
            // The worker closes the pipe when it has the outcome. Threads that the task function left running get a
            // grace period.
            std::thread::park_timeout(2 * LINGER);
        }
        family::kill_descendants(getpid());
        killpg(getpgrp(), Signal::SIGKILL).ok(); // this process is in that group
    };
    drop(std::thread::Builder::new().name("orch-worker-pipe".into()).spawn(hear));
}

struct ChildHost {
    mark: String,
    cancel: CancellationToken,
    calls: AtomicU64,
    /// Number of asset events and of lineage edges sent so far.
    said: (AtomicUsize, AtomicUsize),
    waiting: Mutex<HashMap<u64, oneshot::Sender<HostReply>>>,
    ended: std::sync::atomic::AtomicBool,
}

impl ChildHost {
    fn new(nonce: &str) -> Self {
        ChildHost {
            mark: format!("{MARK}{nonce}"),
            cancel: CancellationToken::new(),
            calls: AtomicU64::new(1),
            said: Default::default(),
            waiting: Mutex::new(HashMap::new()),
            ended: std::sync::atomic::AtomicBool::new(false),
        }
    }

    /// Sends a frame in one write under a lock, so that output of the task function cannot interrupt the frame.
    fn send(&self, frame: &Frame) {
        if matches!(frame, Frame::End(_)) {
            self.ended.store(true, Ordering::Release);
        }
        let Ok(json) = serde_json::to_string(frame) else { return };
        let line = format!("{}{json}\n", self.mark);
        let mut out = std::io::stdout().lock();
        // A write to a closed pipe fails because the worker has died. The listener thread then ends this process.
        drop(out.write_all(line.as_bytes()).and_then(|()| out.flush()));
    }

    fn call(&self, frame: impl FnOnce(u64) -> Frame) -> BoxFuture<TaskResult<Value>> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let (send, receive) = oneshot::channel();
        self.waiting.lock().expect("nothing panics while holding it").insert(call, send);
        self.send(&frame(call));
        Box::pin(async move {
            let answer = receive.await.map_err(|_| fatal("the worker is gone"))?;
            answer.error.map_or(Ok(answer.value), |error| Err(as_it_was(error)))
        })
    }

    fn answered(&self, answer: HostReply) {
        let waiting = self.waiting.lock().expect("nothing panics while holding it").remove(&answer.call);
        if let Some(waiting) = waiting {
            drop(waiting.send(answer)); // the caller may have stopped waiting
        }
    }
}

/// Converts an error of the worker. Fatal errors stay fatal.
fn as_it_was(error: TaskError) -> anyhow::Error {
    match error {
        TaskError::Fatal { causes } => fatal(causes.join(": ")),
        other => anyhow::Error::msg(other.to_string()),
    }
}

impl Host for ChildHost {
    fn log(&self, level: LogLevel, message: &str, fields: Map<String, Value>) {
        self.send(&Frame::Log { level, message: message.into(), fields });
    }

    fn progress(&self, rows: u64, bytes: u64) {
        self.send(&Frame::Progress { rows, bytes });
    }

    fn cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn cancelled_future(&self) -> BoxFuture<()> {
        let cancel = self.cancel.clone();
        Box::pin(async move { cancel.cancelled().await })
    }

    fn connection(&self, id: &str) -> BoxFuture<TaskResult<Connection>> {
        let value = self.call(|call| Frame::Connection { call, id: id.into() });
        Box::pin(async move { Ok(serde_json::from_value(value.await?)?) })
    }

    fn variable(&self, key: &str) -> BoxFuture<TaskResult<Option<String>>> {
        let value = self.call(|call| Frame::Variable { call, key: key.into() });
        Box::pin(async move { Ok(value.await?.as_str().map(String::from)) })
    }

    fn push(&self, key: &str, value: Value) -> BoxFuture<TaskResult<()>> {
        let pushed = self.call(|call| Frame::Push { call, key: key.into(), value });
        Box::pin(async move { pushed.await.map(drop) })
    }

    fn pull(&self, task_id: &str, key: &str, map_index: Option<u32>) -> BoxFuture<TaskResult<Option<Value>>> {
        let (task_id, key) = (task_id.to_string(), key.to_string());
        let pulled = self.call(|call| Frame::Pull { call, task_id, key, map_index });
        Box::pin(async move { Ok(Some(pulled.await?).filter(|value| !value.is_null())) })
    }

    fn asset_event(&self, event: AssetEvent) -> TaskResult<()> {
        room(self.said.0.fetch_add(1, Ordering::Relaxed))?;
        self.send(&Frame::AssetEvent(event));
        Ok(())
    }

    fn lineage(&self, edge: LineageEdge) -> TaskResult<()> {
        room(self.said.1.fetch_add(1, Ordering::Relaxed))?;
        self.send(&Frame::Lineage(edge));
        Ok(())
    }

    fn leave(&self, _step: Box<dyn Any + Send>) -> TaskResult<()> {
        Err(fatal(
            "a step of `ctx.commit` cannot leave the process of its task: only the worker records how it ended\n\
            hint: let the task run in the worker, with `.isolation(Isolation::InProcess)`",
        ))
    }

    fn home(&self) -> BoxFuture<TaskResult<Option<String>>> {
        let home = self.call(|call| Frame::Home { call });
        Box::pin(async move { Ok(home.await?.as_str().map(String::from)) })
    }

    fn database(&self) -> TaskResult<Box<dyn Any + Send>> {
        Err(fatal(
            "a process of its own cannot reach the database of orch: only the worker does\n\
            hint: let the task run in the worker, with `.isolation(Isolation::InProcess)`",
        ))
    }

    fn triggering_events(&self) -> BoxFuture<TaskResult<Vec<TriggeringEvent>>> {
        let events = self.call(|call| Frame::TriggeringEvents { call });
        Box::pin(async move { Ok(serde_json::from_value(events.await?)?) })
    }

    fn trigger(&self, wish: TriggerRequest) -> BoxFuture<TaskResult<Triggered>> {
        let triggered = self.call(|call| Frame::Trigger { call, wish });
        Box::pin(async move { Ok(serde_json::from_value(triggered.await?)?) })
    }
}
