//! Builds the configuration of each part of a server process, and prepares the database.

use crate::{boxed, config::Config, database_failure::unusable_database, failure::Failure, logging, secrets};
use nix::sys::stat::{Mode, umask};
use orch_core::network::Reach;
use orch_document::dashboard::Dashboard;
use orch_scheduler::SchedulerConfig;
use orch_sdk::task::{Bundle, BundleDag};
use orch_store::dag::set_stale;
use orch_store::dashboard::set_dashboards;
use orch_store::database_url::split_password;
use orch_store::partition::Retention;
use orch_store::registry::{NewBundle, Registered, prepare, register_bundle, registered_versions, take_over};
use orch_store::{StoreError, connect, guard, task_role};
use orch_workers::{BodyOf, FolderConfig, MessengerConfig, Offers, WorkerConfig, of_dashboard};
use sqlx::PgConnection;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Prepares a server process: starts logging, and makes new files readable only for its user. Task programs inherit the
/// umask. Other commands keep the umask of the user, because they write files that the user asked for.
pub fn start_process(config: &Config) -> Result<(), Failure> {
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    logging::start(config)
}

/// Returns the URL of the configured database and a checked connection. Every process checks once that it is compatible
/// with the schema.
pub async fn connect_checked(config: &Config, name: &str) -> Result<(String, PgConnection), Failure> {
    let Some(url) = &config.database_url else {
        return Err(Failure::new("no database is named")
            .hint("name one with `--database-url` or `ORCH_DATABASE_URL`; `orch standalone` brings its own"));
    };
    let connected = connect_patiently(config, url.reveal(), name).await;
    let mut db = connected.map_err(|error| unusable_database(config, &error))?;
    let check = async |db: &mut PgConnection| {
        refuse_shared_sessions(url.reveal(), name).await?;
        Ok(guard::check(db).await?)
    };
    repeat_if_lost(config, (url.reveal(), name), &mut db, check).await?;
    Ok((url.reveal().to_owned(), db))
}

/// Prepares the role of tasks on a configured database: grants the role of `task_role` access to the lake, or logs what
/// tasks can access without that setting. Does nothing for private servers, which have a role already.
#[boxed]
pub async fn prepare_task_role(config: &Config, db: &mut PgConnection, url: &str) -> Result<(), Failure> {
    if task_role::is_private(url, &config.data_dir) {
        return Ok(());
    }
    match secrets::task_role(config) {
        Some(role) => task_role::prepare(db, url, &role).await.map_err(|error| match error {
            task_role::TaskRoleError::Store(error) => error.into(),
            other => Failure::from_error(&other),
        }),
        None => {
            tracing::warn!(
                "default connections of tasks, such as `lake`, log in as the owner of orch's database, so tasks can read and change \
                 everything in it; set `task_role` to a role for tasks (docs/guides/connections-and-secrets.md)"
            );
            Ok(())
        }
    }
}

/// Size of the pool that the parts of a worker share. Some parts open more connections: docs/guides/database.md counts
/// them.
pub const WORKER_CONNECTIONS: u32 = 3;
/// Maximum connections of a worker whose bundle has streams. They are opened on demand.
pub const STREAM_CONNECTIONS: u32 = 4;
pub const SCHEDULER_CONNECTIONS: u32 = 4;
/// Only for sending hints (wake-up signals); the pages have their own pools.
pub const WEB_CONNECTIONS: u32 = 1;

/// Rejects poolers in transaction mode. They break session state that orch relies on: settings, prepared statements,
/// locks and hints (NOTIFY).
async fn refuse_shared_sessions(url: &str, name: &str) -> Result<(), Failure> {
    if !connect::is_shared(url, name).await? {
        return Ok(());
    }
    Err(Failure::new("this database is behind a pooler that shares one session between connections")
        .hint("set `pool_mode = session` for it, or name the address of Postgres itself in `ORCH_DATABASE_URL`"))
}

/// Delay between attempts to connect to a database that is not available yet.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Opens the first connection of a process. Waits up to `database_wait` for a server that does not accept connections
/// yet, because server and processes may be started at the same time. Does not wait for a full disk.
#[boxed]
pub async fn connect_patiently(config: &Config, url: &str, name: &str) -> Result<PgConnection, StoreError> {
    let (began, most) = (Instant::now(), config.database_wait);
    let mut waits = false;
    loop {
        match connect::one(url, name).await {
            Err(error @ StoreError::Unreachable(_)) if began.elapsed() < most && !error.is_disk_full() => {
                if !std::mem::replace(&mut waits, true) {
                    let (cause, database) = (error.source_text(), split_password(url).0);
                    tracing::warn!(%error, cause, database, "waiting up to {} s for the database", most.as_secs());
                }
                tokio::time::sleep(LOOK_AGAIN.min(most.saturating_sub(began.elapsed()))).await;
            }
            Ok(db) => {
                if waits {
                    tracing::info!("the database is there after {:.1} s", began.elapsed().as_secs_f64());
                }
                return Ok(db);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Runs a step of the start. If the connection is lost meanwhile, connects again and repeats the step, for at most
/// `database_wait`. The step must be idempotent.
pub async fn repeat_if_lost<T>(
    config: &Config,
    (url, name): (&str, &str),
    db: &mut PgConnection,
    mut step: impl AsyncFnMut(&mut PgConnection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let began = Instant::now();
    loop {
        match step(db).await {
            Err(failure) if failure.is_lost_connection() && began.elapsed() < config.database_wait => {
                tracing::warn!(error = failure.line(), "the connection was lost during the start: connecting again");
                tokio::time::sleep(LOOK_AGAIN.min(config.database_wait.saturating_sub(began.elapsed()))).await;
                *db = connect_patiently(config, url, name).await?;
            }
            done => return done,
        }
    }
}

/// Registers the DAGs of this binary. Its hidden DAGs become stale, like DAGs whose files were deleted. The returned
/// offers include their registered versions, so that runs of them end. Idempotent.
#[boxed]
pub async fn register(db: &mut PgConnection, bundle: &Bundle, paused_at_creation: bool) -> Result<Offers, Failure> {
    let new = new_bundle(bundle, bundle.dags());
    let registered = register_bundle(db, &new, paused_at_creation).await?;
    offers(db, bundle, &new, &registered).await
}

/// Like `register`, but takes the DAGs over from other bundles that offer them.
#[boxed]
pub async fn register_over(
    db: &mut PgConnection,
    bundle: &Bundle,
    paused_at_creation: bool,
) -> Result<Offers, Failure> {
    let new = new_bundle(bundle, bundle.dags());
    let registered = take_over(db, &new, paused_at_creation).await?;
    offers(db, bundle, &new, &registered).await
}

/// Sets the dashboards of a bundle. Names that another bundle uses are skipped with a warning.
#[boxed]
pub async fn register_dashboards(
    db: &mut PgConnection,
    bundle: &str,
    dashboards: &[(String, Dashboard)],
) -> Result<(), Failure> {
    let taken = set_dashboards(db, bundle, &dashboards.iter().map(of_dashboard).collect::<Vec<_>>()).await?;
    for (name, other) in taken {
        tracing::warn!(
            dashboard = name,
            bundle = other,
            "a dashboard is left out: another bundle has one of that name"
        );
    }
    Ok(())
}

fn new_bundle<'a>(bundle: &Bundle, dags: impl Iterator<Item = &'a BundleDag>) -> NewBundle {
    NewBundle { name: bundle.name.clone(), dags: dags.map(|dag| dag.spec.clone()).collect() }
}

async fn offers(
    db: &mut PgConnection,
    bundle: &Bundle,
    new: &NewBundle,
    registered: &[Registered],
) -> Result<Offers, Failure> {
    let mut offers = Offers::new(&bundle.name);
    offers.know(&bundle.conditions());
    for version in prepare(db, new, registered).await? {
        let bodies = bundle.dag(&version.dag_id).map(|dag| &dag.bodies);
        offers.add(Arc::new(version), bodies.expect("only DAGs of the bundle were registered"));
    }
    hide(db, bundle, &mut offers).await?;
    Ok(offers)
}

/// Makes the hidden DAGs of a bundle stale, and offers their registered versions. Without these offers, unfinished runs
/// would wait forever, and so would tasks that only this worker could take while other workers register the DAGs.
async fn hide(db: &mut PgConnection, bundle: &Bundle, offers: &mut Offers) -> Result<(), Failure> {
    let mut hidden = new_bundle(bundle, bundle.hidden());
    if hidden.dags.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = hidden.dags.iter().map(|dag| dag.dag_id.clone()).collect();
    set_stale(db, &bundle.name, &ids).await?;
    let registered = registered_versions(db, &hidden).await?;
    hidden.dags.retain(|dag| registered.iter().any(|version| version.dag_id == dag.dag_id));
    for version in prepare(db, &hidden, &registered).await? {
        if let Some(dag) = bundle.hidden().find(|dag| dag.spec.dag_id == version.dag_id) {
            offers.add(Arc::new(version), &dag.bodies);
        }
    }
    Ok(())
}

pub fn folder(config: &Config, path: PathBuf, body_of: BodyOf) -> FolderConfig {
    FolderConfig { path, body_of, paused_at_creation: config.paused_at_creation, was_read: Arc::default() }
}

pub fn worker(config: &Config, url: &str) -> Result<WorkerConfig, Failure> {
    let name = if config.worker_name.is_empty() { hostname() } else { config.worker_name.clone() };
    Ok(WorkerConfig {
        name,
        queues: config.queues.clone(),
        slots: config.slots,
        process_slots: config.process_slots,
        process_memory_mb: config.process_memory_mb,
        lease: config.lease,
        grace: config.grace,
        secrets: secrets::sources(config)?,
        ..WorkerConfig::new(url)
    })
}

pub fn scheduler(config: &Config, url: &str) -> Result<SchedulerConfig, Failure> {
    let (runs, logs, audit) = (config.run_retention, config.log_retention, config.audit_retention);
    let retention = Retention { runs, logs, audit };
    let archive = secrets::archive(config, Some(url))?;
    Ok(SchedulerConfig { retention, archive, ..SchedulerConfig::new(url) })
}

pub fn messenger(config: &Config, url: &str) -> Result<MessengerConfig, Failure> {
    Ok(MessengerConfig {
        database_url: url.into(),
        secrets: secrets::sources(config)?,
        public_url: config.public_url.clone(),
        programs: config.alert_programs.clone(),
        reach: reach(config),
    })
}

/// Returns the networks that tests of connections and alerts may reach.
pub fn reach(config: &Config) -> Reach {
    Reach::also(config.test_networks.clone())
}

pub fn hostname() -> String {
    nix::unistd::gethostname().map_or_else(|_| "localhost".into(), |name| name.to_string_lossy().into_owned())
}
