//! Questions by any mix of conditions and orders, as the REST API lets people ask. The text holds only the conditions that
//! are there, so that each search is planned for itself; it is put together from the words of this file, and every value is
//! bound.

use super::{ApprovalRow, Columns, MOST_LISTED};
use crate::{
    StoreResult, boxed,
    run::{Compare, Direction, anywhere, at_the_beginning},
};
use chrono::{DateTime, Utc};
use orch_spec::approval::FALLBACK;
use orch_spec::state::TaskState;
use sqlx::QueryBuilder;
use sqlx::postgres::{PgConnection, Postgres};
use uuid::Uuid;

/// Which questions, and in which order; what is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApprovalFilter {
    pub attempt: Option<Uuid>,
    pub dag_id: Option<String>,
    pub run_id: Option<String>,
    pub task_id: Option<String>,
    pub map_index: Option<i32>,
    pub try_no: Option<i16>,
    pub is_open: Option<bool>,
    pub is_answered: Option<bool>,
    /// Answered by one of these; `FALLBACK` is nobody.
    pub given_by: Option<Vec<String>>,
    /// Its instance is in one of these; empty: in any.
    pub states: Vec<TaskState>,
    /// One of these is in it, in any case; `%` is any text, `_` any character.
    pub contains: Vec<(ApprovalText, Vec<String>)>,
    pub starts_with: Vec<(ApprovalText, Vec<String>)>,
    pub asked: Vec<(Compare, DateTime<Utc>)>,
    /// Of each instance only the question of the last try that asked one.
    pub is_last: bool,
    /// The newest first without one. What is equal is ordered by its id.
    pub order: Vec<(ApprovalOrder, Direction)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalText {
    DagId,
    TaskId,
    Subject,
    Body,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalOrder {
    /// Of the try: as tries came to be.
    Id,
    Subject,
    AskedAt,
    AnsweredAt,
    AnsweredBy,
    DagId,
    RunId,
    TaskId,
    MapIndex,
    RunAfter,
    /// The kind of the task.
    Kind,
    /// Of its instance.
    State,
}

const COLUMNS: &str = "select a.attempt, a.run, r.dag_id, r.run_id, a.task_id, a.map_index, a.try_no,
    a.question::text as question, a.asked_at, a.give_up_at, a.ended_at, a.given::text as given, a.given_by, a.timed_out, ";
const TABLES: &str = " from approval a join dag_run r on r.id = a.run";
/// A question is open as long as its wait is there.
const OPEN: &str = "exists (select from waiting w where w.attempt = a.attempt and w.kind = 'answer')";
const LAST: &str = "not exists (select from approval b where b.run = a.run and b.task_id = a.task_id
    and b.map_index = a.map_index and b.try_no > a.try_no)";
/// Where each task stands in the versions of runs that asked, and its kind: each structure is read once.
const PLACES: &str = "with place as materialized (
    select v.id as version, t.spec ->> 'task_id' as task_id, (t.place - 1)::smallint as task, t.spec ->> 'kind' as kind
    from dag_version v, json_array_elements(v.spec -> 'tasks') with ordinality as t (spec, place)
    where v.id in (select o.version from dag_run o where o.id in (select run from approval))) ";
/// Nobody looks for a row of `ready` by its instance, so it has no index for that: joined, it is read once.
const PLACED: &str = " left join place p on p.version = r.version and p.task_id = a.task_id
    left join ready q on q.run = a.run and q.task = p.task and q.map_index = a.map_index";
/// As `queries/instance/list.sql` says it.
const STATE: &str = "coalesce(
    case when q.run is not null then case when q.queue > 0 then 'queued' else 'scheduled' end end,
    (select w.state::text from waiting w where w.run = a.run and w.task = p.task and w.map_index = a.map_index),
    (select 'scheduled' from held h where h.run = a.run and h.task = p.task and h.map_index = a.map_index),
    (select t.state::text from task_instance t where t.run = a.run and t.task = p.task and t.map_index = a.map_index),
    'none')";

/// A page of them.
#[boxed]
pub async fn list_approvals(
    db: &mut PgConnection,
    filter: &ApprovalFilter,
    (skip, most): (i64, i64),
) -> StoreResult<Vec<ApprovalRow>> {
    let asks_places = filter.asks_states() || filter.order.iter().any(|(order, _)| order.asks_places());
    let mut query = begin(asks_places);
    query.push(COLUMNS).push(OPEN).push(" as is_open");
    filter.push(&mut query, asks_places);
    query.push(" order by ");
    let newest_first = [(ApprovalOrder::AskedAt, Direction::Descending)];
    let orders = if filter.order.is_empty() { &newest_first[..] } else { &filter.order };
    for (order, direction) in orders {
        order.push(&mut query);
        query.push(direction.words(order.may_be_null())).push(", ");
    }
    query.push("a.attempt").push(orders[0].1.words(false));
    query.push(" limit ").push_bind(most.clamp(0, MOST_LISTED)).push(" offset ").push_bind(skip.max(0));
    let rows: Vec<Columns> = query.build_query_as().fetch_all(db).await?;
    rows.into_iter().map(Columns::row).collect()
}

/// How many there are in all.
#[boxed]
pub async fn count_approvals(db: &mut PgConnection, filter: &ApprovalFilter) -> StoreResult<i64> {
    let asks_places = filter.asks_states();
    let mut query = begin(asks_places);
    query.push("select count(*)");
    filter.push(&mut query, asks_places);
    Ok(query.build_query_scalar().fetch_one(db).await?)
}

fn begin(asks_places: bool) -> QueryBuilder<Postgres> {
    QueryBuilder::new(if asks_places { PLACES } else { "" })
}

type Query = QueryBuilder<Postgres>;

impl ApprovalFilter {
    /// An instance that waits for its answer is known by its open question.
    fn asks_states(&self) -> bool {
        self.states.iter().any(|state| *state != TaskState::AwaitingInput)
    }

    fn push(&self, query: &mut Query, asks_places: bool) {
        query.push(TABLES).push(if asks_places { PLACED } else { "" }).push(" where true");
        if let Some(attempt) = self.attempt {
            query.push(" and a.attempt = ").push_bind(attempt);
        }
        let texts = [
            (" and r.dag_id = ", &self.dag_id),
            (" and r.run_id = ", &self.run_id),
            (" and a.task_id = ", &self.task_id),
        ];
        for (column, text) in texts {
            if let Some(text) = text {
                query.push(column).push_bind(text.clone());
            }
        }
        if let Some(map_index) = self.map_index {
            query.push(" and a.map_index = ").push_bind(map_index);
        }
        if let Some(try_no) = self.try_no {
            query.push(" and a.try_no = ").push_bind(try_no);
        }
        if let Some(is_open) = self.is_open {
            query.push(if is_open { " and " } else { " and not " }).push(OPEN);
        }
        if let Some(is_answered) = self.is_answered {
            query.push(" and a.given is ").push(if is_answered { "not null" } else { "null" });
        }
        if let Some(users) = &self.given_by {
            query.push(" and ");
            ApprovalOrder::AnsweredBy.push(query);
            query.push(" = any(").push_bind(users.clone()).push(")");
        }
        if self.asks_states() {
            let words: Vec<String> = self.states.iter().map(ToString::to_string).collect();
            query.push(" and ").push(STATE).push(" = any(").push_bind(words).push(")");
        } else if !self.states.is_empty() {
            query.push(" and ").push(OPEN);
        }
        for (text, parts) in &self.contains {
            query.push(" and ").push(text.column()).push(" ilike any(").push_bind(anywhere(parts)).push(")");
        }
        for (text, starts) in &self.starts_with {
            query.push(" and ").push(text.column()).push(" like any(").push_bind(at_the_beginning(starts)).push(")");
        }
        for (compare, at) in &self.asked {
            query.push(" and a.asked_at").push(compare.sign()).push_bind(*at);
        }
        if self.is_last {
            query.push(" and ").push(LAST);
        }
    }
}

impl ApprovalText {
    const fn column(self) -> &'static str {
        match self {
            ApprovalText::DagId => "r.dag_id",
            ApprovalText::TaskId => "a.task_id",
            ApprovalText::Subject => "a.question ->> 'subject'",
            ApprovalText::Body => "a.question ->> 'body'",
        }
    }
}

impl ApprovalOrder {
    fn push(self, query: &mut Query) {
        let column = match self {
            ApprovalOrder::Id => "a.attempt",
            ApprovalOrder::Subject => ApprovalText::Subject.column(),
            ApprovalOrder::AskedAt => "a.asked_at",
            ApprovalOrder::AnsweredAt => "case when a.given is not null then a.ended_at end",
            ApprovalOrder::AnsweredBy => {
                query.push("case when a.given is not null then coalesce(a.given_by, ");
                query.push_bind(FALLBACK.to_string());
                ") end"
            }
            ApprovalOrder::DagId => "r.dag_id",
            ApprovalOrder::RunId => "r.run_id",
            ApprovalOrder::TaskId => "a.task_id",
            ApprovalOrder::MapIndex => "a.map_index",
            ApprovalOrder::RunAfter => "r.run_after",
            ApprovalOrder::Kind => "p.kind",
            ApprovalOrder::State => STATE,
        };
        query.push(column);
    }

    const fn may_be_null(self) -> bool {
        matches!(self, ApprovalOrder::AnsweredAt | ApprovalOrder::AnsweredBy | ApprovalOrder::Kind)
    }

    const fn asks_places(self) -> bool {
        matches!(self, ApprovalOrder::Kind | ApprovalOrder::State)
    }
}
