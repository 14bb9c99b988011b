//! A database of one's own with a registered DAG, and a worker that needs no bodies.

use orch_core::spec::DagSpec;
use orch_core::state::TriggeredBy;
use orch_store::registry::{NewBundle, Registered, register_bundle};
use orch_store::run::{CreateRun, NewRun, RunRow, create_run};
use orch_store::version::Versions;
use orch_store::{MIGRATOR, connect};
use orch_test_support::TestDb;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use std::sync::Arc;

pub(crate) async fn database() -> TestDb {
    TestDb::new(&MIGRATOR).await
}

pub(crate) async fn hot(db: &TestDb) -> PgConnection {
    connect::hot(&db.url(), "test").await.expect("the server is there")
}

pub(crate) async fn one(db: &TestDb) -> PgConnection {
    connect::one(&db.url(), "test").await.expect("the server is there")
}

/// A DAG from its JSON; what is not said has its default.
pub(crate) fn dag(spec: Value) -> Arc<DagSpec> {
    Arc::new(serde_json::from_value(spec).expect("a spec"))
}

/// A DAG of tasks in a row.
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

/// Creates a run by hand; it must come to be.
pub(crate) async fn trigger(db: &mut PgConnection, versions: &mut Versions, dag_id: &str) -> RunRow {
    match create_run(db, versions, &NewRun::manual(dag_id, TriggeredBy::Test)).await.expect("it is created") {
        CreateRun::Created(run) => run,
        other => panic!("{other:?}"),
    }
}

/// One number that SQL gives.
pub(crate) async fn number(db: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(db).await.expect("a number")
}
