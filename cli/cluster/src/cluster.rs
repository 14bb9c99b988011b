//! The private Postgres server of a process: locks the data folder, keeps the server running, and stops it at the end.
//!
//! A thread waits for the server and restarts it after every unexpected exit, so that even a killed postmaster is only
//! a short interruption for clients.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::error::ClusterError;
use crate::home::{Home, NAME, create_data_dir, open_private_file};
use crate::postmaster::{Postmaster, describe, send};
use crate::settings::Settings;
use crate::watchdog::Watchdog;

/// Initial delay between failed attempts to restart the server.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_RESTART_PAUSE: Duration = Duration::from_secs(5);
/// Timeout for each signal of a shutdown. A clean shutdown writes a checkpoint; after this time a harder signal leaves
/// the rest to the recovery of the next start.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// Size above which the log is rotated. One old log is kept.
const LARGEST_LOG_BYTES: u64 = 16 << 20;

/// A running private server. Dropping it stops the server, like [`Cluster::stop`].
#[derive(Debug)]
pub struct Cluster {
    home: Arc<Home>,
    control: Arc<Control>,
    keeper: Option<JoinHandle<()>>,
    /// File lock on the data folder, which the operating system releases when this process ends for any reason.
    lock: File,
}

#[derive(Debug, Default)]
struct Control {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stopping: bool,
    ended: bool,
    pid: Option<u32>,
    restarts: u32,
}

impl Cluster {
    /// Opens the cluster of a data folder, creates it if it does not exist, and returns when the server accepts
    /// connections.
    pub fn open(data_dir: &Path) -> Result<Self, ClusterError> {
        Self::open_with(data_dir, &Settings::default())
    }

    /// Like `open`, with custom settings.
    pub fn open_with(data_dir: &Path, settings: &Settings) -> Result<Self, ClusterError> {
        let data_dir = create_data_dir(data_dir)?;
        let lock = lock(&data_dir)?;
        let home = Arc::new(Home::prepare(&data_dir, settings)?);
        turn_log(&home.log())?;
        let mut watchdog = Watchdog::start(&home)?;
        let postmaster = match home.start() {
            Ok(postmaster) => postmaster,
            Err(error) => {
                watchdog.dismiss();
                return Err(error);
            }
        };
        watchdog.guard(postmaster.pid());
        let control = Arc::new(Control::default());
        control.lock().pid = Some(postmaster.pid());
        let keeper = std::thread::Builder::new()
            .name("postgres-keeper".into())
            .spawn({
                let (home, control) = (Arc::clone(&home), Arc::clone(&control));
                move || {
                    keep(&home, &control, postmaster, &mut watchdog);
                    watchdog.dismiss();
                    control.lock().ended = true;
                    control.changed.notify_all();
                }
            })
            .map_err(ClusterError::io("start a thread for", &data_dir))?;
        Ok(Self { home, control, keeper: Some(keeper), lock })
    }

    /// Returns the connection URL of the database `orch`. A restart of the server does not change it.
    pub fn url(&self) -> String {
        self.home.url(NAME)
    }

    /// Returns the connection URL of another database on the same server.
    pub fn url_of(&self, database: &str) -> String {
        self.home.url(database)
    }

    /// Returns the folder of the server's socket, for `psql -h`.
    pub fn socket_dir(&self) -> PathBuf {
        self.home.socket_dir()
    }

    /// Returns the pid of the server. `None` while it restarts.
    pub fn postmaster_pid(&self) -> Option<u32> {
        self.control.lock().pid
    }

    /// Returns how many times the server has exited unexpectedly.
    pub fn restarts(&self) -> u32 {
        self.control.lock().restarts
    }

    /// Stops the server: open transactions are rolled back, connections are closed, and the lock on the folder is
    /// released.
    pub fn stop(mut self) {
        self.stop_now();
    }

    fn stop_now(&mut self) {
        let Some(keeper) = self.keeper.take() else { return };
        let mut state = self.control.lock();
        state.stopping = true;
        self.control.changed.notify_all();
        for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGKILL] {
            if let Some(pid) = state.pid {
                send(pid, signal);
            }
            state = self.control.wait_while(state, STOP_PATIENCE, |state| !state.ended);
            if state.ended {
                break;
            }
        }
        drop(state);
        if keeper.join().is_err() {
            tracing::error!("the thread that keeps the private Postgres running panicked");
        }
        // Closing the file would not release the lock while a child process between `fork` and `exec` still has it
        // open.
        if let Err(error) = self.lock.unlock() {
            tracing::debug!(%error, "the lock on the data folder goes with this process");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop_now();
    }
}

impl Control {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while<'a>(
        &self,
        state: MutexGuard<'a, State>,
        patience: Duration,
        condition: impl FnMut(&mut State) -> bool,
    ) -> MutexGuard<'a, State> {
        self.changed.wait_timeout_while(state, patience, condition).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits for `pause` or until the cluster stops. Returns true if it stops.
    fn stopped_within(&self, pause: Duration) -> bool {
        self.wait_while(self.lock(), pause, |state| !state.stopping).stopping
    }
}

/// Restarts the server after every exit until the cluster stops.
fn keep(home: &Home, control: &Control, mut postmaster: Postmaster, watchdog: &mut Watchdog) {
    loop {
        let ending = postmaster.wait().map_or_else(|error| error.to_string(), describe);
        {
            let mut state = control.lock();
            state.pid = None;
            if state.stopping {
                return;
            }
            state.restarts += 1;
        }
        tracing::warn!(ending, "the private Postgres ended unasked; starting it again");
        let Some(next) = start_again(home, control) else { return };
        postmaster = next;
        watchdog.guard(postmaster.pid());
        let mut state = control.lock();
        state.pid = Some(postmaster.pid());
        if state.stopping {
            // The cluster was stopped while there was no process to send the signal to.
            send(postmaster.pid(), Signal::SIGINT);
        }
    }
}

fn start_again(home: &Home, control: &Control) -> Option<Postmaster> {
    let mut pause = RESTART_PAUSE;
    while !control.stopped_within(Duration::ZERO) {
        match home.start() {
            Ok(postmaster) => return Some(postmaster),
            Err(error) => tracing::error!(%error, "the private Postgres does not start; trying again"),
        }
        if control.stopped_within(pause) {
            break;
        }
        pause = (pause * 2).min(LONGEST_RESTART_PAUSE);
    }
    None
}

/// Locks a data folder without starting a server. The lock is held until the file is dropped or the process ends.
pub fn own(data_dir: &Path) -> Result<File, ClusterError> {
    lock(&create_data_dir(data_dir)?)
}

/// Locks the data folder and writes the pid of this process to the lock file.
fn lock(data_dir: &Path) -> Result<File, ClusterError> {
    let path = data_dir.join("orch.lock");
    let mut lock = open_private_file(OpenOptions::new().read(true).write(true), &path)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            lock.read_to_string(&mut pid).map_err(ClusterError::io("read", &path))?;
            return Err(ClusterError::InUse { data_dir: data_dir.to_owned(), pid: pid.trim().parse().ok() });
        }
        Err(TryLockError::Error(error)) => return Err(ClusterError::io("lock", &path)(error)),
    }
    lock.set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| writeln!(lock, "{}", std::process::id()))
        .map_err(ClusterError::io("write", &path))?;
    Ok(lock)
}

fn turn_log(log: &Path) -> Result<(), ClusterError> {
    if log.metadata().is_ok_and(|metadata| metadata.len() > LARGEST_LOG_BYTES) {
        std::fs::rename(log, log.with_extension("log.1")).map_err(ClusterError::io("rename", log))?;
    }
    Ok(())
}
