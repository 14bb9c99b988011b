//! The list of task outputs for users.

use crate::list::List;
use crate::narrow;
use chrono::{DateTime, Utc};
use orch_core::plan::TaskIdx;
use sqlx::FromRow;

/// A stored output, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputRow {
    pub task: TaskIdx,
    pub map_index: i32,
    pub key: String,
    pub created_at: DateTime<Utc>,
}

/// Columns of outputs by which users may filter or sort. A list contains the outputs of a single run.
pub mod by {
    use crate::list::Column;
    use crate::list::Filter::{Is, Pattern, Prefix, Range};

    pub const RUN: Column = Column::text("run_id", "run").sorted_by("task");
    /// Index of the task in the plan of the run's DAG version.
    pub const TASK: Column = Column::whole("task_id", "task").sorted();
    pub const MAP_INDEX: Column =
        Column::whole("map_index", "map_index").by(&[Is]).about("Of that element; -1: not mapped").sorted();
    pub const KEY: Column = Column::text("xcom_key", "key").by(&[Is, Pattern, Prefix]).about("Of that name");

    pub(super) const ALL: &[Column] = &[
        Column::text("key", "key").sorted(),
        Column::text("dag_id", "task").sorted(),
        RUN,
        TASK,
        MAP_INDEX,
        Column::moment("timestamp", "created_at").sorted(),
        Column::moment("run_after", "task").sorted(),
        Column::whole("map_index_filter", "map_index").by(&[Is]).about("The same"),
        KEY,
        // Filters by the run or by task names. They are not columns of the table, so the caller applies them.
        Column::moment("logical_date", "").by(&[Range]),
        Column::moment("run_after", "").by(&[Range]),
        Column::text("run_id", "").by(&[Pattern, Prefix]),
        Column::text("dag_display_name", "").by(&[Pattern, Prefix]),
        Column::text("task_id", "").by(&[Pattern, Prefix]),
    ];
}

/// The list of a run's outputs, sorted by task in DAG order, then by map index and key by default.
pub static OUTPUTS: List<OutputRow> = List {
    select: "task, map_index, key, created_at",
    from: "output",
    joins: &[],
    columns: by::ALL,
    key: "task, map_index, key",
    order: &[],
    read: |row| {
        let (task, map_index, key, created_at) = <(i16, i32, String, DateTime<Utc>)>::from_row(row)?;
        Ok(OutputRow { task: narrow::task(usize::try_from(task).unwrap_or_default()), map_index, key, created_at })
    },
};
