//! Programs that tasks run: their output line by line in the log, in a process group of their own. When the task is
//! cancelled or its future is dropped the whole group ends; after a normal end, what the program left in the background on
//! purpose stays.

use crate::{Ctx, LogLevel, TaskResult};
use anyhow::{Context, anyhow, bail};
use serde_json::Value;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// As in Airflow: this exit code means skipped.
pub(super) const SKIP_CODE: i32 = 99;
/// A longer line is cut there, as in every log.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// Between SIGTERM and SIGKILL when the task is cancelled.
const GRACE: Duration = Duration::from_secs(5);
/// For the pipes to run dry after the program has ended; something in the background may hold them for ever.
const DRAIN: Duration = Duration::from_millis(500);

/// How a program ended.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// The last line of stdout that is not empty.
    pub(super) last_line: String,
}

/// A program without the worker's own settings, with those that every program of a task gets.
pub(super) fn command(ctx: &Ctx, program: &str) -> Command {
    let mut command = Command::new(program);
    for name in orch_workers::inherited_secrets() {
        command.env_remove(name);
    }
    command.envs(environment(ctx));
    command
}

/// Runs it to its end. `input` is what it reads; without any, nothing.
pub(super) async fn run(ctx: &Ctx, mut command: Command, name: &str, input: Option<&str>) -> TaskResult<Ended> {
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().with_context(|| format!("cannot start `{name}`"))?;
    let mut group = Group(child.id());
    let stdout = child.stdout.take().ok_or_else(|| anyhow!("`{name}` has no stdout"))?;
    let stderr = child.stderr.take().ok_or_else(|| anyhow!("`{name}` has no stderr"))?;
    let stdin = child.stdin.take();

    let mut last_line = String::new();
    let status = {
        let mut output = pin!(async {
            tokio::join!(
                copy(ctx, LogLevel::Info, stdout, &mut last_line),
                async { copy(ctx, LogLevel::Warning, stderr, &mut String::new()).await },
                async {
                    if let (Some(mut stdin), Some(input)) = (stdin, input) {
                        // A program that reads no further has what it wants.
                        stdin.write_all(input.as_bytes()).await.ok();
                    }
                }
            )
        });
        let mut end = pin!(wait(&mut child, ctx, &group, name));
        // Neither is dropped when the other is ready first.
        tokio::select! {
            ended = &mut end => {
                // Nothing of the program is lost when this is too short: it has ended.
                timeout(DRAIN, &mut output).await.ok();
                ended
            }
            _ = &mut output => end.await,
        }
    }?;
    // What the program left in the background on purpose stays.
    group.0 = None;
    Ok(Ended { status, last_line })
}

/// Waits for the end; when the task is cancelled, asks for it and then forces it.
async fn wait(child: &mut Child, ctx: &Ctx, group: &Group, name: &str) -> TaskResult<ExitStatus> {
    tokio::select! {
        ended = child.wait() => return ended.with_context(|| format!("cannot wait for `{name}`")),
        () = ctx.cancelled() => ctx.warning("cancelled: ending the command"),
    }
    group.signal("TERM");
    if timeout(GRACE, child.wait()).await.is_err() {
        group.signal("KILL");
        child.wait().await.with_context(|| format!("cannot wait for `{name}`"))?;
    }
    bail!("cancelled")
}

/// Every line to the log, the last one also to `last`.
async fn copy(ctx: &Ctx, level: LogLevel, from: impl AsyncRead + Unpin, last: &mut String) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        // A broken pipe is the end, as an empty one.
        let Ok(bytes) = from.fill_buf().await else { return };
        if bytes.is_empty() {
            flush(ctx, level, &mut line, last);
            return;
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(bytes.len(), |end| end + 1);
        let room = MAX_LINE_BYTES.saturating_sub(line.len());
        line.extend_from_slice(&bytes[..end.unwrap_or(bytes.len()).min(room)]);
        from.consume(taken);
        if end.is_some() {
            flush(ctx, level, &mut line, last);
        }
    }
}

fn flush(ctx: &Ctx, level: LogLevel, line: &mut Vec<u8>, last: &mut String) {
    if line.is_empty() {
        return;
    }
    let text = String::from_utf8_lossy(line).trim_end().to_string();
    line.clear();
    ctx.log(level, &text, Value::Null);
    if !text.is_empty() {
        *last = text;
    }
}

/// What every program of a task is told.
pub(super) fn environment(ctx: &Ctx) -> Vec<(&'static str, String)> {
    let mut found = vec![
        ("ORCH_DAG_ID", ctx.dag_id().to_string()),
        ("ORCH_RUN_ID", ctx.run_id().to_string()),
        ("ORCH_TASK_ID", ctx.task_id().to_string()),
        ("ORCH_TRY_NUMBER", ctx.try_number().to_string()),
        ("ORCH_PARAMS", ctx.params().to_string()),
    ];
    found.extend(ctx.map_index().map(|index| ("ORCH_MAP_INDEX", index.to_string())));
    found.extend(ctx.logical_date().map(|date| ("ORCH_LOGICAL_DATE", date.to_rfc3339())));
    found
}

/// The process group of the program, named by its first process. Dropped while that runs, it ends the group.
struct Group(Option<u32>);

impl Group {
    fn signal(&self, signal: &str) {
        let Some(id) = self.0 else { return };
        // The shell's own `kill`: a system call would need `unsafe` or one more dependency for this rare path.
        let kill = format!("kill -s {signal} -- -{id}");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &kill]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // No group is left: that is what was asked for.
        command.status().ok();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal("KILL");
    }
}
