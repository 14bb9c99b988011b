//! Test fixture: a database with registered DAGs, and a worker that claims instances without running task functions.

use orch_core::select::Selection;
use orch_core::transition::Selected;
use orch_spec::DagSpec;
use orch_spec::state::{TaskState, TriggeredBy};
use orch_store::clear::{ClearScope, count_clear, would_clear};
use orch_store::instance::{InstanceFilter, InstanceRow, count_states, ledger, list_instances, state_counts};
use orch_store::locks::Locks;
use orch_store::refold::{Keep, fold_run};
use orch_store::registry::{NewBundle, Registered, register_bundle};
use orch_store::run::{CreateRun, NewRun, RunRow, create_run};
use orch_store::step::{Claim, Claimed, EndedTry, Lease, Mode, NewWait, NextTry, Stepper, WorkerStep};
use orch_store::version::{Versions, queue_ids};
use orch_store::worker::{NewWorker, register_worker};
use orch_store::{MIGRATOR, connect};
use orch_test_support::TestDb;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

pub(crate) async fn database() -> TestDb {
    TestDb::new(&MIGRATOR).await
}

pub(crate) async fn hot(db: &TestDb) -> PgConnection {
    connect::hot(&db.url(), "test").await.expect("the server is there")
}

pub(crate) async fn one(db: &TestDb) -> PgConnection {
    connect::one(&db.url(), "test").await.expect("the server is there")
}

/// Parses a DAG from JSON. Missing fields get their defaults.
pub(crate) fn dag(spec: Value) -> Arc<DagSpec> {
    Arc::new(serde_json::from_value(spec).expect("a spec"))
}

pub(crate) fn chain(dag_id: &str, tasks: usize) -> Arc<DagSpec> {
    let task = |i: usize| {
        let after = if i == 0 { json!([]) } else { json!([format!("t{}", i - 1)]) };
        json!({ "task_id": format!("t{i}"), "kind": "rust", "after": after })
    };
    dag(json!({ "dag_id": dag_id, "tasks": (0..tasks).map(task).collect::<Vec<_>>() }))
}

pub(crate) async fn register(db: &mut PgConnection, dags: &[Arc<DagSpec>]) -> Vec<Registered> {
    let bundle = NewBundle { name: "test".into(), dags: dags.to_vec() };
    register_bundle(db, &bundle, false).await.expect("it registers")
}

/// Creates a manual run. Panics if no run is created.
pub(crate) async fn trigger(db: &mut PgConnection, versions: &mut Versions, dag_id: &str) -> RunRow {
    match create_run(db, Locks::begin(), versions, &NewRun::manual(dag_id, TriggeredBy::Test))
        .await
        .expect("it is created")
    {
        CreateRun::Created(run) => run,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn number(db: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(db).await.expect("a number")
}

/// Returns a continuation in one hour, or after `wait`.
pub(crate) fn later(attempt: Uuid, version: i32, wait: Option<NewWait>) -> NextTry {
    let wake_in_ms = if wait.is_some() { 1 } else { 3_600_000 };
    NextTry { attempt, wake_in_ms, version, queue: 1, priority: 1, wait: wait.map(Box::new) }
}

/// A worker that claims and ends instances only when the test calls it.
pub(crate) struct Hands {
    pub(crate) db: PgConnection,
    pub(crate) worker: i32,
    pub(crate) versions: Versions,
    stepper: Stepper,
    queues: Arc<[i32]>,
    offers: Arc<[i32]>,
}

impl Hands {
    /// Registers a worker whose lease expires after `lease` without a heartbeat.
    pub(crate) async fn new(database: &TestDb, offers: &[i32], lease: Duration) -> Hands {
        let mut db = hot(database).await;
        let queues: Vec<i32> =
            queue_ids(&mut db, BTreeSet::from(["default".to_string()])).await.expect("queues").into_values().collect();
        let new = NewWorker {
            name: "hands".into(),
            hostname: "here".into(),
            pid: 1,
            bundle: "test".into(),
            binary_version: "0".into(),
            queues: queues.clone(),
            versions: offers.to_vec(),
            slots: 16,
            lease,
        };
        let worker = register_worker(&mut db, &new).await.expect("it registers");
        let (queues, offers) = (queues.into(), offers.to_vec().into());
        Hands { db, worker, versions: Versions::default(), stepper: Stepper::default(), queues, offers }
    }

    pub(crate) async fn claim(&mut self, most: i32) -> Vec<Claimed> {
        let claim = Claim { most, queues: self.queues.clone(), versions: self.offers.clone() };
        let step = WorkerStep { claim: Some(claim), ..WorkerStep::default() };
        let mut claimed = self.stepper.send(&mut self.db, &step, self.worker).await.expect("a claim").claimed;
        claimed.sort_by_key(|c| (c.lease.run, c.lease.task, c.lease.map_index));
        claimed
    }

    /// Records the outcome of an attempt and applies it to the run. Returns false if the lease is no longer valid.
    pub(crate) async fn end(&mut self, lease: Lease, state: TaskState) -> bool {
        self.end_with(lease, state, None).await
    }

    pub(crate) async fn end_with(&mut self, lease: Lease, state: TaskState, list_len: Option<i32>) -> bool {
        let counted = self.record(EndedTry { list_len, ..EndedTry::new(lease, state) }).await;
        self.fold(lease.run).await;
        counted
    }

    /// Defers an attempt with the given state until `wait` ends.
    pub(crate) async fn wait(&mut self, lease: Lease, version: i32, state: TaskState, wait: NewWait) -> bool {
        self.record(EndedTry { next: Some(later(lease.attempt, version, Some(wait))), ..EndedTry::new(lease, state) })
            .await
    }

    pub(crate) async fn record(&mut self, ended: EndedTry) -> bool {
        let step = WorkerStep { ended: vec![ended], mode: Mode::Record, ..WorkerStep::default() };
        !self.stepper.send(&mut self.db, &step, self.worker).await.expect("a record").accepted.is_empty()
    }

    pub(crate) async fn fold(&mut self, run: Uuid) {
        fold_run(
            &mut self.db,
            &Locks::begin().runs(),
            &mut self.stepper,
            &mut self.versions,
            run,
            self.worker,
            Keep::NOTHING,
        )
        .await
        .expect("a fold");
    }

    /// Claims instances and ends them with success until no instance is claimable.
    pub(crate) async fn work_off(&mut self) {
        loop {
            let claimed = self.claim(100).await;
            if claimed.is_empty() {
                return;
            }
            for claimed in claimed {
                assert!(self.end(claimed.lease, TaskState::Success).await);
            }
        }
    }
}

/// Returns the instances of a run as `task[index] state`.
pub(crate) async fn states(db: &mut PgConnection, run: Uuid) -> Vec<String> {
    let listed = list_instances(db, &mut Versions::default(), run, &InstanceFilter::default(), 1000).await;
    let word = |i: InstanceRow| match i.map_index {
        -1 => format!("{} {}", i.task_id, i.state),
        index => format!("{}[{index}] {}", i.task_id, i.state),
    };
    listed.expect("a list").expect("a run").into_iter().map(word).collect()
}

/// Checks the invariants of a run: its counters match its rows, and finished instances keep their state.
pub(crate) async fn check_run(db: &mut PgConnection, run: Uuid) {
    let ledger = ledger(db, &mut Versions::default(), run).await.expect("a ledger").expect("a run");
    let counts = state_counts(db, run).await.expect("counts");
    let plan = &ledger.version.plan;
    for (task, planned) in (0..).zip(&plan.tasks) {
        let rows = |state| counts.iter().find(|c| c.0 == task && c.1 == state).map_or(0, |c| c.2);
        let name = plan.task_id(task);
        match ledger.run.element_counts(planned).filter(|_| ledger.run.len(planned) > Some(0)) {
            Some(elements) => {
                for (state, many) in elements.into_iter().filter(|(state, _)| state.is_finished()) {
                    assert_eq!(i64::from(many), rows(state), "{name}: {state} in {ledger:?}\n{counts:?}");
                }
            }
            None if ledger.run.task(task).is_finished() => {
                assert_eq!(rows(ledger.run.task(task)), 1, "{name} in {ledger:?}\n{counts:?}");
            }
            None => {}
        }
    }
    if ledger.run.state.is_finished() {
        assert!(counts.iter().all(|c| c.1.is_finished()), "{counts:?}");
    }
    for (task, _) in (0..).zip(&plan.tasks) {
        let of_task = count_states(db, run, &ledger, Some(task)).await.expect("counts of a task");
        let rows = counts.iter().filter(|c| c.0 == task).map(|c| (c.1, c.2));
        assert_eq!(of_task, rows.collect(), "{} in {ledger:?}", plan.task_id(task));
    }
    let tasks = (0..).zip(&plan.tasks).map(|(task, _)| Selected { task, index: None }).collect();
    let wish = ClearScope { selection: Selection { tasks, ..Selection::default() }, ..ClearScope::default() };
    let counted = count_clear(db, &mut Versions::default(), run, &wish, 1).await.expect("a count").expect("a run");
    let would = would_clear(db, &mut Versions::default(), run, &wish).await.expect("a look").expect("a run");
    assert_eq!(counted.count, would.instances.len(), "{ledger:?}");
}
