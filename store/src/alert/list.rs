//! Alerts as people see them.

use super::{UNREADABLE, read};
use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use orch_core::alert::{AlertKind, AlertState, Facts};
use orch_spec::Notifier;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// The most rows in one answer.
const MOST_LISTED: i64 = 1_000;

/// Which alerts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertFilter {
    pub state: Option<AlertState>,
    pub kind: Option<AlertKind>,
    pub dag_id: Option<String>,
    pub run_id: Option<String>,
    pub task_id: Option<String>,
    /// The same as DAG and run id, by the index of runs.
    pub run: Option<Uuid>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AlertRow {
    pub id: i64,
    pub key: String,
    pub kind: AlertKind,
    pub notifier: Notifier,
    pub facts: Facts,
    pub dag_id: Option<String>,
    pub run_id: Option<String>,
    pub logical_date: Option<DateTime<Utc>>,
    pub state: AlertState,
    pub tries: i32,
    /// Of the next try.
    pub due_at: DateTime<Utc>,
    pub problem: Option<String>,
    pub at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
}

/// A row as it is read.
struct Columns {
    id: i64,
    key: String,
    kind: String,
    notifier: String,
    facts: String,
    dag_id: Option<String>,
    run_id: Option<String>,
    logical_date: Option<DateTime<Utc>>,
    state: String,
    tries: i32,
    due_at: DateTime<Utc>,
    problem: Option<String>,
    at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
}

impl Columns {
    fn row(self) -> StoreResult<AlertRow> {
        Ok(AlertRow {
            kind: crate::run::word(&self.kind)?,
            state: crate::run::word(&self.state)?,
            // One that cannot be read is listed as far as it can be.
            notifier: read(self.id, &self.notifier).unwrap_or_default(),
            facts: read(self.id, &self.facts)
                .unwrap_or_else(|_| Facts { reason: UNREADABLE.into(), ..Facts::default() }),
            id: self.id,
            key: self.key,
            dag_id: self.dag_id,
            run_id: self.run_id,
            logical_date: self.logical_date,
            tries: self.tries,
            due_at: self.due_at,
            problem: self.problem,
            at: self.at,
            ended_at: self.ended_at,
        })
    }
}

/// Newest first.
#[boxed]
pub async fn list_alerts(
    db: &mut PgConnection,
    filter: &AlertFilter,
    (skip, most): (i64, i64),
) -> StoreResult<Vec<AlertRow>> {
    let rows = sqlx::query_as!(
        Columns,
        r#"select id, key, kind, notifier::text as "notifier!", facts::text as "facts!", dag_id, run_id, logical_date, state,
          tries, due_at, problem, at, ended_at from alert
        where ($1::text is null or state = $1) and ($2::text is null or kind = $2) and ($3::text is null or dag_id = $3)
          and ($4::text is null or run_id = $4) and ($5::text is null or facts ->> 'task_id' = $5)
          and ($6::uuid is null or run = $6) order by id desc limit $7 offset $8"#,
        filter.state.map(AlertState::as_str),
        filter.kind.map(AlertKind::as_str),
        filter.dag_id,
        filter.run_id,
        filter.task_id,
        filter.run,
        most.clamp(0, MOST_LISTED),
        skip.max(0)
    );
    rows.fetch_all(db).await?.into_iter().map(Columns::row).collect()
}

#[boxed]
pub async fn count_alerts(db: &mut PgConnection, filter: &AlertFilter) -> StoreResult<i64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from alert where ($1::text is null or state = $1) and ($2::text is null or kind = $2)
          and ($3::text is null or dag_id = $3) and ($4::text is null or run_id = $4)
          and ($5::text is null or facts ->> 'task_id' = $5) and ($6::uuid is null or run = $6)"#,
        filter.state.map(AlertState::as_str),
        filter.kind.map(AlertKind::as_str),
        filter.dag_id,
        filter.run_id,
        filter.task_id,
        filter.run
    );
    Ok(count.fetch_one(db).await?)
}

/// How many alerts there are of a run, or of a task of it, and how many of these nobody has taken so far.
#[boxed]
pub async fn alerts_of_run(db: &mut PgConnection, run: Uuid, task_id: Option<&str>) -> StoreResult<(i64, i64)> {
    let row = sqlx::query!(
        r#"select count(*) as "all!", count(*) filter (where state <> 'sent') as "not_taken!" from alert
        where run = $1 and ($2::text is null or facts ->> 'task_id' = $2)"#,
        run,
        task_id
    );
    let row = row.fetch_one(db).await?;
    Ok((row.all, row.not_taken))
}

/// One by its id.
#[boxed]
pub async fn alert(db: &mut PgConnection, id: i64) -> StoreResult<Option<AlertRow>> {
    let row = sqlx::query_as!(
        Columns,
        r#"select id, key, kind, notifier::text as "notifier!", facts::text as "facts!", dag_id, run_id, logical_date, state,
          tries, due_at, problem, at, ended_at from alert where id = $1"#,
        id
    );
    row.fetch_optional(db).await?.map(Columns::row).transpose()
}
