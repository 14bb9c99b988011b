//! `/dashboards`: the dashboards that bundles and files declare. Submodules: one dashboard, its panels, its export.

pub(crate) mod dashboard;
pub(crate) mod export;
mod panel;

use super::filters::Filters;
use super::kept::{Listed, listed_by};
use super::{Shell, encoded, html};
use crate::api::dashboards::{COLUMNS, TITLE, cell};
use crate::dashboards::{LoadedDashboard, list};
use crate::extract::Query;
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_store::list::Search;

#[derive(Template)]
#[template(path = "pages/dashboards.html")]
struct DashboardsPage {
    shell: Shell,
    q: String,
    filters: Filters,
    lines: Vec<ListedDashboard>,
    before: Option<String>,
    after: Option<String>,
    /// Users who may query the lake in SQL see all dashboards except those for admins.
    may_read_data: bool,
}

struct ListedDashboard {
    title: String,
    href: String,
    description: String,
    words: String,
    file: String,
    changed: parts::Ago,
}

pub(super) fn href(name: &str) -> String {
    format!("/dashboards/{}", encoded(name))
}

pub(crate) async fn show(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    let role = shell.user.as_ref().map_or(crate::Role::Viewer, |user| user.role);
    let all = list(&app, role).await?;
    let find = async move |search: Search| Ok(search.pick(all, cell));
    let Listed { q, filters, rows, before, after, .. } =
        listed_by((query, shell.now), ("/dashboards", COLUMNS), TITLE, find).await?;
    let lines = rows.into_iter().map(|shown| line(shown, &shell)).collect();
    let may_read_data = shell.can(crate::api::lake::READS_DATA);
    html(StatusCode::OK, &DashboardsPage { shell, q, filters, lines, before, after, may_read_data })
}

fn line(LoadedDashboard { dashboard, row }: LoadedDashboard, shell: &Shell) -> ListedDashboard {
    ListedDashboard {
        href: href(&dashboard.name),
        words: parts::counted(dashboard.panels.len(), "panel"),
        title: dashboard.title,
        description: dashboard.description,
        file: format!("{} of {}", row.file, row.bundle),
        changed: parts::ago(row.updated_at, shell.now),
    }
}
