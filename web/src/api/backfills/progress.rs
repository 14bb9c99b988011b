//! `/api/orch/v1/backfills`: backfills of all DAGs, with the number of dates by state and the outcome of each date.

use super::{find, id};
use crate::api::list::{Page, asked};
use crate::extract::{Names, Query};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_store::backfill::{BACKFILLS, BackfillDate, BackfillRow, list_dates};
use orch_store::list::ListPage;
use orch_wire::timestamp::{Timestamp, stamp};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// A backfill and how far it is.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its author")]
pub(crate) struct BackfillProgress {
    id: i32,
    dag_id: String,
    from_date: Timestamp,
    to_date: Timestamp,
    run_backwards: bool,
    reprocess_behavior: &'static str,
    max_active_runs: i32,
    run_on_latest_version: bool,
    conf: Option<Value>,
    task_regex: Option<String>,
    ignore_dependencies: bool,
    is_paused: bool,
    is_cancelled: bool,
    /// Its DAG is paused: nothing begins.
    dag_is_paused: bool,
    created_by: Option<String>,
    created_at: Timestamp,
    completed_at: Option<Timestamp>,
    counts: Counts,
    /// What became of each date; of one backfill only.
    #[serde(skip_serializing_if = "Option::is_none")]
    dates: Option<Vec<DateView>>,
}

/// How many dates are where.
#[derive(Debug, Serialize, JsonSchema)]
struct Counts {
    total: i64,
    planned: i64,
    queued: i64,
    running: i64,
    success: i64,
    failed: i64,
    skipped: i64,
    dropped: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct DateView {
    ordinal: i32,
    logical_date: Timestamp,
    /// `planned`, `skipped`, `dropped`, or the state of its run.
    state: String,
    why: Option<String>,
    dag_run_id: Option<String>,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BackfillProgressPage {
    backfills: Vec<BackfillProgress>,
    total_entries: i64,
}

/// Lists backfills, newest first.
pub(crate) async fn list_all(State(app): State<App>, mut query: Query) -> Result<Json<BackfillProgressPage>, Refusal> {
    let search = asked(&mut query, BACKFILLS.columns)?;
    let ListPage { rows, total: total_entries } = BACKFILLS.find(&mut *app.pages().await?, &search).await?;
    let backfills = rows.into_iter().map(|row| BackfillProgress::new(row, None)).collect();
    Ok(Json(BackfillProgressPage { backfills, total_entries }))
}

/// Returns a backfill with a page of its dates, in the order in which they run. The offset is the ordinal of a date.
pub(crate) async fn progress(
    State(app): State<App>,
    names: Names,
    mut query: Query,
) -> Result<Json<BackfillProgress>, Refusal> {
    let (id, page) = (id(&names)?, Page::of(&mut query));
    query.finish()?;
    let mut db = app.pages().await?;
    let row = find(&mut db, id).await?;
    let after = i32::try_from(page.offset).unwrap_or(i32::MAX);
    let dates = list_dates(&mut db, id, after, page.limit).await?;
    Ok(Json(BackfillProgress::new(row, Some(dates))))
}

impl BackfillProgress {
    fn new(row: BackfillRow, dates: Option<Vec<BackfillDate>>) -> BackfillProgress {
        let counts = Counts {
            total: row.total(),
            planned: row.planned,
            queued: row.queued,
            running: row.running,
            success: row.success,
            failed: row.failed,
            skipped: row.skipped,
            dropped: row.dropped,
        };
        BackfillProgress {
            id: row.id,
            dag_id: row.dag_id,
            from_date: Timestamp(row.from_date),
            to_date: Timestamp(row.to_date),
            run_backwards: row.run_backwards,
            reprocess_behavior: row.reprocess.as_str(),
            max_active_runs: row.max_active_runs,
            run_on_latest_version: row.latest,
            conf: row.conf,
            task_regex: row.task_regex,
            ignore_dependencies: !row.with_upstream,
            is_paused: row.is_paused,
            is_cancelled: row.is_cancelled,
            dag_is_paused: row.dag_is_paused,
            created_by: row.created_by,
            created_at: Timestamp(row.created_at),
            completed_at: stamp(row.completed_at),
            counts,
            dates: dates.map(|dates| dates.into_iter().map(DateView::from).collect()),
        }
    }
}

impl From<BackfillDate> for DateView {
    fn from(date: BackfillDate) -> DateView {
        DateView {
            ordinal: date.ordinal,
            logical_date: Timestamp(date.logical_date),
            state: date.state,
            why: date.why,
            dag_run_id: date.run_id,
            start_date: stamp(date.started_at),
            end_date: stamp(date.ended_at),
        }
    }
}
