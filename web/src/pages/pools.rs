//! `/pools`: how many slots there are for tasks that share something, and who is in them.

pub(crate) mod change;
pub(crate) mod edit;

use super::{Shell, encoded, html};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_core::gates::DEFAULT_POOL;
use orch_store::pool::{PoolRow, list_pools};

#[derive(Template)]
#[template(path = "pages/pools.html")]
struct PoolsPage {
    shell: Shell,
    lines: Vec<Line>,
    more: usize,
}

struct Line {
    name: String,
    /// For those who may change it.
    href: String,
    delete_href: Option<String>,
    description: String,
    slots: String,
    open: String,
    is_full: bool,
    running: i64,
    queued: i64,
    scheduled: i64,
    deferred: i64,
}

/// The API lists the rest.
const MOST_LINES: usize = 500;

/// Where a pool is changed.
pub(super) fn href(name: &str) -> String {
    format!("/pools/edit?name={}", encoded(name))
}

pub(crate) async fn show(State(app): State<App>, shell: Shell) -> Result<Response, Refusal> {
    let rows = list_pools(&mut *app.pages().await?).await?;
    let more = rows.len().saturating_sub(MOST_LINES);
    let page = PoolsPage { shell, lines: rows.into_iter().take(MOST_LINES).map(line).collect(), more };
    html(StatusCode::OK, &page)
}

fn line(row: PoolRow) -> Line {
    let infinite = row.slots < 0;
    Line {
        href: href(&row.name),
        delete_href: (row.name != DEFAULT_POOL).then(|| format!("/pools/delete?name={}", encoded(&row.name))),
        slots: if infinite { "∞".into() } else { row.slots.to_string() },
        open: if infinite { "∞".into() } else { row.open().max(0).to_string() },
        is_full: !infinite && row.open() <= 0,
        running: row.running,
        queued: row.queued,
        scheduled: row.scheduled,
        deferred: row.deferred,
        description: row.description.unwrap_or_default(),
        name: row.name,
    }
}
