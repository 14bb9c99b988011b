//! `/api/orch/v1/dashboards`: dashboards, and the rows of their panels as JSON.

use super::list::asked;
use crate::auth::{Caller, Role};
use crate::dashboards::{self, LoadedDashboard, Rows, the_rows};
use crate::extract::{Names, Query, query_params};
use crate::queries::for_user;
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::{Extension, Json};
use orch_document::dashboard::Panel;
use orch_store::lake_view::{self, LakeError, ResultColumn};
use orch_store::list::Filter::{Is, Pattern, Prefix, Range};
use orch_store::list::{Cell, Column, ListPage};
use orch_wire::Problem;
use orch_wire::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

query_params! {
    pub(crate) struct DashboardParams {
        /// The value of a filter, as in `day:2026-11-20`
        filter: Vec<String>,
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DashboardPage {
    dashboards: Vec<DashboardView>,
    total_entries: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct DashboardView {
    name: String,
    title: String,
    description: String,
    /// Readers have this role or a higher one.
    role: String,
    /// What declares it, and in which file.
    bundle: String,
    file: String,
    updated_at: Timestamp,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DashboardRows {
    #[serde(flatten)]
    dashboard: DashboardView,
    /// The values that the rows are for, by filter.
    filters: BTreeMap<String, String>,
    panels: Vec<PanelRows>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct PanelRows {
    id: String,
    title: String,
    /// `figure`, `lines`, `bars`, `table` or `map`.
    #[serde(rename = "type")]
    look: String,
    columns: Vec<ResultColumn>,
    rows: Vec<Vec<lake_view::Cell>>,
    /// There are more rows than are read.
    more: bool,
    /// Why there are no rows.
    problem: Option<String>,
}

impl From<&LoadedDashboard> for DashboardView {
    fn from(LoadedDashboard { dashboard, row }: &LoadedDashboard) -> Self {
        DashboardView {
            name: dashboard.name.clone(),
            title: dashboard.title.clone(),
            description: dashboard.description.clone(),
            role: dashboard.role.clone(),
            bundle: row.bundle.clone(),
            file: row.file.clone(),
            updated_at: Timestamp(row.updated_at),
        }
    }
}

pub(crate) const TITLE: Column = Column::text("title", "").by(&[Pattern]).sorted();

pub(crate) const COLUMNS: &[Column] = &[
    Column::text("name", "").by(&[Is, Pattern, Prefix]).about("Of that name").sorted(),
    TITLE,
    Column::text("role", "").by(&[Is]).about("Readers have that role or a higher one").sorted(),
    Column::text("bundle", "").by(&[Is]).about("Of that bundle").sorted(),
    Column::text("file", "").sorted(),
    Column::moment("updated_at", "").by(&[Range]).sorted(),
];

pub(crate) fn cell<'a>(LoadedDashboard { dashboard, row }: &'a LoadedDashboard, column: &Column) -> Cell<'a> {
    match column.name {
        "name" => dashboard.name.as_str().into(),
        "title" => dashboard.title.as_str().into(),
        "role" => dashboard.role.as_str().into(),
        "bundle" => row.bundle.as_str().into(),
        "file" => row.file.as_str().into(),
        "updated_at" => row.updated_at.into(),
        _ => Cell::Nothing,
    }
}

/// Lists dashboards, by default sorted by name.
pub(crate) async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<DashboardPage>, Refusal> {
    let search = asked(&mut query, COLUMNS)?;
    let ListPage { rows, total: total_entries } = search.pick(dashboards::list(&app, caller.role).await?, cell);
    Ok(Json(DashboardPage { dashboards: rows.iter().map(DashboardView::from).collect(), total_entries }))
}

pub(crate) async fn get(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    names: Names,
    mut query: Query,
) -> Result<Json<DashboardRows>, Refusal> {
    let shown = dashboards::find(&app, names.get("dashboard_name"), caller.role).await?;
    let DashboardParams { filter } = query.whole()?;
    let given = filters(&shown, &filter)?;
    let found = the_rows(&app, &shown, &given, &shown.dashboard.panels).await?;
    let wrong = found.values.fields.iter().filter_map(|field| Some((field, field.problem.as_ref()?)));
    let wrong: Vec<Problem> =
        wrong.map(|(field, problem)| Problem::value(format!("filter `{}`: {problem}", field.name)).at(AT)).collect();
    if !wrong.is_empty() {
        return Err(Refusal::Invalid(wrong));
    }
    let panels = shown
        .dashboard
        .panels
        .iter()
        .zip(found.panels)
        .map(|(panel, rows)| rows_of(panel, rows, caller.role >= Role::Admin));
    let panels = panels.collect();
    let filters = found.values.fields.into_iter().map(|field| (field.name, field.text)).collect();
    Ok(Json(DashboardRows { dashboard: DashboardView::from(&shown), filters, panels }))
}

const AT: [&str; 2] = ["query", "filter"];

/// Returns the query of the dashboard page for filters such as `filter=day:2026-11-20`.
fn filters(shown: &LoadedDashboard, asked: &[String]) -> Result<Query, Refusal> {
    let mut given = form_urlencoded::Serializer::new(String::new());
    // As in every list, an empty filter is ignored.
    for text in asked.iter().map(String::as_str).filter(|text| !text.is_empty()) {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        if !shown.dashboard.filters.iter().any(|filter| filter.name == name) {
            let known: Vec<&str> = shown.dashboard.filters.iter().map(|filter| filter.name.as_str()).collect();
            let words = format!("the dashboard has no filter `{name}`: it has {}", known.join(", "));
            return Err(Problem::value(words).at(AT).into());
        }
        given.append_pair(name, value);
    }
    Ok(Query::parse(&given.finish()))
}

fn rows_of(panel: &Panel, rows: Rows, is_admin: bool) -> PanelRows {
    let words = |error| for_user(error, is_admin).to_string();
    let answer = match rows {
        Rows::Here(answer) => (*answer).clone().map_err(words),
        Rows::Problem(error) => Err(words(error)),
        Rows::Missing(tables) => {
            let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
            Err(format!("not in the lake yet: {}", names.join(", ")))
        }
        Rows::Coming | Rows::Unasked => Err(LakeError::Busy("the rows did not come in time".into()).to_string()),
    };
    let (id, title, look) = (panel.id.clone(), panel.title.clone(), panel.look.as_str().into());
    match answer {
        Ok(answer) => {
            PanelRows { id, title, look, columns: answer.columns, rows: answer.rows, more: answer.more, problem: None }
        }
        Err(problem) => {
            let (columns, rows) = (Vec::new(), Vec::new());
            PanelRows { id, title, look, columns, rows, more: false, problem: Some(problem) }
        }
    }
}
