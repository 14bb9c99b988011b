//! DAGs by any mix of conditions and orders, as the REST API lets people ask. The text holds only the conditions that are
//! there; it is put together from the words of this file, and every value is bound.

use super::{DagRow, MOST_DAGS};
use crate::{
    StoreResult, boxed,
    run::{Compare, RunTime},
};
use chrono::{DateTime, Utc};
use orch_spec::state::RunState;
use sqlx::QueryBuilder;
use sqlx::postgres::{PgConnection, Postgres};

/// Which DAGs, in which order, and which of them.
#[derive(Debug, Clone, Default)]
pub struct DagSearch {
    /// All must hold.
    pub conditions: Vec<DagCondition>,
    /// By id without one; `true` descends.
    pub order: Vec<(DagOrder, bool)>,
    pub most: i64,
    /// Leave out that many.
    pub skip: i64,
}

#[derive(Debug, Clone)]
pub enum DagCondition {
    /// One of these is in its id or an alias, in any case; `%` is any text, `_` any character.
    Contains(Vec<String>),
    StartsWith(Vec<String>),
    /// One of these tags, or all of them.
    Tags(Vec<String>, bool),
    Owners(Vec<String>),
    Paused(bool),
    Stale(bool),
    Bundle(String),
    /// Of its last run.
    LastState(RunState),
    /// Some run of it is in one of these.
    SomeState(Vec<RunState>),
    /// Some run of it began or ended then: all of these hold of the same one.
    SomeRun(Vec<(RunTime, Compare, DateTime<Utc>)>),
    /// Assets start its runs, or not.
    AssetSchedule(bool),
    /// It names an asset with one of these in its name or URI, or an alias.
    NamesAsset(Vec<String>),
    /// This person likes it best, or not.
    Favorite(String, bool),
    /// Its file is broken, or not.
    ImportErrors(bool),
    /// Its timetable is one of these, by Airflow's names.
    Timetable(Vec<String>),
    /// What no DAG has.
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DagOrder {
    Id,
    NextRun,
    LastState,
    LastStart,
}

const LAST: &str = " left join lateral (select r.state, r.started_at from dag_run r where r.dag_id = d.dag_id
    order by r.run_after desc, r.id desc limit 1) l on true";

/// Airflow's name for the timetable of the version `w`.
const TIMETABLE: &str = "case coalesce(
        (select kind from json_object_keys(case json_typeof(w.spec->'schedule') when 'object' then w.spec->'schedule' end) kind),
        w.spec->>'schedule', 'manual')
    when 'manual' then 'NullTimetable'
    when 'once' then 'OnceTimetable'
    when 'continuous' then 'ContinuousTimetable'
    when 'cron' then case w.spec->>'timetable' when 'data_interval' then 'CronDataIntervalTimetable' else 'CronTriggerTimetable' end
    when 'every_ms' then case w.spec->>'timetable' when 'data_interval' then 'DeltaDataIntervalTimetable' else 'DeltaTriggerTimetable' end
    when 'assets' then 'AssetTriggeredTimetable'
    when 'asset_partitions' then 'PartitionedAssetTimetable'
    when 'assets_or_time' then 'AssetOrTimeSchedule' end";

/// A page of them.
#[boxed]
pub async fn search_dags(db: &mut PgConnection, search: &DagSearch) -> StoreResult<Vec<DagRow>> {
    let mut query = QueryBuilder::<Postgres>::new(
        "select d.dag_id, d.version, v.number as version_number, d.description, d.tags, d.owners, d.aliases, d.bundle,
        d.file, d.is_paused, d.is_stale, d.schedule_text, d.max_active_runs, d.max_consecutive_failed_runs,
        d.next_run_after, d.next_logical_date, d.next_interval_start, d.next_interval_end, d.registered_at
        from dag d join dag_version v on v.id = d.version",
    );
    search.push(&mut query);
    query.push(" order by ");
    for (order, descends) in &search.order {
        query.push(order.column()).push(if *descends { " desc nulls last, " } else { " asc nulls last, " });
    }
    query.push("d.dag_id limit ").push_bind(search.most.clamp(0, MOST_DAGS));
    query.push(" offset ").push_bind(search.skip.max(0));
    Ok(query.build_query_as().fetch_all(db).await?)
}

/// How many there are in all.
#[boxed]
pub async fn count_found_dags(db: &mut PgConnection, search: &DagSearch) -> StoreResult<i64> {
    let mut query = QueryBuilder::<Postgres>::new("select count(*) from dag d");
    search.push(&mut query);
    Ok(query.build_query_scalar().fetch_one(db).await?)
}

impl DagSearch {
    fn push(&self, query: &mut QueryBuilder<Postgres>) {
        let of_last = |condition: &DagCondition| matches!(condition, DagCondition::LastState(_));
        let by_last = |order: &(DagOrder, bool)| matches!(order.0, DagOrder::LastState | DagOrder::LastStart);
        if self.conditions.iter().any(of_last) || self.order.iter().any(by_last) {
            query.push(LAST);
        }
        query.push(" where true");
        self.conditions.iter().for_each(|condition| condition.push(query));
    }
}

impl DagCondition {
    fn push(&self, query: &mut QueryBuilder<Postgres>) {
        query.push(" and ");
        match self {
            DagCondition::Contains(parts) => {
                let patterns: Vec<String> =
                    parts.iter().map(|part| format!("%{}%", part.replace('\\', "\\\\"))).collect();
                query.push("(d.dag_id ilike any(").push_bind(patterns.clone());
                query.push(") or exists (select from unnest(d.aliases) a (name) where a.name ilike any(");
                query.push_bind(patterns).push(")))")
            }
            DagCondition::StartsWith(starts) => {
                let literal = |text: &String| text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_") + "%";
                query.push("d.dag_id like any(").push_bind(starts.iter().map(literal).collect::<Vec<_>>()).push(")")
            }
            DagCondition::Tags(tags, all) => {
                query.push(if *all { "d.tags @> " } else { "d.tags && " }).push_bind(tags.clone())
            }
            DagCondition::Owners(owners) => query.push("d.owners && ").push_bind(owners.clone()),
            DagCondition::Paused(paused) => query.push("d.is_paused = ").push_bind(*paused),
            DagCondition::Stale(stale) => query.push("d.is_stale = ").push_bind(*stale),
            DagCondition::ImportErrors(has) => {
                query.push("exists (select from import_error e where e.bundle = d.bundle and e.file = d.file) = ");
                query.push_bind(*has)
            }
            DagCondition::Bundle(bundle) => query.push("d.bundle = ").push_bind(bundle.clone()),
            DagCondition::LastState(state) => query.push("l.state::text = ").push_bind(state.as_str()),
            DagCondition::SomeState(states) => {
                let words: Vec<String> = states.iter().map(ToString::to_string).collect();
                query.push("exists (select from dag_run r where r.dag_id = d.dag_id and r.state = any(");
                query.push_bind(words).push("::text[]::run_state[]))")
            }
            DagCondition::SomeRun(times) => {
                query.push("exists (select from dag_run r where r.dag_id = d.dag_id");
                for (time, compare, at) in times {
                    query.push(" and ").push(time.column()).push(compare.sign()).push_bind(*at);
                }
                query.push(")")
            }
            DagCondition::AssetSchedule(has) => {
                query.push(if *has { "exists" } else { "not exists" });
                query.push(" (select from asset_use u where u.dag_id = d.dag_id and u.role = 'schedule')")
            }
            DagCondition::NamesAsset(parts) => {
                let patterns: Vec<String> =
                    parts.iter().map(|part| format!("%{}%", part.replace('\\', "\\\\"))).collect();
                query.push(
                    "exists (select from asset_use u left join asset a on a.id = u.asset
                    left join asset_alias l on l.id = u.alias where u.dag_id = d.dag_id and u.role <> 'outlet'
                    and (a.name ilike any(",
                );
                query.push_bind(patterns.clone()).push(") or a.uri ilike any(").push_bind(patterns.clone());
                query.push(") or l.name ilike any(").push_bind(patterns).push(")))")
            }
            DagCondition::Favorite(user, is) => {
                query.push(if *is { "exists" } else { "not exists" });
                query
                    .push(" (select from favorite f where f.dag_id = d.dag_id and f.user_name = ")
                    .push_bind(user.clone());
                query.push(")")
            }
            DagCondition::Timetable(names) => {
                query.push("exists (select from dag_version w where w.id = d.version and ").push(TIMETABLE);
                query.push(" = any(").push_bind(names.clone()).push("))")
            }
            DagCondition::Never => query.push("false"),
        };
    }
}

impl DagOrder {
    const fn column(self) -> &'static str {
        match self {
            DagOrder::Id => "d.dag_id",
            DagOrder::NextRun => "d.next_run_after",
            DagOrder::LastState => "l.state::text",
            DagOrder::LastStart => "l.started_at",
        }
    }
}
