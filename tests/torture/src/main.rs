//! The processes that are killed: a worker and a scheduler as in a real installation, with the DAGs of this crate.
//!
//! They exit with their supervisor, when the pipe on stdin closes.

use clap::{Args, Parser, Subcommand};
use orch_scheduler::{Scheduler, SchedulerConfig};
use orch_sdk::task::Bundle;
use orch_store::hint::Hints;
use orch_store::registry::{NewBundle, prepare, register_bundle};
use orch_store::{StoreError, StoreResult, connect, guard};
use orch_torture::{dags, ledger, limited, told};
use orch_workers::{MessengerConfig, Offers, SecretsConfig, WorkerConfig, send_alerts};
use std::io::Read as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Delay between two attempts to reach the database at the start.
const AGAIN: Duration = Duration::from_millis(100);

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    Worker(Worker),
    Scheduler(SchedulerArgs),
    /// A body in a process of its own, started by a worker.
    RunAttempt,
}

#[derive(Args)]
struct Worker {
    url: String,
    #[arg(long)]
    name: String,
    #[arg(long)]
    lease_ms: u64,
    #[arg(long, default_value_t = 16)]
    slots: usize,
    #[arg(long, default_value_t = 5_000)]
    grace_ms: u64,
    /// Structure of the DAGs: 1 or 2.
    #[arg(long, default_value_t = 1)]
    version: u32,
    /// Also offers the DAG with a schedule, from this moment on.
    #[arg(long)]
    ticking_since: Option<String>,
}

#[derive(Args)]
struct SchedulerArgs {
    url: String,
    /// Runs of versions that nobody offers move on after so long.
    #[arg(long, default_value_t = 60_000)]
    stale_after_ms: u64,
    #[arg(long, default_value_t = 60_000)]
    upkeep_every_ms: u64,
    /// Prepares the database first.
    #[arg(long)]
    migrate: bool,
    /// Waits until the clock of the ledger shows this, so that several begin at the same moment.
    #[arg(long)]
    at_nanos: Option<u64>,
    /// Also sends alerts, to this address.
    #[arg(long)]
    tell: Option<String>,
}

fn main() -> ExitCode {
    let role = Cli::parse().role;
    if matches!(role, Role::RunAttempt) {
        // The stdin of a child belongs to its worker.
        return orch_workers::run_attempt(
            |dag_id| bundle(2, None).dag(dag_id).cloned(),
            |_| Err("no files here".into()),
        );
    }
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    die_with_the_supervisor();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = runtime.expect("a runtime starts").block_on(async {
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(stop_on_sigterm(stop.clone()));
        match role {
            Role::Worker(args) => worker(args, stop, &mut running).await,
            Role::Scheduler(args) => scheduler(args, stop, &mut running).await,
            Role::RunAttempt => Ok(()),
        }
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "ended");
            ExitCode::FAILURE
        }
    }
}

fn die_with_the_supervisor() {
    let wait = || {
        let mut nothing = Vec::new();
        drop(std::io::stdin().read_to_end(&mut nothing)); // an error also means that the supervisor is gone
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).ok(); // cannot fail
    };
    drop(std::thread::Builder::new().name("supervisor".into()).spawn(wait));
}

async fn stop_on_sigterm(stop: CancellationToken) {
    let mut terminate = signal(SignalKind::terminate()).expect("a handler can be set");
    terminate.recv().await;
    stop.cancel();
}

fn bundle(version: u32, ticking_since: Option<&str>) -> Bundle {
    let dags = dags::all(version)
        .into_iter()
        .chain(dags::slow())
        .chain(limited::dags())
        .chain([told::dag()])
        .chain(ticking_since.map(dags::ticking));
    orch::bundle("torture", dags).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

type ProcessResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

async fn worker(args: Worker, stop: CancellationToken, running: &mut JoinSet<()>) -> ProcessResult {
    let bundle = bundle(args.version, args.ticking_since.as_deref());
    let offers = loop {
        match offers(&args.url, &bundle).await {
            Ok(offers) => break Arc::new(offers),
            Err(StoreError::Unreachable(_) | StoreError::TryAgain(_)) => tokio::time::sleep(AGAIN).await,
            Err(error) => return Err(error.into()),
        }
    };
    let hints = carried_hints(&args.url, &stop, running);
    let cold = connect::cold(&args.url, "orch worker", 3)?;
    let mut config = WorkerConfig::new(args.url);
    (config.name, config.slots) = (args.name, args.slots);
    (config.lease, config.grace) = (Duration::from_millis(args.lease_ms), Duration::from_millis(args.grace_ms));
    Ok(orch_workers::drive_worker(config, offers, cold, hints, stop).await?)
}

/// Registers the bundle, as every worker does when it starts.
async fn offers(url: &str, bundle: &Bundle) -> StoreResult<Offers> {
    let mut db = connect::one(url, "orch torture").await?;
    let new = NewBundle { name: bundle.name.clone(), dags: bundle.dags().map(|d| d.spec.clone()).collect() };
    let registered = register_bundle(&mut db, &new, false).await?;
    sqlx::raw_sql(dags::PUBLISHED).execute(&mut db).await?;
    let mut offers = Offers::new(&bundle.name);
    for version in prepare(&mut db, &new, &registered).await? {
        let bodies = bundle.dag(&version.dag_id).map(|dag| dag.bodies.clone()).unwrap_or_default();
        offers.add(Arc::new(version), &bodies);
    }
    Ok(offers)
}

async fn scheduler(args: SchedulerArgs, stop: CancellationToken, running: &mut JoinSet<()>) -> ProcessResult {
    if let Some(at) = args.at_nanos {
        tokio::time::sleep(Duration::from_nanos(at).saturating_sub(ledger::now())).await;
    }
    if args.migrate {
        let mut db = connect::one(&args.url, "orch torture").await?;
        guard::migrate(&mut db).await?;
    }
    let hints = carried_hints(&args.url, &stop, running);
    let cold = connect::cold(&args.url, "orch scheduler", 4)?;
    if let Some(tell) = args.tell {
        let connection = serde_json::json!({ "conn_type": "webhook", "host": tell }).to_string();
        let environment = [(format!("ORCH_CONN_{}", told::TEAM.to_uppercase()), connection)].into();
        let secrets = SecretsConfig { environment, ..SecretsConfig::default() };
        let config = MessengerConfig::new(&args.url, secrets);
        let sending = send_alerts(config, cold.clone(), hints.clone(), stop.clone());
        running.spawn(async move { sending.await.expect("it sends until it is told to stop") });
    }
    let mut config = SchedulerConfig::new(args.url);
    config.stale_after = Duration::from_millis(args.stale_after_ms);
    config.upkeep_every = Duration::from_millis(args.upkeep_every_ms);
    Ok(Scheduler::run_loops(config, cold, hints, stop).await?)
}

fn carried_hints(url: &str, stop: &CancellationToken, running: &mut JoinSet<()>) -> Hints {
    let (hints, url, stop) = (Hints::new(), url.to_owned(), stop.clone());
    let carried = hints.clone();
    running.spawn(async move {
        let cold = connect::cold(&url, "orch hints", 1).expect("the URL is right");
        drop(carried.carry(&url, &cold, stop).await);
    });
    hints
}
