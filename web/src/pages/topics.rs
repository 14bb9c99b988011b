//! `/topics`: the topics of the built-in log.

pub(crate) mod topic;

use super::kept::Pages;
use super::turned::Turned;
use super::{Shell, encoded, html};
use crate::extract::Query;
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use orch_deeds::Topic;
use orch_store::kept::{Record, Search, TOPIC};
use orch_store::name_pattern::NamePattern;

#[derive(Template)]
#[template(path = "pages/topics.html")]
struct TopicsPage {
    shell: Shell,
    q: String,
    lines: Vec<Line>,
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

const OF_A_PAGE: i64 = 100;

/// The page of a topic.
fn href(name: &str) -> String {
    format!("/topics/{}/records", encoded(name))
}

pub(crate) async fn show(State(app): State<App>, shell: Shell, mut query: Query) -> Result<Response, Refusal> {
    let turned = Turned::to(&mut query, OF_A_PAGE);
    query.finish()?;
    let q = query.text("q").unwrap_or_default().trim().to_string();
    let search = Search {
        names: NamePattern { contains: (!q.is_empty()).then(|| vec![q.clone()]), begins: None },
        skip: turned.skip(),
        most: turned.most(),
        ..Search::default()
    };
    let mut rows = search.list(&mut *app.pages().await?, &TOPIC).await?;
    let (before, after) = turned.cut(&mut rows, |page| format!("/topics?q={}&page={page}", encoded(&q)));
    let lines = rows.iter().map(|row| line(row, &shell)).collect();
    html(StatusCode::OK, &TopicsPage { shell, q, lines, before, after })
}

fn line(row: &Record, shell: &Shell) -> Line {
    let newest = row.text("last_record_at").and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    Line {
        name: row.name().into(),
        href: href(row.name()),
        edit_href: Topic::href(row.name()),
        description: row.text("description").unwrap_or_default().into(),
        partitions: row.whole("partitions"),
        records: row.whole("records"),
        kept: kept(row.whole("retention_hours")),
        newest: newest.map(|at| parts::ago(at.with_timezone(&Utc), shell.now)),
    }
}

/// `7 days`
fn kept(hours: i64) -> String {
    let many = |number: i64, unit: &str| format!("{number} {unit}{}", if number == 1 { "" } else { "s" });
    match hours {
        -1 => "for ever".into(),
        hours if hours % 24 == 0 => many(hours / 24, "day"),
        hours => many(hours, "hour"),
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
