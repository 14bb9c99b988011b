//! Built-in task kinds. Each is a function that returns a `Call`, like a user's own tasks.

mod approval;
mod container;
mod field;
mod file_task;
mod files;
mod http;
mod last_words;
mod operator;
mod process;
mod python;
mod shell;
mod spark;
mod sql;
mod statement;
mod trigger;
mod waiting;

pub use approval::{Approval, Form, Response, approval, ask, choice, input};
pub use container::{Container, Mount, container};
pub use field::{FieldInputs, FieldText, FieldValue};
pub use file_task::body_of_task;
pub use files::{CopyFiles, CopyOutput, FileEntry, FilePlace, LocalFiles, copy_files, transfer};
pub use http::{HttpOutput, HttpRequest, http};
pub use operator::{Operator, body_from, body_of};
pub use python::{Python, PythonOutput, python};
pub use shell::{Shell, ShellOutput, shell};
pub use spark::{SPARK_CONNECT, SPARK_DEFAULT, Spark, SparkSql, spark, spark_sql};
pub use sql::{PostgresServer, Sql, sql};
pub use statement::{Database, Rows, Statement};
pub use trigger::{TriggerDag, TriggerOutput, trigger_dag};
pub use waiting::{OtherDag, OtherRun, WaitFor, wait_for, wait_for_dag, wait_for_task};

use crate::{Call, Data};
use serde_json::json;

/// Return types of branch functions: the ids of the tasks to follow.
#[diagnostic::on_unimplemented(
    message = "a branch gives the ids of the tasks to follow, not `{Self}`",
    label = "gives no task ids",
    note = "return `String`, `Vec<String>` or `Option<String>`; to choose by a value of any type, use `.when(value, …)`"
)]
pub trait Follow: Data {}
#[diagnostic::do_not_recommend]
impl Follow for String {}
#[diagnostic::do_not_recommend]
impl Follow for Option<String> {}
#[diagnostic::do_not_recommend]
impl Follow for Vec<String> {}

/// Turns a call into a branch: of the tasks directly downstream, only those whose ids it returns run, with everything
/// reachable from them. The others are skipped. Inside a group, ids may omit the group's prefix.
///
/// `d.add(small().when(size, Size::Small))` is the typed alternative; use a branch to select tasks by name.
pub fn branch<R: Follow>(call: Call<'_, R>) -> Call<'_, R> {
    call.kind("branch")
}

/// Turns a call into a short circuit: if it returns `false`, everything downstream except teardowns is skipped,
/// regardless of trigger rules.
pub fn short_circuit(call: Call<'_, bool>) -> Call<'_, bool> {
    call.kind("short_circuit")
}

/// Like `short_circuit`, but skips only the direct downstream tasks. Trigger rules decide about the tasks after them.
pub fn short_circuit_directly(call: Call<'_, bool>) -> Call<'_, bool> {
    let mut call = short_circuit(call);
    call.draft.config = json!({ "respect_trigger_rules": true });
    call
}
