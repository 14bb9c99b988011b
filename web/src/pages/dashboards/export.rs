//! `/dashboards/{dashboard_name}/{panel_id}/export`: the rows of a panel as CSV, for the parameters in the address.

use super::panel::OUTLINE;
use crate::auth::Caller;
use crate::dashboards::{Rows, find, the_rows};
use crate::extract::{Names, Query};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Extension;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use orch_store::lake_view::{LakeError, QueryAnswer, csv_head, csv_line, escape_formulas};

pub(crate) async fn file(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    names: Names,
    query: Query,
) -> Result<Response, Refusal> {
    let shown = find(&app, names.get("dashboard_name"), caller.role).await?;
    let panel = shown.dashboard.panel(names.get("panel_id")).cloned();
    let panel = panel.ok_or_else(|| Refusal::not_found("the dashboard has no such panel"))?;
    let found = the_rows(&app, &shown, &query, std::slice::from_ref(&panel)).await?;
    let text = match found.panels.into_iter().next() {
        Some(Rows::Here(answer)) => csv((*answer).clone()?),
        Some(Rows::Problem(error)) => return Err(error.into()),
        Some(Rows::Missing(_)) => return Err(Refusal::not_found("a table of the panel is not in the lake yet")),
        Some(Rows::Unasked) => return Err(Refusal::bad_request("a filter has a value that it cannot have")),
        Some(Rows::Coming) | None => {
            return Err(LakeError::Busy("the rows did not come in time\nhint: try again in a moment".into()).into());
        }
    };
    let file = format!("attachment; filename=\"{}-{}.csv\"", shown.dashboard.name, panel.id);
    let headers = [(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, file)];
    Ok((headers, text).into_response())
}

/// Formats the rows as CSV for a spreadsheet: formulas are escaped and outlines are removed.
fn csv(mut answer: QueryAnswer) -> String {
    if let Some(at) = answer.columns.iter().position(|column| column.name == OUTLINE) {
        answer.columns.remove(at);
        answer.rows.iter_mut().for_each(|row| drop(row.remove(at)));
    }
    answer.rows.iter_mut().fold(csv_head(&answer.columns), |text, row| {
        escape_formulas(row);
        text + &csv_line(&*row)
    })
}
