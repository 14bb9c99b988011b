//! The supervisor's side: a small process that starts one program, adopts the processes that it leaves behind, and ends all of them when the program
//! has ended or the worker is gone.

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

/// Time between SIGTERM and SIGKILL when the worker is gone: another one may start the task again as soon as the lease is over.
/// Processes that a successful program leaves behind have the same time to end on their own before SIGTERM.
const GRACE: Duration = Duration::from_millis(500);
/// Time between two checks whether all processes have ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Whether this binary knows the word `run-program`.
static IS_AVAILABLE: AtomicBool = AtomicBool::new(false);

pub(super) fn is_available() -> bool {
    IS_AVAILABLE.load(Ordering::Relaxed)
}

/// What the worker says once.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) input: Option<String>,
}

/// What the supervisor says: how the start went, then how the program ended, as the system says it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SupervisorReply {
    Started,
    NotStarted(String),
    Ended(i32),
}

/// The first thing that a binary with tasks does. `Some`: it was started to supervise a program, and has.
pub fn supervise_if_asked(arguments: &[OsString]) -> Option<ExitCode> {
    match arguments {
        [_, word, program, arguments @ ..] if word == RUN_PROGRAM => {
            let mut command = Command::new(program);
            command.args(arguments);
            Some(supervise(command).unwrap_or(ExitCode::from(2))) // only a worker starts us
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
    // Signals for a whole service go to the program too; we stay to the end and report it. Not before the program is
    // started: it would inherit that they are blocked.
    SigSet::all().thread_block()?;
    guard(hear)?;
    feed(&mut program, request.input)?;
    say(&mut socket, &SupervisorReply::Started)?;
    let status = wait_for(Pid::from_raw(program.id().cast_signed()))?;
    // After a success, descendants may end on their own when their pipes close, like the `tee` of a process substitution. Its last lines would
    // be lost if it were killed.
    if status == 0 && !descendants_end() {
        ask_descendants_to_end();
    }
    // No process may outlive the attempt: it would use memory that no limit counts, and meet its successor.
    family::kill_descendants(getpid());
    say(&mut socket, &SupervisorReply::Ended(status))?;
    Ok(ExitCode::SUCCESS)
}

fn say(socket: &mut UnixStream, answer: &SupervisorReply) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    socket.write_all(&line)
}

/// From now on processes whose parents have ended are children of this one.
pub(crate) fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true).ok(); // without it what leaves the group is not found
}

/// Makes the kernel kill the program if this process is killed. The descendants of the program are killed by the worker
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
            // The kernel sends no signal for a parent that was killed before.
            if getppid() == supervisor { Ok(()) } else { Err(Errno::ESRCH.into()) }
        };
        // SAFETY: the closure makes two system calls and allocates nothing.
        unsafe { command.pre_exec(end_with_parent) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}

/// Hears, on a thread of its own, that the worker's end of the socket closes.
fn guard(mut hear: BufReader<UnixStream>) -> std::io::Result<()> {
    let hear = move || {
        let mut rest = Vec::new();
        hear.read_to_end(&mut rest).ok(); // broken is gone as well
        end_all();
    };
    std::thread::Builder::new().name("orch-worker-pipe".into()).spawn(hear).map(drop)
}

/// Ends everything that descends from this process, then this process.
fn end_all() {
    ask_descendants_to_end();
    family::kill_descendants(getpid());
    kill(getpid(), Signal::SIGKILL).ok();
}

/// Sends SIGTERM to every descendant and waits for `GRACE` at most until all have ended.
fn ask_descendants_to_end() {
    family::signal(getpid(), Signal::SIGTERM);
    descendants_end();
}

/// Waits for `GRACE` at most until no descendant runs. Returns false if some still run.
fn descendants_end() -> bool {
    for _ in 0..GRACE.as_millis() / LOOK_EVERY.as_millis() {
        if family::descendants(getpid()).is_empty() {
            return true;
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    false
}

/// Gives the program its input, on a thread of its own.
fn feed(program: &mut Child, input: Option<String>) -> std::io::Result<()> {
    let (Some(mut stdin), Some(input)) = (program.stdin.take(), input) else { return Ok(()) };
    // A program that reads no further has what it wants.
    let feed = move || drop(stdin.write_all(input.as_bytes()));
    std::thread::Builder::new().name("orch-input".into()).spawn(feed).map(drop)
}

/// Waits for the program, and meanwhile for every orphan that was adopted.
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
