//! A process under test: start, stop, continue, kill, terminate. Its output goes to a file that a failing test shows.

use crate::ledger;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, ChildStdin, Command};

/// Number of log lines that a failing test shows.
const TAIL: usize = 30;

#[derive(Debug)]
pub struct Role {
    pub name: String,
    pid: Pid,
    child: Child,
    /// Stays open as long as this process lives. It is separate from the child because waiting for a child closes its
    /// stdin.
    _lifeline: ChildStdin,
    log: PathBuf,
}

impl Role {
    /// Starts `program`; its log and the ledger are in `folder`.
    pub fn start(program: &str, name: &str, args: &[String], folder: &Path) -> Role {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).expect("a log can be created");
        let mut child = Command::new(program)
            .args(args)
            .env(ledger::VARIABLE, ledger_in(folder))
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(file)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("`{program}` cannot be started: {error}"));
        let pid = child.id().expect("it was started just now");
        let lifeline = child.stdin.take().expect("stdin is piped");
        Role { name: name.to_owned(), pid: Pid::from_raw(pid.cast_signed()), child, _lifeline: lifeline, log }
    }

    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    pub fn send(&self, signal: Signal) {
        kill(self.pid, signal).unwrap_or_else(|error| panic!("{signal} for `{}`: {error}", self.name));
    }

    /// Kills it with SIGKILL and returns the time of the kill.
    pub async fn kill_9(&mut self) -> Duration {
        let at = ledger::now();
        self.send(Signal::SIGKILL);
        self.child.wait().await.expect("a child can be waited for");
        at
    }

    /// Sends SIGTERM and waits until it has exited.
    pub async fn end(&mut self, limit: Duration) {
        self.send(Signal::SIGTERM);
        let Ok(status) = tokio::time::timeout(limit, self.child.wait()).await else {
            panic!("`{}` does not end within {limit:?}\n{}", self.name, self.tail())
        };
        let status = status.expect("a child can be waited for");
        assert!(status.success(), "`{}` ended badly: {status}\n{}", self.name, self.tail());
    }

    /// Returns the exit status if it has exited.
    pub fn has_ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().expect("a child can be asked for")
    }

    /// Returns the last lines of its log.
    pub fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(TAIL);
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        let state = stat.rsplit_once(") ").map_or("gone", |(_, rest)| &rest[..1]);
        format!("-- {} ({}, {state}):\n{}\n", self.name, self.pid(), lines[from..].join("\n"))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

pub fn ledger_in(folder: &Path) -> PathBuf {
    folder.join("ledger")
}

/// Returns the processes that use the ledger of this folder: roles and child processes of workers. Returns none without
/// `/proc`.
pub fn processes_of(folder: &Path) -> Vec<i32> {
    let variable = format!("{}={}", ledger::VARIABLE, ledger_in(folder).display());
    let Ok(processes) = Path::new("/proc").read_dir() else { return Vec::new() };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let knows = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|word| word == variable.as_bytes())
    };
    pids.filter(knows).collect()
}
