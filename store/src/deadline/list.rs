//! Lists the deadlines of runs.

use crate::list::List;
use crate::{StoreResult, boxed, run::word};
use chrono::{DateTime, Utc};
use orch_core::deadline::{DeadlineState, Standing, standing};
use orch_spec::{DeadlineFrom, deadline_words};
use sqlx::FromRow;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// Columns that users can filter deadlines by.
pub mod by {
    use crate::list::Column;
    use crate::list::Filter::Range;

    pub const RUN: Column = Column::text("run", "d.run");
    pub const NTH: Column = Column::whole("nth", "d.nth");
    pub const DAG_ID: Column = Column::text("dag_id", "r.dag_id");
    pub const MISSED: Column = Column::flag("missed", "d.state = 'missed'").about("Only missed ones, or only others");

    pub(super) const ALL: &[Column] = &[MISSED, Column::moment("due_at", "d.due_at").by(&[Range]).nullable().sorted()];
}

/// Deadlines, by default ordered by run (newest first), and within a run in the order of its DAG.
pub static DEADLINES: List<DeadlineRow> = List {
    select: "r.dag_id, r.run_id, d.nth, d.counts_from, d.after_ms, d.due_at, d.state, r.created_at, r.ended_at, now() as now",
    from: "deadline d join dag_run r on r.id = d.run",
    joins: &[],
    columns: by::ALL,
    key: "d.run, d.nth",
    order: &[by::RUN.descending(), by::NTH.ascending()],
    read: |row| Columns::from_row(row)?.row(),
};

#[derive(FromRow)]
struct Columns {
    dag_id: String,
    run_id: String,
    nth: i16,
    counts_from: String,
    after_ms: i64,
    due_at: Option<DateTime<Utc>>,
    state: String,
    created_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
}

impl Columns {
    fn row(self) -> StoreResult<DeadlineRow> {
        Ok(DeadlineRow {
            dag_id: self.dag_id,
            run_id: self.run_id,
            nth: self.nth,
            from: word(&self.counts_from)?,
            after_ms: u64::try_from(self.after_ms).unwrap_or_default(),
            due_at: self.due_at,
            state: word(&self.state)?,
            created_at: self.created_at,
            ended_at: self.ended_at,
            now: self.now,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadlineRow {
    pub dag_id: String,
    pub run_id: String,
    /// Index of the deadline in the DAG, from 0.
    pub nth: i16,
    pub from: DeadlineFrom,
    pub after_ms: u64,
    /// `None` if the deadline counts from the start of a run that has not started.
    pub due_at: Option<DateTime<Utc>>,
    pub state: DeadlineState,
    /// Creation time of the run.
    pub created_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    /// Database time at which the list was read.
    pub now: DateTime<Utc>,
}

impl DeadlineRow {
    pub fn standing(&self) -> Standing {
        standing(self.state, self.due_at, self.ended_at, self.now)
    }

    /// Returns a description such as `1 h after it started`.
    pub fn words(&self) -> String {
        deadline_words(self.from, self.after_ms)
    }
}

/// Returns which of these runs missed a deadline.
#[boxed]
pub async fn late_runs(db: &mut PgConnection, runs: &[Uuid]) -> StoreResult<Vec<Uuid>> {
    let late = sqlx::query_scalar!("select distinct run from deadline where run = any($1) and state = 'missed'", runs);
    Ok(late.fetch_all(db).await?)
}
