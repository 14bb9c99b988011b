//! The folder of DAG files and dashboards. A worker watches it, registers and offers new DAGs, and records problems.
//!
//! Names, sizes and modification times are checked once per second; only changed files are read. The content of the
//! folder is computed from all files (`state`), written to the database, and offered by this worker. A broken file
//! removes nothing: the last valid version of its DAGs remains. Versions that active runs still use are offered from
//! their stored structure, even if their files have changed or were deleted.

mod state;

use crate::{boxed, offer::Offers};
use orch_document::dashboard::Dashboard;
use orch_sdk::task::TaskFn;
use orch_spec::{DagSpec, TaskSpec};
use orch_store::StoreResult;
use orch_store::dag::{BundleDagRow, dags_of_bundle, set_stale, taken_by_others, versions_in_use};
use orch_store::dashboard::{NewDashboard, list_dashboards, set_dashboards};
use orch_store::hint::{Hint, Hints};
use orch_store::import_error::set_import_errors;
use orch_store::registry::{NewBundle, prepare, register_files, versions_of};
use orch_store::version::Version;
use sqlx::{PgConnection, PgPool};
use state::{FileDag, Standing};
pub use state::{FileReport, Folder};
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Name of the bundle that contains the DAGs from files. The DAGs of the binary are in another bundle.
pub const FILES_BUNDLE: &str = "dags-folder";
/// Interval between two checks of the files, so that a change takes effect within two seconds.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Interval between two comparisons with the database, which register a deleted DAG again if its file still exists. In
/// Airflow, too, such a DAG returns after at most 30 s.
const COMPARE_EVERY: Duration = Duration::from_secs(30);
/// Pause after a database error.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Maximum number of new DAG files that are logged individually.
const MOST_NAMED: usize = 20;

/// Builds the task function of a task from its declaration.
pub type BodyOf = fn(&TaskSpec) -> Result<TaskFn, String>;

#[derive(Debug, Clone)]
pub struct FolderConfig {
    pub path: PathBuf,
    pub body_of: BodyOf,
    /// Pause state of new DAGs that do not set this option.
    pub paused_at_creation: bool,
    /// Set after the first read of the files, whether or not their registration succeeded.
    pub was_read: Arc<AtomicBool>,
}

/// Watches the folder until `stop`. `offers` contains the versions that the worker of this process claims.
#[boxed]
pub async fn watch_folder(
    config: FolderConfig,
    offers: Arc<Offers>,
    cold: PgPool,
    hints: Hints,
    stop: CancellationToken,
) -> StoreResult<()> {
    let mut folder = Folder::new(config.path.clone(), config.body_of);
    let mut brought = Brought::default();
    let mut compared_at = Instant::now();
    while !stop.is_cancelled() {
        let look = tokio::task::spawn_blocking(move || {
            let changed = folder.poll_files();
            (folder, changed)
        });
        let changed;
        // Stop the process even if a read of the file system hangs.
        let looked = tokio::select! { looked = look => looked, () = stop.cancelled() => return Ok(()) };
        match looked {
            Ok(looked) => (folder, changed) = looked,
            Err(error) => {
                // If `poll_files` panics, the worker continues without updates of the files.
                tracing::error!(%error, "looking at the DAG files panicked");
                config.was_read.store(true, Ordering::Release);
                stop.cancelled().await;
                return Ok(());
            }
        }
        let mut pause = LOOK_EVERY;
        if compared_at.elapsed() >= COMPARE_EVERY && !brought.is_behind {
            compared_at = Instant::now();
            let differs = tokio::select! {
                differs = brought.differs(&cold, &offers) => differs,
                () = stop.cancelled() => return Ok(()),
            };
            brought.is_behind = differs.unwrap_or_else(|error| {
                tracing::warn!(%error, "the DAGs of the folder could not be compared with the database");
                false
            });
        }
        if changed || brought.is_behind {
            // Stop the process even if another session holds a lock.
            let taken = tokio::select! {
                taken = brought.bring(&config, folder.standing(), &offers, &cold) => taken,
                () = stop.cancelled() => return Ok(()),
            };
            match taken {
                Ok(()) => hints.give(Hint::Due), // a schedule may be new
                Err(error) => {
                    tracing::warn!(%error, "what the DAG files say could not be registered");
                    brought.is_behind = true;
                    pause = AGAIN_AFTER;
                }
            }
        }
        config.was_read.store(true, Ordering::Release);
        tokio::select! { () = tokio::time::sleep(pause) => {}, () = stop.cancelled() => {} }
    }
    Ok(())
}

/// Registers the DAGs and dashboards of a folder in the database once, without a worker.
#[boxed]
pub async fn register_folder(db: &mut PgConnection, folder: &mut Folder, paused_at_creation: bool) -> StoreResult<()> {
    folder.poll_files();
    let mut standing = folder.standing().clone();
    refuse_taken(db, &mut standing).await?;
    register(db, standing.dags.values().map(|found| found.spec.clone()).collect(), paused_at_creation).await?;
    show(db, &mut standing).await?;
    close(db, &standing).await.map(drop)
}

/// The content of the folder that is already registered in the database and offered by the worker.
#[derive(Default)]
struct Brought {
    /// Registered DAG structures by DAG id. They include text that is not part of a version, so that every change is
    /// detected.
    registered: HashMap<String, Arc<DagSpec>>,
    /// True if the last registration of the folder did not complete.
    is_behind: bool,
}

impl Brought {
    /// Forgets DAGs that were deleted from the database, so that they are registered again. Returns true if the folder
    /// must be registered again.
    async fn differs(&mut self, cold: &PgPool, offers: &Offers) -> StoreResult<bool> {
        let stored = dags_of_bundle(&mut *cold.acquire().await?, FILES_BUNDLE).await?;
        let before = self.registered.len();
        self.registered.retain(|id, _| stored.iter().any(|dag| dag.dag_id == *id));
        let offered = offers.ids();
        Ok(self.registered.len() < before || stored.iter().any(|dag| !offered.contains(&dag.version)))
    }

    async fn bring(
        &mut self,
        config: &FolderConfig,
        standing: &Standing,
        offers: &Offers,
        cold: &PgPool,
    ) -> StoreResult<()> {
        let mut db = cold.acquire().await?;
        let mut standing = standing.clone();
        refuse_taken(&mut db, &mut standing).await?;
        let new = standing.dags.iter().filter(|(id, found)| {
            // The `Arc` of an unchanged file stays the same, so comparing pointers is sufficient.
            self.registered.get(*id).is_none_or(|known| !Arc::ptr_eq(known, &found.spec))
        });
        let new: Vec<&FileDag> = new.map(|(_, found)| found).collect();
        let specs: Vec<Arc<DagSpec>> = new.iter().map(|found| found.spec.clone()).collect();
        let known = offers.ids();
        let versions = register(&mut db, specs, config.paused_at_creation).await?;
        let joining = versions.into_iter().zip(&new).filter(|(version, _)| !known.contains(&version.id));
        offers.join(joining.map(|(version, found)| (Arc::new(version), found.bodies.clone())).collect());
        let many = new.len();
        if many > MOST_NAMED {
            tracing::info!(many, "DAG files were taken");
        }
        for found in new {
            if many <= MOST_NAMED {
                tracing::info!(dag.id = found.spec.dag_id, dag.file = found.spec.location.file, "a DAG file was taken");
            }
            self.registered.insert(found.spec.dag_id.clone(), found.spec.clone());
        }
        show(&mut db, &mut standing).await?;
        let kept = close(&mut db, &standing).await?;
        self.registered.retain(|id, _| standing.dags.contains_key(id));
        // Offer also the versions that another worker registered after a DAG was deleted.
        let mut needed: BTreeSet<i32> = kept.into_iter().map(|dag| dag.version).collect();
        needed.extend(versions_in_use(&mut db, FILES_BUNDLE).await?);
        offer_stored(&mut db, config, offers, needed).await?;
        self.is_behind = false;
        Ok(())
    }
}

/// Reports a problem for each DAG whose id already belongs to another bundle.
async fn refuse_taken(db: &mut PgConnection, standing: &mut Standing) -> StoreResult<()> {
    let ids: Vec<String> = standing.dags.keys().cloned().collect();
    for (id, bundle) in taken_by_others(db, FILES_BUNDLE, &ids).await? {
        standing.refuse(&id, &format!("dag id `{id}` is used already, by bundle `{bundle}`"));
    }
    Ok(())
}

async fn register(db: &mut PgConnection, dags: Vec<Arc<DagSpec>>, paused: bool) -> StoreResult<Vec<Version>> {
    if dags.is_empty() {
        return Ok(Vec::new());
    }
    let bundle = NewBundle { name: FILES_BUNDLE.into(), dags };
    let registered = register_files(db, &bundle, paused).await?;
    prepare(db, &bundle, &registered).await
}

/// Converts a dashboard to the form in which it is stored.
pub fn of_dashboard((file, dashboard): &(String, Dashboard)) -> NewDashboard {
    let spec = serde_json::to_value(dashboard).expect("a dashboard is data");
    NewDashboard { name: dashboard.name.clone(), file: file.clone(), spec }
}

/// Replaces the bundle's dashboards in the database with the dashboards of the folder. Dashboards of broken files
/// remain. A dashboard name that another bundle uses is reported as a problem of the file.
async fn show(db: &mut PgConnection, standing: &mut Standing) -> StoreResult<()> {
    let mut shown: Vec<NewDashboard> = standing.dashboards.values().map(of_dashboard).collect();
    let before = list_dashboards(db).await?.into_iter().filter(|row| row.bundle == FILES_BUNDLE);
    let missing = before.filter(|row| !standing.dashboards.contains_key(&row.name) && standing.keeps(&row.file));
    shown.extend(missing.map(|row| NewDashboard { name: row.name, file: row.file, spec: row.spec }));
    for (name, bundle) in set_dashboards(db, FILES_BUNDLE, &shown).await? {
        standing.refuse_dashboard(&name, &format!("bundle `{bundle}` has a dashboard `{name}` already"));
    }
    Ok(())
}

/// Marks DAGs that are no longer in the folder as stale, except DAGs of broken files, and records the problems of
/// broken files. Returns the DAGs of the bundle that are not stale.
async fn close(db: &mut PgConnection, standing: &Standing) -> StoreResult<Vec<BundleDagRow>> {
    let known = dags_of_bundle(db, FILES_BUNDLE).await?;
    let stays = |dag: &BundleDagRow| standing.dags.contains_key(&dag.dag_id) || standing.keeps(&dag.file);
    let (kept, gone): (Vec<_>, Vec<_>) = known.into_iter().partition(stays);
    let gone: Vec<String> = gone.into_iter().map(|dag| dag.dag_id).collect();
    if !gone.is_empty() {
        set_stale(db, FILES_BUNDLE, &gone).await?;
        tracing::info!(dags = gone.join(", "), "the files of DAGs are gone");
    }
    set_import_errors(db, FILES_BUNDLE, &standing.broken).await?;
    Ok(kept)
}

/// Offers versions that active runs use, with the structure that the database stores.
async fn offer_stored(
    db: &mut PgConnection,
    config: &FolderConfig,
    offers: &Offers,
    needed: BTreeSet<i32>,
) -> StoreResult<()> {
    let known = offers.ids();
    let missing: Vec<i32> = needed.into_iter().filter(|id| !known.contains(id)).collect();
    let mut joining = Vec::new();
    for version in versions_of(db, &missing).await? {
        let bodies = version.plan.spec.tasks.iter().filter_map(|task| match (config.body_of)(task) {
            Ok(body) => Some((task.task_id.clone(), body)),
            Err(problem) => {
                tracing::warn!(dag.id = version.dag_id, task.id = task.task_id, problem, "a task has no body here");
                None
            }
        });
        let bodies = bodies.collect();
        joining.push((Arc::new(version), bodies));
    }
    offers.join(joining);
    Ok(())
}
