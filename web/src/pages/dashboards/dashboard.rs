//! `/dashboards/{dashboard_name}`: the panels of a dashboard for the parameters in the address. Panels whose queries
//! are still running are added later: the page is notified by an event stream, or reloads itself if no script runs.

use super::href;
use super::panel::{Drawn, Figure, drawn};
use crate::auth::{Caller, Role};
use crate::dashboards::{DashboardAnswers, Field, LoadedDashboard, Rows, ask, find, mark};
use crate::extract::{Names, Query};
use crate::live::{Watched, answer};
use crate::pages::lake::{Closed, closed};
use crate::pages::run::events::read_page_mark;
use crate::pages::{Shell, encoded, html};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use orch_document::dashboard::{Dashboard, Panel, PanelType};

#[derive(Template)]
#[template(path = "pages/dashboards/dashboard.html")]
struct DashboardPage {
    shell: Shell,
    title: String,
    description: String,
    href: String,
    file: String,
    /// Address of the event stream that tells the page to reload.
    live: String,
    /// Why the lake cannot be queried, if it cannot.
    closed: Option<Closed>,
    fields: Vec<Field>,
    blocks: Vec<Block>,
    /// True while queries of panels are running.
    is_coming: bool,
}

/// Consecutive figures are shown in one strip.
enum Block {
    Figures(Vec<Shot>),
    Panel(Box<Shot>),
}

/// A panel as it is shown.
struct Shot {
    id: String,
    title: String,
    description: String,
    is_wide: bool,
    /// Address of the CSV export; `None` if the panel has no rows.
    export: Option<String>,
    body: Body,
}

enum Body {
    Drawn(Box<Drawn>),
    Coming,
    Unasked,
    /// The panel's tables are empty; `dags` are the DAGs that fill them.
    Empty {
        words: String,
        dags: Vec<(String, String)>,
    },
    Problem(Closed),
}

impl Shot {
    /// Returns the figure of the panel, if it is drawn as one.
    fn figure(&self) -> Option<&Figure> {
        if let Body::Drawn(drawn) = &self.body { drawn.figure.as_ref() } else { None }
    }
}

pub(crate) async fn show(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    shell: Shell,
    names: Names,
    query: Query,
) -> Result<Response, Refusal> {
    let shown = find(&app, names.get("dashboard_name"), caller.role).await?;
    let is_admin = caller.role >= Role::Admin;
    // The mark is read before the rows, so a change in between makes the page reload.
    let mark = mark(&app, &shown).await;
    let (found, is_closed) = match ask(&app, &shown, &query).await {
        Ok(found) => (Some(found), None),
        Err(error) => (None, Some(closed(error, is_admin))),
    };
    let href = href(&shown.dashboard.name);
    let (fields, blocks, is_right) = match found {
        Some(DashboardAnswers { values, panels }) => {
            let query = values.query();
            let shots: Vec<Shot> = shown
                .dashboard
                .panels
                .iter()
                .zip(panels)
                .map(|(panel, rows)| shot(&shown.dashboard, panel, rows, (&href, &query), is_admin))
                .collect();
            let is_right = values.are_right();
            (values.fields, blocks(&shown.dashboard.panels, shots), is_right)
        }
        None => (Vec::new(), Vec::new(), true),
    };
    let LoadedDashboard { dashboard, row } = shown;
    let page = DashboardPage {
        is_coming: blocks.iter().any(Block::is_coming),
        live: format!("{href}/events?mark={mark}"),
        file: format!("{} of {}", row.file, row.bundle),
        title: dashboard.title,
        description: dashboard.description,
        closed: is_closed,
        shell,
        href,
        fields,
        blocks,
    };
    html(if is_right { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY }, &page)
}

/// `/dashboards/{dashboard_name}/events?mark=…`: notifies the page when the dashboard has changed since `mark`.
pub(crate) async fn follow(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    names: Names,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let shown = find(&app, names.get("dashboard_name"), caller.role).await?;
    let mark = mark(&app, &shown).await;
    let watched = Watched::Dashboard(shown.dashboard.name.into());
    answer(app, (&caller.name, headers), watched, mark, (read_page_mark(&query), None))
}

impl Block {
    fn is_coming(&self) -> bool {
        let is_coming = |shot: &Shot| matches!(shot.body, Body::Coming);
        match self {
            Block::Figures(shots) => shots.iter().any(is_coming),
            Block::Panel(shot) => is_coming(shot),
        }
    }
}

fn blocks(panels: &[Panel], shots: Vec<Shot>) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for (panel, shot) in panels.iter().zip(shots) {
        match (panel.look, blocks.last_mut()) {
            (PanelType::Figure, Some(Block::Figures(strip))) => strip.push(shot),
            (PanelType::Figure, _) => blocks.push(Block::Figures(vec![shot])),
            _ => blocks.push(Block::Panel(Box::new(shot))),
        }
    }
    blocks
}

fn shot(dashboard: &Dashboard, panel: &Panel, rows: Rows, (href, query): (&str, &str), is_admin: bool) -> Shot {
    let empty = |words: String| {
        let dags = dashboard.dags_of(panel).iter();
        Body::Empty {
            words,
            dags: dags.map(|dag| (dag.clone(), format!("{}/trigger", parts::dag_href(dag)))).collect(),
        }
    };
    let body = match rows {
        Rows::Here(answer) => match &*answer {
            Ok(answer) if answer.rows.is_empty() => empty("There are no rows for this.".into()),
            Ok(answer) => Body::Drawn(Box::new(drawn(panel, answer))),
            Err(error) => Body::Problem(closed(error.clone(), is_admin)),
        },
        Rows::Coming => Body::Coming,
        Rows::Unasked => Body::Unasked,
        Rows::Missing(tables) => {
            let names: Vec<String> = tables.iter().map(|table| format!("`{table}`")).collect();
            let verb = if names.len() == 1 { "is" } else { "are" };
            empty(format!("{} {verb} not in the lake yet.", names.join(", ")))
        }
        Rows::Problem(error) => Body::Problem(closed(error, is_admin)),
    };
    let has_rows = matches!(body, Body::Drawn(_));
    Shot {
        export: has_rows.then(|| format!("{href}/{}/export?{query}", encoded(&panel.id))),
        id: panel.id.clone(),
        title: panel.title.clone(),
        description: panel.description.clone(),
        is_wide: panel.wide || panel.look == PanelType::Map,
        body,
    }
}
