//! Results of data contract checks, stored with the outcome of the attempt, whether it succeeds or fails.

use crate::list::List;
use crate::{
    StoreError, StoreResult, boxed,
    completion::{CompletionStep, StepFuture},
};
use chrono::{DateTime, Utc};
use orch_sdk::task::Ctx;
use orch_spec::asset::{CheckResult, MAX_SAMPLE_CHARS};
use sqlx::FromRow;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// Check results of one asset. `ctx.commit(trail)` stores them when the attempt ends, even if the attempt fails.
#[derive(Debug, Clone)]
pub struct CheckTrail {
    uri: String,
    results: Vec<CheckResult>,
    run: Uuid,
    dag_id: String,
    run_id: String,
    task_id: String,
    map_index: i32,
    try_no: i16,
    attempt: Uuid,
}

impl CheckTrail {
    pub fn new(ctx: &Ctx, uri: &str, results: Vec<CheckResult>) -> CheckTrail {
        CheckTrail {
            uri: uri.into(),
            results,
            run: ctx.run().run_key,
            dag_id: ctx.dag_id().into(),
            run_id: ctx.run_id().into(),
            task_id: ctx.task_id().into(),
            map_index: ctx.map_index().map_or(-1, u32::cast_signed),
            try_no: i16::try_from(ctx.try_number()).unwrap_or(i16::MAX),
            attempt: ctx.attempt(),
        }
    }

    pub fn results(&self) -> &[CheckResult] {
        &self.results
    }
}

impl CompletionStep for CheckTrail {
    fn name(&self) -> String {
        format!("keep {} checks of `{}`", self.results.len(), self.uri)
    }

    fn run<'a>(&'a mut self, db: &'a mut PgConnection) -> StepFuture<'a> {
        Box::pin(async move { Ok(keep_checks(db, self).await?) })
    }

    /// Returns true, because check results explain why the task failed.
    fn on_failure(&self) -> bool {
        true
    }
}

/// Stores check results. Reads nothing, because the role of completion steps may only insert.
#[boxed]
pub async fn keep_checks(db: &mut PgConnection, trail: &CheckTrail) -> StoreResult<()> {
    let results = &trail.results;
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let short = |text: &str| text.chars().filter(|&letter| letter != '\0').take(MAX_SAMPLE_CHARS).collect::<String>();
    sqlx::query!(
        "insert into asset_check (uri, run, dag_id, run_id, task_id, map_index, try_no, attempt, name, kind, policy, outcome,
            rows, bad, sample)
        select $1, $2, $3, $4, $5, $6, $7, $8, c.* from unnest($9::text[], $10::text[], $11::text[], $12::text[],
            $13::bigint[], $14::bigint[], $15::text[]) c",
        trail.uri,
        trail.run,
        trail.dag_id,
        trail.run_id,
        trail.task_id,
        trail.map_index,
        trail.try_no,
        trail.attempt,
        &results.iter().map(|r| short(&r.name)).collect::<Vec<_>>(),
        &results.iter().map(|r| r.kind.clone()).collect::<Vec<_>>(),
        &results.iter().map(|r| r.policy.to_string()).collect::<Vec<_>>(),
        &results.iter().map(|r| r.outcome.to_string()).collect::<Vec<_>>(),
        &results.iter().map(|r| count(r.rows)).collect::<Vec<_>>(),
        &results.iter().map(|r| count(r.bad)).collect::<Vec<_>>(),
        &results.iter().map(|r| short(&r.sample)).collect::<Vec<_>>()
    )
    .execute(db)
    .await?;
    Ok(())
}

#[derive(Debug, Clone, PartialEq)]
pub struct CheckRow {
    pub id: i64,
    pub result: CheckResult,
    pub dag_id: String,
    pub run_id: String,
    pub task_id: String,
    pub map_index: i32,
    pub try_no: i16,
    pub at: DateTime<Utc>,
}

/// A check result and the URI of its asset.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub uri: String,
    pub check: CheckRow,
}

/// Columns that users can filter check results by.
pub mod check_by {
    use crate::list::Filter::{Is, Must, Pattern, Prefix, Range};
    use crate::list::{Column, Words};
    use orch_spec::asset::CheckOutcome;

    const OUTCOMES: Words = Words { noun: "outcome", words: CheckOutcome::WORDS };

    pub const ID: Column = Column::whole("id", "id");
    pub const URI: Column = Column::text("uri", "uri").by(&[Must]).about("Of the data at that URI");
    pub const OUTCOME: Column =
        Column::words("outcome", "outcome", OUTCOMES).by(&[Is]).about("Only checks that ended so");

    const NAME: Column = Column::text("name", "name").by(&[Pattern, Prefix]).sorted();
    const AT: Column = Column::moment("at", "at").by(&[Range]).sorted();
    const DAG_ID: Column = Column::text("dag_id", "dag_id").by(&[Is]).about("Of that DAG").sorted();

    pub(super) const ALL: &[Column] = &[OUTCOME, NAME, AT, DAG_ID];
    /// Columns of lists whose URL path does not contain the URI of the asset.
    pub const OF_URI: &[Column] = &[OUTCOME, NAME, AT, DAG_ID, URI];
}

/// Check results, newest first.
pub static CHECKS: List<CheckRow> = List {
    select: "id, uri, name, kind, policy, outcome, rows, bad, sample, dag_id, run_id, task_id, map_index, try_no, at",
    from: "asset_check",
    joins: &[],
    columns: check_by::ALL,
    key: "id",
    order: &[check_by::ID.descending()],
    read: |row| Ok(Row::from_row(row)?.finding()?.check),
};

#[derive(FromRow)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) uri: String,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) policy: String,
    pub(super) outcome: String,
    pub(super) rows: i64,
    pub(super) bad: i64,
    pub(super) sample: String,
    pub(super) dag_id: String,
    pub(super) run_id: String,
    pub(super) task_id: String,
    pub(super) map_index: i32,
    pub(super) try_no: i16,
    pub(super) at: DateTime<Utc>,
}

impl Row {
    pub(super) fn finding(self) -> StoreResult<Finding> {
        let corrupt = |error| StoreError::corrupt(format!("check {}: {error}", self.id));
        let result = CheckResult {
            policy: self.policy.parse().map_err(corrupt)?,
            outcome: self.outcome.parse().map_err(corrupt)?,
            name: self.name,
            kind: self.kind,
            rows: self.rows.unsigned_abs(),
            bad: self.bad.unsigned_abs(),
            sample: self.sample,
        };
        let check = CheckRow {
            id: self.id,
            result,
            dag_id: self.dag_id,
            run_id: self.run_id,
            task_id: self.task_id,
            map_index: self.map_index,
            try_no: self.try_no,
            at: self.at,
        };
        Ok(Finding { uri: self.uri, check })
    }
}
