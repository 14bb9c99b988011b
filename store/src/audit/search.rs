//! The audit log by what people ask of it.

use super::AuditRow;
use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use sqlx::QueryBuilder;
use sqlx::postgres::{PgConnection, Postgres};

/// Which rows; what is not said does not matter.
#[derive(Debug, Clone, Default)]
pub struct AuditSearch {
    pub id: Option<i64>,
    pub dag_id: Option<String>,
    pub run_id: Option<String>,
    pub task_id: Option<String>,
    pub actor: Option<String>,
    pub event: Option<String>,
    pub map_index: Option<i32>,
    pub included: Vec<String>,
    pub excluded: Vec<String>,
    pub before: Option<DateTime<Utc>>,
    pub after: Option<DateTime<Utc>>,
    /// One of the parts is in it, in any case.
    pub contains: Vec<(AuditText, Vec<String>)>,
    pub order: AuditOrder,
    pub descending: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditText {
    DagId,
    RunId,
    TaskId,
    Event,
    Actor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuditOrder {
    /// As they were written.
    #[default]
    Id,
    Text(AuditText),
}

/// The most rows in one answer.
const MOST_LISTED: i64 = 1_000;

/// A page of them.
#[boxed]
pub async fn search_audit(
    db: &mut PgConnection,
    search: &AuditSearch,
    (skip, most): (i64, i64),
) -> StoreResult<Vec<AuditRow>> {
    let mut query = QueryBuilder::<Postgres>::new(
        "select id, at, actor, event, dag_id, run_id, task_id, map_index, extra from audit where true",
    );
    search.push(&mut query);
    let direction = if search.descending { " desc" } else { " asc" };
    query.push(" order by ");
    if let AuditOrder::Text(text) = search.order {
        query.push(text.column()).push(direction).push(" nulls last, ");
    }
    query.push("id").push(direction);
    query.push(" limit ").push_bind(most.clamp(0, MOST_LISTED)).push(" offset ").push_bind(skip.max(0));
    Ok(query.build_query_as().fetch_all(db).await?)
}

/// How many there are in all.
#[boxed]
pub async fn count_audit(db: &mut PgConnection, search: &AuditSearch) -> StoreResult<i64> {
    let mut query = QueryBuilder::<Postgres>::new("select count(*) from audit where true");
    search.push(&mut query);
    Ok(query.build_query_scalar().fetch_one(db).await?)
}

impl AuditSearch {
    fn push(&self, query: &mut QueryBuilder<Postgres>) {
        if let Some(id) = self.id {
            query.push(" and id = ").push_bind(id);
        }
        for (text, value) in [
            (AuditText::DagId, &self.dag_id),
            (AuditText::RunId, &self.run_id),
            (AuditText::TaskId, &self.task_id),
            (AuditText::Actor, &self.actor),
            (AuditText::Event, &self.event),
        ] {
            if let Some(value) = value {
                query.push(" and ").push(text.column()).push(" = ").push_bind(value.clone());
            }
        }
        if let Some(index) = self.map_index {
            query.push(" and map_index = ").push_bind(index);
        }
        if !self.included.is_empty() {
            query.push(" and event = any(").push_bind(self.included.clone()).push(")");
        }
        if !self.excluded.is_empty() {
            query.push(" and event <> all(").push_bind(self.excluded.clone()).push(")");
        }
        if let Some(before) = self.before {
            query.push(" and at < ").push_bind(before);
        }
        if let Some(after) = self.after {
            query.push(" and at > ").push_bind(after);
        }
        for (text, parts) in &self.contains {
            let patterns: Vec<String> = parts.iter().map(|part| format!("%{}%", part.replace('\\', "\\\\"))).collect();
            query.push(" and ").push(text.column()).push(" ilike any(").push_bind(patterns).push(")");
        }
    }
}

impl AuditText {
    const fn column(self) -> &'static str {
        match self {
            AuditText::DagId => "dag_id",
            AuditText::RunId => "run_id",
            AuditText::TaskId => "task_id",
            AuditText::Event => "event",
            AuditText::Actor => "actor",
        }
    }
}
