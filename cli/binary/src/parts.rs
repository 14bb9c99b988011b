//! The concurrent parts of a server process: worker, scheduler, web. They stop together, either after a signal (first
//! gracefully, then immediately) or because one of them failed.

use crate::{
    boxed,
    config::Config,
    failure::{Exit, Failure, Outcome},
    memory, roles, secrets,
};
use orch_scheduler::{Scheduler, SchedulerConfig, SchedulerError};
use orch_store::connect;
use orch_store::hint::Hints;
use orch_store::stream::{StreamHost, StreamSource};
use orch_workers::{FolderConfig, MessengerConfig, Offers, WorkerConfig, watch_folder};
use sqlx::PgPool;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// Exit code `EX_SOFTWARE`, after which a process supervisor should restart the process.
const STUCK: u8 = 70;
/// Maximum number of threads for blocking work: hashing passwords, reading files.
const MOST_BLOCKING_THREADS: usize = 32;
/// Minimum number of threads. All task functions share them; with two, one CPU-bound function does not block the
/// others.
const FEWEST_THREADS: usize = 2;
/// Timeout for work that is still running when the process ends.
const RUNTIME_PATIENCE: Duration = Duration::from_millis(500);

pub struct Parts {
    url: String,
    cold: PgPool,
    hints: Hints,
    stop: CancellationToken,
    /// Cancelled when this process should leave work to other processes that can do it too.
    retired: CancellationToken,
    running: JoinSet<Result<(), Failure>>,
}

impl Parts {
    /// Creates an empty set of parts. `connections` is the size of the pool that all parts share ([`connect::cold`]).
    pub fn new(url: impl Into<String>, name: &str, connections: u32) -> Result<Parts, Failure> {
        let (url, hints, stop) = (url.into(), Hints::new(), CancellationToken::new());
        let (cold, retired) = (connect::cold(&url, name, connections)?, stop.child_token());
        Ok(Parts { cold, url, hints, stop, retired, running: JoinSet::new() })
    }

    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Returns the pool that all parts share.
    pub(crate) fn pool(&self) -> PgPool {
        self.cold.clone()
    }

    pub fn hints(&self) -> Hints {
        self.hints.clone()
    }

    pub fn add_worker(&mut self, config: WorkerConfig, offers: Arc<Offers>) {
        let (cold, hints, stop) = self.shared();
        self.running.spawn(async move { Ok(orch_workers::drive_worker(config, offers, cold, hints, stop).await?) });
    }

    /// Retires the worker with these offers when the process receives SIGUSR1.
    pub fn retire_when_told(&mut self, offers: Arc<Offers>) -> Result<(), Failure> {
        let mut told = signal(SignalKind::user_defined1()).map_err(Failure::io("cannot hear signals"))?;
        let (stop, retired) = (self.stop.clone(), self.retired.clone());
        self.running.spawn(async move {
            tokio::select! {
                _ = told.recv() => {
                    offers.retire();
                    retired.cancel();
                }
                () = stop.cancelled() => {}
            }
            // The retired worker stops the process when its tasks have finished.
            stop.cancelled().await;
            Ok(())
        });
        Ok(())
    }

    /// Stops the process when the other end of its standard input is closed, for example because the parent process
    /// ended.
    pub fn end_with_stdin(&mut self) -> Result<(), Failure> {
        let stdin = std::io::stdin().as_fd().try_clone_to_owned().map_err(Failure::io("cannot hear standard input"))?;
        let mut stdin = Receiver::from_owned_fd(stdin).map_err(Failure::io("cannot hear standard input"))?;
        let stop = self.stop.clone();
        self.running.spawn(async move {
            let mut said = [0; 64];
            loop {
                tokio::select! {
                    read = stdin.read(&mut said) => if matches!(read, Ok(0) | Err(_)) { break },
                    () = stop.cancelled() => break,
                }
            }
            stop.cancel();
            Ok(())
        });
        Ok(())
    }

    /// Adds a part that is specific to this process.
    pub fn add(&mut self, part: impl Future<Output = Result<(), Failure>> + Send + 'static) {
        self.running.spawn(part);
    }

    /// Runs the streams of the bundle and of files until the process stops or retires. Other processes can run them
    /// then. `is_hidden` means that the streams of the bundle are switched off.
    pub fn add_streams(
        &mut self,
        streams: StreamSource,
        (bundle, is_hidden): (&str, bool),
        config: &Config,
    ) -> Result<(), Failure> {
        if !streams.is_there() {
            return Ok(());
        }
        let host = StreamHost {
            bundle: bundle.into(),
            is_hidden,
            name: roles::worker(config, &self.url)?.name,
            // Streams need their own pool: a frozen worker holds the rows of its streams in open transactions, and its
            // successor updates these rows.
            pool: connect::cold(&self.url, "orch streams", roles::STREAM_CONNECTIONS)?,
            hints: self.hints.clone(),
            find: secrets::finder(config, &self.url)?,
            mask: |text| orch_workers::mask::mask(text).into_owned(),
            lease: config.lease,
            paused_at_creation: config.paused_at_creation,
            folder: config.streams_folder.clone().or_else(|| config.dags_folder.clone()),
            stop: self.retired.clone(),
        };
        self.running.spawn(async move { Ok(streams.run_streams(host).await?) });
        Ok(())
    }

    /// Watches the folder of DAG files for the worker with these offers.
    pub fn add_folder(&mut self, config: FolderConfig, offers: Arc<Offers>) {
        let (cold, hints, stop) = self.shared();
        self.running.spawn(async move { Ok(watch_folder(config, offers, cold, hints, stop).await?) });
    }

    pub fn add_scheduler(&mut self, config: SchedulerConfig) {
        let (cold, hints, stop) = self.shared();
        self.running.spawn(async move { Scheduler::run_loops(config, cold, hints, stop).await.map_err(Failure::from) });
    }

    /// Sends alerts. Runs in the process of a scheduler.
    pub fn add_messenger(&mut self, config: MessengerConfig) {
        let (cold, hints, stop) = self.shared();
        self.running.spawn(async move { Ok(orch_workers::send_alerts(config, cold, hints, stop).await?) });
    }

    fn shared(&self) -> (PgPool, Hints, CancellationToken) {
        (self.cold.clone(), self.hints.clone(), self.stop.clone())
    }

    /// Runs until all parts have ended. The first signal stops them gracefully, the second immediately.
    #[boxed]
    pub async fn run_until_ended(mut self, signals: &mut Signals) -> Outcome {
        let carry_until = CancellationToken::new();
        let _end_of_carrying = carry_until.clone().drop_guard();
        let (hints, cold, url) = (self.hints.clone(), self.cold.clone(), self.url.clone());
        let mut carrying = JoinSet::new();
        carrying.spawn(async move { hints.carry(&url, &cold, carry_until).await });
        let mut failures = Vec::new();
        loop {
            tokio::select! {
                ended = self.running.join_next() => match ended {
                    Some(ended) => {
                        failures.extend(self.why(ended));
                        self.stop.cancel();
                    }
                    None => break,
                },
                () = signals.next() => {
                    if self.stop.is_cancelled() {
                        eprintln!("stopping at once");
                        self.running.shutdown().await;
                        return Ok(Exit::Failed);
                    }
                    eprintln!("stopping: what runs is given time to end; once more stops at once");
                    self.stop.cancel();
                }
            }
        }
        if failures.is_empty() { Ok(Exit::Done) } else { Err(Failure::all(failures)) }
    }

    /// Returns the failure of a part that ended. A part that ends before the process stops is a failure.
    fn why(&self, ended: Result<Result<(), Failure>, JoinError>) -> Option<Failure> {
        match ended {
            Ok(Ok(())) if self.stop.is_cancelled() => None,
            Ok(Ok(())) => Some(Failure::new("a part of this process ended by itself")),
            Ok(Err(failure)) => Some(failure),
            Err(error) => Some(Failure::new(format!("a part of this process panicked: {error}")).code(STUCK)),
        }
    }
}

impl From<SchedulerError> for Failure {
    fn from(error: SchedulerError) -> Failure {
        match error {
            SchedulerError::Store(error) => error.into(),
            stuck => Failure::new(stuck.to_string()).code(STUCK),
        }
    }
}

/// Signals that stop the process: Ctrl-C (SIGINT), `kill` (SIGTERM), and the end of the terminal (SIGHUP).
pub struct Signals {
    kinds: [Signal; 3],
}

impl Signals {
    /// Starts to handle signals. From then on they do not end the process by themselves.
    pub fn hear() -> Result<Signals, Failure> {
        let hear = |kind| signal(kind).map_err(Failure::io("cannot hear signals"));
        Ok(Signals {
            kinds: [hear(SignalKind::interrupt())?, hear(SignalKind::terminate())?, hear(SignalKind::hangup())?],
        })
    }

    /// Waits for the next signal. Cancel safe: dropping the future does not lose a signal.
    #[boxed]
    pub async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.kinds;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

pub fn runtime() -> Result<Runtime, Failure> {
    let threads = std::thread::available_parallelism().map_or(FEWEST_THREADS, |cores| cores.get().max(FEWEST_THREADS));
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(MOST_BLOCKING_THREADS)
        .thread_name("orch")
        .enable_all()
        .build()
        .map_err(Failure::io("cannot start"))
}

/// Runs a server process until it ends.
pub fn block_on(life: impl Future<Output = Outcome>) -> Outcome {
    memory::set_up();
    let runtime = runtime()?;
    runtime.spawn(memory::give_back());
    let outcome = runtime.block_on(life);
    runtime.shutdown_timeout(RUNTIME_PATIENCE);
    outcome
}
