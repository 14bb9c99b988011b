//! The supervisor: a small process that starts one program and adopts orphaned descendants. It ends all of them when
//! the program has ended or the worker is gone.

use super::RUN_PROGRAM;
use crate::family;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, getppid};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Time between SIGTERM and SIGKILL when the worker is gone. It is short because another worker may start the task when
/// the lease expires. Descendants of a successful program get the same time to exit before SIGTERM.
const GRACE: Duration = Duration::from_millis(500);
/// Polling interval while waiting for processes to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// True if this binary's `main` handles the argument `run-program`.
static IS_AVAILABLE: AtomicBool = AtomicBool::new(false);

pub(super) fn is_available() -> bool {
    IS_AVAILABLE.load(Ordering::Relaxed)
}

/// The only message that the worker sends.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) input: Option<String>,
}

/// Messages that the supervisor sends: first the result of the start, then the wait status of the program.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SupervisorReply {
    Started,
    NotStarted(String),
    Ended(i32),
}

/// Runs as a supervisor if the arguments request it. Every binary with tasks must call this function first in `main`.
pub fn supervise_if_asked(arguments: &[OsString]) -> Option<ExitCode> {
    match arguments {
        [_, word, program, arguments @ ..] if word == RUN_PROGRAM => {
            let mut command = Command::new(program);
            command.args(arguments);
            Some(supervise(command).unwrap_or(ExitCode::from(2))) // only a worker starts this process
        }
        _ => {
            IS_AVAILABLE.store(true, Ordering::Relaxed);
            None
        }
    }
}

fn supervise(mut command: Command) -> std::io::Result<ExitCode> {
    adopt_orphans();
    let mut socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let mut hear = BufReader::new(socket.try_clone()?);
    let mut line = String::new();
    hear.read_line(&mut line)?;
    let request: Request = serde_json::from_str(&line)?;
    command.stdin(if request.input.is_some() { Stdio::piped() } else { Stdio::null() }).process_group(0);
    end_with_this_process(&mut command);
    let mut program = match command.spawn() {
        Ok(program) => program,
        Err(error) => {
            say(&mut socket, &SupervisorReply::NotStarted(error.to_string()))?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    // A service manager signals all processes of a service, including the program. The supervisor blocks signals so
    // that it survives to report the program's end. It blocks them after the start, because the program would inherit
    // the mask.
    SigSet::all().thread_block()?;
    guard(hear)?;
    feed(&mut program, request.input)?;
    say(&mut socket, &SupervisorReply::Started)?;
    let status = wait_for(Pid::from_raw(program.id().cast_signed()))?;
    // After a success, give descendants time to exit when their pipes close. For example, killing the `tee` of a
    // process substitution would lose its last lines.
    if status == 0 && !descendants_end() {
        ask_descendants_to_end();
    }
    // No process may outlive the attempt: it would use memory without a limit and run in parallel with the next
    // attempt.
    family::kill_descendants(getpid());
    say(&mut socket, &SupervisorReply::Ended(status))?;
    Ok(ExitCode::SUCCESS)
}

fn say(socket: &mut UnixStream, answer: &SupervisorReply) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    socket.write_all(&line)
}

/// Makes this process a subreaper: it becomes the parent of descendants whose own parent exits.
pub(crate) fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true).ok(); // without a subreaper, processes that left the group are not found
}

/// Makes the kernel kill the program if the supervisor is killed. The worker then kills the program's descendants
/// (`family::kill_marked`).
#[cfg_attr(
    target_os = "linux",
    expect(unsafe_code, reason = "between fork and exec only async-signal-safe calls are made")
)]
fn end_with_this_process(command: &mut Command) {
    #[cfg(target_os = "linux")]
    {
        let supervisor = getpid();
        let end_with_parent = move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            // The kernel sends no signal if the parent had already died before this call.
            if getppid() == supervisor { Ok(()) } else { Err(Errno::ESRCH.into()) }
        };
        // SAFETY: the closure makes two system calls and allocates nothing.
        unsafe { command.pre_exec(end_with_parent) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}

/// Waits on a separate thread until the worker's end of the socket closes. Then ends all processes.
fn guard(mut hear: BufReader<UnixStream>) -> std::io::Result<()> {
    let hear = move || {
        let mut rest = Vec::new();
        hear.read_to_end(&mut rest).ok(); // an error also means that the worker is gone
        end_all();
    };
    std::thread::Builder::new().name("orch-worker-pipe".into()).spawn(hear).map(drop)
}

/// Ends all descendants of this process, then exits.
fn end_all() {
    ask_descendants_to_end();
    family::kill_descendants(getpid());
    kill(getpid(), Signal::SIGKILL).ok();
}

/// Sends SIGTERM to every descendant, and waits at most `GRACE` for them to exit.
fn ask_descendants_to_end() {
    family::signal(getpid(), Signal::SIGTERM);
    descendants_end();
}

/// Waits at most `GRACE` for all descendants to exit. Returns false if some are still running.
fn descendants_end() -> bool {
    for _ in 0..GRACE.as_millis() / LOOK_EVERY.as_millis() {
        if family::descendants(getpid()).is_empty() {
            return true;
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    false
}

/// Writes the standard input of the program on a separate thread.
fn feed(program: &mut Child, input: Option<String>) -> std::io::Result<()> {
    let (Some(mut stdin), Some(input)) = (program.stdin.take(), input) else { return Ok(()) };
    // A program may exit or close its input before it has read everything.
    let feed = move || drop(stdin.write_all(input.as_bytes()));
    std::thread::Builder::new().name("orch-input".into()).spawn(feed).map(drop)
}

/// Waits for the program, and reaps adopted orphans meanwhile.
fn wait_for(program: Pid) -> std::io::Result<i32> {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == program => return Ok(code << 8),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => return Ok(signal as i32),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
