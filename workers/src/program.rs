//! Runs programs for tasks. A program and all its descendants end when the worker ends, even if the worker is killed.
//!
//! A supervisor process (this binary started as `run-program`) sits between the worker and the program. Worker and
//! supervisor each hold one end of a socket. When the worker's end closes, because the worker was killed or the task
//! was dropped, the supervisor kills the program and every descendant. If the supervisor is killed, the kernel kills
//! the program, and the worker kills the other descendants, which it finds by a marker in their environment. A binary
//! that cannot start itself as a supervisor (a test of a DAG) runs the program directly.

mod environment;
mod supervisor;

pub use environment::clean;
pub use environment::take_secrets;
pub(crate) use supervisor::adopt_orphans;
pub use supervisor::supervise_if_asked;

use crate::{boxed, family, memory};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use supervisor::{Request, SupervisorReply};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::task::JoinSet;

/// Command-line argument that starts the supervisor.
const RUN_PROGRAM: &str = "run-program";

/// Returns a command that starts this binary, even after its file was replaced by a newer version.
pub fn own_binary() -> io::Result<Command> {
    let path = std::env::current_exe()?;
    let mut command =
        Command::new(if cfg!(target_os = "linux") { OsStr::new("/proc/self/exe") } else { path.as_os_str() });
    command.arg0(&path);
    Ok(command)
}

/// Returns a command whose environment contains only the worker's variables that programs need. The caller may add
/// arguments and variables.
///
/// # Errors
/// Fails if the path of this binary cannot be found.
pub fn command(program: &str) -> io::Result<Command> {
    let mut command = if supervisor::is_available() {
        let mut command = own_binary()?;
        command.args([RUN_PROGRAM, program]);
        command
    } else {
        Command::new(program)
    };
    clean(command.as_std_mut());
    Ok(command)
}

/// A running program. Dropping it kills the program and all its descendants.
#[derive(Debug)]
pub struct Program {
    child: Child,
    /// Process id of the supervisor, or of the program if there is no supervisor. `None` after it was waited for.
    root: Option<Pid>,
    /// Environment variable value that marks the program and its descendants.
    mark: String,
    control: Option<Control>,
    /// Task that writes the program's standard input if there is no supervisor.
    feeding: JoinSet<()>,
}

impl Program {
    /// Starts a program. It reads `input` on standard input, or an empty input if `input` is `None`.
    ///
    /// # Errors
    /// Fails if the program does not exist or cannot be started.
    #[boxed]
    pub async fn start(mut command: Command, input: Option<String>) -> io::Result<Program> {
        let mark = uuid::Uuid::new_v4().simple().to_string();
        command.env(family::MARK, &mark).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        if !supervisor::is_available() {
            command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
            let mut program = Program::of(command.spawn()?, mark, None);
            if let (Some(mut stdin), Some(input)) = (program.child.stdin.take(), input) {
                // A program may exit or close its input before it has read everything.
                program.feeding.spawn(async move { drop(stdin.write_all(input.as_bytes()).await) });
            }
            return Ok(program);
        }
        let (ours, theirs) = UnixStream::pair()?;
        let theirs = theirs.into_std()?;
        theirs.set_nonblocking(false)?;
        command.stdin(Stdio::from(OwnedFd::from(theirs)));
        let child = command.spawn()?;
        drop(command); // the command holds the other end of the socket
        let mut program = Program::of(child, mark, Some(Control { socket: BufReader::new(ours), line: Vec::new() }));
        match program.ask(&Request { input }).await? {
            SupervisorReply::Started => Ok(program),
            SupervisorReply::NotStarted(why) => Err(io::Error::other(why)),
            SupervisorReply::Ended(_) => Err(gone()),
        }
    }

    fn of(child: Child, mark: String, control: Option<Control>) -> Program {
        let root = child.id().map(|id| Pid::from_raw(id.cast_signed()));
        Program { child, root, mark, control, feeding: JoinSet::new() }
    }

    async fn ask(&mut self, request: &Request) -> io::Result<SupervisorReply> {
        let control = self.control.as_mut().ok_or_else(gone)?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        control.socket.write_all(&line).await?;
        control.answer().await
    }

    /// Returns the program's standard output and standard error. Returns `None` after the first call.
    pub fn output(&mut self) -> Option<(ChildStdout, ChildStderr)> {
        self.child.stdout.take().zip(self.child.stderr.take())
    }

    /// Waits for the exit status. May be called again after a call that was cancelled.
    ///
    /// # Errors
    /// Fails if the supervisor was killed: the exit code is lost, and all processes of the program are killed.
    #[boxed]
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let ended = match &mut self.control {
            None => self.child.wait().await,
            Some(control) => match control.answer().await {
                Ok(SupervisorReply::Ended(status)) => Ok(ExitStatus::from_raw(status)),
                Ok(_) => Err(gone()),
                Err(error) => Err(error),
            },
        };
        if ended.is_ok() {
            self.child.wait().await?;
            self.root = None;
        } else {
            family::kill_marked(&self.mark);
        }
        ended
    }

    /// Completes when the program and its descendants exceed the task's memory limit. Returns a description of the
    /// excess.
    pub fn memory_exceeded(&self) -> impl Future<Output = String> + use<> {
        memory::exceeded(self.root)
    }

    /// Sends SIGTERM to the program and all its descendants.
    pub fn terminate(&self) {
        let Some(root) = self.root else { return };
        family::signal(root, Signal::SIGTERM);
        if self.control.is_none() {
            nix::sys::signal::killpg(root, Signal::SIGTERM).ok(); // the process may have ended meanwhile
        }
    }

    /// Kills the program and all its descendants.
    pub fn kill(&mut self) {
        if let Some(root) = self.root.take() {
            family::kill_all(root);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The worker's end of the socket to the supervisor.
#[derive(Debug)]
struct Control {
    socket: BufReader<UnixStream>,
    line: Vec<u8>,
}

impl Control {
    /// Reads the next reply of the supervisor. Cancel-safe: an incomplete line is kept.
    async fn answer(&mut self) -> io::Result<SupervisorReply> {
        self.socket.read_until(b'\n', &mut self.line).await?;
        let line = std::mem::take(&mut self.line);
        serde_json::from_slice(&line).map_err(|_| gone())
    }
}

fn gone() -> io::Error {
    io::Error::other("the process that supervises it was killed")
}
