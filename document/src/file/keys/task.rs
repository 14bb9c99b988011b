//! The keys of tasks and groups, except options and work.

use super::dag::{ASSETS, NOTIFIERS};
use super::{Key, Shape, TEXTS, key, required};

const MAP: Shape = Shape::Either(&[
    Shape::List(&Shape::Any),
    Shape::Object(&[
        key("zip", &Shape::List(&Shape::Any), "Element i of every list"),
        key("cross", &Shape::List(&Shape::Any), "Every combination, the last list fastest"),
    ]),
    Shape::Template,
]);

const TEARDOWN: Shape = Shape::Either(&[Shape::Flag, Shape::List(&Shape::Text), Shape::Text]);

/// Keys of a task, in addition to its options and its work.
pub(in crate::file) const TASK: &[Key] = &[
    key("doc", &Shape::Text, "What the UI says about it"),
    key("after", &TEXTS, "Waits for these tasks or groups"),
    key("when", &Shape::Table(&Shape::Any), "Runs only if these tasks gave this value, or one of these"),
    key("map", &MAP, "Runs once for each element: a list, `{{ upstream.x.output }}`, `zip` or `cross` of these"),
    key("setup", &Shape::Flag, "Prepares something that a teardown removes"),
    key(
        "teardown",
        &TEARDOWN,
        "Removes what these setups prepared, even if the work between failed; true: of no setup",
    ),
    key("inlets", &ASSETS, "Assets that it reads"),
    key("outlets", &ASSETS, "Assets that it updates when it succeeds"),
    key("on_success", &NOTIFIERS, "Notifiers for when it succeeded"),
    key("on_failure", &NOTIFIERS, "Notifiers for when it failed for good"),
    key("on_retry", &NOTIFIERS, "Notifiers for when a try failed and another follows"),
    key("on_skipped", &NOTIFIERS, "Notifiers for when it skipped itself"),
    key("on_awaiting_input", &NOTIFIERS, "Notifiers for when it asks people, and begins to wait for them"),
];

/// Keys of a group, in addition to the options of its tasks.
pub(in crate::file) const GROUP: &[Key] = &[
    key("doc", &Shape::Text, "What the UI says about it"),
    key("after", &TEXTS, "The tasks with which it begins wait for these tasks or groups"),
    key("map", &MAP, "The tasks in it run once for each element"),
    required("tasks", &Shape::Tasks, "Tasks and groups in it; their ids begin with its name"),
];
