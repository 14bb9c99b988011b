//! The kinds of tasks, each with its keys.

use super::{ARGUMENTS, Key, Shape, TEXTS, TaskKind, VARIABLES, key, required};

const BASH: &[Key] = &[
    required("command", &Shape::Program, "For bash. Templates are not rendered here: values come by `env` and `args`"),
    key("args", &ARGUMENTS, "What the command knows as $1, $2, …"),
    key("env", &VARIABLES, "Environment variables"),
    key("shell", &Shape::Text, "Another shell than bash"),
    key("workdir", &Shape::Text, "The folder to run in"),
];

const PYTHON: &[Key] = &[
    key("script", &Shape::Program, "The text of the script. Values come by `env` and `args`"),
    key("file", &Shape::Text, "A file instead, seen from the folder of the DAG file"),
    key("args", &ARGUMENTS, "sys.argv[1:]"),
    key("env", &VARIABLES, "Environment variables"),
    key("venv", &Shape::Text, "The folder of a virtual environment"),
    key("interpreter", &Shape::Text, "A Python by its path; python3 without this and `venv`"),
];

const SPARK_CONNECTION: Key = key("connection", &Shape::Text, "A connection to a Spark; `spark_default` without this");
const SPARK_CONF: Key = key("conf", &VARIABLES, "Properties by Spark's names; no process list shows them");
const SPARK_NAME: Key = key("name", &Shape::Template, "What Spark's pages call it; DAG and task without this");
const SPARK_JARS: Key = key("jars", &ARGUMENTS, "Jars for driver and executors");
const SPARK_PACKAGES: Key = key("packages", &ARGUMENTS, "The same by their Maven coordinates");

const SPARK: &[Key] = &[
    required("application", &Shape::Template, "A Python file or a jar, as `spark-submit` finds it"),
    SPARK_CONNECTION,
    key("args", &ARGUMENTS, "What the application is given. Process lists show them"),
    SPARK_CONF,
    key("env", &VARIABLES, "Environment variables"),
    SPARK_NAME,
    key("java_class", &Shape::Text, "The main class of a jar"),
    SPARK_JARS,
    SPARK_PACKAGES,
    key("py_files", &ARGUMENTS, "Python files and archives that the application imports"),
    key("files", &ARGUMENTS, "Files for the folders of driver and executors"),
    key("driver_memory", &Shape::Text, "`1g`"),
    key("executor_memory", &Shape::Text, "`1g`"),
    key("executor_cores", &Shape::Count, "Cores of each executor"),
    key("total_executor_cores", &Shape::Count, "Of a standalone master: cores of all executors"),
    key("num_executors", &Shape::Count, "Of YARN and Kubernetes: how many executors"),
];

const SPARK_SQL: &[Key] = &[
    required("sql", &Shape::Template, "One statement, or several with `;` between them"),
    SPARK_CONNECTION,
    SPARK_CONF,
    SPARK_NAME,
    SPARK_JARS,
    SPARK_PACKAGES,
];

const NAMES: Shape = Shape::List(&Shape::Text);

const APPROVAL: &[Key] = &[
    required("subject", &Shape::Template, "What is to be decided"),
    key("body", &Shape::Template, "More about it"),
    key("defaults", &NAMES, "`[Approve]` or `[Reject]`: taken when there is no answer in time"),
    key("params", &Shape::Any, "JSON Schema of what is to be typed in"),
    key("assigned_users", &NAMES, "Only these users may answer; without this, anyone who may start runs"),
    key("timeout", &Shape::Time, "It waits so long; then the defaults are taken, or it fails"),
    key("fail_on_reject", &Shape::Flag, "A rejection fails the task"),
    key("ignore_downstream_trigger_rules", &Shape::Flag, "A rejection skips all that comes after it"),
];

const INPUT: &[Key] = &[
    required("subject", &Shape::Template, "What is asked"),
    key("body", &Shape::Template, "More about it"),
    key("options", &NAMES, "What can be chosen; one button, `OK`, without this"),
    key("multiple", &Shape::Flag, "Several options may be chosen"),
    key("defaults", &NAMES, "Options that are taken when there is no answer in time"),
    key("params", &Shape::Any, "JSON Schema of what is to be typed in"),
    key("assigned_users", &NAMES, "Only these users may answer; without this, anyone who may start runs"),
    key("timeout", &Shape::Time, "It waits so long; then the defaults are taken, or it fails"),
    key(
        "follow",
        &Shape::Table(&Shape::Text),
        "By option: the task that follows; the others right after it are skipped",
    ),
];

const BASH_TASK: Shape = Shape::Either(&[Shape::Object(BASH), Shape::Program]);
const PYTHON_TASK: Shape = Shape::Either(&[Shape::Object(PYTHON), Shape::Program]);

pub(in crate::file) const KINDS: &[TaskKind] = &[
    TaskKind {
        name: "bash",
        kind: "shell",
        shape: BASH_TASK,
        short: "command",
        about: "A command of bash. Exit code 99 skips the task; any other code but 0 fails the try",
    },
    TaskKind {
        name: "python",
        kind: "python",
        shape: PYTHON_TASK,
        short: "script",
        about: "A Python script. Exit code 99 skips the task; any other code but 0 fails the try",
    },
    TaskKind {
        name: "sql",
        kind: "sql",
        shape: Shape::Object(&[
            required("connection", &Shape::Text, "A connection to a Postgres"),
            required("statement", &Shape::Program, "One statement. Values come by `params`, never by its text"),
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
        name: "spark",
        kind: "spark",
        shape: Shape::Either(&[Shape::Object(SPARK), Shape::Template]),
        short: "application",
        about: "An application, by `spark-submit` or beside a Spark Connect server. Exit code 99 skips the task; any other code but 0 fails the try",
    },
    TaskKind {
        name: "spark_sql",
        kind: "spark_sql",
        shape: Shape::Either(&[Shape::Object(SPARK_SQL), Shape::Template]),
        short: "sql",
        about: "Statements of Spark's SQL. The output has the first 1000 rows of the last one",
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
        about: "Asks people for approval; a rejection skips what comes right after it",
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
