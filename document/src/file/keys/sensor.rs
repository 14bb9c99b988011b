//! The conditions that a sensor can wait for.

use super::{Key, Shape, TEXTS, VARIABLES, key, required};

/// The conditions of a sensor. Exactly one must be set.
pub(in crate::file) const SENSORS: &[Key] = &[
    key(
        "file",
        &Shape::Either(&[
            Shape::Object(&[
                required("path", &Shape::Template, "`*` and `?` stand for letters of one name"),
                key("min_age", &Shape::Time, "It has not been written to for so long"),
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
            required("statement", &Shape::Program, "Met when its first cell is true, not 0 and not empty"),
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
                key("allowed", &TEXTS, "The states to wait for; `success` if left out"),
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

/// Keys next to the condition, but not inside `any` and `all`.
pub(in crate::file) const SENSOR: &[Key] = &[
    key("timeout", &Shape::Time, "It waits so long; for ever without this"),
    key("on_timeout", &Shape::Word(&["fail", "skip", "resume"]), "What happens then; `resume` continues with null"),
    key("poke", &Shape::Time, "How long between two looks"),
];
