//! The keys of a DAG.

use super::{Key, Shape, TEXTS, key, required};
use crate::file::options::OPTIONS;

pub(super) const NOTIFIERS: Shape = Shape::List(&Shape::Either(&[
    Shape::Object(&[
        required("connection", &Shape::Text, "Its type says how: e-mail, a webhook, a command"),
        key("subject", &Shape::Text, "Words with fields in braces, such as {dag_id}"),
        key("message", &Shape::Text, "Words with fields in braces, such as {reason}"),
        key("to", &TEXTS, "Of an e-mail: to these instead of those that the connection names"),
        key("each", &Shape::Flag, "Of a mapped task: a message for each element, not one for many"),
    ]),
    Shape::Text,
]));
const DEADLINES: Shape = Shape::List(&Shape::Object(&[
    required("after", &Shape::Time, "A run that is not over by then is late"),
    key("from", &Shape::Word(&["queued", "started", "logical_date"]), "What it is counted from; queued without this"),
    key("notify", &NOTIFIERS, "Who is told"),
]));
pub(in crate::file) const ASSET: Shape = Shape::Either(&[
    Shape::Object(&[
        key("uri", &Shape::Text, "What the asset is known by"),
        key("name", &Shape::Text, "What people call it"),
        key("group", &Shape::Text, "Its group"),
        key("extra", &Shape::Table(&Shape::Any), "Words that go with it"),
        key("fresh_within", &Shape::Time, "It is stale when no update came for so long"),
        key("alias", &Shape::Text, "Instead of a URI: a name for assets that are known only when a task runs"),
    ]),
    Shape::Text,
]);
pub(super) const ASSETS: Shape = Shape::Either(&[Shape::List(&ASSET), ASSET]);
const TIMES: &[Shape] = &[
    Shape::Text,
    Shape::Object(&[
        key("cron", &Shape::Text, "Five fields, or a preset such as @daily"),
        key("timezone", &Shape::Text, "Whose wall clock counts; UTC without this"),
        key("every", &Shape::Time, "A run each time so much time has passed"),
        key("assets", &Shape::Condition, "A run when these were updated"),
        key("by_partition", &Shape::Flag, "One run for each partition key of the assets"),
        key(
            "or",
            &Shape::Either(&[
                Shape::Text,
                Shape::Object(&[
                    key("cron", &Shape::Text, "Five fields, or a preset such as @daily"),
                    key("timezone", &Shape::Text, "Whose wall clock counts; UTC without this"),
                    key("every", &Shape::Time, "A run each time so much time has passed"),
                ]),
            ]),
            "Besides the assets: a schedule by time",
        ),
    ]),
    Shape::Nothing,
];

pub(in crate::file) const DAG: &[Key] = &[
    required("dag_id", &Shape::Text, "Letters, digits, `_`, `.` and `-`"),
    key("description", &Shape::Text, "What the UI says about it"),
    key("schedule", &Shape::Either(TIMES), "When runs are created; without it, or with `null`, only when triggered"),
    key("data_interval", &Shape::Flag, "A run covers the time from the tick before to its own, as in Airflow 2"),
    key("start", &Shape::Date, "No run before it; without a zone it is on the wall clock of the schedule"),
    key("end", &Shape::Date, "No run after it"),
    key("tags", &TEXTS, "Labels"),
    key("owners", &TEXTS, "Who is responsible for it"),
    key("aliases", &TEXTS, "Other names for the DAG in CLI, API and UI"),
    key("params", &Shape::Table(&Shape::Param), "By name: the default, or a JSON Schema with one"),
    key("defaults", &Shape::Object(OPTIONS), "Options for every task that does not say otherwise"),
    key("on_success", &NOTIFIERS, "Notifiers for when a run succeeded"),
    key("on_failure", &NOTIFIERS, "Notifiers for when a run failed"),
    key("on_stale", &NOTIFIERS, "Notifiers for when an asset that a task updates is stale"),
    key("on_failed_check", &NOTIFIERS, "Notifiers for when a check of a task failed or put rows aside"),
    key("deadlines", &DEADLINES, "By when a run is to be over"),
    required("tasks", &Shape::Tasks, "Tasks and groups, by name, in any order"),
];
