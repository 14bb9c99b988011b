//! Runs a single DAG with the real engine on a temporary private server.

use crate::failure::{Failure, Outcome};
use crate::parts::{self, Parts, Signals};
use crate::roles;
use crate::session::Session;
use orch_cluster::{Cluster, Settings};
use orch_scheduler::SchedulerConfig;
use orch_sdk::task::{Bundle, BundleDag};
use orch_store::hint::{Hint, Hints};
use orch_store::kept::{POOL, insert};
use orch_store::locks::Locks;
use orch_store::run::{CreateRun, NewRun, RunDetails, create_run, run_by_uuid};
use orch_store::seal::Keyring;
use orch_store::version::Versions;
use orch_store::{connect, guard, task_role};
use orch_workers::{SecretsConfig, WorkerConfig};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Grace period of tasks at the end. No other worker takes over unfinished tasks.
const GRACE: Duration = Duration::from_secs(1);

pub(crate) struct Trial {
    pub session: Session,
    hints: Hints,
}

impl Trial {
    pub(crate) async fn create(&mut self, new: &NewRun) -> Result<CreateRun, Failure> {
        let created = create_run(&mut self.session.db, Locks::begin(), &mut Versions::default(), new).await?;
        self.hints.give(Hint::Ready);
        self.hints.give(Hint::Due);
        Ok(created)
    }

    pub(crate) async fn details(&mut self, run: Uuid) -> Result<RunDetails, Failure> {
        let found = run_by_uuid(&mut self.session.db, run).await?;
        found.ok_or_else(|| Failure::new("the run is gone"))
    }
}

/// Calls `work` while a worker and a scheduler run for this DAG, and `then` after both have stopped, because a worker
/// may buffer log lines until it stops.
pub(crate) fn run_trial<T>(
    dag: &BundleDag,
    secrets: SecretsConfig,
    work: impl AsyncFnOnce(&mut Trial) -> Result<T, Failure>,
    then: impl AsyncFnOnce(&mut Session, T) -> Outcome,
) -> Outcome {
    let folder =
        tempfile::Builder::new().prefix("orch-test-").tempdir().map_err(Failure::io("cannot make a folder"))?;
    // The database is temporary, so it need not be durable.
    let cluster = Cluster::open_with(folder.path(), &Settings::without_durability())?;
    let bundle = Bundle::new("test", [dag.clone()]).map_err(|problems| Failure::dags(&problems))?;
    let url = cluster.url();
    // Files of the trial must be deleted together with the database that refers to them.
    let secrets = SecretsConfig { data_dir: folder.path().to_owned(), ..secrets };
    parts::block_on(async {
        let mut signals = Signals::hear()?;
        let mut db = connect::one(&url, "orch dags test").await?;
        guard::migrate(&mut db).await?;
        task_role::make(&mut db, &url).await?;
        let offers = roles::register(&mut db, &bundle, false).await?;
        for pool in dag.spec.tasks.iter().filter_map(|task| task.options.pool.clone()) {
            // No other runs compete for the pools, so their size is unlimited.
            insert(&mut db, &POOL, &pool, &vec![("slots", (-1).into())], &Keyring::default()).await?;
        }
        let mut parts = Parts::new(&url, "orch dags test", roles::WORKER_CONNECTIONS)?;
        let worker = WorkerConfig { grace: GRACE, secrets, is_trial: true, ..WorkerConfig::new(&url) };
        parts.add_worker(worker, Arc::new(offers));
        parts.add_scheduler(SchedulerConfig::new(&url));
        let (stop, hints) = (parts.stop_token(), parts.hints());
        let mut trial = Trial { session: Session::of(db, &url), hints };
        let working = async {
            let worked = tokio::select! {
                worked = work(&mut trial) => worked,
                () = stop.cancelled() => Err(Failure::new("interrupted")),
            };
            stop.cancel();
            worked
        };
        let (parts, worked) = tokio::join!(parts.run_until_ended(&mut signals), working);
        let worked = parts.and(worked)?;
        then(&mut trial.session, worked).await
    })
}
