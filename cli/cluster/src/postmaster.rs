//! A single server process: starts it, detects when it is ready, stops it, and stops one that a killed owner left
//! running.
//!
//! Readiness is read from the last line of `postmaster.pid`, which Postgres writes for this purpose. This needs no
//! connection, and no `pg_ctl` with its pauses of 100 ms.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::{ClusterError, full_disk};
use crate::home::{Home, Passage, open_private_file};

/// Poll interval. A start takes 25 ms, and half of this interval is lost on average.
const POLL: Duration = Duration::from_millis(2);
/// Maximum time for a server start. Crash recovery replays about `max_wal_size` (1 GB) of WAL, which takes less than
/// this even on a disk that reads 10 MB/s.
const START_LIMIT: Duration = Duration::from_mins(3);
/// Timeout for the processes of a killed postmaster. They exit when they detect its death, and hold its shared memory
/// until then.
const ORPHANS_LIMIT: Duration = Duration::from_secs(15);
/// Signals of a shutdown and the timeout of each: SIGINT requests a shutdown checkpoint, SIGQUIT leaves everything to
/// crash recovery.
const PATIENCE: [(Signal, Duration); 3] = [
    (Signal::SIGINT, Duration::from_secs(30)),
    (Signal::SIGQUIT, Duration::from_secs(5)),
    (Signal::SIGKILL, Duration::from_secs(5)),
];
/// Maximum length of the log excerpt in an error.
const TAIL_BYTES: usize = 1_500;

/// A running server that this process started. Dropping it leaves the server running.
#[derive(Debug)]
pub struct Postmaster {
    child: Child,
}

impl Postmaster {
    pub(crate) fn start(home: &Home) -> Result<Self, ClusterError> {
        let deadline = Instant::now() + ORPHANS_LIMIT;
        loop {
            match Self::start_once(home) {
                Err(ClusterError::Start { tail, .. })
                    if tail.contains("shared memory block") && Instant::now() < deadline =>
                {
                    pause(POLL * 10);
                }
                done => return done,
            }
        }
    }

    fn start_once(home: &Home) -> Result<Self, ClusterError> {
        let log_path = home.log();
        let log = open_private_file(OpenOptions::new().append(true), &log_path)?;
        let before = log.metadata().map_err(ClusterError::io("read", &log_path))?.len();
        let second = log.try_clone().map_err(ClusterError::io("open", &log_path))?;
        let passage = Passage::open(home)?;
        let mut command = home.command("postgres");
        command.arg("-D").arg(passage.path("data")).args(home.listen_arguments(&passage));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(second)
            .spawn()
            .map_err(ClusterError::io("run", Path::new(command.get_program())))?;
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if PidFile::read(&home.data()).is_some_and(|file| file.pid == child.id() && file.ready) {
                return Ok(Self { child });
            }
            if child.try_wait().map_err(ClusterError::io("wait for", &log_path))?.is_some() {
                let tail = tail(&log_path, before);
                return Err(match full_disk(&tail) {
                    Some(reason) => {
                        ClusterError::DiskFull { data_dir: home.data_dir().to_owned(), reason: reason.to_owned() }
                    }
                    None => ClusterError::Start { tail, log: log_path },
                });
            }
            if Instant::now() > deadline {
                send(child.id(), Signal::SIGQUIT);
                return Err(ClusterError::Slow { log: log_path, seconds: START_LIMIT.as_secs() });
            }
            pause(POLL);
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the server exits for any reason.
    pub fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait()
    }

    /// Stops the server: open transactions are rolled back and connections are closed. No crash recovery is needed
    /// later, unless the server ignores SIGINT.
    pub fn stop(mut self) -> std::io::Result<ExitStatus> {
        for (signal, patience) in PATIENCE {
            send(self.pid(), signal);
            let deadline = Instant::now() + patience;
            while Instant::now() < deadline {
                if let Some(status) = self.child.try_wait()? {
                    return Ok(status);
                }
                pause(POLL);
            }
        }
        self.child.wait()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PidFile {
    pub(crate) pid: u32,
    pub(crate) port: u16,
    pub(crate) ready: bool,
}

impl PidFile {
    pub(crate) fn read(data: &Path) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(data.join("postmaster.pid")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        Some(Self {
            // A standalone backend (`--single`) writes its pid as a negative number.
            pid: lines.first()?.trim_start_matches('-').parse().ok()?,
            port: lines.get(3).and_then(|port| port.parse().ok()).unwrap_or(0),
            ready: lines.get(7) == Some(&"ready"),
        })
    }
}

/// Stops a server that a killed owner left running in this folder, because only a child process can be waited for.
pub(crate) fn end_leftover(home: &Home) -> Result<(), ClusterError> {
    let data = home.data();
    let Some(file) = PidFile::read(&data) else { return Ok(()) };
    for (signal, patience) in PATIENCE {
        if !is_alive(file.pid, &data) {
            break;
        }
        tracing::warn!(pid = file.pid, %signal, "stopping the Postgres that a killed owner left behind");
        send(file.pid, signal);
        let deadline = Instant::now() + patience;
        while is_alive(file.pid, &data) && Instant::now() < deadline {
            pause(POLL);
        }
    }
    if is_alive(file.pid, &data) {
        return Err(ClusterError::Unstoppable { data_dir: home.data_dir().to_owned(), pid: file.pid });
    }
    disown_reused_pid(home, file.pid)
}

/// Postgres treats any living process with the recorded pid as its predecessor and refuses to start. That process may
/// be an unrelated one that reuses the pid (after a reboot, in a container), or the predecessor's zombie.
///
/// So this function replaces the pid in the cluster's lock file by the pid of this process: Postgres ignores its
/// parent, and the rest of the file still protects the shared memory. It deletes the socket's lock file, which is not
/// needed in a locked folder.
fn disown_reused_pid(home: &Home, pid: u32) -> Result<(), ClusterError> {
    if kill(process(pid), None).is_err() {
        return Ok(());
    }
    let path = home.data().join("postmaster.pid");
    if let Ok(text) = std::fs::read_to_string(&path)
        && let Some((_, rest)) = text.split_once('\n')
    {
        std::fs::write(&path, format!("{}\n{rest}", std::process::id())).map_err(ClusterError::io("repair", &path))?;
    }
    let socket_lock = home.socket_lock();
    match std::fs::remove_file(&socket_lock) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ClusterError::io("remove", &socket_lock)(error))
        }
        _ => Ok(()),
    }
}

/// Returns true if this pid is the server of this folder and not another process that reuses the pid.
pub(crate) fn is_alive(pid: u32, data: &Path) -> bool {
    if kill(process(pid), None) == Err(nix::errno::Errno::ESRCH) {
        return false;
    }
    if cfg!(target_os = "linux") {
        use std::os::unix::fs::MetadataExt as _;
        // The working directory of a server is its data folder. The one of a zombie or of another user's process cannot
        // be read.
        let (Ok(theirs), Ok(ours)) = (std::fs::metadata(format!("/proc/{pid}/cwd")), std::fs::metadata(data)) else {
            return false;
        };
        return (theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino());
    }
    kill(process(pid), None).is_ok()
}

pub(crate) fn send(pid: u32, signal: Signal) {
    if let Err(error) = kill(process(pid), signal) {
        tracing::debug!(pid, %signal, %error, "the process was gone before the signal");
    }
}

/// Describes an exit status for the log.
pub(crate) fn describe(status: ExitStatus) -> String {
    status.signal().map_or_else(|| status.to_string(), |signal| format!("killed by signal {signal}"))
}

fn process(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed())
}

fn tail(log: &Path, from: u64) -> String {
    let mut text = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut text)
    });
    if read.is_err() {
        return "(unreadable)".into();
    }
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(TAIL_BYTES)..]).trim().to_owned();
    if text.is_empty() { "(nothing)".into() } else { text }
}

/// Sleeps between polls of the server's files. No notification of file changes works on all systems.
#[expect(clippy::disallowed_methods, reason = "a blocking crate without a runtime; see above")]
fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_ready_only_when_its_last_line_says_so() {
        let text = |status: &str| format!("7890\n/data\n1795167523\n5432\n/socket\n\n  9978054         4\n{status}\n");
        assert_eq!(PidFile::parse(&text("ready   ")), Some(PidFile { pid: 7890, port: 5432, ready: true }));
        assert_eq!(PidFile::parse(&text("starting")), Some(PidFile { pid: 7890, port: 5432, ready: false }));
    }

    #[test]
    fn a_half_written_pid_file_is_no_ready_server() {
        assert_eq!(PidFile::parse(""), None);
        assert_eq!(PidFile::parse("7890\n/data\n"), Some(PidFile { pid: 7890, port: 0, ready: false }));
    }

    #[test]
    fn a_living_process_elsewhere_is_not_our_server() {
        assert!(!is_alive(std::process::id(), Path::new("/proc")));
        assert!(!is_alive(u32::try_from(i32::MAX).unwrap(), Path::new("/")));
    }
}
