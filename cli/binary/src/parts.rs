//! The parts of a server process side by side: worker, scheduler, web. They end together: in two steps when somebody
//! says so, or because one of them cannot go on.

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

/// Whoever watches over the process starts it anew: `EX_SOFTWARE`.
const STUCK: u8 = 70;
/// Threads for what blocks: hashing passwords, reading files.
const MOST_BLOCKING_THREADS: usize = 32;
/// Bodies share these threads; two keep one busy body from holding up the rest.
const FEWEST_THREADS: usize = 2;
/// For what is still at work when the process ends.
const RUNTIME_PATIENCE: Duration = Duration::from_millis(500);

/// What a process does, until it is told to stop.
pub struct Parts {
    url: String,
    cold: PgPool,
    hints: Hints,
    stop: CancellationToken,
    /// Told to leave to others what they can do as well.
    retired: CancellationToken,
    running: JoinSet<Result<(), Failure>>,
}

impl Parts {
    /// `connections`: how many of the pool that all parts share ([`connect::cold`]).
    pub fn new(url: impl Into<String>, name: &str, connections: u32) -> Result<Parts, Failure> {
        let (url, hints, stop) = (url.into(), Hints::new(), CancellationToken::new());
        let (cold, retired) = (connect::cold(&url, name, connections)?, stop.child_token());
        Ok(Parts { cold, url, hints, stop, retired, running: JoinSet::new() })
    }

    /// Asks all parts to end.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// The pool that all parts share.
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

    /// The worker with these offers retires when the process is sent SIGUSR1.
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
            // Its worker stops the process when it is done.
            stop.cancelled().await;
            Ok(())
        });
        Ok(())
    }

    /// Ends with whoever holds the other end of standard input.
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

    /// Something of this process's own beside the others.
    pub fn add(&mut self, part: impl Future<Output = Result<(), Failure>> + Send + 'static) {
        self.running.spawn(part);
    }

    /// Runs the streams of the bundle and of files until the process stops or retires. Other processes can run them then.
    /// `is_hidden`: the streams of the bundle are switched off.
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
            // A frozen worker holds the rows of its streams in open transactions, and its successor updates these rows.
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

    /// The folder of DAG files, for the worker with these offers.
    pub fn add_folder(&mut self, config: FolderConfig, offers: Arc<Offers>) {
        let (cold, hints, stop) = self.shared();
        self.running.spawn(async move { Ok(watch_folder(config, offers, cold, hints, stop).await?) });
    }

    pub fn add_scheduler(&mut self, config: SchedulerConfig) {
        let (cold, hints, stop) = self.shared();
        self.running.spawn(async move { Scheduler::run_loops(config, cold, hints, stop).await.map_err(Failure::from) });
    }

    /// Sends alerts, beside a scheduler.
    pub fn add_messenger(&mut self, config: MessengerConfig) {
        let (cold, hints, stop) = self.shared();
        self.running.spawn(async move { Ok(orch_workers::send_alerts(config, cold, hints, stop).await?) });
    }

    fn shared(&self) -> (PgPool, Hints, CancellationToken) {
        (self.cold.clone(), self.hints.clone(), self.stop.clone())
    }

    /// Runs until all parts have ended. The first signal asks them to, the second does not ask.
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

    /// A part that ends before it is told to takes the others with it.
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

/// Ctrl-C, `kill`, and the end of the terminal.
pub struct Signals {
    kinds: [Signal; 3],
}

impl Signals {
    /// From now on signals do not end the process by themselves.
    pub fn hear() -> Result<Signals, Failure> {
        let hear = |kind| signal(kind).map_err(Failure::io("cannot hear signals"));
        Ok(Signals {
            kinds: [hear(SignalKind::interrupt())?, hear(SignalKind::terminate())?, hear(SignalKind::hangup())?],
        })
    }

    /// The next one. Nothing is lost when this is dropped before it came.
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

/// The runtime of a server process.
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

/// Runs the whole life of a server process.
pub fn block_on(life: impl Future<Output = Outcome>) -> Outcome {
    memory::set_up();
    let runtime = runtime()?;
    runtime.spawn(memory::give_back());
    let outcome = runtime.block_on(life);
    runtime.shutdown_timeout(RUNTIME_PATIENCE);
    outcome
}
