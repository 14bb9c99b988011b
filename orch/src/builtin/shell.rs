//! The `shell` task: a command of the system's shell, its output line by line in the log.
//!
//! The command runs in a process group of its own. When the task is cancelled or its future is dropped the whole group
//! ends; after a normal end, what the command left in the background on purpose stays.

use crate::{Call, Ctx, LogLevel, StoredInputs, TaskResult, skip};
use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// As in Airflow: this exit code means skipped.
const SKIP_CODE: i32 = 99;
/// A longer line is cut there, as in every log.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// Between SIGTERM and SIGKILL when the task is cancelled.
const GRACE: Duration = Duration::from_secs(5);
/// For the pipes to run dry after the shell has ended; something in the background may hold them for ever.
const DRAIN: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellOutput {
    /// The last line of stdout that is not empty.
    pub last_line: String,
}

/// Runs `sh -c command`. The id is the program's name; set another with `.id(…)`. Exit code 99 skips the task, every
/// other than 0 fails the try. `ORCH_DAG_ID`, `ORCH_RUN_ID`, `ORCH_TASK_ID`, `ORCH_TRY_NUMBER`, `ORCH_MAP_INDEX` and
/// `ORCH_LOGICAL_DATE` are set, and `ORCH_PARAMS` is the params as JSON. The worker's own `ORCH_…` and `PG…` settings, and
/// Airflow's `AIRFLOW_CONN_…` and `AIRFLOW_VAR_…`, are not: there are secrets among them.
#[track_caller]
pub fn shell<'d>(command: &str) -> Call<'d, ShellOutput> {
    let line = command.to_string();
    let config = json!({ "command": command });
    Call::of_kind("shell", &id_of(command), config, vec![], move |ctx: Ctx, _: StoredInputs| {
        let line = line.clone();
        Box::pin(async move { run(&ctx, &line).await })
    })
}

/// The name of the program, in the letters of an id.
fn id_of(command: &str) -> String {
    let program = command.split_whitespace().next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default();
    let id: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "_.-".contains(*c)).collect();
    if id.is_empty() { "shell".into() } else { id }
}

async fn run(ctx: &Ctx, line: &str) -> TaskResult<ShellOutput> {
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    for name in orch_workers::inherited_secrets() {
        command.env_remove(name);
    }
    command.envs(environment(ctx));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().context("cannot start `sh`")?;
    let mut group = Group(child.id());
    let stdout = child.stdout.take().ok_or_else(|| anyhow!("`sh` has no stdout"))?;
    let stderr = child.stderr.take().ok_or_else(|| anyhow!("`sh` has no stderr"))?;

    let mut last_line = String::new();
    let ended = {
        let mut output = pin!(async {
            tokio::join!(copy(ctx, LogLevel::Info, stdout, &mut last_line), async {
                copy(ctx, LogLevel::Warning, stderr, &mut String::new()).await;
            })
        });
        let mut end = pin!(wait(&mut child, ctx, &group));
        // Neither is dropped when the other is ready first.
        tokio::select! {
            ended = &mut end => {
                // Nothing of the command is lost when this is too short: it has ended.
                timeout(DRAIN, &mut output).await.ok();
                ended
            }
            _ = &mut output => end.await,
        }
    }?;
    // What the command left in the background on purpose stays.
    group.0 = None;
    match ended.code() {
        Some(0) => Ok(ShellOutput { last_line }),
        Some(SKIP_CODE) => Err(skip(format!("`{line}` ended with exit code {SKIP_CODE}"))),
        _ => bail!("`{line}` ended with {ended}"),
    }
}

/// Waits for the end; when the task is cancelled, asks for it and then forces it.
async fn wait(child: &mut Child, ctx: &Ctx, group: &Group) -> TaskResult<ExitStatus> {
    tokio::select! {
        ended = child.wait() => return ended.context("cannot wait for `sh`"),
        () = ctx.cancelled() => ctx.warning("cancelled: ending the command"),
    }
    group.signal("TERM");
    if timeout(GRACE, child.wait()).await.is_err() {
        group.signal("KILL");
        child.wait().await.context("cannot wait for `sh`")?;
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

fn environment(ctx: &Ctx) -> Vec<(&'static str, String)> {
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

/// The process group of the command, named by its first process. Dropped while that runs, it ends the group.
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
