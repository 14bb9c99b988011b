//! What may stand in a DAG file: each key once, with its shape and a word about it. The reader, the published schema and
//! the export follow this table; a test holds it against the operators that come with orch.

use super::node::{Kind, Node};
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
    /// A text in which templates are rendered.
    Template,
    /// The same, but everybody on the machine can read it where it goes: no secrets.
    Argument,
    /// Templates in the texts of any value.
    Templates,
    /// Any value, taken as it is.
    Any,
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
            (Shape::Object(_) | Shape::Table(_) | Shape::Tasks | Shape::Sensor, Kind::Map(_)) => true,
            (Shape::List(_), Kind::List(_)) => true,
            (Shape::Flag, Kind::Scalar(Value::Bool(_))) => true,
            (Shape::Count | Shape::Whole | Shape::Number, Kind::Scalar(Value::Number(_))) => true,
            (Shape::Time, Kind::Scalar(Value::Number(_) | Value::String(_))) => true,
            (Shape::Text | Shape::Template | Shape::Argument | Shape::Date | Shape::Word(_), Kind::Scalar(value)) => {
                !value.is_null() && !value.is_boolean()
            }
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

const fn key(name: &'static str, shape: &'static Shape, about: &'static str) -> Key {
    Key { name, shape, about, required: false }
}

const fn required(name: &'static str, shape: &'static Shape, about: &'static str) -> Key {
    Key { name, shape, about, required: true }
}

const TEXTS: Shape = Shape::Either(&[Shape::List(&Shape::Text), Shape::Text]);
const ARGUMENTS: Shape = Shape::List(&Shape::Argument);
const VARIABLES: Shape = Shape::Table(&Shape::Template);
const NOTIFIERS: Shape = Shape::List(&Shape::Either(&[
    Shape::Object(&[
        required("connection", &Shape::Text, "Its type says how: e-mail, a webhook, a command"),
        key("subject", &Shape::Text, "Words with fields in braces, such as {dag_id}"),
        key("message", &Shape::Text, "Words with fields in braces, such as {reason}"),
        key("to", &TEXTS, "Of an e-mail: to these instead of those that the connection names"),
    ]),
    Shape::Text,
]));
const DEADLINES: Shape = Shape::List(&Shape::Object(&[
    required("after", &Shape::Time, "A run that is not over by then is late"),
    key("from", &Shape::Word(&["queued", "started", "logical_date"]), "What it is counted from; queued without this"),
    key("notify", &NOTIFIERS, "Who is told"),
]));
pub(super) const ASSET: Shape = Shape::Either(&[
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
const ASSETS: Shape = Shape::Either(&[Shape::List(&ASSET), ASSET]);
const LIMITS: Shape = Shape::List(&Shape::Object(&[
    required("name", &Shape::Text, "All tasks that name it share it, in whatever DAG"),
    required("most", &Shape::Count, "So many at the same time"),
    key("key", &Shape::Text, "A path into the params: each value is counted by itself"),
    key("per", &Shape::Time, "So many beginnings within this time instead"),
]));

/// Words of trigger rules, as everywhere.
pub(super) const RULES: &[&str] = &[
    "all_success",
    "all_failed",
    "all_done",
    "all_done_min_one_success",
    "all_done_setup_success",
    "one_success",
    "one_failed",
    "one_done",
    "none_failed",
    "none_skipped",
    "always",
    "none_failed_min_one_success",
    "all_skipped",
];

/// Options of a task, of the defaults of a DAG, and of a group.
pub(super) const OPTIONS: &[Key] = &[
    key("retries", &Shape::Count, "How often to try again after the first failure"),
    key("retry_delay", &Shape::Time, "How long to wait before the next try; 5m without this"),
    key("retry_backoff", &Shape::Number, "Multiplies the delay after each try"),
    key("max_retry_delay", &Shape::Time, "The longest delay that retry_backoff grows to"),
    key("timeout", &Shape::Time, "How long one try may take"),
    key("pool", &Shape::Text, "The pool whose slots it takes"),
    key("pool_slots", &Shape::Count, "How many slots of its pool it takes"),
    key("queue", &Shape::Text, "Only workers of this queue run it"),
    key("priority", &Shape::Whole, "Tasks of a higher priority start first"),
    key("weight_rule", &Shape::Word(&["downstream", "upstream", "absolute"]), "How priority follows from relatives'"),
    key("trigger_rule", &Shape::Word(RULES), "When it may run, by the states of its upstreams"),
    key("max_active", &Shape::Count, "How many elements of a mapped task may run at once, in one run"),
    key("max_active_over_runs", &Shape::Count, "How many of this task may run at once, over all runs of the DAG"),
    key("limits", &LIMITS, "Limits that tasks of several DAGs share"),
    key("poll_every", &Shape::Time, "How long a sensor waits between two looks; 60s without this"),
    key("depends_on_past", &Shape::Flag, "Runs only if the same task of the run before ended well"),
    key("wait_for_downstream", &Shape::Flag, "As depends_on_past, and the tasks after it ended well too"),
    key("isolation", &Shape::Word(&["in_process", "process"]), "Where orch's part of the body runs"),
    key("memory_mb", &Shape::Count, "What its child process and all that starts may have in memory"),
    key(
        "on_lost",
        &Shape::Either(&[Shape::Count, Shape::Word(&["fail"])]),
        "How often the same try begins again when its worker was lost, or `fail`",
    ),
    key("on_failure_fail_run", &Shape::Flag, "The failure of this teardown fails the run"),
];

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
];

pub(super) const DAG: &[Key] = &[
    required("dag_id", &Shape::Text, "Letters, digits, `_`, `.` and `-`"),
    key("description", &Shape::Text, "What the UI says about it"),
    key("schedule", &Shape::Either(TIMES), "When runs are created; without it only when somebody asks"),
    key("data_interval", &Shape::Flag, "A run covers the time from the tick before to its own, as in Airflow 2"),
    key("start", &Shape::Date, "No run before it; without a zone it is on the wall clock of the schedule"),
    key("end", &Shape::Date, "No run after it"),
    key("catchup", &Shape::Flag, "Also creates the runs missed since `start`"),
    key("tags", &TEXTS, "Labels"),
    key("owners", &TEXTS, "Whom to ask"),
    key("aliases", &TEXTS, "Other names for the DAG in CLI, API and UI"),
    key("run_timeout", &Shape::Time, "A run that takes longer fails"),
    key("max_active_runs", &Shape::Count, "Runs at the same time; 16 without this"),
    key("max_active_tasks", &Shape::Count, "Tasks of one run at the same time"),
    key("max_consecutive_failed_runs", &Shape::Count, "Pauses the DAG after that many failed runs in a row"),
    key("overlap", &Shape::Word(&["queue", "skip", "cancel_running"]), "What becomes of a run without a place"),
    key(
        "concurrency",
        &Shape::List(&Shape::Object(&[
            required("param", &Shape::Text, "The name of a param; dots lead into objects"),
            required("most", &Shape::Count, "Runs at the same time for each of its values"),
        ])),
        "Runs at the same time for each value of a param",
    ),
    key("paused", &Shape::Flag, "Whether it waits for somebody to unpause it when it is first seen"),
    key("params", &Shape::Table(&Shape::Param), "By name: the default, or a JSON Schema with one"),
    key("defaults", &Shape::Object(OPTIONS), "Options for every task that does not say otherwise"),
    key("on_success", &NOTIFIERS, "Notifiers for when a run succeeded"),
    key("on_failure", &NOTIFIERS, "Notifiers for when a run failed"),
    key("on_stale", &NOTIFIERS, "Notifiers for when an asset that a task updates is stale"),
    key("on_failed_check", &NOTIFIERS, "Notifiers for when a check of a task failed or put rows aside"),
    key("deadlines", &DEADLINES, "By when a run is to be over"),
    required("tasks", &Shape::Tasks, "Tasks and groups, by name, in any order"),
];

const MAP: Shape = Shape::Either(&[
    Shape::List(&Shape::Any),
    Shape::Object(&[
        key("zip", &Shape::List(&Shape::Any), "Element i of every list"),
        key("cross", &Shape::List(&Shape::Any), "Every combination, the last list fastest"),
    ]),
    Shape::Template,
]);

/// Besides its options and what it does.
pub(super) const TASK: &[Key] = &[
    key("doc", &Shape::Text, "What the UI says about it"),
    key("after", &TEXTS, "Waits for these tasks or groups"),
    key("when", &Shape::Table(&Shape::Any), "Runs only if these tasks gave this value, or one of these"),
    key("map", &MAP, "Runs once for each element: a list, `{{ upstream.x.output }}`, `zip` or `cross` of these"),
    key("setup", &Shape::Flag, "Prepares something that a teardown removes"),
    key("teardown", &TEXTS, "Removes what these setups prepared, even if the work between failed"),
    key("inlets", &ASSETS, "Assets that it reads"),
    key("outlets", &ASSETS, "Assets that it updates when it succeeds"),
    key("on_success", &NOTIFIERS, "Notifiers for when it succeeded"),
    key("on_failure", &NOTIFIERS, "Notifiers for when it failed for good"),
    key("on_retry", &NOTIFIERS, "Notifiers for when a try failed and another follows"),
    key("on_skipped", &NOTIFIERS, "Notifiers for when it skipped itself"),
    key("on_awaiting_input", &NOTIFIERS, "Notifiers for when it asks people, and begins to wait for them"),
];

/// Besides the options of the tasks in it.
pub(super) const GROUP: &[Key] = &[
    key("doc", &Shape::Text, "What the UI says about it"),
    key("map", &MAP, "The tasks in it run once for each element"),
    required("tasks", &Shape::Tasks, "Tasks and groups in it; their ids begin with its name"),
];

const BASH: &[Key] = &[
    required("command", &Shape::Text, "For bash. Templates are not rendered here: values come by `env` and `args`"),
    key("args", &ARGUMENTS, "What the command knows as $1, $2, …"),
    key("env", &VARIABLES, "Environment variables"),
    key("shell", &Shape::Text, "Another shell than bash"),
    key("workdir", &Shape::Text, "The folder to run in"),
];

const PYTHON: &[Key] = &[
    key("script", &Shape::Text, "The text of the script. Values come by `env` and `args`"),
    key("file", &Shape::Text, "A file instead, seen from the folder of the DAG file"),
    key("args", &ARGUMENTS, "sys.argv[1:]"),
    key("env", &VARIABLES, "Environment variables"),
    key("venv", &Shape::Text, "The folder of a virtual environment"),
    key("interpreter", &Shape::Text, "A Python by its path; python3 without this and `venv`"),
];

const NAMES: Shape = Shape::List(&Shape::Text);

const APPROVAL: &[Key] = &[
    required("subject", &Shape::Template, "What is to be decided"),
    key("body", &Shape::Template, "More about it"),
    key("defaults", &NAMES, "`[Approve]` or `[Reject]`: taken when nobody answers in time"),
    key("params", &Shape::Any, "JSON Schema of what is to be typed in"),
    key("assigned_users", &NAMES, "Only these users may answer; whoever may start runs without this"),
    key("timeout", &Shape::Time, "It waits so long; then the defaults are taken, or it fails"),
    key("fail_on_reject", &Shape::Flag, "A rejection fails the task"),
    key("ignore_downstream_trigger_rules", &Shape::Flag, "A rejection skips all that comes after it"),
];

const INPUT: &[Key] = &[
    required("subject", &Shape::Template, "What is asked"),
    key("body", &Shape::Template, "More about it"),
    key("options", &NAMES, "What can be chosen; one button, `OK`, without this"),
    key("multiple", &Shape::Flag, "Several options may be chosen"),
    key("defaults", &NAMES, "Options that are taken when nobody answers in time"),
    key("params", &Shape::Any, "JSON Schema of what is to be typed in"),
    key("assigned_users", &NAMES, "Only these users may answer; whoever may start runs without this"),
    key("timeout", &Shape::Time, "It waits so long; then the defaults are taken, or it fails"),
    key(
        "follow",
        &Shape::Table(&Shape::Text),
        "By option: the task to go on with; the others right after it are skipped",
    ),
];

const BASH_TASK: Shape = Shape::Either(&[Shape::Object(BASH), Shape::Text]);
const PYTHON_TASK: Shape = Shape::Either(&[Shape::Object(PYTHON), Shape::Text]);

pub(super) const KINDS: &[TaskKind] = &[
    TaskKind {
        name: "bash",
        kind: "shell",
        shape: BASH_TASK,
        short: "command",
        about: "A command of bash. Exit code 99 skips the task, every other than 0 fails the try",
    },
    TaskKind {
        name: "python",
        kind: "python",
        shape: PYTHON_TASK,
        short: "script",
        about: "A Python script. Exit code 99 skips the task, every other than 0 fails the try",
    },
    TaskKind {
        name: "sql",
        kind: "sql",
        shape: Shape::Object(&[
            required("connection", &Shape::Text, "A connection to a Postgres"),
            required("statement", &Shape::Text, "One statement. Values come by `params`, never by its text"),
            key("params", &Shape::List(&Shape::Templates), "$1, $2, …"),
            key("most_rows", &Shape::Count, "Of more rows the first so many are kept; 1000 without this"),
            key("statement_timeout", &Shape::Time, "The server ends the statement after so long; 1h without this"),
        ]),
        short: "",
        about: "One statement to a Postgres",
    },
    TaskKind {
        name: "http",
        kind: "http",
        shape: Shape::Either(&[
            Shape::Object(&[
                key("connection", &Shape::Text, "With it, `url` is a path below the connection"),
                required("url", &Shape::Template, "Where to"),
                key("method", &Shape::Text, "GET without this"),
                key("headers", &VARIABLES, "Headers"),
                key("body", &Shape::Templates, "Sent as JSON"),
                key("patience", &Shape::Time, "How long one try may take; 30s without this"),
                key("again", &Shape::Count, "How often more it is asked when the server is busy; 3 without this"),
                key("most_bytes", &Shape::Count, "A longer answer fails the task; 1 MiB without this"),
            ]),
            Shape::Template,
        ]),
        short: "url",
        about: "One HTTP request",
    },
    TaskKind {
        name: "container",
        kind: "container",
        shape: Shape::Object(&[
            required("image", &Shape::Text, "The image"),
            key("command", &ARGUMENTS, "Words of the command; without it, what the image does"),
            key("env", &VARIABLES, "Environment variables"),
            key(
                "mounts",
                &Shape::List(&Shape::Object(&[
                    required("from", &Shape::Text, "A folder of the machine"),
                    required("to", &Shape::Text, "Where it is in the container"),
                    key("read_only", &Shape::Flag, "It cannot be written to"),
                ])),
                "Folders of the machine in the container",
            ),
            key("workdir", &Shape::Text, "The folder to run in"),
            key("network", &Shape::Text, "The network"),
            key("memory_mb", &Shape::Count, "What the container may have in memory"),
            key("runtime", &Shape::Text, "docker, podman, nerdctl or a path"),
        ]),
        short: "",
        about: "A container, by whatever runs containers on the worker",
    },
    TaskKind {
        name: "trigger_dag",
        kind: "trigger_dag",
        shape: Shape::Either(&[
            Shape::Object(&[
                required("dag_id", &Shape::Text, "The DAG to start"),
                key("conf", &Shape::Templates, "Its params"),
                key("run_id", &Shape::Template, "The id of the run"),
                key("logical_date", &Shape::Template, "The date the run is for"),
                key("note", &Shape::Template, "A note on the run"),
                key("wait", &Shape::Flag, "Waits for the end of the run, and fails if that failed"),
                key("poke", &Shape::Time, "How often the run is looked at; 5s without this"),
            ]),
            Shape::Text,
        ]),
        short: "dag_id",
        about: "Starts a run of a DAG",
    },
    TaskKind {
        name: "approval",
        kind: "approval",
        shape: Shape::Either(&[Shape::Object(APPROVAL), Shape::Template]),
        short: "subject",
        about: "Asks people whether to go on; a rejection skips what comes right after it",
    },
    TaskKind {
        name: "input",
        kind: "input",
        shape: Shape::Object(INPUT),
        short: "",
        about: "Asks people to fill in a form, or to choose",
    },
    TaskKind { name: "sensor", kind: "wait", shape: Shape::Sensor, short: "", about: "Waits without a slot" },
    TaskKind {
        name: "copy_files",
        kind: "copy_files",
        shape: Shape::Object(&[
            required("from", &Shape::Template, "An absolute path; `*` and `?` stand for letters of one name"),
            required("to", &Shape::Template, "A folder"),
            key("required", &Shape::Flag, "Nothing to copy fails the task"),
        ]),
        short: "",
        about: "Copies files, each whole or not at all",
    },
    TaskKind {
        name: "branch",
        kind: "branch",
        shape: Shape::Either(&[
            Shape::Object(&[
                key("on", &Shape::Template, "The value to choose by"),
                key("cases", &Shape::Table(&TEXTS), "By value: the tasks to follow"),
                key("otherwise", &TEXTS, "The tasks to follow for every other value; none without this"),
                key("bash", &BASH_TASK, "Its last line names the tasks"),
                key("python", &PYTHON_TASK, "Its last line names the tasks"),
            ]),
            Shape::Template,
        ]),
        short: "on",
        about: "Of the tasks right after it only those run that it names",
    },
    TaskKind {
        name: "short_circuit",
        kind: "short_circuit",
        shape: Shape::Either(&[
            Shape::Object(&[
                key("on", &Shape::Template, "Goes on if this is true, not 0 and not empty"),
                key("bash", &BASH_TASK, "Goes on if its last line is true, not 0 and not empty"),
                key("python", &PYTHON_TASK, "Goes on if its last line is true, not 0 and not empty"),
                key(
                    "ignore_downstream_trigger_rules",
                    &Shape::Flag,
                    "False: only what comes right after it is skipped, behind that the trigger rules decide",
                ),
            ]),
            Shape::Template,
            Shape::Flag,
        ]),
        short: "on",
        about: "When it says no, everything after it is skipped",
    },
    TaskKind {
        name: "value",
        kind: "value",
        shape: Shape::Templates,
        short: "",
        about: "Gives a value: for a map, or to put several outputs together",
    },
];

/// What a sensor waits for: one of these.
pub(super) const SENSORS: &[Key] = &[
    key(
        "file",
        &Shape::Either(&[
            Shape::Object(&[
                required("path", &Shape::Template, "`*` and `?` stand for letters of one name"),
                key("min_age", &Shape::Time, "Nobody has written to it for so long"),
                key("stable", &Shape::Time, "Its size stays the same for so long, at most 10s"),
                key("min_bytes", &Shape::Count, "It has so many bytes"),
            ]),
            Shape::Template,
        ]),
        "A file, or files whose names fit a pattern",
    ),
    key(
        "time",
        &Shape::Object(&[
            key("at", &Shape::Template, "A moment: `2025-01-01T06:30:00Z`"),
            key("after", &Shape::Time, "So long after it began"),
            key("time_of_day", &Shape::Text, "Today at this time: `06:30`"),
            key("timezone", &Shape::Text, "Of the time of day; UTC without this"),
        ]),
        "A time",
    ),
    key(
        "sql",
        &Shape::Object(&[
            required("connection", &Shape::Text, "A connection to a Postgres"),
            required("statement", &Shape::Text, "Met when its first cell is true, not 0 and not empty"),
            key("params", &Shape::List(&Shape::Templates), "$1, $2, …"),
        ]),
        "What a Postgres says",
    ),
    key(
        "http",
        &Shape::Either(&[
            Shape::Object(&[
                key("connection", &Shape::Text, "With it, `url` is a path below the connection"),
                required("url", &Shape::Template, "Where to"),
                key("method", &Shape::Text, "GET without this"),
                key("headers", &VARIABLES, "Headers"),
                key("body", &Shape::Templates, "Sent as JSON"),
                key("statuses", &Shape::List(&Shape::Count), "Those that count as an answer; 200 to 299 without this"),
                key("pointer", &Shape::Text, "Points into the JSON of the answer: `/status/phase`"),
                key("equals", &Shape::List(&Shape::Templates), "What must stand there; true without this"),
            ]),
            Shape::Template,
        ]),
        "What an HTTP server answers",
    ),
    key(
        "dag",
        &Shape::Either(&[
            Shape::Object(&[
                required("dag_id", &Shape::Text, "The DAG"),
                key("task_id", &Shape::Text, "One task of it"),
                key("earlier", &Shape::Time, "The run for so long before the logical date of this run"),
                key("run_id", &Shape::Template, "The run with this id"),
                key(
                    "within",
                    &Shape::Time,
                    "Whatever run that ended at most so long before this one was due, or later",
                ),
                key("allowed", &TEXTS, "The states that are waited for; success without this"),
                key("failed", &TEXTS, "The states that fail this task"),
                key("skipped", &TEXTS, "The states that skip this task"),
            ]),
            Shape::Text,
        ]),
        "Another DAG, for the same logical date",
    ),
    key("any", &Shape::List(&Shape::Sensor), "One of these"),
    key("all", &Shape::List(&Shape::Sensor), "All of these at the same look"),
];

/// Around what it waits for, but not inside `any` and `all`.
pub(super) const SENSOR: &[Key] = &[
    key("timeout", &Shape::Time, "It waits so long; for ever without this"),
    key("on_timeout", &Shape::Word(&["fail", "skip", "resume"]), "What happens then; `resume` goes on with null"),
    key("poke", &Shape::Time, "How long between two looks"),
];

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
    ("shell", "bash"),
    ("cmd", "command"),
    ("expand", "map"),
    ("env_vars", "env"),
    ("owner", "owners"),
    ("conn_id", "connection"),
    ("parameters", "params"),
    ("trigger_dag_id", "dag_id"),
    ("wait_for_completion", "wait"),
];
