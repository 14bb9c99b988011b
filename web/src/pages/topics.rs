//! `/topics`: the topics of the built-in log, and the way to those of clusters.

pub(crate) mod cluster;
pub(crate) mod topic;

use super::kept::{Listed, Pages, listed};
use super::{Shell, encoded, html};
use crate::api::topics::READS_RECORDS;
use crate::extract::Query;
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_deeds::Topic;
use orch_store::kept::Record;

#[derive(Template)]
#[template(path = "pages/topics.html")]
struct TopicsPage {
    shell: Shell,
    q: String,
    lines: Vec<Line>,
    /// The page of each, and its connection.
    clusters: Vec<(String, String)>,
    before: Option<String>,
    after: Option<String>,
}

struct Line {
    name: String,
    href: String,
    edit_href: String,
    description: String,
    partitions: i64,
    records: i64,
    kept: String,
    newest: Option<parts::Ago>,
}

/// The page of a topic.
fn href(name: &str) -> String {
    format!("/topics/{}/records", encoded(name))
}

pub(crate) async fn show(State(app): State<App>, shell: Shell, mut query: Query) -> Result<Response, Refusal> {
    let Listed { q, rows, before, after, .. } = listed::<Topic>(&app, &mut query).await?;
    let lines = rows.iter().map(|row| line(row, &shell)).collect();
    let clusters = if shell.can(READS_RECORDS) { cluster::known(&mut *app.pages().await?).await? } else { Vec::new() };
    html(StatusCode::OK, &TopicsPage { shell, q, lines, clusters, before, after })
}

fn line(row: &Record, shell: &Shell) -> Line {
    Line {
        name: row.name().into(),
        href: href(row.name()),
        edit_href: Topic::href(row.name()),
        description: row.text("description").unwrap_or_default().into(),
        partitions: row.whole("partitions"),
        records: row.whole("records"),
        kept: kept(row.whole("retention_hours")),
        newest: row.moment("last_record_at").map(|at| parts::ago(at, shell.now)),
    }
}

/// `7 days`
fn kept(hours: i64) -> String {
    match hours {
        -1 => "for ever".into(),
        hours if hours % 24 == 0 => parts::counted(hours / 24, "day"),
        hours => parts::counted(hours, "hour"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_records_are_kept_is_said_in_days_where_it_is_whole_days() {
        assert_eq!([168, 24, 36, 1, -1].map(kept), ["7 days", "1 day", "36 hours", "1 hour", "for ever"]);
    }
}
