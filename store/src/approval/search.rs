//! The list of approval questions, with its filters and orders.

use super::{ApprovalRow, Columns};
use crate::list::{Join, List};
use sqlx::FromRow;

/// Columns that users can filter questions by, and additional columns that pages use.
pub mod by {
    use crate::list::Filter::{AnyOf, Is, Pattern, Prefix, Range, Search};
    use crate::list::{Column, Words};
    use orch_spec::state::TaskState;

    const SUBJECT: &str = "a.question ->> 'subject'";
    const BODY: &str = "a.question ->> 'body'";
    /// Must contain the text of `orch_spec::approval::FALLBACK`.
    const ANSWERED_BY: &str = "case when a.given is not null then coalesce(a.given_by, 'Fallback to defaults') end";
    const STATES: Words = Words { noun: "state", words: TaskState::WORDS };

    pub const ATTEMPT: Column = Column::text("ti_id", "a.attempt").sorted();
    pub const DAG_ID: Column = Column::text("dag_id", "r.dag_id")
        .by(&[Is, Pattern, Prefix])
        .about("Of that DAG, when all are asked for")
        .sorted();
    pub const RUN_ID: Column = Column::text("run_id", "r.run_id").sorted();
    pub const TASK_ID: Column = Column::text("task_id", "a.task_id").by(&[Is, Pattern, Prefix]).about("Of that task");
    pub const MAP_INDEX: Column =
        Column::whole("map_index", "a.map_index").by(&[Is]).about("Of that element; -1: not mapped");
    pub const TRY: Column = Column::whole("try_number", "a.try_no");
    pub const ASKED_AT: Column = Column::moment("created_at", "a.asked_at").by(&[Range]).sorted();
    /// A question is open while its wait exists.
    pub const OPEN: Column =
        Column::flag("open", "exists (select from waiting w where w.attempt = a.attempt and w.kind = 'answer')");
    pub const ANSWERED: Column =
        Column::flag("response_received", "a.given is not null").about("Only what was answered, or only what was not");
    pub const ANSWERED_BY_ID: Column = Column::text("responded_by_user_id", ANSWERED_BY)
        .by(&[AnyOf])
        .about("Answered by one of these users")
        .nullable()
        .sorted();
    pub const SUBJECT_SEARCH: Column = Column::text("subject_search", SUBJECT)
        .by(&[Search])
        .about("That is in the subject, in any case; `|` between alternatives");
    pub const BODY_SEARCH: Column = Column::text("body_search", BODY)
        .by(&[Search])
        .about("That is in the body, in any case; `|` between alternatives");
    /// Must return the same states as `queries/instance/list.sql`.
    pub const STATE: Column = Column::words(
        "state",
        "coalesce(
    case when q.run is not null then case when q.queue > 0 then 'queued' else 'scheduled' end end,
    (select w.state::text from waiting w where w.run = a.run and w.task = place.task and w.map_index = a.map_index),
    (select 'scheduled' from held h where h.run = a.run and h.task = place.task and h.map_index = a.map_index),
    (select t.state::text from task_instance t where t.run = a.run and t.task = place.task and t.map_index = a.map_index),
    'none')",
        STATES,
    )
    .by(&[AnyOf])
    .about("Of its instance; `awaiting_input`: only what can be answered now")
    .join("place");
    /// True for a question of the last attempt of its instance that asked one.
    pub const LAST: Column = Column::flag(
        "last",
        "not exists (select from approval b where b.run = a.run and b.task_id = a.task_id
    and b.map_index = a.map_index and b.try_no > a.try_no)",
    );

    pub(super) const ALL: &[Column] = &[
        ATTEMPT,
        Column::text("subject", SUBJECT).sorted(),
        Column::moment("responded_at", "case when a.given is not null then a.ended_at end").nullable().sorted(),
        ASKED_AT,
        ANSWERED_BY_ID,
        ANSWERED_BY_ID.called("responded_by_user_name").about("The same"),
        DAG_ID,
        RUN_ID,
        Column::text("task_display_name", "a.task_id").sorted(),
        Column::moment("run_after", "r.run_after").sorted(),
        Column::whole("rendered_map_index", "a.map_index").sorted(),
        Column::text("task_instance_operator", "place.kind").join("place").nullable().sorted(),
        STATE.called("task_instance_state").by(&[]).sorted(),
        TASK_ID,
        MAP_INDEX,
        STATE,
        ANSWERED,
        SUBJECT_SEARCH,
        BODY_SEARCH,
    ];
}

/// Approval questions, by default newest first.
pub static APPROVALS: List<ApprovalRow> = List {
    select: "a.attempt, a.run, r.dag_id, r.run_id, a.task_id, a.map_index, a.try_no, a.question::text as question, a.asked_at,
        a.give_up_at, a.ended_at, a.given::text as given, a.given_by, a.timed_out,
        exists (select from waiting w where w.attempt = a.attempt and w.kind = 'answer') as is_open",
    from: "approval a join dag_run r on r.id = a.run",
    joins: &[Join {
        name: "place",
        // Index and kind of each task, for the DAG versions of runs that have questions. Materialized, so that each
        // version is parsed only once.
        with: "with place as materialized (
    select v.id as version, t.spec ->> 'task_id' as task_id, (t.place - 1)::smallint as task, t.spec ->> 'kind' as kind
    from dag_version v, json_array_elements(v.spec -> 'tasks') with ordinality as t (spec, place)
    where v.id in (select o.version from dag_run o where o.id in (select run from approval))) ",
        // `ready` has no index by instance. A join reads the table only once.
        sql: "left join place on place.version = r.version and place.task_id = a.task_id
    left join ready q on q.run = a.run and q.task = place.task and q.map_index = a.map_index",
        is_read: false,
    }],
    columns: by::ALL,
    key: "a.attempt",
    order: &[by::ASKED_AT.descending()],
    read: |row| Columns::from_row(row)?.row(),
};

#[cfg(test)]
mod tests {
    use super::by;

    #[test]
    fn nobody_is_called_as_in_the_spec() {
        assert!(by::ANSWERED_BY_ID.sql.contains(orch_spec::approval::FALLBACK));
    }
}
