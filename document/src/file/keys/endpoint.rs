//! The keys of a published query.

use super::{Key, Shape, key, required};

const PARAM_TYPES: &[&str] = &["integer", "number", "text", "boolean", "date", "timestamp"];
const COLUMN_TYPES: &[&str] = &["integer", "number", "text", "boolean", "date", "timestamp", "list"];

const OPTIONAL_TEXT: Shape = Shape::Either(&[Shape::Nothing, Shape::Text]);
const OPTIONAL_NUMBER: Shape = Shape::Either(&[Shape::Nothing, Shape::Number]);

const PARAM: &[Key] = &[
    required("name", &Shape::Text, "The query names the value as `$name`"),
    required("type", &Shape::Word(PARAM_TYPES), "The type of the value"),
    key("about", &Shape::Text, "A sentence for the documentation"),
    key("required", &Shape::Flag, "Requests without the value are refused"),
    key("default", &Shape::Any, "The value of requests that have none"),
    key("default_sql", &OPTIONAL_TEXT, "A query of one value that is the default, such as the newest day of a table"),
    key("minimum", &OPTIONAL_NUMBER, "The smallest number that is accepted"),
    key("maximum", &OPTIONAL_NUMBER, "The largest number that is accepted"),
    key("one_of", &Shape::List(&Shape::Text), "The texts that are accepted"),
];

/// The columns of a list. Lists inside them are checked when the file is deserialized.
const INNER_COLUMN: &[Key] = &[
    required("name", &Shape::Text, "The name of the column in the result of the query"),
    required("type", &Shape::Word(COLUMN_TYPES), "The type of its values"),
    key("about", &Shape::Text, "A sentence for the documentation"),
    key("of", &Shape::Any, "The columns of the entries of a list"),
];

const COLUMN: &[Key] = &[
    required("name", &Shape::Text, "The name of the column in the result of the query"),
    required("type", &Shape::Word(COLUMN_TYPES), "The type of its values"),
    key("about", &Shape::Text, "A sentence for the documentation"),
    key("of", &Shape::List(&Shape::Object(INNER_COLUMN)), "The columns of the entries of a list"),
];

pub(in crate::file) const ENDPOINT: &[Key] = &[
    required("path", &Shape::Text, "The path below `/serving`, such as `/api/v1/trips/recent`"),
    required("about", &Shape::Text, "A description of the result, in a sentence or two"),
    key("role", &Shape::Text, "Callers have this role or a higher one; default: `viewer`"),
    key("params", &Shape::List(&Shape::Object(PARAM)), "Values that callers send"),
    key("connection", &OPTIONAL_TEXT, "The id of the connection of the Postgres that is queried; default: the lake"),
    required("sql", &Shape::Text, "A single `select` that names each parameter as `$name`"),
    required("columns", &Shape::List(&Shape::Object(COLUMN)), "The columns of the result, in the order of the query"),
    key("shape", &Shape::Word(&["rows", "row"]), "The form of the response in JSON; default: `rows`"),
    key("timeout_seconds", &Shape::Count, "A query that takes longer is cancelled; default: 10"),
];
