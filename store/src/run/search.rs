//! Runs by any mix of conditions and orders, as the REST API lets people ask. The text holds only the conditions that are
//! there, so that each question is planned for itself; it is put together from the words of this file, and every value is
//! bound.

use super::list::Row;
use super::{MOST_RUNS, RunDetails};
use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use orch_spec::state::{RunState, RunType};
use sqlx::QueryBuilder;
use sqlx::postgres::{PgConnection, Postgres};
use uuid::Uuid;

/// Which runs, in which order, and which of them.
#[derive(Debug, Clone, Default)]
pub struct RunSearch {
    /// All must hold.
    pub conditions: Vec<RunCondition>,
    /// Oldest first without one. Of runs that are equal the older one comes first, or last if the first order descends.
    pub order: Vec<(RunOrder, Direction)>,
    pub most: i64,
    /// Leave out that many.
    pub skip: i64,
}

#[derive(Debug, Clone)]
pub enum RunCondition {
    Dags(Vec<String>),
    Runs(Vec<String>),
    Ids(Vec<Uuid>),
    States(Vec<RunState>),
    Types(Vec<RunType>),
    /// Numbers of DAG versions.
    Versions(Vec<i32>),
    Time(RunTime, Compare, DateTime<Utc>),
    /// Seconds from start to end.
    Duration(Compare, f64),
    /// One of these is in it, in any case; `%` is any text, `_` any character.
    Contains(RunText, Vec<String>),
    StartsWith(RunText, Vec<String>),
    /// It consumed an event of an asset with one of these in its name or URI.
    ConsumedAsset(Vec<String>),
    /// It missed a deadline; of very many such runs the last ones.
    Late,
    /// What no run has.
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunTime {
    RunAfter,
    LogicalDate,
    Started,
    Ended,
    /// When something last happened to it that people see.
    Updated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunText {
    DagId,
    RunId,
    User,
    PartitionKey,
    Conf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    AtLeast,
    Above,
    AtMost,
    Below,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunOrder {
    /// When it was created.
    Id,
    State,
    DagId,
    RunId,
    Time(RunTime),
    Duration,
    Conf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

/// Late runs that are found.
const MOST_LATE: i64 = 10_000;
const COLUMNS: &str = "select r.id, r.dag_id, r.run_id, r.rev, r.version, v.number as version_number,
    v.created_at as version_created_at, v.bundle, r.clear_number, r.state::text as state, r.run_type::text as run_type,
    r.logical_date, r.interval_start, r.interval_end, r.run_after, r.created_at, r.started_at, r.ended_at, r.triggered_by,
    r.triggered_by_user, m.conf, m.note, r.partition_key";
const TABLES: &str =
    " from dag_run r join dag_version v on v.id = r.version left join dag_run_detail m on m.run = r.id where true";
const DURATION: &str = "extract(epoch from r.ended_at - r.started_at)::float8";

/// A page of them.
#[boxed]
pub async fn search_runs(db: &mut PgConnection, search: &RunSearch) -> StoreResult<Vec<RunDetails>> {
    let mut query = QueryBuilder::<Postgres>::new(COLUMNS);
    query.push(TABLES);
    search.conditions.iter().for_each(|condition| condition.push(&mut query));
    let direction = search.order.first().map_or(Direction::Ascending, |(_, direction)| *direction);
    query.push(" order by ");
    for (order, direction) in &search.order {
        query.push(order.column()).push(direction.words(order.may_be_null())).push(", ");
    }
    query.push("r.id").push(direction.words(false));
    query.push(" limit ").push_bind(search.most.clamp(0, MOST_RUNS));
    query.push(" offset ").push_bind(search.skip.max(0));
    let rows: Vec<Row> = query.build_query_as().fetch_all(db).await?;
    rows.into_iter().map(Row::details).collect()
}

/// How many there are in all.
#[boxed]
pub async fn count_found(db: &mut PgConnection, search: &RunSearch) -> StoreResult<i64> {
    let mut query = QueryBuilder::<Postgres>::new("select count(*)");
    let asks = |words: &[&str]| search.conditions.iter().any(|c| words.contains(&c.table()));
    query.push(" from dag_run r");
    if asks(&["v"]) {
        query.push(" join dag_version v on v.id = r.version");
    }
    if asks(&["m"]) {
        query.push(" left join dag_run_detail m on m.run = r.id");
    }
    query.push(" where true");
    search.conditions.iter().for_each(|condition| condition.push(&mut query));
    Ok(query.build_query_scalar().fetch_one(db).await?)
}

impl RunCondition {
    fn push(&self, query: &mut QueryBuilder<Postgres>) {
        query.push(" and ");
        match self {
            RunCondition::Dags(ids) => query.push("r.dag_id = any(").push_bind(ids.clone()).push(")"),
            RunCondition::Runs(ids) => query.push("r.run_id = any(").push_bind(ids.clone()).push(")"),
            RunCondition::Ids(ids) => query.push("r.id = any(").push_bind(ids.clone()).push(")"),
            RunCondition::States(states) => {
                let words: Vec<String> = states.iter().map(ToString::to_string).collect();
                query.push("r.state = any(").push_bind(words).push("::text[]::run_state[])");
                // Said again in words that the index of runs that are not over is made of: they are few among many.
                let open = states.iter().all(|state| !state.is_finished());
                // And those that failed have an index of their own.
                let failed = states.iter().all(|state| *state == RunState::Failed);
                query.push(match (open, failed) {
                    (true, _) => " and r.state in ('queued', 'running')",
                    (_, true) => " and r.state = 'failed'",
                    _ => "",
                })
            }
            RunCondition::Types(types) => {
                let words: Vec<String> = types.iter().map(ToString::to_string).collect();
                query.push("r.run_type = any(").push_bind(words).push("::text[]::run_type[])")
            }
            RunCondition::Versions(numbers) => query.push("v.number = any(").push_bind(numbers.clone()).push(")"),
            RunCondition::Time(time, compare, at) => query.push(time.column()).push(compare.sign()).push_bind(*at),
            RunCondition::Duration(compare, seconds) => query.push(DURATION).push(compare.sign()).push_bind(*seconds),
            RunCondition::Contains(text, parts) => {
                query.push(text.column()).push(" ilike any(").push_bind(anywhere(parts)).push(")")
            }
            RunCondition::StartsWith(text, starts) => {
                query.push(text.column()).push(" like any(").push_bind(at_the_beginning(starts)).push(")")
            }
            RunCondition::ConsumedAsset(parts) => {
                let patterns = anywhere(parts);
                query.push(
                    "exists (select from dag_run_event c join asset_event e on e.id = c.event
                    left join asset a on a.id = e.asset where c.run = r.id and (a.name ilike any(",
                );
                query.push_bind(patterns.clone()).push(") or e.uri ilike any(").push_bind(patterns).push(")))")
            }
            // As a list and not as a join: late runs are few among all, whatever the order.
            RunCondition::Late => query
                .push("r.id = any(array(select run from deadline where state = 'missed' order by due_at desc limit ")
                .push_bind(MOST_LATE)
                .push("))"),
            RunCondition::Never => query.push("false"),
        };
    }

    /// Which table besides the run's own it asks.
    fn table(&self) -> &'static str {
        match self {
            RunCondition::Versions(_) => "v",
            RunCondition::Contains(RunText::Conf, _) | RunCondition::StartsWith(RunText::Conf, _) => "m",
            _ => "r",
        }
    }
}

/// Patterns of texts that have one of these in them.
pub(crate) fn anywhere(parts: &[String]) -> Vec<String> {
    parts.iter().map(|part| format!("%{}%", part.replace('\\', "\\\\"))).collect()
}

/// Patterns of texts that begin with one of these.
pub(crate) fn at_the_beginning(starts: &[String]) -> Vec<String> {
    starts.iter().map(|start| literal(start) + "%").collect()
}

/// A text in which no character stands for others.
fn literal(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

impl RunTime {
    pub(crate) const fn column(self) -> &'static str {
        match self {
            RunTime::RunAfter => "r.run_after",
            RunTime::LogicalDate => "r.logical_date",
            RunTime::Started => "r.started_at",
            RunTime::Ended => "r.ended_at",
            RunTime::Updated => "coalesce(r.ended_at, r.started_at, r.created_at)",
        }
    }
}

impl RunText {
    const fn column(self) -> &'static str {
        match self {
            RunText::DagId => "r.dag_id",
            RunText::RunId => "r.run_id",
            RunText::User => "r.triggered_by_user",
            RunText::PartitionKey => "r.partition_key",
            RunText::Conf => "m.conf::text",
        }
    }
}

impl Compare {
    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Compare::AtLeast => " >= ",
            Compare::Above => " > ",
            Compare::AtMost => " <= ",
            Compare::Below => " < ",
        }
    }
}

impl RunOrder {
    const fn column(self) -> &'static str {
        match self {
            RunOrder::Id => "r.id",
            RunOrder::State => "r.state::text",
            RunOrder::DagId => "r.dag_id",
            RunOrder::RunId => "r.run_id",
            RunOrder::Time(time) => time.column(),
            RunOrder::Duration => DURATION,
            RunOrder::Conf => "m.conf::text",
        }
    }

    const fn may_be_null(self) -> bool {
        match self {
            RunOrder::Time(time) => matches!(time, RunTime::LogicalDate | RunTime::Started | RunTime::Ended),
            RunOrder::Duration | RunOrder::Conf => true,
            RunOrder::Id | RunOrder::State | RunOrder::DagId | RunOrder::RunId => false,
        }
    }
}

impl Direction {
    /// What has no value comes last either way. Not said where there always is one: an index could not be used.
    pub(crate) const fn words(self, nulls: bool) -> &'static str {
        match (self, nulls) {
            (Direction::Ascending, _) => " asc",
            (Direction::Descending, false) => " desc",
            (Direction::Descending, true) => " desc nulls last",
        }
    }
}
