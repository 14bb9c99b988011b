//! Runs the workers of another binary as child processes. The newest worker takes new runs; previous workers finish the
//! runs that only they can run, and then exit. A worker that exits unexpectedly is restarted.
//!
//! Workers exit when their standard input is closed, so they do not outlive this process.

mod again;

use again::Crashes;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_binary::beside::{Facts, facts};
use orch_binary::config::{Config, hidden};
use orch_binary::failure::Failure;
use orch_store::connect;
use orch_store::worker::list_workers;
use sqlx::{Connection as _, PgConnection};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::process::{Child, ChildStdin, Command};

/// Maximum time from the start of a worker until it appears in the database. Building and registering DAGs takes a
/// fraction of it.
const START_LIMIT: Duration = Duration::from_mins(1);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Maximum number of old workers that wait for their runs to end. Beyond it the oldest worker stops, and its runs
/// continue in the newest version.
const MOST_RETIRING: usize = 8;

pub(crate) struct WorkerEnvironment {
    pub(crate) database_url: String,
    /// Settings of the command line as environment variables.
    pub(crate) variables: Vec<(&'static str, String)>,
    pub(crate) data_dir: PathBuf,
    /// Folder for the sockets on which their servers listen for the web server.
    pub(crate) sockets: Option<PathBuf>,
}

impl WorkerEnvironment {
    /// Creates the environment. `given` contains the settings of the command line.
    pub(crate) fn new(
        config: &Config,
        given: &[(&'static str, String)],
        database_url: &str,
        dags_folder: &Path,
    ) -> WorkerEnvironment {
        let mut place = WorkerEnvironment::without_files(config, given, database_url);
        place.variables.push(("ORCH_DAGS_FOLDER", absolute(dags_folder)));
        place
    }

    /// Creates an environment for workers that do not run DAG files.
    pub(crate) fn without_files(
        config: &Config,
        given: &[(&'static str, String)],
        database_url: &str,
    ) -> WorkerEnvironment {
        let mut variables = given.to_vec();
        variables.extend([
            ("ORCH_DAGS_FOLDER", String::new()),
            ("ORCH_DATABASE_URL", database_url.to_owned()),
            ("ORCH_DATA_DIR", absolute(&config.data_dir)),
            ("ORCH_PAUSED_AT_CREATION", config.paused_at_creation.to_string()),
            ("ORCH_EXAMPLES", config.examples.to_string()),
        ]);
        // A worker with a configured database does not read the key in the data folder, so the path is passed.
        let key_file = config.secret_key_file.as_ref().filter(|_| config.secret_key.is_none());
        variables.extend(key_file.map(|file| ("ORCH_SECRET_KEY_FILE", absolute(file))));
        WorkerEnvironment {
            database_url: database_url.into(),
            variables,
            data_dir: config.data_dir.clone(),
            sockets: None,
        }
    }
}

pub(crate) fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.into()).to_string_lossy().into_owned()
}

pub(crate) struct Staff {
    name: String,
    place: WorkerEnvironment,
    /// Folder with a copy of the binary for each worker, if builds would overwrite the original.
    copies: Option<PathBuf>,
    number: u32,
    /// Oldest first.
    workers: Vec<Worker>,
    /// Modification time and size of the binary that was started last.
    started: Option<Facts>,
    crashes: Crashes,
    /// Binary and time of the next restart after the newest worker exited unexpectedly.
    again: Option<(PathBuf, Instant)>,
    /// Description of the last unexpected exit of a worker.
    last_end: String,
}

struct Worker {
    name: String,
    child: Child,
    /// Held open until the worker has exited, because closing it stops the worker. `Child::wait` would close the
    /// `stdin` of `child`.
    _stdin: Option<ChildStdin>,
    pid: Pid,
    binary: PathBuf,
    duty: Duty,
    began: Instant,
}

/// Duty of a worker. It only changes downwards in this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Duty {
    /// Takes new runs.
    Newest,
    Retiring,
    Stopping,
}

enum Started {
    AtWork,
    Ended(ExitStatus),
    Slow,
}

impl Staff {
    /// Creates a staff that runs the binary at its original path.
    pub(crate) fn new(name: impl Into<String>, place: WorkerEnvironment) -> Staff {
        Staff {
            name: name.into(),
            place,
            copies: None,
            number: 0,
            workers: Vec::new(),
            started: None,
            crashes: Crashes::default(),
            again: None,
            last_end: String::new(),
        }
    }

    /// Copies each binary to this folder of the data folder before it runs.
    pub(crate) fn with_copies(self, folder: &str) -> Result<Staff, Failure> {
        let folder = self.place.data_dir.join(folder);
        // Remove the copies of a killed process. No other process uses this data folder.
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure::io(format!("cannot remove `{}`", folder.display()))(error))
            }
            _ => Ok(Staff { copies: Some(folder), ..self }),
        }
    }

    /// Returns the name of the worker that takes new runs.
    pub(crate) fn at_work(&self) -> Option<&str> {
        self.workers.last().filter(|worker| worker.duty == Duty::Newest).map(|worker| worker.name.as_str())
    }

    /// Returns how the newest worker ended, if it has not been restarted yet.
    pub(crate) fn last_end(&self) -> Option<&str> {
        self.again.as_ref().map(|_| self.last_end.as_str())
    }

    /// Returns true if the binary differs from the one that was started last.
    pub(crate) fn is_new(&self, facts: Facts) -> bool {
        self.started != Some(facts)
    }

    /// Starts a worker of a new binary and then retires the previous ones. `began` is the start of the build.
    pub(crate) async fn take_over(&mut self, built: &Path, began: Instant) -> Result<(), Failure> {
        let facts = facts(built).map_err(Failure::io(format!("cannot read `{}`", built.display())))?;
        if !self.is_new(facts) && self.at_work().is_some() {
            eprintln!("the binary is the same as before");
            return Ok(());
        }
        self.started = Some(facts);
        self.number += 1;
        let binary = match &self.copies {
            Some(folder) => copy(built, &folder.join(self.number.to_string()), &self.name)?,
            None => built.to_owned(),
        };
        // Previous crashes were of another binary.
        self.crashes = Crashes::default();
        if let Some((before, _)) = self.again.take() {
            self.forget(&before);
        }
        if !self.start(binary.clone(), began).await? {
            if self.copies.is_some() {
                self.forget(&binary); // it is not restarted: the next build has its own copy
            } else {
                eprintln!("{}", self.again_after(binary, Duration::ZERO));
            }
        }
        Ok(())
    }

    /// Starts a worker. Returns true if it registered in time.
    async fn start(&mut self, binary: PathBuf, began: Instant) -> Result<bool, Failure> {
        let mut worker = self.spawn(binary)?;
        match self.comes_to_work(&mut worker).await? {
            Started::AtWork => {
                let old: Vec<&str> = self.workers.iter().map(|old| old.name.as_str()).collect();
                let old = if old.is_empty() { String::new() } else { format!("; {} ends what it has", old.join(", ")) };
                eprintln!("worker {} is at work after {:.1} s{old}", worker.name, began.elapsed().as_secs_f64());
                self.workers.iter_mut().for_each(Worker::retire);
                self.workers.push(worker);
                let duties: Vec<Duty> = self.workers.iter().map(|worker| worker.duty).collect();
                for place in who_stops(&duties) {
                    let oldest = &mut self.workers[place];
                    eprintln!(
                        "too many wait for their runs: {} stops, its runs continue in the newest version",
                        oldest.name
                    );
                    oldest.duty = Duty::Stopping;
                    oldest.signal(Signal::SIGTERM);
                }
                return Ok(true);
            }
            Started::Ended(status) => {
                self.last_end = format!("it ended at once ({status})");
                self.did_not_come(&worker, &format!("ended at once ({status})"));
            }
            Started::Slow => {
                worker.child.kill().await.map_err(Failure::io("cannot end a worker"))?;
                self.last_end = format!("it was not at work after {} s", START_LIMIT.as_secs());
                self.did_not_come(&worker, &format!("was not at work after {} s", START_LIMIT.as_secs()));
            }
        }
        Ok(false)
    }

    fn did_not_come(&self, worker: &Worker, why: &str) {
        let who = self.at_work().map_or_else(|| "no worker is running".into(), |name| format!("{name} stays at work"));
        eprintln!("worker {} {why}: {who}", worker.name);
    }

    fn spawn(&self, binary: PathBuf) -> Result<Worker, Failure> {
        let name = format!("{}-{}", self.name, self.number);
        let mut command = Command::new(&binary);
        command.args(["worker", "--take-over", "--with-stdin", "--worker-name", &name]);
        if let Some(sockets) = &self.place.sockets {
            command.arg("--sockets").arg(sockets);
        }
        command.envs(hidden()).envs(self.place.variables.iter().cloned());
        // In their own process group, workers do not get Ctrl-C from the terminal. This process stops them after its
        // other parts.
        command.process_group(0).stdin(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(Failure::io(format!("cannot run `{}`", binary.display())))?;
        let pid = child.id().expect("it was not waited for");
        let pid = Pid::from_raw(pid.cast_signed());
        let stdin = child.stdin.take();
        Ok(Worker { name, child, _stdin: stdin, pid, binary, duty: Duty::Newest, began: Instant::now() })
    }

    async fn comes_to_work(&self, worker: &mut Worker) -> Result<Started, Failure> {
        let began = Instant::now();
        let mut db = connect::one(&self.place.database_url, "orch staff").await?;
        loop {
            if let Some(status) = worker.ended()? {
                return Ok(Started::Ended(status));
            }
            if is_registered(&mut db, worker).await? {
                db.close().await?;
                return Ok(Started::AtWork);
            }
            if began.elapsed() > START_LIMIT {
                return Ok(Started::Slow);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Handles exits of workers and starts those that are due. The newest worker is restarted, because it must not
    /// exit.
    pub(crate) async fn look_after(&mut self) -> Result<(), Failure> {
        let mut left = Vec::new();
        for mut worker in std::mem::take(&mut self.workers) {
            match worker.ended()? {
                None => left.push(worker),
                Some(_) if worker.duty != Duty::Newest => {
                    eprintln!("worker {} has ended: nothing is left that only it could run", worker.name);
                    self.forget(&worker.binary);
                }
                Some(status) => {
                    let when = self.again_after(worker.binary, worker.began.elapsed());
                    self.last_end = format!("it ended by itself ({status})");
                    eprintln!("worker {} ended by itself ({status}): {when}", worker.name);
                }
            }
        }
        self.workers = left;
        if let Some((binary, _)) = self.again.take_if(|(_, at)| *at <= Instant::now())
            && !self.start(binary.clone(), Instant::now()).await?
        {
            let when = self.again_after(binary, Duration::ZERO);
            eprintln!("{when}");
        }
        Ok(())
    }

    /// Schedules a restart of a binary after it ran for `lived`. Returns a message with the delay.
    fn again_after(&mut self, binary: PathBuf, lived: Duration) -> String {
        let pause = self.crashes.pause(lived);
        self.again = Some((binary, Instant::now() + pause));
        if pause.is_zero() {
            return "it is started again".into();
        }
        format!("it is started again in {} s, or when a file is saved that builds to something else", pause.as_secs())
    }

    /// Returns when a worker has exited or a restart is due. Then `look_after` must be called.
    pub(crate) async fn has_changed(&mut self) {
        let again = self.again.as_ref().map(|(_, at)| *at);
        let is_due = async {
            match again {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let mut ends: Vec<_> = self.workers.iter_mut().map(|worker| Box::pin(worker.child.wait())).collect();
        let one_ended = std::future::poll_fn(|cx| {
            let has_ended = ends.iter_mut().any(|end| end.as_mut().poll(cx).is_ready());
            if has_ended { Poll::Ready(()) } else { Poll::Pending }
        });
        tokio::select! { () = one_ended => {}, () = is_due => {} }
    }

    /// Stops all workers. Their tasks get the grace period to end.
    pub(crate) async fn stop(&mut self) {
        self.workers.iter().for_each(|worker| worker.signal(Signal::SIGTERM));
        // Their standard input stays open: a worker that sees its end before the signal would treat the signal as the
        // second request to stop.
        for mut worker in std::mem::take(&mut self.workers) {
            if let Err(error) = worker.child.wait().await {
                tracing::warn!(%error, worker = worker.name, "the end of a worker could not be waited for");
            }
            self.forget(&worker.binary);
        }
        if let Some((binary, _)) = self.again.take() {
            self.forget(&binary);
        }
    }

    /// Deletes the copy of a binary.
    fn forget(&self, binary: &Path) {
        let is_copy = |folder: &&Path| self.copies.is_some() && folder.parent() == self.copies.as_deref();
        let Some(folder) = binary.parent().filter(is_copy) else { return };
        if let Err(error) = std::fs::remove_dir_all(folder) {
            tracing::warn!(%error, binary = %binary.display(), "the binary of a worker that ended could not be removed");
        }
    }
}

fn copy(binary: &Path, folder: &Path, name: &str) -> Result<PathBuf, Failure> {
    let copy = folder.join(name);
    let copied = std::fs::create_dir_all(folder).and_then(|()| std::fs::copy(binary, &copy));
    copied.map_err(Failure::io(format!("cannot write `{}`", copy.display())))?;
    Ok(copy)
}

impl Worker {
    fn ended(&mut self) -> Result<Option<ExitStatus>, Failure> {
        self.child.try_wait().map_err(Failure::io("cannot see whether a worker has ended"))
    }

    fn retire(&mut self) {
        if self.duty == Duty::Newest {
            self.duty = Duty::Retiring;
            self.signal(Signal::SIGUSR1);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Err(error) = kill(self.pid, signal) {
            tracing::debug!(%error, worker = self.name, "it was gone before the signal");
        }
    }
}

/// Returns the indices of the workers that must stop now. `duties` are in the order in which the workers started.
fn who_stops(duties: &[Duty]) -> Vec<usize> {
    let too_many = duties.len().saturating_sub(MOST_RETIRING + 1);
    (0..too_many).filter(|&place| duties[place] != Duty::Stopping).collect()
}

async fn is_registered(db: &mut PgConnection, worker: &Worker) -> Result<bool, Failure> {
    let workers = list_workers(db).await?;
    Ok(workers.iter().any(|row| row.pid == worker.pid.as_raw() && row.name == worker.name && row.state == "running"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_more_than_eight_that_wait_for_their_runs_the_oldest_stop() {
        let check = |words: &str, expected: &[usize]| {
            let duty = |letter| match letter {
                's' => Duty::Stopping,
                'r' => Duty::Retiring,
                _ => Duty::Newest,
            };
            assert_eq!(who_stops(&words.chars().map(duty).collect::<Vec<_>>()), expected, "{words}");
        };
        check("n", &[]);
        check("rrrrrrrrn", &[]);
        check("rrrrrrrrrn", &[0]);
        check("srrrrrrrrn", &[]);
        check("srrrrrrrrrn", &[1]);
        check("rrrrrrrrrrn", &[0, 1]);
    }
}
