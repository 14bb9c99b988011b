//! The list of runs that users can filter and sort.

use super::RunDetails;
use super::list::Row;
use crate::list::{Join, List, Search};
use sqlx::FromRow;

/// Columns of runs by which users may filter or sort, and further columns that pages and user actions use.
pub mod by {
    use crate::list::Filter::{AnyOf, Pattern, Prefix, Range, Search};
    use crate::list::{Column, ListColumnType, Words};
    use orch_spec::state::{RunState, RunType};

    const STATES: Words = Words { noun: "state", words: RunState::WORDS };
    const TYPES: Words = Words { noun: "run type", words: RunType::WORDS };

    /// Run id. Sorting by it sorts by creation time, because ids are UUIDs v7.
    pub const ID: Column = Column::text("id", "r.id").sorted();
    pub const DAG_ID: Column = Column::text("dag_id", "r.dag_id").by(&[Pattern, Prefix]).sorted();
    pub const RUN_ID: Column = Column::text("run_id", "r.run_id").by(&[Pattern, Prefix]).sorted();
    pub const STATE: Column = Column::words("state", "r.state", STATES)
        .by(&[AnyOf])
        .about("In one of these states")
        .cast("run_state")
        .also(said_again)
        .sorted_by("r.state::text");
    pub const RUN_TYPE: Column =
        Column::words("run_type", "r.run_type", TYPES).by(&[AnyOf]).about("Of one of these types").cast("run_type");
    pub const VERSION: Column =
        Column::whole("dag_version", "v.number").by(&[AnyOf]).about("Of one of these versions").join("v");
    pub const USER: Column = Column::text("triggering_user_name", "r.triggered_by_user").by(&[Pattern, Prefix]);
    pub const PARTITION_KEY: Column = Column::text("partition_key", "r.partition_key").by(&[Pattern, Prefix]);
    pub const RUN_AFTER: Column = Column::moment("run_after", "r.run_after").by(&[Range]).sorted();
    pub const LOGICAL_DATE: Column = Column::moment("logical_date", "r.logical_date").by(&[Range]).nullable().sorted();
    pub const STARTED: Column = Column::moment("start_date", "r.started_at").by(&[Range]).nullable().sorted();
    pub const ENDED: Column = Column::moment("end_date", "r.ended_at").by(&[Range]).nullable().sorted();
    /// Time of the last change to the run that is visible to users.
    pub const UPDATED: Column =
        Column::moment("updated_at", "coalesce(r.ended_at, r.started_at, r.created_at)").by(&[Range]).sorted();
    /// Duration of the run, computed by the same SQL function as in the list, so that sorting matches what is
    /// displayed. Null until the run has ended.
    pub const DURATION: Column = Column::number("duration", "active_seconds(r.started_at, r.ended_at, r.idle_micros)")
        .by(&[Range])
        .nullable()
        .sorted();
    pub const CONF: Column = Column::text("conf", "m.conf::text").join("m").nullable().sorted();
    pub const CONF_CONTAINS: Column =
        Column::text("conf_contains", "m.conf::text").by(&[Search]).about("That is in its conf").join("m");
    /// Matches runs that consumed an event of an asset with one of these values in its name or URI.
    pub const CONSUMED_ASSET: Column = Column::text(
        "consuming_asset",
        "exists (select from dag_run_event c join asset_event e on e.id = c.event left join asset a on a.id = e.asset
        where c.run = r.id and (a.name ilike any($) or e.uri ilike any($)))",
    )
    .by(&[Pattern])
    .about("An asset with that in its name or URI began it");
    /// Matches runs that missed a deadline, at most the last 10,000 of them. Uses an array of ids and not a join,
    /// because the planner then starts from the few late runs for every sort order.
    pub const LATE: Column = Column::flag(
        "late",
        "r.id = any(array(select run from deadline where state = 'missed' order by due_at desc limit 10000))",
    );

    pub(super) const ALL: &[Column] = &[
        ID,
        STATE,
        DAG_ID,
        RUN_ID,
        Column::text("dag_run_id", "r.run_id").sorted(),
        DURATION,
        CONF,
        Column::text("partition_date", "r.id").sorted(),
        RUN_AFTER,
        LOGICAL_DATE,
        STARTED,
        ENDED,
        UPDATED,
        USER,
        PARTITION_KEY,
        RUN_TYPE,
        VERSION,
        CONF_CONTAINS,
        Column::absent("bundle_version", ListColumnType::Text),
        Column::absent("partition_date_gte", ListColumnType::Text),
        Column::absent("partition_date_lte", ListColumnType::Text),
        CONSUMED_ASSET,
    ];

    /// Returns the predicate of a partial index if all `states` are unfinished, or if all are failed. Such runs are
    /// rare and have separate partial indexes.
    fn said_again(states: &[String]) -> &'static str {
        let are = |known: &[&str]| states.iter().all(|state| known.contains(&state.as_str()));
        if are(&["queued", "running"]) {
            " and r.state in ('queued', 'running')"
        } else if are(&["failed"]) {
            " and r.state = 'failed'"
        } else {
            ""
        }
    }
}

/// Returns a search for the newest runs of a DAG, ordered by the time from which each run may start.
pub fn newest_of_dag(dag_id: &str, most: i64) -> Search {
    Search::default().and(by::DAG_ID.is(dag_id)).by(by::RUN_AFTER.descending()).page(0, most)
}

/// The list of runs, sorted from oldest to newest by default.
pub static RUNS: List<RunDetails> = List {
    select: "r.id, r.dag_id, r.run_id, r.rev, r.version, v.number as version_number, v.created_at as version_created_at,
        v.bundle, r.clear_number, r.state::text as state, r.run_type::text as run_type, r.logical_date, r.interval_start,
        r.interval_end, r.run_after, r.created_at, r.started_at, r.ended_at, r.triggered_by, r.triggered_by_user, m.conf,
        m.note, r.partition_key, r.idle_micros",
    from: "dag_run r",
    joins: &[
        Join { name: "v", sql: "join dag_version v on v.id = r.version", with: "", is_read: true },
        Join { name: "m", sql: "left join dag_run_detail m on m.run = r.id", with: "", is_read: true },
    ],
    columns: by::ALL,
    key: "r.id",
    order: &[],
    read: |row| Row::from_row(row)?.details(),
};
