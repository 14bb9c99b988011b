//! The `shell` task: a command of the system's shell.

use super::operator::Operator;
use super::process::{self, SKIP_CODE};
use crate::{BoxFuture, Call, Ctx, TaskResult, skip};
use anyhow::bail;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellOutput {
    /// The last line of stdout that is not empty.
    pub last_line: String,
}

/// A command of the system's shell.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shell {
    pub command: String,
}

/// Runs `sh -c command`. The id is the program's name; set another with `.id(…)`. Exit code 99 skips the task, every
/// other than 0 fails the try. `ORCH_DAG_ID`, `ORCH_RUN_ID`, `ORCH_TASK_ID`, `ORCH_TRY_NUMBER`, `ORCH_MAP_INDEX` and
/// `ORCH_LOGICAL_DATE` are set, and `ORCH_PARAMS` is the params as JSON. The worker's own `ORCH_…` and `PG…` settings, and
/// Airflow's `AIRFLOW_CONN_…` and `AIRFLOW_VAR_…`, are not: there are secrets among them.
#[track_caller]
pub fn shell<'d>(command: &str) -> Call<'d, ShellOutput> {
    Shell { command: command.into() }.call()
}

impl Operator for Shell {
    const KIND: &'static str = "shell";
    type Output = ShellOutput;

    fn default_id(&self) -> String {
        id_of(&self.command)
    }

    fn run(self, ctx: Ctx) -> BoxFuture<TaskResult<ShellOutput>> {
        Box::pin(async move { run(&ctx, &self.command).await })
    }
}

/// The name of the program, in the letters of an id.
fn id_of(command: &str) -> String {
    let program = command.split_whitespace().next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default();
    let id: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "_.-".contains(*c)).collect();
    if id.is_empty() { "shell".into() } else { id }
}

async fn run(ctx: &Ctx, line: &str) -> TaskResult<ShellOutput> {
    let mut command = process::command(ctx, "sh");
    command.args(["-c", line]);
    let ended = process::run(ctx, command, "sh", None).await?;
    match ended.status.code() {
        Some(0) => Ok(ShellOutput { last_line: ended.last_line }),
        Some(SKIP_CODE) => Err(skip(format!("`{line}` ended with exit code {SKIP_CODE}"))),
        _ => bail!("`{line}` ended with {}", ended.status),
    }
}
