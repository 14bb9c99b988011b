//! Test fixture: a database, a worker that must survive the test, and the periodic work of a scheduler.

use orch_sdk::task::{Conditions, Ctx, TaskError, TaskFn};
use orch_spec::DagSpec;
use orch_spec::state::TriggeredBy;
use orch_store::asset::distribute;
use orch_store::connect;
use orch_store::due::wake_waiting;
use orch_store::hint::{Hint, Hints};
use orch_store::locks::Locks;
use orch_store::registry::{NewBundle, prepare, register_bundle};
use orch_store::run::{CreateRun, NewRun, RunRow, create_run, get_run};
use orch_store::version::Versions;
use orch_test_support::TestDb;
use orch_workers::{Offers, WorkerConfig};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) type BodyResult = Result<Option<Value>, TaskError>;

/// Builds a task function that needs only its context.
pub(crate) fn body<F, R>(run: F) -> TaskFn
where
    F: Fn(Ctx) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = BodyResult> + Send + 'static,
{
    TaskFn::untyped(move |ctx, _| Box::pin(run(ctx)))
}

pub(crate) fn element(ctx: &Ctx) -> u64 {
    ctx.map_index().map_or(0, u64::from)
}

/// Builds a DAG with one task that is mapped over `many` elements.
pub(crate) fn wide(dag_id: &str, many: u32, each: TaskFn) -> Dag {
    let list = body(move |_| async move { Ok(Some((0..many).collect())) });
    let tasks = json!([
        { "task_id": "list", "kind": "rust" },
        { "task_id": "each", "kind": "rust", "map": { "each": { "output": "list" } } },
    ]);
    (json!({ "dag_id": dag_id, "tasks": tasks }), HashMap::from([("list".into(), list), ("each".into(), each)]))
}

/// Builds a DAG of harmless mapped tasks, which take a while and return their index.
pub(crate) fn innocent(many: u32) -> Dag {
    let each = body(|ctx| async move {
        tokio::time::sleep(Duration::from_millis(element(&ctx) % 20)).await;
        Ok(Some(json!(element(&ctx))))
    });
    wide("good", many, each)
}

/// A DAG and its task functions.
pub(crate) type Dag = (Value, HashMap<String, TaskFn>);

pub(crate) struct World {
    pub(crate) db: PgConnection,
    pub(crate) database: TestDb,
    pub(crate) hints: Hints,
    pub(crate) stop: CancellationToken,
    /// The worker and all other background tasks of the test.
    pub(crate) running: JoinSet<orch_store::StoreResult<()>>,
}

impl World {
    pub(crate) async fn new(dags: Vec<Dag>) -> World {
        World::with(dags, &Conditions::default()).await
    }

    /// Creates a test world whose bundle contains these conditions.
    pub(crate) async fn with(dags: Vec<Dag>, conditions: &Conditions) -> World {
        let database = TestDb::new(&orch_store::MIGRATOR).await;
        let mut db = database.connect().await;
        let spec = |dag: &Value| Arc::new(serde_json::from_value::<DagSpec>(dag.clone()).unwrap());
        let bundle = NewBundle { name: "test".into(), dags: dags.iter().map(|dag| spec(&dag.0)).collect() };
        let registered = register_bundle(&mut db, &bundle, false).await.unwrap();
        let mut offers = Offers::new("test");
        offers.know(conditions);
        for (version, (_, bodies)) in prepare(&mut db, &bundle, &registered).await.unwrap().into_iter().zip(&dags) {
            offers.add(Arc::new(version), bodies);
        }
        let (hints, stop) = (Hints::new(), CancellationToken::new());
        let config = WorkerConfig { slots: 64, lease: Duration::from_secs(10), ..WorkerConfig::new(database.url()) };
        let cold = connect::cold(&database.url(), "orch worker pool", 3).unwrap();
        let mut running = JoinSet::new();
        running.spawn(orch_workers::drive_worker(config, Arc::new(offers), cold, hints.clone(), stop.clone()));
        World { db, database, hints, stop, running }
    }

    pub(crate) async fn say(&mut self, text: &str) {
        sqlx::query(AssertSqlSafe(text.to_string())).execute(&mut self.db).await.unwrap();
    }

    pub(crate) async fn number(&mut self, text: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(text.to_string())).fetch_one(&mut self.db).await.unwrap()
    }

    /// Waits until the query returns a number other than zero.
    pub(crate) async fn some(&mut self, text: &str) {
        while self.number(text).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn trigger(&mut self, dag_id: &str) -> RunRow {
        let new = NewRun::manual(dag_id, TriggeredBy::Test);
        let CreateRun::Created(run) =
            create_run(&mut self.db, Locks::begin(), &mut Versions::default(), &new).await.unwrap()
        else {
            panic!("the run was not created")
        };
        self.hints.give(Hint::Ready);
        run
    }

    /// Returns an unfinished run of the DAG that is already due.
    pub(crate) async fn open(&mut self, dag_id: &str) -> Option<String> {
        let open = "select run_id from dag_run where dag_id = $1 and run_after <= now() and state in ('queued', 'running') limit 1";
        sqlx::query_scalar(open).bind(dag_id).fetch_optional(&mut self.db).await.unwrap()
    }

    pub(crate) async fn end_of(&mut self, run: &RunRow) -> String {
        self.end_of_run(&run.dag_id, &run.run_id).await
    }

    pub(crate) async fn end_of_run(&mut self, dag_id: &str, run_id: &str) -> String {
        loop {
            let hints = self.hints.clone();
            let changed = hints.on(Hint::Run).notified();
            let now = get_run(&mut self.db, dag_id, run_id).await.unwrap().unwrap();
            if now.state.is_finished() {
                return now.state.to_string();
            }
            self.as_a_scheduler().await;
            drop(tokio::time::timeout(Duration::from_millis(20), changed).await);
        }
    }

    /// Does the work of a scheduler: makes task instances claimable whose wait has ended, and distributes asset events.
    async fn as_a_scheduler(&mut self) {
        if wake_waiting(&mut self.db, 1_000).await.unwrap() > 0 {
            self.hints.give(Hint::Ready);
        }
        while distribute(&mut self.db, 1_000).await.unwrap() > 0 {}
    }

    /// Asserts that the worker was never restarted and that it ends without an error.
    pub(crate) async fn end(mut self) {
        assert_eq!(self.number("select count(*) from worker").await, 1, "the worker began again");
        self.stop.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended.unwrap().unwrap();
        }
    }
}
