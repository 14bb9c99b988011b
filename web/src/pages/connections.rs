//! `/connections`: how tasks reach things outside. Everybody sees which there are; operators see where they lead and change
//! them; nobody sees a secret.

pub(crate) mod change;
pub(crate) mod edit;
mod kinds;
mod transfer;

use super::kept::{Listed, Pages, listed};
use super::{Shell, html};
use crate::extract::Query;
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_deeds::Connection;
use orch_store::kept::Record;

#[derive(Template)]
#[template(path = "pages/connections.html")]
struct ConnectionsPage {
    shell: Shell,
    q: String,
    lines: Vec<Line>,
    /// Those that the binary brings: name and type.
    brought: Vec<(String, String)>,
    has_key: bool,
    before: Option<String>,
    after: Option<String>,
}

struct Line {
    id: String,
    /// For those who may change it.
    href: String,
    description: String,
    conn_type: String,
    place: String,
    login: String,
    /// What of it is sealed, in words.
    sealed: &'static str,
    changed: parts::Ago,
}

pub(crate) async fn show(State(app): State<App>, shell: Shell, mut query: Query) -> Result<Response, Refusal> {
    let Listed { q, rows, before, after, .. } = listed::<Connection>(&app, &mut query).await?;
    let is_kept = |id: &str| rows.iter().any(|row| row.name() == id);
    let asked = app.config.default_connections.of(&app.config.installation).await;
    let defaults = asked.unwrap_or_else(|problem| {
        tracing::warn!("the default connections are not listed: {problem}");
        Vec::new()
    });
    let defaults = defaults.into_iter().filter(|one| before.is_none() && one.id.contains(&q) && !is_kept(&one.id));
    let brought = defaults.map(|one| (one.id, one.conn_type)).collect();
    let page = ConnectionsPage {
        lines: rows.iter().map(|row| line(&app, &shell, row)).collect(),
        before,
        after,
        brought,
        has_key: !app.config.keys.is_empty(),
        shell,
        q,
    };
    html(StatusCode::OK, &page)
}

fn line(app: &App, shell: &Shell, row: &Record) -> Line {
    let shown = Connection::visible(row, &app.config.keys, shell.can_operate());
    let port = shown.port.map_or_else(String::new, |port| format!(":{port}"));
    Line {
        href: Connection::href(row.name()),
        id: shown.id,
        description: shown.description.unwrap_or_default(),
        conn_type: shown.conn_type,
        place: shown.host.unwrap_or_default() + &port,
        login: shown.login.unwrap_or_default(),
        sealed: match (row.holds("password"), row.holds("extra")) {
            (true, true) => "password, extra",
            (true, false) => "password",
            (false, true) => "extra",
            (false, false) => "",
        },
        changed: parts::ago(row.updated_at(), shell.now),
    }
}
