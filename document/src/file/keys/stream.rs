//! The keys of a stream.

use super::dag::NOTIFIERS;
use super::{Key, Shape, TEXTS, key, required};
use crate::stream::{DATABASES, POLICIES, RUNS, STARTS};

const BETWEEN: &[Key] = &[
    required("column", &Shape::Text, "The column of the values"),
    key("least", &Shape::Any, "No value is less: a number, a date or a time"),
    key("most", &Shape::Any, "No value is greater"),
];

const FRESH: &[Key] = &[
    required("column", &Shape::Text, "A column of times"),
    required("within", &Shape::Time, "The newest value is no older than this"),
];

const CHECK: &[Key] = &[
    key("not_null", &TEXTS, "Columns that have a value in every row"),
    key("between", &Shape::Object(BETWEEN), "Values that are neither too small nor too large; nulls fit"),
    key("unique", &TEXTS, "Columns whose values no two rows of a commit share"),
    key("fresh", &Shape::Object(FRESH), "How old the newest value may be"),
    key("or", &Shape::Word(POLICIES), "What becomes of other rows; `quarantine` without this, `warn` for `fresh`"),
];

const POSTGRES: &[Key] = &[
    required("connection", &Shape::Text, "The connection of the database"),
    required("table", &Shape::Text, "The table, as in `public.weather`; it is created when it is missing"),
];

const RUNS_OF: &[Key] = &[
    required("dag", &Shape::Text, "The DAG that records start"),
    key("per", &Shape::Word(RUNS), "Which records a run is for; `record` without this"),
    key("most_open", &Shape::Count, "No more are started while so many are not over; 16 without this"),
];

const HOPPING: &[Key] = &[
    required("size", &Shape::Time, "How long a window is"),
    required("every", &Shape::Time, "How long after a window the next one begins"),
];

const WINDOWS: &[Key] = &[
    key("tumbling", &Shape::Time, "Windows of this length, one after the other"),
    key("hopping", &Shape::Object(HOPPING), "Windows that overlap"),
    key("session", &Shape::Time, "Windows that end so long after their last record"),
    key("by", &TEXTS, "Each value of these columns has windows of its own"),
    required("at", &Shape::Text, "The column that says when it happened: a timestamp"),
    key("allow_late", &Shape::Time, "How long a window takes records after its end"),
    required(
        "measures",
        &Shape::Table(&Shape::Text),
        "Columns of the table: `count`, `sum(x)`, `average(x)`, `least(x)`, `greatest(x)`",
    ),
];

const CHANGES: &[Key] = &[
    key("decimals_as_bytes", &Shape::Flag, "As with `decimal.handling.mode=precise`"),
    key("times_in_milliseconds", &Shape::Flag, "As with `time.precision.mode=connect`"),
];

const CAPTURE: &[Key] = &[
    required("database", &Shape::Word(DATABASES), "Which kind of database it is"),
    required("connection", &Shape::Text, "The connection of the database"),
    required("tables", &TEXTS, "Tables as `schema.table`, of MySQL as `database.table`"),
    key("topics", &Shape::Text, "How the names of topics begin; the id of the connection without this"),
    key("slot", &Shape::Text, "Of Postgres: the slot by which the server keeps its log for this stream"),
    key("publication", &Shape::Text, "Of Postgres: the publication of the tables"),
    key("snapshot_by_mirrors", &Shape::Flag, "Of Postgres: rows that are there are copied by mirrors, not by topics"),
    key("server_id", &Shape::Count, "Of MySQL: the number by which the server knows its readers"),
    key("leave_out", &Shape::Table(&TEXTS), "Of MySQL: columns of a table that are in no record"),
];

const SNAPSHOT_FROM: &[Key] = &[
    required("connection", &Shape::Text, "The connection of the database"),
    required("table", &Shape::Text, "The table, as in `public.orders`"),
];

pub(in crate::file) const STREAM: &[Key] = &[
    key("name", &Shape::Text, "What it is called; the name of the file without this"),
    key("description", &Shape::Text, "What it is for, in a sentence"),
    key("connection", &Shape::Text, "The connection that says where topics are; `topics` without this"),
    key("topic", &Shape::Text, "The topic that it reads"),
    key("partitions", &Shape::Count, "With how many a topic is created that is missing; 1 without this"),
    key(
        "shares",
        &Shape::Count,
        "Into how many shares partitions are dealt out, which processes read side by side; 1 without this",
    ),
    key("start", &Shape::Word(STARTS), "Where it begins when it has read nothing; `earliest` without this"),
    key("fields", &Shape::Table(&Shape::Any), "The fields of a record and their types"),
    key("ignore_unknown_fields", &Shape::Flag, "Fields that are not named are passed over"),
    key("numbers_as_text", &Shape::Flag, "A number or a boolean may be given where a text is wanted"),
    key(
        "changes",
        &Shape::Either(&[Shape::Flag, Shape::Object(CHANGES)]),
        "Records tell changes of rows, as Debezium does; `fields` are the columns",
    ),
    key(
        "columns",
        &Shape::Table(&Shape::Text),
        "The columns of the table, each as an expression of SQL; the fields without this",
    ),
    key("where", &Shape::Text, "Only rows for which this condition of SQL holds"),
    key("contract", &Shape::List(&Shape::Object(CHECK)), "What must hold of the rows"),
    key("table", &Shape::Text, "The table of the lake, as in `weather.readings`; it is created when it is missing"),
    key("postgres", &Shape::Object(POSTGRES), "A table of Postgres instead"),
    key("runs", &Shape::Object(RUNS_OF), "Records start runs of a DAG instead"),
    key("key", &TEXTS, "The table has one row for each value of these columns"),
    key(
        "newest_by",
        &Shape::Text,
        "Of rows with one key the one with the greatest value here counts; the last one without this",
    ),
    key("partition_by", &TEXTS, "Of a table of the lake: columns, `day(ts)`, `bucket(16, id)`, `truncate(4, name)`"),
    key("sort_by", &TEXTS, "Of a table of the lake: how rows are sorted in each file"),
    key("properties", &Shape::Table(&Shape::Text), "Of a table of the lake"),
    key("windows", &Shape::Object(WINDOWS), "Rows are added up in windows of time"),
    key(
        "snapshot_from",
        &Shape::Object(SNAPSHOT_FROM),
        "Of a mirror: the table that it copies where the capture says `snapshot_by_mirrors`",
    ),
    key("delete_on_tombstone", &Shape::Flag, "A record without a value deletes the row of its key"),
    key("capture", &Shape::Object(CAPTURE), "It brings changes of a database into topics, and reads none"),
    key("commit_every", &Shape::Time, "How long rows wait for others before they are published; 1s without this"),
    key("on_failure", &NOTIFIERS, "Notifiers for when it stops or keeps failing"),
    key("paused", &Shape::Flag, "Until a person resumes it, it does nothing"),
];
