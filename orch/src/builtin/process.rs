//! Programs that tasks run: their output line by line in the log, their last line as the output. `orch_workers::program`
//! ends them with everything they started when the task is cancelled, its future is dropped or the worker dies. When a program
//! ends, successfully or not, the processes that it left behind are ended, too.
//!
//! Lines of standard output and standard error are logged in the order in which they arrive. Two pipes have no common
//! order: if both hold data when they are read, the order between the two is not known, and the log may differ from the
//! order in which the program wrote. Standard output comes first then, because most programs print what they do before
//! they print an error. Within each of them the order is kept.

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

/// As in Airflow: this exit code means skipped.
pub(super) const SKIP_CODE: i32 = 99;
/// A longer line is cut there in the log, and cannot be an output.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// Between SIGTERM and SIGKILL when the task is cancelled.
const GRACE: Duration = Duration::from_secs(5);
/// Timeout for reading the rest of the pipes after the program has ended. Without a supervisor, a process in the background may hold them open
/// forever.
const DRAIN: Duration = Duration::from_millis(500);

/// How a program ended.
pub(super) struct ProcessExit {
    pub(super) status: ExitStatus,
    output: OutputTail,
    errors: OutputTail,
}

/// The end of what it wrote: the last line that is not empty, and what a failure says of it.
#[derive(Default)]
struct OutputTail {
    words: LastWords,
    text: String,
    /// Of the whole line; `text` may be its beginning.
    bytes: usize,
}

impl ProcessExit {
    /// The last line of stdout that is not empty.
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

    /// Why the try failed: what the program wrote last, never its own text, which may be long and says nothing.
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

/// A program with what every program of a task is told, and nothing else of the worker's environment but what all need.
pub(super) fn command(ctx: &Ctx, program: &str) -> TaskResult<Command> {
    let mut command = program::command(program)?;
    command.envs(environment(ctx));
    Ok(command)
}

/// What a line of a program means.
pub(super) enum Meaning {
    /// For the log, and for the message of a failure when it is one of the last.
    Words(LogLevel),
    /// For the log only.
    Noise(LogLevel),
    /// For neither.
    Nothing,
}

/// Reads a line; the level is that of the lines of its pipe.
pub(super) type LineReader<'r> = &'r (dyn Fn(LogLevel, &str) -> Meaning + Sync);

/// Runs it to its end. `input` is what it reads; without any, nothing.
pub(super) async fn run_process(
    ctx: &Ctx,
    command: Command,
    name: &str,
    input: Option<String>,
) -> TaskResult<ProcessExit> {
    run_read(ctx, command, name, input, None).await
}

/// The same for a program whose lines are read: a carriage return ends one, too.
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
        // Neither is dropped when the other is ready first.
        tokio::select! {
            ended = &mut end => {
                // Nothing of the program is lost when this is too short: it has ended.
                timeout(DRAIN, &mut copied).await.ok();
                ended
            }
            () = &mut copied => end.await,
        }
    }?;
    Ok(ProcessExit { status, output, errors })
}

/// Waits for the end; when the task is cancelled, asks for it and then forces it.
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

/// The line that is read from a pipe. Text after a carriage return replaces the text before it, as in a terminal, so that a
/// progress bar leaves its last state. Carriage returns at the end belong to the end of the line.
#[derive(Default)]
struct PartialLine {
    /// At most `MAX_LINE_BYTES` of the line.
    text: Vec<u8>,
    /// Length of the whole line.
    bytes: usize,
    /// The line ends with a carriage return so far.
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

/// Every line to the log, the last one also to `last`.
async fn copy(ctx: &Ctx, how: (LogLevel, Option<LineReader<'_>>), from: impl AsyncRead + Unpin, last: &mut OutputTail) {
    let ends_line = |byte: &u8| *byte == b'\n' || (how.1.is_some() && *byte == b'\r');
    let mut from = BufReader::new(from);
    let mut line = PartialLine::default();
    loop {
        // A broken pipe is the end, as an empty one.
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
            // The pipes take turns, one buffer at a time. Otherwise a pipe that is always full would delay the lines of the other.
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
        // A bar may write more than a line may have.
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
