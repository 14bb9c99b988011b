//! `POST /api/orch/v1/backfills/dry_run`: what a backfill would do for each date, and why it would skip a date.

use super::{BackfillPostBody, done};
use crate::extract::Typed;
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_core::backfill::{Action, Date};
use orch_store::backfill::{NewBackfill, plan_backfill};
use orch_wire::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PlanView {
    /// In the order in which they would be run.
    dates: Vec<PlannedView>,
    /// The tasks that would run; null: all.
    tasks: Option<Vec<String>>,
    total_entries: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
struct PlannedView {
    logical_date: Timestamp,
    data_interval_start: Timestamp,
    data_interval_end: Timestamp,
    /// `create`, `run again` or `skip`.
    action: &'static str,
    /// Why nothing would be done.
    reason: Option<&'static str>,
}

impl From<(Date, Action)> for PlannedView {
    fn from((date, action): (Date, Action)) -> Self {
        let (action, reason) = action.words();
        PlannedView {
            logical_date: Timestamp(date.logical_date),
            data_interval_start: Timestamp(date.interval.start),
            data_interval_end: Timestamp(date.interval.end),
            action,
            reason,
        }
    }
}

pub(crate) async fn plan(
    State(app): State<App>,
    Typed(body): Typed<BackfillPostBody>,
) -> Result<Json<PlanView>, Refusal> {
    let new = NewBackfill::try_from(body)?;
    let mut db = app.pages().await?;
    let planned = done(&new.dag_id, plan_backfill(&mut db, &mut app.versions.clone(), &new).await?)?;
    let dates: Vec<PlannedView> = planned.dates.into_iter().map(PlannedView::from).collect();
    Ok(Json(PlanView { total_entries: dates.len(), dates, tasks: planned.tasks }))
}
