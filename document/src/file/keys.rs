//! The keys of DAG files: each key once, with its shape and a description. The reader, the published schema and the
//! export follow this table; a test compares it with the built-in operators.

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

/// The shape of a value.
pub(super) enum Shape {
    /// Text that is used unchanged: templates are not rendered.
    Text,
    /// The text of a program or of an SQL statement. It is passed unchanged; templates of Airflow and orch are
    /// rejected.
    Program,
    /// A text in which templates are rendered.
    Template,
    /// A template that becomes a command-line argument. Every user of the machine can read it, so secret variables are
    /// rejected.
    Argument,
    /// Any value; templates in its strings are rendered.
    Templates,
    /// Any value, used unchanged.
    Any,
    /// `null`, which is the same as leaving out the key.
    Nothing,
    Flag,
    /// An integer that is 0 or more.
    Count,
    Whole,
    Number,
    /// A duration: `30s`, `5m`, `2h`, `1d`, `500ms`, or seconds as a number.
    Time,
    /// A date or timestamp with or without a time zone: `2025-01-01`, `2025-01-01T06:30`.
    Date,
    Word(&'static [&'static str]),
    Object(&'static [Key]),
    /// An object whose keys the author of the file chooses.
    Table(&'static Shape),
    List(&'static Shape),
    /// The first of these shapes that `could_be` the value.
    Either(&'static [Shape]),
    /// Tasks and groups by name, with the keys of `TASK` and `GROUP`.
    Tasks,
    /// `all`, `any`, an alias, an asset, or a list of these.
    Condition,
    /// An object with one key of `SENSORS`, and the keys of `SENSOR`.
    Sensor,
    /// A JSON Schema, or a default value.
    Param,
}

impl Shape {
    /// Returns whether the type of a value fits. Selects one of several shapes.
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

pub(super) struct TaskKind {
    /// The key in a file.
    pub(super) name: &'static str,
    /// The kind in the structure of the DAG.
    pub(super) kind: &'static str,
    pub(super) shape: Shape,
    /// The key that a value sets if it is not an object.
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

/// Keys of other orchestrators, and the corresponding key here.
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
