//! `/streams`: the streams of all bundles with their progress.

pub(crate) mod stream;

use super::filters::Filters;
use super::kept::{Listed, listed_by};
use super::{Shell, encoded, html};
use crate::extract::Query;
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_store::list::Search;
use orch_store::stream::{StreamRow, StreamState, by, find_streams};

#[derive(Template)]
#[template(path = "pages/streams.html")]
struct StreamsPage {
    shell: Shell,
    q: String,
    filters: Filters,
    /// Prefix of the page title that shows whether a stream has failed.
    sign: &'static str,
    lines: Vec<ListedStream>,
    before: Option<String>,
    after: Option<String>,
}

struct ListedStream {
    name: String,
    href: String,
    state: parts::State,
    said: &'static str,
    topic: String,
    table: String,
    lag: String,
    records: String,
    committed: Option<parts::Ago>,
    /// First line of the error, truncated.
    error: Option<String>,
}

/// Maximum number of characters of an error in the list.
const MOST_ERROR_CHARS: usize = 160;

pub(super) fn href(name: &str) -> String {
    format!("/streams/{}", encoded(name))
}

pub(crate) async fn show(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    let find = async |search: Search| find_streams(&mut *app.pages().await?, &search).await;
    let Listed { q, filters, rows, before, after, .. } =
        listed_by((query, shell.now), ("/streams", by::ALL), by::NAME, find).await?;
    let all = find_streams(&mut *app.pages().await?, &Search::default().page(0, i64::MAX)).await?.rows;
    let has_failed = all.iter().any(|row| row.state() == StreamState::Failed);
    let sign = if has_failed { parts::sign("failed") } else { "" };
    let lines = rows.iter().map(|row| line(row, &shell)).collect();
    html(StatusCode::OK, &StreamsPage { shell, q, filters, sign, lines, before, after })
}

fn line(row: &StreamRow, shell: &Shell) -> ListedStream {
    let first = |error: &str| parts::short(error.lines().next().unwrap_or_default(), MOST_ERROR_CHARS).into_owned();
    ListedStream {
        name: row.name.clone(),
        href: href(&row.name),
        state: parts::bare(icon_of(row.state())),
        said: row.state().name(),
        topic: row.topic().into(),
        table: row.table().into(),
        lag: count(row.lag),
        records: count(row.records_last_hour),
        committed: row.last_commit_at.map(|at| parts::ago(at, shell.now)),
        error: row.error.as_deref().map(first),
    }
}

/// Returns the task state whose icon represents the stream's state.
pub(super) fn icon_of(state: StreamState) -> &'static str {
    match state {
        StreamState::Running => "running",
        StreamState::Paused => "paused",
        StreamState::Failed => "failed",
        StreamState::Unassigned => "no_status",
    }
}

fn count(number: i64) -> String {
    parts::count(u64::try_from(number).unwrap_or_default())
}
