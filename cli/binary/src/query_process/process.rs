//! A query process from the perspective of the server.

use super::frame::{FromProcess, ToProcess};
use super::inside::MOST_BYTES;
use crate::memory::status_bytes;
use orch_store::lake_view::{FindConnection, LakeError};
use orch_workers::program::{own_binary, take_secrets};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinSet;

/// Internal subcommand that runs a query process.
pub(crate) const ANSWER_QUERIES: &str = "answer-queries";
/// Maximum size of a frame, which contains some rows or a single large one.
const MOST_FRAME_BYTES: u64 = 64 << 20;
/// Private memory above which a process is not reused. A process that has just opened the lake uses about 20 MB.
const LARGE_BYTES: u64 = 96 << 20;
/// Maximum size of the end of a process's stderr that is kept.
const LAST_WORDS_BYTES: usize = 4 * 1024;
/// Timeout for the exit of a process that has closed its stdout.
const PATIENCE: Duration = Duration::from_secs(1);

/// Panic messages of a process whose query exceeds the memory limit or the maximum size of a column.
const TOO_LARGE: [&str; 3] = ["memory allocation of", "capacity overflow", "offset overflow"];

#[derive(Debug)]
pub(super) enum Program {
    Own,
    Bundle(PathBuf),
}

/// A running query process. Dropping it kills the process.
pub(super) struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    last_words: JoinSet<String>,
}

/// A process that ended before it sent its response.
#[derive(Debug)]
pub(super) struct UnexpectedExit {
    status: Option<ExitStatus>,
    last_words: String,
}

impl Process {
    pub(super) fn start(program: &Program) -> io::Result<Process> {
        let mut command = match program {
            Program::Own => own_binary()?,
            Program::Bundle(path) => Command::new(path),
        };
        take_secrets(command.as_std_mut());
        // The end of stderr should be the reason of a panic and not a backtrace.
        command.arg(ANSWER_QUERIES).env("RUST_BACKTRACE", "0").kill_on_drop(true);
        // In its own process group it does not get Ctrl-C from the terminal. The server kills it instead.
        command.process_group(0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let piped = || io::Error::other("the process has no pipes");
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).ok_or_else(piped)?;
        let stderr = child.stderr.take().ok_or_else(piped)?;
        let mut last_words = JoinSet::new();
        last_words.spawn(read_last_words(stderr));
        Ok(Process { child, stdin, stdout: BufReader::new(stdout), last_words })
    }

    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Returns true if the process uses much memory, which only its end returns immediately.
    pub(super) fn is_large(&self) -> bool {
        let pid = self.child.id().map(|pid| pid.to_string());
        pid.and_then(|pid| status_bytes(&pid, "RssAnon:")).is_some_and(|held| held > LARGE_BYTES)
    }

    /// Sends a request and returns the first frame of the response.
    pub(super) async fn ask(
        &mut self,
        question: &ToProcess,
        find: &FindConnection,
    ) -> Result<FromProcess, UnexpectedExit> {
        if self.send(question).await.is_err() {
            return Err(self.gone().await);
        }
        self.next(find).await
    }

    /// Returns the next frame of the response. Looks up the connections that the process requests in between.
    pub(super) async fn next(&mut self, find: &FindConnection) -> Result<FromProcess, UnexpectedExit> {
        loop {
            match self.read().await {
                Ok(FromProcess::Connection(id)) => {
                    let found = find(&id).await.map_err(|error| format!("{error:#}"));
                    if self.send(&ToProcess::Connection(found)).await.is_err() {
                        return Err(self.gone().await);
                    }
                }
                Ok(frame) => return Ok(frame),
                Err(error) => {
                    tracing::debug!(%error, "a query process sent no frame");
                    return Err(self.gone().await);
                }
            }
        }
    }

    async fn send(&mut self, frame: &ToProcess) -> io::Result<()> {
        let mut line = serde_json::to_vec(frame)?;
        line.push(b'\n');
        self.stdin.write_all(&line).await
    }

    async fn read(&mut self) -> io::Result<FromProcess> {
        let mut line = Vec::new();
        (&mut self.stdout).take(MOST_FRAME_BYTES).read_until(b'\n', &mut line).await?;
        if line.len() as u64 == MOST_FRAME_BYTES {
            let text = format!("a row has more than {} MB", MOST_FRAME_BYTES >> 20);
            return Ok(FromProcess::Failed(LakeError::TooDear(text)));
        }
        Ok(serde_json::from_slice(&line)?)
    }

    async fn gone(&mut self) -> UnexpectedExit {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let said = tokio::time::timeout(PATIENCE, self.last_words.join_next()).await;
        let last_words = said.ok().flatten().and_then(Result::ok).unwrap_or_default();
        UnexpectedExit { status: ended.ok().and_then(Result::ok), last_words }
    }
}

impl UnexpectedExit {
    /// Returns true if the process had ended itself because it was idle.
    pub(super) fn was_over(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    pub(super) fn error(&self) -> LakeError {
        let is_killed =
            |signal: nix::sys::signal::Signal| self.status.and_then(|status| status.signal()) == Some(signal as i32);
        let is_too_large = TOO_LARGE.iter().any(|words| self.last_words.contains(words));
        if is_too_large || is_killed(nix::sys::signal::SIGKILL) {
            return LakeError::TooDear(format!(
                "the query needs more than the {} MB that one query may take, and was ended\nhint: select fewer columns, \
                 filter more, or group by less",
                MOST_BYTES >> 20
            ));
        }
        if self.last_words.contains("overflowed its stack") {
            let text = "the query is nested too deeply, and was ended\nhint: write it as several queries";
            return LakeError::Refused(text.into());
        }
        if is_killed(nix::sys::signal::SIGXCPU) {
            return LakeError::TooDear(
                "the query took more processor time than it may, and was ended\nhint: filter by the partition's columns"
                    .into(),
            );
        }
        let how = self.status.map_or_else(|| "it does not answer".into(), |status| status.to_string());
        tracing::warn!(last_words = self.last_words, "a query process ended: {how}");
        LakeError::Broken(format!("the query broke off: {how}\nhint: the log of the server says why"))
    }
}

async fn read_last_words(mut stderr: ChildStderr) -> String {
    let (mut kept, mut buffer) = (Vec::new(), [0; 1024]);
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..read]);
        let too_many = kept.len().saturating_sub(LAST_WORDS_BYTES);
        kept.drain(..too_many);
    }
    String::from_utf8_lossy(&kept).into_owned()
}
