//! What may stand in a DAG file: each key once, with its shape and a word about it. The reader, the published schema and
//! the export follow this table; a test holds it against the operators that come with orch.

mod dag;
mod dashboard;
mod endpoint;
mod sensor;
mod stream;
mod task;
mod work;

pub(super) use super::options::{DAG_OPTIONS, OPTIONS};
pub(super) use dag::{ASSET, DAG};
pub(super) use dashboard::DASHBOARD;
pub(super) use endpoint::ENDPOINT;
pub(super) use sensor::{SENSOR, SENSORS};
pub(super) use stream::STREAM;
pub(super) use task::{GROUP, TASK};
pub(super) use work::KINDS;

use super::node::{Node, NodeKind};
use serde_json::Value;

pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) shape: &'static Shape,
    pub(super) about: &'static str,
    pub(super) required: bool,
}

/// What a value must look like.
pub(super) enum Shape {
    /// Words as they are: templates are not rendered.
    Text,
    /// The text of a program or of a statement of SQL. It is passed unchanged; templates of Airflow and of orch are refused.
    Program,
    /// A text in which templates are rendered.
    Template,
    /// The same, but everybody on the machine can read it where it goes: no secrets.
    Argument,
    /// Templates in the texts of any value.
    Templates,
    /// Any value, taken as it is.
    Any,
    /// `null`: as if the key were left out.
    Nothing,
    Flag,
    /// A whole number from 0.
    Count,
    /// A whole number.
    Whole,
    Number,
    /// `30s`, `5m`, `2h`, `1d`, `500ms`, or seconds as a number.
    Time,
    /// `2025-01-01`, `2025-01-01T06:30`, with or without a zone.
    Date,
    Word(&'static [&'static str]),
    Object(&'static [Key]),
    /// Names of the writer's own.
    Table(&'static Shape),
    List(&'static Shape),
    /// The first that the value can be.
    Either(&'static [Shape]),
    /// Tasks and groups by name: `TASK` and `GROUP`.
    Tasks,
    /// `all`, `any`, an alias, an asset, or a list of these.
    Condition,
    /// One of `SENSORS`, with `SENSOR` around it.
    Sensor,
    /// A JSON Schema, or the default.
    Param,
}

impl Shape {
    /// By its form alone: which of several shapes is meant.
    pub(super) fn could_be(&self, node: &Node) -> bool {
        match (self, &node.kind) {
            (Shape::Either(shapes), _) => shapes.iter().any(|shape| shape.could_be(node)),
            (Shape::Any | Shape::Templates | Shape::Condition | Shape::Param, _) => true,
            (Shape::Object(_) | Shape::Table(_) | Shape::Tasks | Shape::Sensor, NodeKind::Map(_)) => true,
            (Shape::List(_), NodeKind::List(_)) => true,
            (Shape::Nothing, NodeKind::Scalar(Value::Null)) | (Shape::Flag, NodeKind::Scalar(Value::Bool(_))) => true,
            (Shape::Count | Shape::Whole | Shape::Number, NodeKind::Scalar(Value::Number(_))) => true,
            (Shape::Time, NodeKind::Scalar(Value::Number(_) | Value::String(_))) => true,
            (
                Shape::Text | Shape::Program | Shape::Template | Shape::Argument | Shape::Date | Shape::Word(_),
                NodeKind::Scalar(value),
            ) => !value.is_null() && !value.is_boolean(),
            _ => false,
        }
    }
}

/// A kind of task.
pub(super) struct TaskKind {
    /// In a file.
    pub(super) name: &'static str,
    /// In the structure.
    pub(super) kind: &'static str,
    pub(super) shape: Shape,
    /// The key that a value stands for that is no object.
    pub(super) short: &'static str,
    pub(super) about: &'static str,
}

pub(super) const fn key(name: &'static str, shape: &'static Shape, about: &'static str) -> Key {
    Key { name, shape, about, required: false }
}

pub(super) const fn required(name: &'static str, shape: &'static Shape, about: &'static str) -> Key {
    Key { name, shape, about, required: true }
}

const TEXTS: Shape = Shape::Either(&[Shape::List(&Shape::Text), Shape::Text]);
const ARGUMENTS: Shape = Shape::List(&Shape::Argument);
const VARIABLES: Shape = Shape::Table(&Shape::Template);

/// What people write who come from elsewhere, and what it is here.
pub(super) const ELSEWHERE: &[(&str, &str)] = &[
    ("id", "dag_id"),
    ("schedule_interval", "schedule"),
    ("timetable", "schedule"),
    ("start_date", "start"),
    ("end_date", "end"),
    ("default_args", "defaults"),
    ("dagrun_timeout", "run_timeout"),
    ("is_paused_upon_creation", "paused"),
    ("doc_md", "doc"),
    ("depends_on", "after"),
    ("upstream", "after"),
    ("dependencies", "after"),
    ("needs", "after"),
    ("execution_timeout", "timeout"),
    ("priority_weight", "priority"),
    ("retry_exponential_backoff", "retry_backoff"),
    ("max_active_tis_per_dagrun", "max_active"),
    ("max_active_tis_per_dag", "max_active_over_runs"),
    ("poke_interval", "poke"),
    ("bash_command", "command"),
    ("bash_command", "bash"),
    ("python_callable", "python"),
    ("retry", "retries"),
    ("shell", "bash"),
    ("cmd", "command"),
    ("expand", "map"),
    ("env_vars", "env"),
    ("owner", "owners"),
    ("conn_id", "connection"),
    ("parameters", "params"),
    ("trigger_dag_id", "dag_id"),
    ("wait_for_completion", "wait"),
    ("filter", "where"),
    ("select", "columns"),
    ("schema", "fields"),
    ("checks", "contract"),
    ("primary_key", "key"),
];
