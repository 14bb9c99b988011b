//! The worker's side of task functions that run in child processes.
//!
//! The worker starts its own binary as `run-attempt`, in a new process group and without the worker's secrets in the
//! environment. It sends the attempt's metadata and inputs on stdin, which stays open: when stdin closes because the
//! worker died, the child kills itself and all its descendants. Lines that the task function prints are its log.
//! Protocol frames are interleaved with these lines and marked with a nonce that only this attempt has. A process
//! family that exceeds its memory limit is killed before the machine runs out of memory. Standard output and standard
//! error are separate pipes: lines of the same pipe are logged in the order of their writes, but lines of different
//! pipes may be reordered.

pub(crate) mod frame;
mod inside;

pub use inside::run_attempt;

use crate::job::Job;
use crate::logs::{AttemptLog, LogLine};
use crate::outcome::Finish;
use crate::program::{own_binary, take_secrets};
use crate::{family, mask, memory};
use frame::{End, Frame, HostReply, Request, ToChild};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use orch_document::file::is_of_file;
use orch_sdk::task::{Ctx, LogLevel, TaskError};
use orch_store::bounded::{ByteBudget, Reserved};
use serde_json::{Map, Value};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin};
use tokio::sync::mpsc;

/// Time that a child may keep running after it has reported its outcome.
const LINGER: Duration = Duration::from_secs(1);
/// Maximum length of a log line. Longer lines are logged in pieces.
const LINE_BYTES: u64 = 60 * 1024;
/// Bytes at the end of a piece that are logged with the next piece, so that a secret across the cut is masked. Longer
/// than a line of any secret.
const HELD_BYTES: usize = 4 * 1024;
/// Maximum size of a frame: an output of maximum size in which every character is escaped.
const MAX_FRAME_BYTES: usize = 2 * orch_store::output::MAX_BYTES;
/// Maximum number of unprocessed frames per attempt. `FRAME_BYTES` limits their total size.
const QUEUE: usize = 64;
/// Budget for the unprocessed frames of all children of this worker.
static FRAME_BYTES: ByteBudget = ByteBudget::new(2 * MAX_FRAME_BYTES);

/// Sends the frames of one child to its attempt.
struct FrameSender {
    mark: String,
    queue: mpsc::Sender<(Frame, Reserved<'static>)>,
    budget: &'static ByteBudget,
}

/// A child process. Dropping it kills the child and all its descendants.
struct Family {
    child: Child,
    /// Process id of the child. `None` after the child was waited for.
    root: Option<Pid>,
    /// Environment variable value that marks the child and its descendants.
    mark: String,
}

impl Drop for Family {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Family {
    fn kill(&mut self) {
        if let Some(root) = self.root.take() {
            family::kill_all(root);
        }
    }

    /// Sends SIGTERM to the child and its descendants.
    fn terminate(&self) {
        let Some(root) = self.root else { return };
        killpg(root, Signal::SIGTERM).ok(); // the group may have ended meanwhile
        family::signal(root, Signal::SIGTERM);
    }

    /// Waits up to `LINGER` for the child to exit, then kills the family. Returns the exit status as text.
    async fn end(&mut self) -> String {
        let exit = tokio::time::timeout(LINGER, self.child.wait()).await;
        let how = match exit {
            Ok(Ok(status)) => {
                // The PID may be reused by another process from now on.
                self.root = None;
                // A child that exits normally has already killed its descendants. One that dies of a signal has not.
                if status.signal().is_some() {
                    family::kill_marked(&self.mark);
                }
                status.to_string()
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no exit at all".into(),
        };
        self.kill();
        how
    }
}

/// Runs one attempt in a child process, and returns the output of its task function.
pub(crate) async fn run_in_child(
    job: &Job,
    ctx: &Ctx,
    inputs: Vec<Value>,
    log: &Arc<AttemptLog>,
    memory_mb: u32,
) -> Result<Option<Value>, Finish> {
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    let mut family = start().map_err(|e| failed("exit", format!("the process could not be started: {e}")))?;
    let mut stdin = family.child.stdin.take().expect("stdin is piped");
    let task = &job.offer.version.plan.spec.tasks[usize::from(job.claimed.lease.task)];
    let request = Request {
        nonce: nonce.clone(),
        run: ctx.run().clone(),
        this_try: ctx.this_try().clone(),
        params: ctx.params().clone(),
        inputs,
        of_file: Some(task).filter(|task| is_of_file(task)).cloned(),
    };
    write_line(&mut stdin, &request).await.map_err(|e| failed("exit", format!("the process took no input: {e}")))?;
    let (queue, mut arriving) = mpsc::channel(QUEUE);
    let stdout = family.child.stdout.take().expect("stdout is piped");
    let stderr = family.child.stderr.take().expect("stderr is piped");
    let frames = FrameSender { mark: format!("{}{nonce}", frame::MARK), queue, budget: &FRAME_BYTES };
    let mut readers = tokio::task::JoinSet::new();
    readers.spawn(read(stdout, LogLevel::Info, log.clone(), Some(frames)));
    readers.spawn(read(stderr, LogLevel::Warning, log.clone(), None));

    let mut end = None;
    let over = memory::more_than(family.root, memory_mb);
    tokio::pin!(over);
    loop {
        tokio::select! {
            frame = arriving.recv() => match frame {
                Some((Frame::End(outcome), _)) => { end = Some(outcome); break; }
                Some((frame, _reserved)) => answer(frame, ctx, &mut stdin).await,
                None => break,
            },
            used_mb = &mut over => {
                return Err(failed("memory", memory::cause(used_mb, memory_mb)));
            }
            () = job.cancel.cancelled() => {
                drop(write_line(&mut stdin, &ToChild::Cancel).await); // the child may have exited
                family.terminate();
                // The caller drops this future, which kills the family, when the time for clean-up is over.
                while let Some((frame, _)) = arriving.recv().await {
                    if let Frame::End(_) = frame { break; }
                }
                return Err(Finish::Stopped);
            }
        }
    }
    drop(stdin);
    let exit = family.end().await;
    while readers.join_next().await.is_some() {}
    match end {
        Some(End::Gave(value)) => Ok(Some(value)),
        Some(End::NotYet) => Ok(None),
        Some(End::Error(error)) => Err(Finish::Error { error, kind: None }),
        Some(End::Panicked(text)) => Err(failed("panic", format!("it panicked: {text}"))),
        None => Err(failed("exit", format!("its process ended without a result: {exit}"))),
    }
}

fn start() -> std::io::Result<Family> {
    let mut command = own_binary()?;
    let mark = uuid::Uuid::new_v4().simple().to_string();
    take_secrets(command.as_std_mut());
    command
        .env(family::MARK, &mark)
        .args(["run-attempt"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.process_group(0).spawn()?;
    let root = child.id().map(|id| Pid::from_raw(id.cast_signed()));
    Ok(Family { child, root, mark })
}

/// Reads lines until the pipe closes. Marked lines are frames; all other lines are the log of the task function.
async fn read(pipe: impl AsyncRead + Unpin, level: LogLevel, log: Arc<AttemptLog>, frames: Option<FrameSender>) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    // End of the last piece of an unfinished line. Masked together with the next piece, in case a secret spans the cut.
    let mut held = String::new();
    loop {
        line.clear();
        // A frame may be long (an output) and is read whole. Lines of the task function are cut to limit memory.
        let marked = match (&frames, reader.fill_buf().await) {
            (Some(FrameSender { mark, .. }), Ok(start)) => start.starts_with(mark.as_bytes()),
            (_, Ok(_)) => false,
            (_, Err(_)) => return,
        };
        let limit = if marked { MAX_FRAME_BYTES as u64 } else { LINE_BYTES };
        match (&mut reader).take(limit).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => {
                if !held.is_empty() {
                    log.say(&LogLine::new(level, "output", held, Map::new()));
                }
                return;
            }
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        match &frames {
            Some(FrameSender { mark, queue, budget }) if text.starts_with(mark.as_str()) => {
                match serde_json::from_str(&text[mark.len()..]) {
                    Ok(Frame::Log { level, message, fields }) => log.say(&LogLine::new(level, "task", message, fields)),
                    Ok(frame) => {
                        let reserved = budget.reserve(text.len()).await;
                        if queue.send((frame, reserved)).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => tracing::warn!(%error, "a child sent a frame that cannot be read"),
                }
            }
            _ => {
                let mut text = std::mem::take(&mut held) + text;
                drop_overwritten(&mut text);
                let is_cut = !line.ends_with(b"\n") && line.len() as u64 == limit;
                if is_cut {
                    text = mask::mask(&text).into_owned();
                    held = text.split_off(text.floor_char_boundary(text.len().saturating_sub(HELD_BYTES)));
                }
                // A cut piece may be empty: if only the short end of a long progress bar remains, it is held back
                // completely.
                if !is_cut || !text.is_empty() {
                    log.say(&LogLine::new(level, "output", text, Map::new()));
                }
            }
        }
    }
}

/// Removes text that a terminal no longer shows: text after a carriage return replaces the text before it.
fn drop_overwritten(line: &mut String) {
    if let Some(at) = line.rfind('\r') {
        line.drain(..=at);
    }
}

/// Handles a request that the task function made through its context, and sends the reply.
async fn answer(frame: Frame, ctx: &Ctx, stdin: &mut ChildStdin) {
    let host = ctx.host();
    let (call, result) = match frame {
        Frame::Progress { rows, bytes } => return host.progress(rows, bytes),
        Frame::Push { call, key, value } => (call, host.push(&key, value).await.map(|()| Value::Null)),
        Frame::Pull { call, task_id, key, map_index } => {
            (call, host.pull(&task_id, &key, map_index).await.map(|v| v.unwrap_or(Value::Null)))
        }
        Frame::Connection { call, id } => {
            (call, host.connection(&id).await.and_then(|found| Ok(serde_json::to_value(found)?)))
        }
        Frame::Variable { call, key } => {
            (call, host.variable(&key).await.map(|v| v.map_or(Value::Null, Value::String)))
        }
        // The child has already checked the maximum number of asset events and lineage edges.
        Frame::AssetEvent(event) => return drop(host.asset_event(event)),
        Frame::Lineage(edge) => return drop(host.lineage(edge)),
        Frame::TriggeringEvents { call } => {
            (call, host.triggering_events().await.and_then(|events| Ok(serde_json::to_value(events)?)))
        }
        Frame::Home { call } => (call, host.home().await.and_then(|home| Ok(serde_json::to_value(home)?))),
        Frame::Trigger { call, wish } => {
            (call, host.trigger(wish).await.and_then(|run| Ok(serde_json::to_value(run)?)))
        }
        Frame::Log { .. } | Frame::End(_) => return,
    };
    let answer = match result {
        Ok(value) => HostReply { call, value, error: None },
        Err(error) => HostReply { call, value: Value::Null, error: Some(TaskError::from(error)) },
    };
    drop(write_line(stdin, &ToChild::Answer(answer)).await); // a child that has exited needs no reply
}

async fn write_line(stdin: &mut ChildStdin, what: &impl serde::Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    stdin.write_all(&line).await?;
    stdin.flush().await
}

fn failed(kind: &'static str, cause: String) -> Finish {
    Finish::Error { error: TaskError::Retryable { causes: vec![cause] }, kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::shipping;
    use futures::FutureExt as _;
    use orch_store::step::Lease;
    use sqlx::postgres::PgPoolOptions;
    use uuid::Uuid;

    #[test]
    fn a_progress_bar_leaves_its_last_state() {
        for (line, expected) in [("10%\r50%\r100%", "100%"), ("plain", "plain"), ("é\rü", "ü"), ("", "")] {
            let mut text = line.to_string();
            drop_overwritten(&mut text);
            assert_eq!(text, expected, "{line:?}");
        }
    }

    #[tokio::test]
    async fn frames_wait_while_the_budget_is_used() {
        static BUDGET: ByteBudget = ByteBudget::new(100);
        let nowhere = PgPoolOptions::new().connect_lazy("postgres://127.0.0.1:1/none").unwrap();
        let (shipper, _shipping) = shipping(nowhere);
        let lease = Lease { run: Uuid::nil(), task: 0, map_index: -1, attempt: Uuid::nil(), lease_no: 1 };
        let (queue, mut arriving) = mpsc::channel(QUEUE);
        let frames = FrameSender { mark: frame::MARK.into(), queue, budget: &BUDGET };
        let frame = serde_json::to_string(&Frame::Variable { call: 1, key: "k".repeat(30) }).unwrap();
        let lines = format!("{}{frame}\n", frame::MARK).repeat(3);
        let mut reading =
            Box::pin(read(lines.as_bytes(), LogLevel::Info, AttemptLog::new(lease, shipper), Some(frames)));
        assert!((&mut reading).now_or_never().is_none(), "the second frame waits for the first");
        let first = arriving.try_recv().unwrap();
        assert!(arriving.try_recv().is_err() && BUDGET.used() > 50);
        drop(first);
        assert!((&mut reading).now_or_never().is_none());
        drop(arriving.try_recv().unwrap());
        assert!((&mut reading).now_or_never().is_some(), "the last frame is read");
        drop(arriving);
        assert_eq!(BUDGET.used(), 0);
    }
}
