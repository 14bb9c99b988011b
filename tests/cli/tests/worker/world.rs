//! A database, workers and an optional scheduler, all in this process.

use orch::Dag;
use orch_scheduler::{Scheduler, SchedulerConfig};
use orch_store::connect;
use orch_store::hint::{Hint, Hints};
use orch_store::locks::Locks;
use orch_store::registry::{NewBundle, prepare, register_bundle};
use orch_store::run::{CreateRun, NewRun, create_run, get_run};
use orch_store::version::Versions;
use orch_test_support::TestDb;
use orch_workers::{Offers, WorkerConfig};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A database, a worker and their shared state.
pub(crate) struct World {
    pub(crate) db: TestDb,
    pub(crate) hints: Hints,
    pub(crate) stop: CancellationToken,
    pub(crate) running: JoinSet<()>,
}

impl World {
    pub(crate) async fn new(dags: Vec<Dag>, workers: usize) -> World {
        Self::with(dags, workers, |_| ()).await
    }

    pub(crate) async fn with(dags: Vec<Dag>, workers: usize, change: impl Fn(&mut WorkerConfig)) -> World {
        let db = TestDb::new(&orch_store::MIGRATOR).await;
        let dags: Vec<_> = dags.into_iter().map(|dag| dag.into_bundle_dag().unwrap()).collect();
        let bundle = NewBundle { name: "test".into(), dags: dags.iter().map(|d| d.spec.clone()).collect() };
        let mut connection = db.connect().await;
        let registered = register_bundle(&mut connection, &bundle, false).await.unwrap();
        let versions = prepare(&mut connection, &bundle, &registered).await.unwrap();
        let mut offers = Offers::new("test");
        dags.iter().for_each(|dag| offers.know(&dag.conditions));
        for version in versions {
            let dag = dags.iter().find(|d| d.spec.dag_id == version.dag_id).unwrap();
            offers.add(Arc::new(version), &dag.bodies);
        }
        let (offers, hints, stop) = (Arc::new(offers), Hints::new(), CancellationToken::new());
        let mut running = JoinSet::new();
        for n in 0..workers {
            let mut config = WorkerConfig::new(db.url());
            (config.name, config.lease, config.slots) = (format!("w{n}"), Duration::from_secs(2), 64);
            change(&mut config);
            let (offers, hints, stop) = (offers.clone(), hints.clone(), stop.clone());
            let cold = connect::cold(&db.url(), "orch worker pool", 3).unwrap();
            running.spawn(async move { orch_workers::drive_worker(config, offers, cold, hints, stop).await.unwrap() });
        }
        World { db, hints, stop, running }
    }

    /// Starts a scheduler, which retries and timed waits need.
    pub(crate) fn watched(mut self) -> World {
        let config = SchedulerConfig::new(self.db.url());
        let (hints, stop) = (self.hints.clone(), self.stop.clone());
        let cold = connect::cold(&self.db.url(), "orch scheduler", 4).unwrap();
        self.running.spawn(async move { Scheduler::run_loops(config, cold, hints, stop).await.unwrap() });
        self
    }

    pub(crate) async fn trigger(&self, dag_id: &str, conf: Option<Value>) -> String {
        let mut connection = self.db.connect().await;
        let new = NewRun { conf, ..NewRun::manual(dag_id, orch_spec::state::TriggeredBy::Test) };
        let CreateRun::Created(run) =
            create_run(&mut connection, Locks::begin(), &mut Versions::default(), &new).await.unwrap()
        else {
            panic!("the run was not created")
        };
        self.hints.give(Hint::Ready);
        run.run_id
    }

    /// Waits for the end of a run and returns its state.
    pub(crate) async fn end_of(&self, dag_id: &str, run_id: &str) -> String {
        let mut connection = self.db.connect().await;
        for _ in 0..1500 {
            let changed = self.hints.on(Hint::Run).notified();
            let run = get_run(&mut connection, dag_id, run_id).await.unwrap().unwrap();
            if run.state.is_finished() {
                return run.state.to_string();
            }
            drop(tokio::time::timeout(Duration::from_millis(20), changed).await);
        }
        panic!("run `{run_id}` of `{dag_id}` does not end: {}", self.dump().await);
    }

    pub(crate) async fn dump(&self) -> String {
        let mut connection = self.db.connect().await;
        let mut text = String::new();
        for table in ["dag_run", "task_instance", "ready", "waiting", "unfolded", "worker", "failure"] {
            let rows: Vec<String> =
                sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select row_to_json(t)::text from {table} t limit 8")))
                    .fetch_all(&mut connection)
                    .await
                    .unwrap();
            text.extend(["\n", table, ": ", &format!("{rows:#?}")]);
        }
        text
    }

    pub(crate) async fn states(&self, run_id: &str) -> Vec<(i16, i32, String, i16)> {
        let mut connection = self.db.connect().await;
        sqlx::query_as(
            "select t.task, t.map_index, t.state::text, t.try_no from task_instance t join dag_run r on r.id = t.run
            where r.run_id = $1 order by 1, 2",
        )
        .bind(run_id)
        .fetch_all(&mut connection)
        .await
        .unwrap()
    }

    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended.unwrap();
        }
        let mut connection = self.db.connect().await;
        let left: i64 = sqlx::query_scalar(
            "select (select count(*) from ready) + (select count(*) from unfolded) + (select count(*) from waiting)
                + (select count(*) from worker where state in ('running', 'draining'))",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        assert_eq!(left, 0, "something is left behind: {}", self.dump().await);
    }
}
