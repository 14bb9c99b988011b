//! Programs that tasks run. Their output goes to the log line by line, and their last line is the task's output.
//! `orch_workers::program` kills them with all their child processes when the task is cancelled, its future is
//! dropped or the worker dies. When a program exits, successfully or not, the processes that it left behind are
//! killed, too.
//!
//! Lines of standard output and standard error are logged in the order in which they arrive. Two pipes have no common
//! order: if both hold data when they are read, the original order is unknown and the log may differ from it.
//! Standard output is logged first then, because most programs print what they do before they print an error. Lines
//! of the same pipe keep their order.

use super::last_words::LastWords;
use crate::{Ctx, LogLevel, TaskResult, fatal};
use anyhow::{Context, anyhow, bail};
use orch_workers::program::{self, Program};
use serde_json::Value;
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::task::yield_now;
use tokio::time::timeout;

/// Exit code that means "skipped", as in Airflow.
pub(super) const SKIP_CODE: i32 = 99;
/// Maximum length of a line. Longer lines are truncated in the log and cannot be an output.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// Time between SIGTERM and SIGKILL when the task is cancelled.
const GRACE: Duration = Duration::from_secs(5);
/// Timeout for reading the rest of the pipes after the program has exited. Without a supervisor, a background process
/// may hold them open forever.
const DRAIN: Duration = Duration::from_millis(500);

/// The exit status of a program, and the end of its output.
pub(super) struct ProcessExit {
    pub(super) status: ExitStatus,
    output: OutputTail,
    errors: OutputTail,
}

/// The end of one output stream: the last line that is not empty, and the lines for the error message.
#[derive(Default)]
struct OutputTail {
    words: LastWords,
    text: String,
    /// Length of the whole line. `text` may hold only its beginning.
    bytes: usize,
}

impl ProcessExit {
    /// Returns the last line of stdout that is not empty.
    pub(super) fn last_line(self) -> TaskResult<String> {
        let OutputTail { text, bytes, .. } = self.output;
        if bytes <= MAX_LINE_BYTES {
            return Ok(text);
        }
        Err(fatal(format!(
            "the last line on standard output has {bytes} bytes, more than the {MAX_LINE_BYTES} that an output may have\n\
            hint: write the data to a file or the object store, and print where it is"
        )))
    }

    /// Returns the error of a failed attempt, with the last lines of the program's output. Omits the program's
    /// source, which may be long.
    pub(super) fn failure(&self) -> anyhow::Error {
        let how = match self.status.code() {
            Some(code) => format!("exit code {code}"),
            None => self.status.to_string(),
        };
        match (self.errors.words.text(), self.output.words.text()) {
            (Some(words), _) => anyhow!(words).context(how),
            // Many tools write their errors to stdout.
            (None, Some(words)) => anyhow!(words).context(format!("{how}, nothing on stderr; the end of its output")),
            (None, None) => anyhow!("{how}, without any output"),
        }
    }
}

/// Returns a command with the environment variables of a task, and otherwise only the worker's variables that every
/// program needs.
pub(super) fn command(ctx: &Ctx, program: &str) -> TaskResult<Command> {
    let mut command = program::command(program)?;
    command.envs(environment(ctx));
    Ok(command)
}

/// The use of a line of output.
pub(super) enum Meaning {
    /// Goes to the log, and to the error message if it is one of the last lines.
    Words(LogLevel),
    /// Goes to the log only.
    Noise(LogLevel),
    /// Is dropped.
    Nothing,
}

/// Classifies a line. The level is the default level of its pipe.
pub(super) type LineReader<'r> = &'r (dyn Fn(LogLevel, &str) -> Meaning + Sync);

/// Runs a program until it exits. `input` is its standard input; `None` means empty.
pub(super) async fn run_process(
    ctx: &Ctx,
    command: Command,
    name: &str,
    input: Option<String>,
) -> TaskResult<ProcessExit> {
    run_read(ctx, command, name, input, None).await
}

/// Like `run_process`, but classifies lines with `read`, and a carriage return also ends a line.
pub(super) async fn run_read(
    ctx: &Ctx,
    command: Command,
    name: &str,
    input: Option<String>,
    read: Option<LineReader<'_>>,
) -> TaskResult<ProcessExit> {
    let mut program = Program::start(command, input).await.with_context(|| format!("cannot start `{name}`"))?;
    let (stdout, stderr) = program.output().ok_or_else(|| anyhow!("`{name}` has no output"))?;

    let (mut output, mut errors) = (OutputTail::default(), OutputTail::default());
    let status = {
        let mut copied = pin!(copy_both(ctx, read, (stdout, stderr), (&mut output, &mut errors)));
        let mut end = pin!(wait(&mut program, ctx, name));
        // Neither future is dropped if the other one finishes first.
        tokio::select! {
            ended = &mut end => {
                // A short timeout loses no output of the program itself, because it has exited.
                timeout(DRAIN, &mut copied).await.ok();
                ended
            }
            () = &mut copied => end.await,
        }
    }?;
    Ok(ProcessExit { status, output, errors })
}

/// Waits for the exit. Sends SIGTERM when the task is cancelled, and SIGKILL after `GRACE`.
async fn wait(program: &mut Program, ctx: &Ctx, name: &str) -> TaskResult<ExitStatus> {
    let exceeded = program.memory_exceeded();
    tokio::select! {
        ended = program.wait() => return ended.with_context(|| format!("cannot wait for `{name}`")),
        why = exceeded => {
            program.kill();
            bail!(why)
        }
        () = ctx.cancelled() => ctx.warning("cancelled: ending the command"),
    }
    program.terminate();
    timeout(GRACE, program.wait()).await.ok();
    program.kill();
    bail!("cancelled")
}

/// The line that is being read from a pipe. Text after a carriage return replaces the text before it, as in a
/// terminal, so a progress bar leaves only its last state. Carriage returns at the end of the line are part of the
/// line ending.
#[derive(Default)]
struct PartialLine {
    /// At most `MAX_LINE_BYTES` of the line.
    text: Vec<u8>,
    bytes: usize,
    /// True if the line ends with a carriage return so far.
    is_returned: bool,
}

impl PartialLine {
    fn push(&mut self, piece: &[u8]) {
        let end = piece.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1);
        if end > 0 {
            let start = piece[..end].iter().rposition(|byte| *byte == b'\r').map(|at| at + 1);
            if start.is_some() || self.is_returned {
                self.text.clear();
                self.bytes = 0;
            }
            let text = &piece[start.unwrap_or(0)..end];
            let free = MAX_LINE_BYTES.saturating_sub(self.text.len());
            self.text.extend_from_slice(&text[..text.len().min(free)]);
            self.bytes += text.len();
        }
        self.is_returned = end < piece.len() || (self.is_returned && end == 0);
    }
}

/// Logs the lines of standard output and standard error until both end.
async fn copy_both(
    ctx: &Ctx,
    read: Option<LineReader<'_>>,
    (stdout, stderr): (impl AsyncRead + Unpin, impl AsyncRead + Unpin),
    (output, errors): (&mut OutputTail, &mut OutputTail),
) {
    tokio::join!(
        biased;
        copy(ctx, (LogLevel::Info, read), stdout, output),
        copy(ctx, (LogLevel::Warning, read), stderr, errors)
    );
}

/// Copies all lines to the log, and keeps the last ones in `last`.
async fn copy(ctx: &Ctx, how: (LogLevel, Option<LineReader<'_>>), from: impl AsyncRead + Unpin, last: &mut OutputTail) {
    let ends_line = |byte: &u8| *byte == b'\n' || (how.1.is_some() && *byte == b'\r');
    let mut from = BufReader::new(from);
    let mut line = PartialLine::default();
    loop {
        // Read errors, such as a broken pipe, are treated as the end.
        let Ok(bytes) = from.fill_buf().await else { return };
        if bytes.is_empty() {
            flush(ctx, how, &mut line, last);
            return;
        }
        let end = bytes.iter().position(ends_line);
        let taken = end.map_or(bytes.len(), |end| end + 1);
        line.push(&bytes[..end.unwrap_or(bytes.len())]);
        from.consume(taken);
        if end.is_some() {
            flush(ctx, how, &mut line, last);
        }
        if from.buffer().is_empty() {
            // The pipes take turns after each buffer. Otherwise a pipe that is always full would delay the lines of
            // the other.
            yield_now().await;
        }
    }
}

fn flush(ctx: &Ctx, (level, read): (LogLevel, Option<LineReader<'_>>), line: &mut PartialLine, last: &mut OutputTail) {
    let bytes = std::mem::take(&mut line.bytes);
    line.is_returned = false;
    if line.text.is_empty() {
        return;
    }
    let text = String::from_utf8_lossy(&line.text).trim_end().to_string();
    line.text.clear();
    let (level, has_words) = match read.map_or(Meaning::Words(level), |read| read(level, &text)) {
        Meaning::Words(level) => (level, true),
        Meaning::Noise(level) => (level, false),
        Meaning::Nothing => return,
    };
    ctx.log(level, &text, Value::Null);
    if has_words && !text.is_empty() {
        last.words.add(&text);
        (last.text, last.bytes) = (text, bytes);
    }
}

/// Returns the environment variables that every program of a task gets.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryHost;
    use futures::FutureExt as _;
    use tokio::io::{AsyncWriteExt as _, duplex};

    fn messages(host: &MemoryHost) -> Vec<String> {
        host.logs().into_iter().map(|line| line.message).collect()
    }

    #[test]
    fn text_after_a_carriage_return_replaces_the_text_before_it() {
        for (pieces, expected) in [
            (&["one ", "line"][..], "one line"),
            (&["10%\r50%\r100%"], "100%"),
            (&["10%\r", "50%", "\r", "", "100%\r"], "100%"),
            (&["of Windows\r"], "of Windows"),
            (&["\r\rabc", "\r\r"], "abc"),
            (&["\r"], ""),
        ] {
            let mut line = PartialLine::default();
            pieces.iter().for_each(|piece| line.push(piece.as_bytes()));
            assert_eq!((line.text, line.bytes), (expected.as_bytes().to_vec(), expected.len()), "{pieces:?}");
        }
        // A progress bar may write more bytes than the maximum length of a line.
        let mut line = PartialLine::default();
        (0..MAX_LINE_BYTES).for_each(|_| line.push(b"\r99%"));
        line.push(b"\rdone");
        assert_eq!((line.text.as_slice(), line.bytes), (&b"done"[..], 4));
    }

    #[tokio::test]
    async fn lines_of_both_pipes_are_logged_in_the_order_of_their_arrival() {
        let host = MemoryHost::new();
        let ctx = host.ctx();
        let ((mut stdout, output), (mut stderr, errors)) = (duplex(100), duplex(100));
        let (mut last_output, mut last_error) = (OutputTail::default(), OutputTail::default());
        let mut copied = pin!(copy_both(&ctx, None, (output, errors), (&mut last_output, &mut last_error)));
        stdout.write_all(b"one\n").await.unwrap();
        assert!(copied.as_mut().now_or_never().is_none());
        stderr.write_all(b"two\n").await.unwrap();
        assert!(copied.as_mut().now_or_never().is_none());
        stdout.write_all(b"three\n").await.unwrap();
        assert!(copied.as_mut().now_or_never().is_none());
        drop((stdout, stderr));
        copied.await;
        assert_eq!(messages(&host), ["one", "two", "three"]);
    }

    #[tokio::test]
    async fn standard_output_comes_first_if_both_pipes_hold_data() {
        let host = MemoryHost::new();
        let ctx = host.ctx();
        let ((mut stdout, output), (mut stderr, errors)) = (duplex(100), duplex(100));
        let (mut last_output, mut last_error) = (OutputTail::default(), OutputTail::default());
        let mut copied = pin!(copy_both(&ctx, None, (output, errors), (&mut last_output, &mut last_error)));
        for _ in 0..3 {
            stderr.write_all(b"error\n").await.unwrap();
            stdout.write_all(b"output\n").await.unwrap();
            assert!(copied.as_mut().now_or_never().is_none());
        }
        drop((stdout, stderr));
        copied.await;
        assert_eq!(messages(&host), ["output", "error"].repeat(3));
    }

    #[tokio::test]
    async fn a_pipe_that_is_always_full_does_not_delay_the_other() {
        const LINES: usize = 20_000;
        let host = MemoryHost::new();
        let ctx = host.ctx();
        let text = "a line\n".repeat(LINES);
        let ((mut stdout, output), (mut stderr, errors)) = (duplex(text.len()), duplex(100));
        let (mut last_output, mut last_error) = (OutputTail::default(), OutputTail::default());
        stdout.write_all(text.as_bytes()).await.unwrap();
        stderr.write_all(b"problem\n").await.unwrap();
        drop((stdout, stderr));
        copy_both(&ctx, None, (output, errors), (&mut last_output, &mut last_error)).await;
        let logged = messages(&host);
        let place = logged.iter().position(|message| message == "problem");
        // A buffer has 8 KB, so about 1,200 of these lines.
        assert!(logged.len() == LINES + 1 && place.is_some_and(|place| place < 2_000), "{place:?}");
    }
}
