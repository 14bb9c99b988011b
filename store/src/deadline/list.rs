//! Deadlines as people see them.

use crate::{StoreResult, boxed, run::word};
use chrono::{DateTime, Utc};
use orch_core::deadline::{DeadlineState, Standing, standing};
use orch_spec::{DeadlineFrom, deadline_words};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// The most rows in one answer.
const MOST_LISTED: i64 = 1_000;

/// Which deadlines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadlineFilter {
    pub run: Option<Uuid>,
    pub dag_id: Option<String>,
    pub missed: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadlineRow {
    pub dag_id: String,
    pub run_id: String,
    /// Which of those that the DAG names, from 0.
    pub nth: i16,
    pub from: DeadlineFrom,
    pub after_ms: u64,
    /// Not known before the run starts from which it counts.
    pub due_at: Option<DateTime<Utc>>,
    pub state: DeadlineState,
    /// Of the run.
    pub created_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    /// When this was read.
    pub now: DateTime<Utc>,
}

impl DeadlineRow {
    pub fn standing(&self) -> Standing {
        standing(self.state, self.due_at, self.ended_at, self.now)
    }

    /// `1 h after it started`.
    pub fn words(&self) -> String {
        deadline_words(self.from, self.after_ms)
    }
}

/// Those of the newest runs first, and in the order of their DAG.
#[boxed]
pub async fn list_deadlines(
    db: &mut PgConnection,
    filter: &DeadlineFilter,
    (skip, most): (i64, i64),
) -> StoreResult<Vec<DeadlineRow>> {
    let rows = sqlx::query!(
        r#"select r.dag_id, r.run_id, d.nth, d.counts_from, d.after_ms, d.due_at, d.state, r.created_at, r.ended_at,
          now() as "now!"
        from deadline d join dag_run r on r.id = d.run
        where ($1::uuid is null or d.run = $1) and ($2::text is null or r.dag_id = $2)
          and ($3::boolean is null or (d.state = 'missed') = $3)
        order by d.run desc, d.nth limit $4 offset $5"#,
        filter.run,
        filter.dag_id,
        filter.missed,
        most.clamp(0, MOST_LISTED),
        skip.max(0)
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    rows.map(|row| {
        Ok(DeadlineRow {
            dag_id: row.dag_id,
            run_id: row.run_id,
            nth: row.nth,
            from: word(&row.counts_from)?,
            after_ms: u64::try_from(row.after_ms).unwrap_or_default(),
            due_at: row.due_at,
            state: word(&row.state)?,
            created_at: row.created_at,
            ended_at: row.ended_at,
            now: row.now,
        })
    })
    .collect()
}

#[boxed]
pub async fn count_deadlines(db: &mut PgConnection, filter: &DeadlineFilter) -> StoreResult<i64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from deadline d join dag_run r on r.id = d.run
        where ($1::uuid is null or d.run = $1) and ($2::text is null or r.dag_id = $2)
          and ($3::boolean is null or (d.state = 'missed') = $3)"#,
        filter.run,
        filter.dag_id,
        filter.missed
    );
    Ok(count.fetch_one(db).await?)
}

/// Those of these runs that missed a deadline.
#[boxed]
pub async fn late_runs(db: &mut PgConnection, runs: &[Uuid]) -> StoreResult<Vec<Uuid>> {
    let late = sqlx::query_scalar!("select distinct run from deadline where run = any($1) and state = 'missed'", runs);
    Ok(late.fetch_all(db).await?)
}
