//! `/pools`: the slots that tasks share, and how many of them are taken.

use super::kept::Pages;
use super::{Shell, html};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_core::gates::DEFAULT_POOL;
use orch_deeds::Pool;
use orch_store::kept::{MOST_KEPT, POOL, Record, list};

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

pub(crate) async fn show(State(app): State<App>, shell: Shell) -> Result<Response, Refusal> {
    let rows = list(&mut *app.pages().await?, &POOL, None, MOST_KEPT).await?;
    let more = rows.len().saturating_sub(MOST_LINES);
    let page = PoolsPage { shell, lines: rows.into_iter().take(MOST_LINES).map(|row| line(&row)).collect(), more };
    html(StatusCode::OK, &page)
}

fn line(row: &Record) -> Line {
    let infinite = row.whole("slots") < 0;
    let slots = |column: &str| if infinite { "∞".into() } else { row.whole(column).max(0).to_string() };
    Line {
        href: Pool::href(row.name()),
        delete_href: (row.name() != DEFAULT_POOL).then(|| Pool::delete_href(row.name())),
        slots: slots("slots"),
        open: slots("open_slots"),
        is_full: !infinite && row.whole("open_slots") <= 0,
        running: row.whole("running_slots"),
        queued: row.whole("queued_slots"),
        scheduled: row.whole("scheduled_slots"),
        deferred: row.whole("deferred_slots"),
        description: row.text("description").unwrap_or_default().into(),
        name: row.name().into(),
    }
}
