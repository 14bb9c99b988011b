//! Lists and counts of alerts.

use super::{UNREADABLE, read};
use crate::list::{List, Search};
use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use orch_core::alert::{AlertKind, AlertState, Facts};
use orch_spec::Notifier;
use sqlx::FromRow;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// Columns that users can filter alerts by, and additional columns that pages use.
pub mod by {
    use crate::list::Filter::{Is, Range};
    use crate::list::{Column, Words};
    use orch_core::alert::{AlertKind, AlertState};

    const STATES: Words = Words { noun: "state", words: AlertState::WORDS };
    const KINDS: Words = Words { noun: "kind", words: AlertKind::WORDS };

    pub const ID: Column = Column::whole("alert_id", "id").sorted();
    pub const STATE: Column =
        Column::words("state", "state", STATES).by(&[Is]).about("Only alerts in that state").sorted();
    pub const KIND: Column = Column::words("kind", "kind", KINDS).by(&[Is]).about("Only alerts of that kind").sorted();
    pub const DAG_ID: Column = Column::text("dag_id", "dag_id").by(&[Is]).about("Of that DAG");
    pub const RUN_ID: Column = Column::text("dag_run_id", "run_id").by(&[Is]).about("Of runs of that id");
    pub const TASK_ID: Column = Column::text("task_id", "facts ->> 'task_id'").by(&[Is]).about("Of that task");
    /// Selects the same alerts as the DAG id and run id together, but uses the index by run.
    pub const RUN: Column = Column::text("run", "run");

    pub(super) const ALL: &[Column] = &[
        ID,
        STATE,
        KIND,
        DAG_ID,
        RUN_ID,
        TASK_ID,
        Column::moment("created_at", "at").by(&[Range]).sorted(),
        Column::moment("ended_at", "ended_at").by(&[Range]).nullable().sorted(),
    ];
}

/// Alerts, newest first.
pub static ALERTS: List<AlertRow> = List {
    select: "id, key, kind, notifier::text as notifier, facts::text as facts, dag_id, run_id, logical_date, state, tries, due_at,
        problem, at, ended_at",
    from: "alert",
    joins: &[],
    columns: by::ALL,
    key: "id",
    order: &[by::ID.descending()],
    read: |row| Columns::from_row(row)?.row(),
};

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
    /// Time of the next attempt to send the alert.
    pub due_at: DateTime<Utc>,
    pub problem: Option<String>,
    pub at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
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
            // If an alert cannot be decoded, it is still listed, without its notifier and facts.
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

/// Returns the number of alerts of a run, or of one of its tasks, and how many of these alerts are not delivered yet.
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

#[boxed]
pub async fn alert(db: &mut PgConnection, id: i64) -> StoreResult<Option<AlertRow>> {
    ALERTS.first(db, &Search::default().and(by::ID.is(id))).await
}
