//! DAG definitions in Rust: a task is an async fn, a DAG is a value, and wiring errors do not compile.
//!
//! `#[task]` turns `async fn f(ctx, a: A) -> TaskResult<R>` into `fn f(a: impl Arg<A>) -> Call<R>`. A `Call` is a
//! description with options. `d.add(call)` adds it to the DAG and returns an `Output<R>`, which later calls take as
//! an argument. Options (and order-only edges) exist only before `add`, and handles only after it, so cycles cannot
//! be written.
//!
//! ```
//! use orch::prelude::*;
//!
//! /// Counts the rows of one file.
//! #[task(retries = 3, retry_delay = secs(30))]
//! async fn count(file: String) -> TaskResult<u64> {
//!     Ok(file.len() as u64)
//! }
//!
//! #[task]
//! async fn total(counts: Vec<u64>) -> TaskResult<u64> {
//!     Ok(counts.iter().sum())
//! }
//!
//! let dag = dag("files").schedule(cron("0 2 * * *").tz("Europe/Berlin")).start("2025-01-01").build(|d| {
//!     let counts = d.map(["a.csv", "b.csv"], count); // Mapped<u64>: one task, two elements
//!     d.add(total(counts));
//! });
//! assert!(dag.check().is_ok());
//! ```

mod arg;
mod binary;
mod builtin;
mod call;
mod dag;
mod dag_file;
mod each;
mod graph;
mod notify;
mod options;
mod schedule;
mod scope;
pub mod testing;

pub use arg::{Arg, Data, Input, Mapped, Output, Params, Upstream};
pub use binary::{Binary, main};
pub use builtin::{
    Approval, Container, CopyFiles, CopyOutput, Database, FieldInputs, FieldText, FieldValue, FileEntry, FilePlace,
    Follow, Form, HttpOutput, HttpRequest, LocalFiles, Mount, Operator, OtherDag, OtherRun, PostgresServer, Python,
    PythonOutput, Response, Rows, SPARK_CONNECT, SPARK_DEFAULT, Shell, ShellOutput, Spark, SparkSql, Sql, Statement,
    TriggerDag, TriggerOutput, WaitFor, approval, ask, body_from, body_of, body_of_task, branch, choice, container,
    copy_files, http, input, python, shell, short_circuit, short_circuit_directly, spark, spark_sql, sql, transfer,
    trigger_dag, wait_for, wait_for_dag, wait_for_task,
};
pub use call::{Call, Definition, StoredInputs};
pub use dag::{Dag, DagBuilder, bundle, dag};
pub use dag_file::{FileProblem, dags_of_file};
pub use each::{Cross, Each, Lift, Zip, cross, zip};
pub use notify::{Late, Notify, after_logical_date, after_queued, after_start, notify};
pub use options::{Defaults, Group, Limit, defaults, group, limit};
pub use orch_binary::{
    Archive, ArchiveDoor, ArchiveError, ArchiveResult, ArchiveSource, BundleServer, LakeSource, Serving, StreamSource,
};
pub use orch_document::dashboard::Dashboard;
pub use orch_macros::{sensor, task};
pub use orch_sdk::task::{
    Awaited, BoxFuture, Bundle, BundleDag, Condition, ConditionResult, Connection, Ctx, Deferral, Eyes, Host,
    Installation, LogLevel, MemoryHost, OnTimeout, Resumed, RunFacts, TaskError, TaskResult, TriggerRequest, Triggered,
    TryFacts, WaitEnd, defer, fatal, skip,
};
pub use orch_sdk::wait::{self, Wait};
pub use orch_spec::approval::{APPROVE, Answer, Question, REJECT};
pub use orch_spec::asset::{AssetEvent, LineageEdge, TriggeringEvent};
pub use orch_spec::check::Problem;
pub use orch_spec::state::{RunState, RunType, TaskState};
pub use orch_spec::{
    Asset, AssetCondition, AssetRef, DagSpec, Isolation, Location, OnLost, Overlap, Schedule, TaskSpec, TriggerRule,
    WeightRule,
};
pub use orch_store::completion::{self, Commit, CompletionStep};
pub use orch_store::topic::{NewRecord, Produce};
pub use schedule::{
    Alias, ByPartition, Cron, IntoSchedule, alias, asset, asset_or_time, continuous, cron, every, hours, millis, mins,
    on_assets, once, secs,
};
pub use scope::Scope;

/// Items that the expansion of `#[task]` uses.
#[doc(hidden)]
pub mod internal {
    pub use crate::call::Json;

    pub fn error(error: impl Into<anyhow::Error>) -> anyhow::Error {
        error.into()
    }
}

/// The imports of a file that defines DAGs.
pub mod prelude {
    pub use crate::{APPROVE, Answer, REJECT, Response, choice, input};
    pub use crate::{
        AssetEvent, ByPartition, Commit as _, Ctx, Dag, Isolation, Mapped, NewRecord, OnLost, Output, Overlap,
        Produce as _, Scope, TaskResult, TriggerRule::*, Wait as _, WeightRule, after_logical_date, after_queued,
        after_start, alias, approval, asset, asset_or_time, branch, continuous, cron, cross, dag, defaults, defer,
        every, fatal, group, hours, limit, millis, mins, notify, on_assets, once, secs, sensor, shell, short_circuit,
        short_circuit_directly, skip, task, wait, zip,
    };
    pub use crate::{
        Container, CopyFiles, HttpRequest, OtherDag, Python, Spark, SparkSql, Sql, TriggerDag, container, copy_files,
        http, python, spark, spark_sql, sql, trigger_dag, wait_for, wait_for_dag, wait_for_task,
    };
    pub use anyhow::{Context, bail, ensure};
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};
    pub use serde_json::json;
}

/// Runs the examples of the guide as doc tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guides/alerts.md")]
struct AlertsGuide;

#[cfg(doctest)]
#[doc = include_str!("../../docs/guides/approvals.md")]
struct ApprovalsGuide;

#[cfg(doctest)]
#[doc = include_str!("../../docs/guides/topics.md")]
struct TopicsGuide;
