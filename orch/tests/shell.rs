//! The `shell` task against the real shell of this machine.

use orch::prelude::*;
use orch::{LogLevel, MemoryHost, RunFacts, ShellOutput, TaskError, TryFacts};
use std::time::Duration;
use tokio::task::JoinSet;

async fn run_command(command: &str) -> Result<ShellOutput, TaskError> {
    shell(command).run_alone(Ctx::test()).await
}

#[tokio::test]
async fn the_last_line_is_the_output_and_all_lines_are_logged() {
    let host = MemoryHost::new();
    let done = shell("echo one; echo problem >&2; printf 'two\n\n'").run_alone(host.ctx()).await;
    assert_eq!(done.map(|output| output.last_line), Ok("two".into()));
    let mut lines: Vec<_> = host.logs().into_iter().map(|line| (line.level, line.message)).collect();
    lines.sort();
    let expected = [(LogLevel::Info, "one"), (LogLevel::Info, "two"), (LogLevel::Warning, "problem")];
    assert_eq!(lines, expected.map(|(level, text)| (level, text.to_string())));
}

#[tokio::test]
async fn the_exit_code_decides() {
    let failed = run_command("exit 3").await.expect_err("it failed");
    assert_eq!(failed, TaskError::retryable("exit code 3, without any output"));
    assert!(matches!(run_command("exit 99").await, Err(TaskError::Skipped { .. })));
    assert!(matches!(run_command("no_such_program_anywhere").await, Err(TaskError::Retryable { .. })));
    assert!(matches!(run_command("kill -9 $$").await, Err(TaskError::Retryable { .. })));
}

#[tokio::test]
async fn a_failure_says_what_the_command_wrote_last_and_never_its_text() {
    let failed = run_command("echo starting; echo 'mount: no such disk' >&2; exit 32").await.expect_err("it failed");
    assert_eq!(failed.to_string(), "exit code 32: mount: no such disk");
    let quiet = run_command("echo '2 of 7 checks failed'; exit 1").await.expect_err("it failed");
    assert_eq!(quiet.to_string(), "exit code 1, nothing on stderr; the end of its output: 2 of 7 checks failed");
    let killed = run_command("echo 'out of memory' >&2; kill -9 $$").await.expect_err("it failed");
    assert!(killed.to_string().ends_with("(SIGKILL): out of memory"), "{killed}");
}

#[tokio::test]
async fn the_command_knows_its_run() {
    let run = RunFacts { conf: std::sync::Arc::new(json!({ "day": "mon" })), ..RunFacts::test() };
    let this_try = TryFacts { map_index: Some(4), ..TryFacts::test() };
    let command = "echo $ORCH_DAG_ID/$ORCH_RUN_ID/$ORCH_TASK_ID/$ORCH_TRY_NUMBER/$ORCH_MAP_INDEX $ORCH_PARAMS";
    let done = shell(command).run_alone(MemoryHost::new().ctx_for(run, this_try)).await;
    assert_eq!(done.map(|output| output.last_line), Ok("test/manual__test/test/1/4 {\"day\":\"mon\"}".into()));
}

#[tokio::test]
async fn a_line_without_end_is_cut_and_not_kept_in_memory() {
    let host = MemoryHost::new();
    let done = shell("head -c 1000000 /dev/zero | tr '\\0' x; echo; echo done").run_alone(host.ctx()).await;
    assert_eq!(done.map(|output| output.last_line), Ok("done".into()));
    assert_eq!(host.logs()[0].message.len(), 64 * 1024);
}

#[tokio::test]
async fn a_progress_bar_leaves_its_last_state_in_the_log() {
    let host = MemoryHost::new();
    let command = r"printf '10%%\r50%%\r100%% done\n'; printf 'of Windows\r\n'";
    let done = shell(command).run_alone(host.ctx()).await;
    assert_eq!(done.map(|output| output.last_line), Ok("of Windows".into()));
    let lines: Vec<_> = host.logs().into_iter().map(|line| line.message).collect();
    assert_eq!(lines, ["100% done", "of Windows"]);
}

#[tokio::test]
async fn what_is_left_in_the_background_does_not_hold_the_task() {
    let done = tokio::time::timeout(Duration::from_secs(20), run_command("sleep 60 & echo $!")).await;
    let child = done.expect("the task ended").expect("and well").last_line;
    assert!(std::process::Command::new("kill").arg(&child).status().is_ok_and(|s| s.success()), "it runs on");
}

/// Returns the process id that the command prints, to check later whether the process is alive.
async fn started(host: &MemoryHost) -> String {
    loop {
        match host.logs().into_iter().find(|line| line.level == LogLevel::Info) {
            Some(line) => return line.message,
            None => tokio::task::yield_now().await,
        }
    }
}

async fn ended(process: &str) {
    let gone = async {
        while std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the process ended");
}

#[tokio::test]
async fn a_cancelled_command_ends_with_all_its_children() {
    let host = MemoryHost::new();
    let mut running = JoinSet::new();
    running.spawn(shell("sh -c 'echo $$; sleep 60; :'; :").run_alone(host.ctx()));
    let child = started(&host).await;
    host.cancel();
    let error = running.join_next().await.expect("it runs").expect("no panic").expect_err("it was cancelled");
    assert_eq!(error, TaskError::retryable("cancelled"));
    ended(&child).await;
}

#[tokio::test]
async fn a_dropped_command_ends_with_all_its_children() {
    let host = MemoryHost::new();
    let mut running = JoinSet::new();
    running.spawn(shell("sh -c 'echo $$; sleep 60; :'; :").run_alone(host.ctx()));
    let child = started(&host).await;
    running.shutdown().await;
    ended(&child).await;
}
