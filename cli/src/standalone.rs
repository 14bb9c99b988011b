//! `orch standalone`: all parts of orch in one process, with a private Postgres unless a database is configured.
//! `orch dev` does the same with workers of a project instead of a worker in this process.
//!
//! Start-up work runs concurrently: Postgres starts on a thread while the DAGs are built, and the web server responds
//! as soon as the schema exists. `ORCH_LOG=debug` logs the duration of each phase.

use crate::bundle_worker::run_worker;
use crate::cx::Cx;
use crate::dev::{self, Project};
use crate::staff::{WorkerEnvironment, absolute};
use crate::web_role;
use orch_binary::beside::Beside;
use orch_binary::config::{Config, Secret};
use orch_binary::database_failure::{full_disk, unusable_database};
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::found::Standalone;
use orch_binary::output::counted;
use orch_binary::parts::{self, Parts, Signals};
use orch_binary::{files, roles, secrets, socket};
use orch_cluster::{Cluster, ClusterError};
use orch_sdk::task::Bundle;
use orch_store::database_url::split_password;
use orch_store::{StoreError, guard, task_role};
use orch_web::{BundleState, FLAGSHIP, Password, WebConfig};
use orch_workers::{BodyOf, FolderConfig};
use sqlx::{Connection as _, PgConnection};
use std::fs::{DirBuilder, File};
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::watch::Sender;

/// Timeout for the lock on the data folder. A command may hold it briefly, to query the database of a standalone that
/// is not running.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Timeout for the private server to stop after a second signal.
const HURRIED_STOP: Duration = Duration::from_millis(500);
/// Maximum length of a socket path on Linux, in bytes.
const MOST_SOCKET_PATH: usize = 107;

/// Key and default of a setting that `orch standalone` and `orch dev` override: users who try orch expect new DAGs to
/// run.
pub(crate) const PAUSED_AT_CREATION: (&str, &str) = ("paused_at_creation", "false");

/// The binary with the pipelines that orch ships.
const PIPELINES: &str = "orch-pipelines";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Web {
    Served,
    Absent,
}

pub(crate) enum Work {
    /// The DAGs of this binary, in this process, and those of the bundle beside it, in a child process that gets these
    /// settings of the command line.
    OfThisBinary(Vec<(&'static str, String)>),
    /// The DAGs of a project, in child processes that get these settings of the command line.
    OfProject(Project, Vec<(&'static str, String)>),
}

/// The prepared work of this process.
enum Workforce {
    Worker(Bundle, BodyOf, Vec<(&'static str, String)>),
    Project(Project, Vec<(&'static str, String)>),
}

pub(crate) fn run_standalone(cx: &Cx, config: &Config, web: Web, work: Work) -> Outcome {
    roles::start_process(config)?;
    let phases = Phases { began: cx.began };
    let listener = match web {
        Web::Served => Some(web_role::listen(config)?),
        Web::Absent => None,
    };
    let database = {
        let (data_dir, named) = (config.data_dir.clone(), config.database_url.clone());
        let open = move || Database::open(&data_dir, named.as_ref().map(Secret::reveal));
        std::thread::Builder::new().name("orch-database".into()).spawn(open).map_err(Failure::io("cannot start"))?
    };
    let workforce = match work {
        Work::OfThisBinary(variables) => {
            cx.bundle().build(config).map(|bundle| Workforce::Worker(bundle, cx.body_of(), variables))
        }
        Work::OfProject(project, variables) => Ok(Workforce::Project(project, variables)),
    };
    let folder = dags_folder(config)?;
    phases.tell("the dags are described");
    let database = database.join().map_err(|_| Failure::new("starting the database panicked"))??;
    phases.tell("the database answers");
    let workforce = workforce?;
    let served = parts::block_on(serve(config, (&workforce, &folder), &database, listener, phases));
    // Stop the database only now, when its clients have ended with their runtime.
    let is_hurried = matches!(served, Ok(Exit::Failed));
    parts::block_on(stop_database(database, is_hurried))?;
    phases.tell("it is down");
    served
}

/// Waits until the private server has stopped, or for a signal. With `is_hurried` (a second signal was received), waits
/// at most `HURRIED_STOP`. The server's watchdog stops it after this process has exited.
async fn stop_database(database: Database, is_hurried: bool) -> Outcome {
    let mut signals = Signals::hear()?;
    let stopped = tokio::task::spawn_blocking(move || drop(database));
    tokio::select! {
        _ = stopped => {}
        () = signals.next() => {}
        () = tokio::time::sleep(HURRIED_STOP), if is_hurried => {}
    }
    Ok(Exit::Done)
}

/// Returns the folder of DAG files. Creates the default one if it does not exist.
fn dags_folder(config: &Config) -> Result<PathBuf, Failure> {
    if let Some(found) = files::folder(config)? {
        return Ok(found);
    }
    let usual = files::usual(config);
    std::fs::create_dir_all(&usual).map_err(Failure::io(format!("cannot make `{}`", usual.display())))?;
    Ok(usual)
}

/// Creates the folder for sockets on which servers of the bundle listen for the web server. `None` if its path is too
/// long for a socket.
fn sockets(config: &Config) -> Result<Option<PathBuf>, Failure> {
    let folder = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone()).join("sockets");
    if socket(&folder, "serving").as_os_str().len() > MOST_SOCKET_PATH {
        tracing::warn!(folder = %folder.display(), "servers of the bundle are not behind this one: the path of the data folder is too long");
        return Ok(None);
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.map_err(Failure::io(format!("cannot make `{}`", folder.display())))?;
    Ok(Some(folder))
}

async fn serve(
    config: &Config,
    (workforce, folder): (&Workforce, &PathBuf),
    database: &Database,
    listener: Option<std::net::TcpListener>,
    phases: Phases,
) -> Outcome {
    let mut signals = Signals::hear()?;
    let url = &database.url();
    let db = tokio::select! {
        db = roles::connect_patiently(config, url, "orch standalone") => {
            db.map_err(|error| database.connection_failure(config, error))?
        }
        () = signals.next() => return Ok(Exit::Done),
    };
    let started = Box::pin(start(config, (workforce, folder), (database, db), listener, phases));
    let parts = tokio::select! {
        parts = started => parts?,
        () = signals.next() => return Ok(Exit::Done),
    };
    parts.run_until_ended(&mut signals).await
}

/// Starts all parts. A signal may cancel this at any point.
async fn start(
    config: &Config,
    (workforce, folder): (&Workforce, &PathBuf),
    (database, mut db): (&Database, PgConnection),
    listener: Option<std::net::TcpListener>,
    phases: Phases,
) -> Result<Parts, Failure> {
    let url = &database.url();
    if matches!(database, Database::Private(_)) && config.task_role.is_some() {
        tracing::warn!("`task_role` is ignored: it is for a named database, and the private one has a role for tasks");
    }
    let session = (url.as_str(), "orch standalone");
    let prepare = async |db: &mut PgConnection| {
        guard::migrate(db).await.map_err(|error| database.statement_failure(config, error))?;
        match database {
            Database::Private(_) => Ok(task_role::make(db, url).await?),
            Database::Named { .. } => roles::prepare_task_role(config, db, url).await,
        }
    };
    roles::repeat_if_lost(config, session, &mut db, prepare).await?;
    phases.tell("the schema is there");
    let config = &secrets::with_key(config)?;
    let mut parts = Parts::new(url, "orch standalone", roles::SCHEDULER_CONNECTIONS.max(roles::WORKER_CONNECTIONS))?;
    let mut web = None;
    // The server responds from here on, and is ready when the DAGs are registered.
    let is_set_up = Arc::new(AtomicBool::new(false));
    let is_project = matches!(workforce, Workforce::Project(..));
    let dag_files_read = Arc::new(AtomicBool::new(false));
    let bundle = Sender::new(BundleState::None);
    let sockets = sockets(config)?;
    let mut password = None;
    if let Some(listener) = listener {
        // Create the user before the server responds: otherwise a login with the right password could be refused.
        let admin = async |db: &mut PgConnection| web_role::admin(db, config).await;
        password = roles::repeat_if_lost(config, session, &mut db, admin).await?;
        let address = listener.local_addr().map_err(Failure::io("cannot listen"))?;
        let listener = TcpListener::from_std(listener).map_err(Failure::io("cannot listen"))?;
        let told = WebConfig {
            is_set_up: is_set_up.clone(),
            dag_files_read: (!is_project).then(|| dag_files_read.clone()),
            bundle: Some(bundle.subscribe()),
            sockets: sockets.clone(),
            ..web_role::web(config, url)?
        };
        web_role::add(&mut parts, told, listener);
        web = Some(web_role::address_for_people(config, address));
    }
    match workforce {
        Workforce::Worker(bundle, body_of, _) => {
            let register = async |db: &mut PgConnection| roles::register(db, bundle, config.paused_at_creation).await;
            let mut offers = roles::repeat_if_lost(config, session, &mut db, register).await?;
            phases.tell("the dags are registered");
            offers.let_grow();
            let offers = Arc::new(offers);
            parts.add_worker(roles::worker(config, url)?, offers.clone());
            let watched = roles::folder(config, folder.clone(), *body_of);
            parts.add_folder(FolderConfig { was_read: dag_files_read, ..watched }, offers);
        }
        Workforce::Project(..) => {}
    }
    parts.add_scheduler(roles::scheduler(config, url)?);
    let mut messenger = roles::messenger(config, url)?;
    if let (true, Some(own)) = (messenger.public_url.is_empty(), &web) {
        messenger.public_url.clone_from(own);
    }
    parts.add_messenger(messenger);
    is_set_up.store(true, Ordering::Release);
    let found = Standalone {
        pid: std::process::id(),
        url: database.url_for_commands(),
        socket: database.socket_dir(),
        web: web.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
    };
    found.write(&config.data_dir)?;
    // Close the connection of the start, which is no longer needed.
    db.close().await?;
    phases.tell("it is up");
    announce(config, (workforce, folder), web.as_deref(), password.as_ref());
    // Started after the announcement, because it prints progress.
    match workforce {
        Workforce::Project(project, variables) => {
            let place = WorkerEnvironment { sockets, ..WorkerEnvironment::new(config, variables, url, folder) };
            parts.add(dev::run_project(project.clone(), place, parts.stop_token()));
        }
        Workforce::Worker(_, _, variables) => {
            if let Some(beside) = Beside::of(config) {
                let mut place =
                    WorkerEnvironment { sockets, ..WorkerEnvironment::without_files(config, variables, url) };
                // The bundle reads its own kinds of files.
                let kinds = [
                    ("ORCH_ENDPOINTS_FOLDER", &config.endpoints_folder),
                    ("ORCH_STREAMS_FOLDER", &config.streams_folder),
                ];
                let folders = kinds.map(|(name, named)| (name, absolute(named.as_ref().unwrap_or(folder))));
                place.variables.extend(folders);
                parts.add(run_worker(beside, place, bundle, parts.stop_token()));
            }
        }
    }
    Ok(parts)
}

/// Prints how to use the standalone. Standard error is for users; the address goes to standard output for scripts.
fn announce(config: &Config, (workforce, folder): (&Workforce, &Path), web: Option<&str>, password: Option<&Password>) {
    let version = env!("CARGO_PKG_VERSION");
    match workforce {
        Workforce::Worker(bundle, ..) => eprintln!("orch {version} is up with {}", counted(bundle.dags().len(), "dag")),
        Workforce::Project(project, _) => {
            eprintln!("orch {version} is up for the project `{}` in {}", project.name, project.root.display());
        }
    }
    if let Some(web) = web {
        match password {
            Some(password) => {
                eprintln!("  web       {web}   user admin, password {} (told once)", password.reveal());
            }
            None => eprintln!("  web       {web}   user admin"),
        }
    }
    eprintln!("  data      {}", config.data_dir.display());
    eprintln!("  dag files {}", folder.display());
    if let Workforce::Worker(bundle, ..) = workforce {
        let own: Vec<&str> = bundle.dags().map(|dag| dag.spec.dag_id.as_str()).collect();
        let beside =
            Beside::of(config).filter(|beside| config.examples && beside.path.exists()).map(|beside| beside.name());
        if let Some(dag_id) = dag_to_try(&own, beside.as_deref()) {
            // The path with which the user called it, because `orch` may not be in the PATH.
            let program = std::env::args().next().unwrap_or_else(|| "orch".into());
            eprintln!("  try       {program} dags trigger {dag_id} --wait");
        }
    }
    eprintln!("  stop      Ctrl-C");
    let mut stdout = std::io::stdout();
    if let Some(web) = web
        && !stdout.is_terminal()
    {
        // A closed pipe is not a reason to stop.
        if let Err(error) = writeln!(stdout, "{web}").and_then(|()| stdout.flush()) {
            tracing::debug!(%error, "the address could not be printed");
        }
    }
}

/// Returns the flagship DAG if this binary or the pipelines beside it contain it, otherwise the first DAG of this
/// binary.
fn dag_to_try<'a>(own: &[&'a str], beside: Option<&str>) -> Option<&'a str> {
    if own.contains(&FLAGSHIP) || beside == Some(PIPELINES) { Some(FLAGSHIP) } else { own.first().copied() }
}

/// The database of a standalone. Both kinds hold the lock on the data folder.
enum Database {
    Private(Cluster),
    /// A configured server. The data folder is locked too.
    Named {
        url: String,
        _lock: File,
    },
}

impl Database {
    /// Locks the folder and opens the database. Fails immediately if another standalone runs in the same folder.
    fn open(data_dir: &Path, named: Option<&str>) -> Result<Database, ClusterError> {
        let began = Instant::now();
        loop {
            let opened = match named {
                None => Cluster::open(data_dir).map(Database::Private),
                Some(url) => orch_cluster::own(data_dir).map(|lock| Database::Named { url: url.into(), _lock: lock }),
            };
            match opened {
                Err(ClusterError::InUse { pid, .. }) if !is_standalone(data_dir, pid) && began.elapsed() < PATIENCE => {
                    pause();
                }
                opened => return opened,
            }
        }
    }

    fn url(&self) -> String {
        match self {
            Database::Private(cluster) => cluster.url(),
            Database::Named { url, .. } => url.clone(),
        }
    }

    /// Returns the URL for `standalone.json`.
    fn url_for_commands(&self) -> String {
        match self {
            Database::Private(cluster) => cluster.url(),
            Database::Named { url, .. } => split_password(url).0,
        }
    }

    fn connection_failure(&self, config: &Config, error: StoreError) -> Failure {
        match self {
            Database::Private(_) => self.statement_failure(config, error),
            Database::Named { .. } => unusable_database(config, &error),
        }
    }

    /// Converts a failed statement. If the disk is full, the message contains the data folder.
    fn statement_failure(&self, config: &Config, error: StoreError) -> Failure {
        match self {
            Database::Private(_) if error.is_disk_full() => full_disk(&config.data_dir, &error),
            Database::Private(_) | Database::Named { .. } => error.into(),
        }
    }

    fn socket_dir(&self) -> Option<PathBuf> {
        match self {
            Database::Private(cluster) => Some(cluster.socket_dir()),
            Database::Named { .. } => None,
        }
    }
}

fn is_standalone(data_dir: &Path, pid: Option<u32>) -> bool {
    pid.is_some() && Standalone::read(data_dir).map(|left| left.pid) == pid
}

#[expect(clippy::disallowed_methods, reason = "a lock of another process ends without an event")]
fn pause() {
    std::thread::sleep(LOOK_AGAIN);
}

/// Logs durations since the start of the process.
#[derive(Debug, Clone, Copy)]
struct Phases {
    began: Instant,
}

impl Phases {
    fn tell(self, phase: &'static str) {
        tracing::debug!(phase, ms = self.began.elapsed().as_secs_f64() * 1e3, "start-up");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flagship_is_the_dag_to_try_where_it_is() {
        let examples = ["example_branch", "example_chain"];
        assert_eq!(dag_to_try(&examples, None), Some("example_branch"));
        assert_eq!(dag_to_try(&examples, Some("another-bundle")), Some("example_branch"));
        assert_eq!(dag_to_try(&examples, Some("orch-pipelines")), Some("retail_medallion"));
        assert_eq!(dag_to_try(&["lake_upkeep", "retail_medallion"], None), Some("retail_medallion"));
        assert_eq!(dag_to_try(&[], None), None);
    }
}
