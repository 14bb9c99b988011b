//! `/dashboards`: what bundles and files declare to be looked at. The page of one, its panels and its files lie below.

pub(crate) mod dashboard;
pub(crate) mod export;
mod panel;

use super::{Shell, encoded, html};
use crate::dashboards::{LoadedDashboard, list};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

#[derive(Template)]
#[template(path = "pages/dashboards.html")]
struct DashboardsPage {
    shell: Shell,
    lines: Vec<Line>,
    /// People who ask the lake in SQL see all but those of admins.
    may_read_data: bool,
}

struct Line {
    title: String,
    href: String,
    description: String,
    words: String,
    file: String,
    changed: parts::Ago,
}

/// The page of a dashboard.
pub(super) fn href(name: &str) -> String {
    format!("/dashboards/{}", encoded(name))
}

pub(crate) async fn show(State(app): State<App>, shell: Shell) -> Result<Response, Refusal> {
    let role = shell.user.as_ref().map_or(crate::Role::Viewer, |user| user.role);
    let lines = list(&app, role).await?.into_iter().map(|shown| line(shown, &shell)).collect();
    let may_read_data = shell.can(crate::api::lake::READS_DATA);
    html(StatusCode::OK, &DashboardsPage { shell, lines, may_read_data })
}

fn line(LoadedDashboard { dashboard, row }: LoadedDashboard, shell: &Shell) -> Line {
    Line {
        href: href(&dashboard.name),
        words: parts::counted(dashboard.panels.len(), "panel"),
        title: dashboard.title,
        description: dashboard.description,
        file: format!("{} of {}", row.file, row.bundle),
        changed: parts::ago(row.updated_at, shell.now),
    }
}
