//! The `shell` task: runs a command with the system's shell.

use super::operator::Operator;
use super::process::{self, SKIP_CODE};
use crate::{BoxFuture, Call, Ctx, TaskResult, skip};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellOutput {
    /// The last line of stdout that is not empty.
    pub last_line: String,
}

/// A shell command.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shell {
    pub command: String,
    /// `$1`, `$2`, … of the command. No shell parses them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// A shell to use instead of `sh`. It must support `-c`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// Working directory. Default: the worker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
}

impl Shell {
    pub fn command(line: &str) -> Shell {
        Shell { command: line.into(), args: Vec::new(), env: BTreeMap::new(), shell: None, workdir: None }
    }
}

/// Runs `sh -c command`. The default id is the program's name; set another with `.id(…)`. Exit code 99 skips the
/// task; any other code except 0 fails the attempt. `ORCH_DAG_ID`, `ORCH_RUN_ID`, `ORCH_TASK_ID`, `ORCH_TRY_NUMBER`,
/// `ORCH_MAP_INDEX` and `ORCH_LOGICAL_DATE` are set, and `ORCH_PARAMS` contains the params as JSON. Only the worker's
/// variables that programs generally need are inherited (`PATH`, `HOME`, `LANG`, `TZ`, `TMPDIR` and similar), because
/// the others may be secret.
#[track_caller]
pub fn shell<'d>(command: &str) -> Call<'d, ShellOutput> {
    Shell::command(command).call()
}

impl Operator for Shell {
    const KIND: &'static str = "shell";
    type Output = ShellOutput;

    fn default_id(&self) -> String {
        id_of(&self.command)
    }

    fn run(self, ctx: Ctx) -> BoxFuture<TaskResult<ShellOutput>> {
        Box::pin(async move { run_shell(&ctx, &self).await })
    }
}

/// Returns the name of the program, without characters that are invalid in an id.
fn id_of(command: &str) -> String {
    let program = command.split_whitespace().next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default();
    let id: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "_.-".contains(*c)).collect();
    if id.is_empty() { "shell".into() } else { id }
}

async fn run_shell(ctx: &Ctx, task: &Shell) -> TaskResult<ShellOutput> {
    let (line, shell) = (task.command.as_str(), task.shell.as_deref().unwrap_or("sh"));
    let mut command = process::command(ctx, shell)?;
    command.args(["-c", line]).envs(&task.env);
    if !task.args.is_empty() {
        // The first argument after the command is `$0`.
        command.arg(shell).args(&task.args);
    }
    if let Some(folder) = &task.workdir {
        command.current_dir(folder);
    }
    let ended = process::run_process(ctx, command, shell, None).await?;
    match ended.status.code() {
        Some(0) => Ok(ShellOutput { last_line: ended.last_line()? }),
        Some(SKIP_CODE) => Err(skip(format!("the command ended with exit code {SKIP_CODE}"))),
        _ => Err(ended.failure()),
    }
}
