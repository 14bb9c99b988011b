//! The list of the audit log, with its filters and orders.

use super::AuditRow;
use crate::list::{List, Search};
use sqlx::FromRow;

/// Columns that users can filter the audit log by.
pub mod by {
    use crate::list::Filter::{AnyOf, Bound, Is, NoneOf, Pattern, Prefix};
    use crate::list::{Column, Compare, ListColumnType};

    pub const ID: Column = Column::whole("id", "id").sorted();
    pub const DAG_ID: Column = exact("dag_id", "dag_id");
    pub const RUN_ID: Column = exact("run_id", "run_id");
    pub const TASK_ID: Column = exact("task_id", "task_id");
    pub const ACTOR: Column = exact("owner", "actor");
    pub const EVENT: Column = exact("event", "event");
    pub const NOT_EVENTS: Column = Column::text("excluded_events", "event").by(&[NoneOf]).about("All but these");
    pub const BEFORE: Column = Column::moment("before", "at").by(&[Bound(Compare::Below)]).about("Earlier");
    pub const AFTER: Column = Column::moment("after", "at").by(&[Bound(Compare::Above)]).about("Later");

    pub(super) const ALL: &[Column] = &[
        ID,
        // Sorted by id, because ids are in the order of writing.
        Column::moment("when", "id").sorted(),
        Column::moment("dttm", "id").sorted(),
        DAG_ID,
        TASK_ID,
        RUN_ID,
        ACTOR,
        EVENT,
        Column::whole("map_index", "map_index").by(&[Is]).about("Of that element"),
        Column::absent("try_number", ListColumnType::Whole)
            .about("The log does not say which try it was: finds nothing"),
        Column::text("included_events", "event").by(&[AnyOf]).about("Only these"),
        NOT_EVENTS,
        BEFORE,
        AFTER,
    ];

    const fn exact(name: &'static str, sql: &'static str) -> Column {
        Column::text(name, sql).by(&[Is, Pattern, Prefix]).about("Exactly that").nullable().sorted()
    }
}

/// Returns a search for the newest `most` actions.
pub fn newest(most: i64) -> Search {
    Search::default().by(by::ID.descending()).page(0, most)
}

/// Actions in the audit log, by default in the order of writing.
pub static AUDIT: List<AuditRow> = List {
    select: "id, at, actor, event, dag_id, run_id, task_id, map_index, extra",
    from: "audit",
    joins: &[],
    columns: by::ALL,
    key: "id",
    order: &[],
    read: |row| Ok(AuditRow::from_row(row)?),
};
