//! The list of DAGs, with its filters and orders.

use super::DagRow;
use crate::list::{Join, List};
use sqlx::FromRow;

/// Columns that users can filter DAGs by, and additional columns that pages and the API use.
pub mod by {
    use crate::list::Filter::{AnyOf, Is, Pattern, Prefix, Range, Search, Switch};
    use crate::list::{Column, ListColumnType, Words};
    use orch_spec::state::RunState;

    const STATES: Words = Words { noun: "state", words: RunState::WORDS };
    const NAMED: &str =
        "(d.dag_id ilike any($) or exists (select from unnest(d.aliases) a (name) where a.name ilike any($)))";
    const OF_A_RUN: &str = "exists (select from dag_run r where r.dag_id = d.dag_id and $)";

    pub const DAG_ID: Column = Column::text("dag_id", "d.dag_id").by(&[Prefix]).sorted();
    /// Matches the id or an alias of a DAG.
    pub const NAME: Column = Column::text("dag_id", NAMED).by(&[Pattern]);
    pub const TAGS: Column = Column::text("tags", "d.tags && $");
    pub const ALL_TAGS: Column = Column::text("tags", "d.tags @> $");
    pub const OWNERS: Column = Column::text("owners", "d.owners && $").by(&[AnyOf]).about("Of one of these owners");
    pub const PAUSED: Column = Column::flag("paused", "d.is_paused").about("Only paused ones, or only others");
    pub const LIVE: Column = Column::flag("exclude_stale", "not d.is_stale")
        .by(&[Switch(true)])
        .about("Without those that no worker has; true without it");
    pub const FAVORITE_OF: Column = Column::text(
        "is_favorite",
        "exists (select from favorite f where f.dag_id = d.dag_id and f.user_name = any($))",
    );
    pub const NOT_FAVORITE_OF: Column = Column::text(
        "is_favorite",
        "not exists (select from favorite f where f.dag_id = d.dag_id and f.user_name = any($))",
    );

    pub const HAS_IMPORT_ERRORS: Column = Column::flag(
        "has_import_errors",
        "exists (select from import_error e where e.bundle = d.bundle and e.file = d.file)",
    )
    .about("Their files are broken, or not");

    pub(super) const ALL: &[Column] = &[
        DAG_ID,
        NAME,
        Column::text("dag_display_name", NAMED).by(&[Pattern]),
        Column::text("dag_display_name", "d.dag_id").by(&[Prefix]).sorted(),
        Column::moment("next_dagrun", "d.next_run_after").nullable().sorted(),
        Column::text("state", "l.state::text").join("l").nullable().sorted(),
        Column::text("last_run_state", "l.state::text").join("l").nullable().sorted(),
        Column::moment("start_date", "l.started_at").join("l").nullable().sorted(),
        Column::moment("last_run_start_date", "l.started_at").join("l").nullable().sorted(),
        OWNERS,
        Column::text("timetable_type", TIMETABLE)
            .by(&[AnyOf])
            .about("With one of these timetables, such as `CronTriggerTimetable`"),
        PAUSED,
        LIVE,
        HAS_IMPORT_ERRORS,
        Column::flag(
            "has_asset_schedule",
            "exists (select from asset_use u where u.dag_id = d.dag_id and u.role = 'schedule')",
        )
        .about("Assets start their runs, or not"),
        Column::text("bundle_name", "d.bundle").by(&[Is]).about("Of that bundle"),
        Column::absent("bundle_version", ListColumnType::Text),
        Column::text(
            "asset_dependency",
            "exists (select from asset_use u left join asset a on a.id = u.asset left join asset_alias l on l.id = u.alias
            where u.dag_id = d.dag_id and u.role <> 'outlet'
              and (a.name ilike any($) or a.uri ilike any($) or l.name ilike any($)))",
        )
        .by(&[Search])
        .about("An asset with that in its name or URI starts its runs or is read by a task"),
        Column::words("last_dag_run_state", "l.state::text", STATES).by(&[Is]).about("Of the last run").join("l"),
        Column::words(
            "dag_run_state",
            "exists (select from dag_run r where r.dag_id = d.dag_id and r.state = any($::text[]::run_state[]))",
            STATES,
        )
        .by(&[AnyOf])
        .about("Some run is in one of these"),
        // The filters on start and end date must match the same run.
        Column::moment("dag_run_start_date", "r.started_at").by(&[Range]).within(OF_A_RUN),
        Column::moment("dag_run_end_date", "r.ended_at").by(&[Range]).within(OF_A_RUN),
    ];

    /// Matches Airflow's name for the timetable of the DAG.
    const TIMETABLE: &str = "exists (select from dag_version w where w.id = d.version and case coalesce(
            (select kind from json_object_keys(case json_typeof(w.spec->'schedule') when 'object' then w.spec->'schedule' end) kind),
            w.spec->>'schedule', 'manual')
        when 'manual' then 'NullTimetable'
        when 'once' then 'OnceTimetable'
        when 'continuous' then 'ContinuousTimetable'
        when 'cron' then case w.spec->>'timetable' when 'data_interval' then 'CronDataIntervalTimetable' else 'CronTriggerTimetable' end
        when 'every_ms' then case w.spec->>'timetable' when 'data_interval' then 'DeltaDataIntervalTimetable' else 'DeltaTriggerTimetable' end
        when 'assets' then 'AssetTriggeredTimetable'
        when 'asset_partitions' then 'PartitionedAssetTimetable'
        when 'assets_or_time' then 'AssetOrTimeSchedule' end = any($))";
}

/// DAGs, by default ordered by id.
pub static DAGS: List<DagRow> = List {
    select:
        "d.dag_id, d.version, v.number as version_number, d.description, d.tags, d.owners, d.aliases, d.bundle, d.file,
        d.is_paused, d.is_stale, d.schedule_text, d.max_active_runs, d.max_consecutive_failed_runs, d.next_run_after,
        d.next_logical_date, d.next_interval_start, d.next_interval_end, d.registered_at",
    from: "dag d",
    joins: &[
        Join { name: "v", sql: "join dag_version v on v.id = d.version", with: "", is_read: true },
        Join {
            name: "l",
            sql: "left join lateral (select r.state, r.started_at from dag_run r where r.dag_id = d.dag_id
                order by r.run_after desc, r.id desc limit 1) l on true",
            with: "",
            is_read: false,
        },
    ],
    columns: by::ALL,
    key: "d.dag_id",
    order: &[],
    read: |row| Ok(DagRow::from_row(row)?),
};
