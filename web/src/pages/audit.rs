//! `/audit`: who did what and when; operators also see the client address. The filter is in the query.

use super::filters::Filters;
use super::turned::Turned;
use super::{Shell, encoded, html};
use crate::auth::Role;
use crate::extract::Query;
use crate::parts::{self, TypedTime, ZonedNow, dag_href};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_store::audit::{AUDIT, AuditRow, by};
use orch_store::list::{Column, Compare};
use serde_json::Value;

/// Actor of the entries that schedulers write.
const SCHEDULER: &str = "scheduler";

#[derive(Template)]
#[template(path = "pages/audit.html")]
struct AuditPage {
    shell: Shell,
    lines: Vec<AuditEntry>,
    filter: Filter,
    filters: Filters,
    shows_addresses: bool,
    /// Addresses of the previous and next page.
    previous: Option<String>,
    next: Option<String>,
}

/// Values of the query parameters.
#[derive(Default)]
struct Filter {
    who: String,
    what: String,
    dag: String,
    after: String,
    before: String,
}

struct AuditEntry {
    at: String,
    ago: parts::Ago,
    who: String,
    who_href: String,
    what: String,
    /// Names and addresses of the objects that were changed.
    on: Vec<(String, String)>,
    details: String,
    from: String,
}

/// Maximum number of characters of a detail.
const MOST_CHARS: usize = 400;
/// Query parameters that the page reads itself instead of as column filters.
pub(crate) const OWN: &[&str] = &["after", "before"];
const OF_A_PAGE: i64 = 50;

pub(crate) async fn show(State(app): State<App>, shell: Shell, mut query: Query) -> Result<Response, Refusal> {
    let turned = Turned::to(&mut query, OF_A_PAGE);
    let text = |name: &str| query.text(name).unwrap_or_default().trim().to_string();
    let mut filter =
        Filter { who: text("who"), what: text("what"), dag: text("dag"), after: text("after"), before: text("before") };
    let said = |text: &str, column: Column| (!text.is_empty()).then(|| column.is(text));
    let (search, filters) = Filters::read(query, AUDIT.columns, OWN, shell.now)?;
    let (after, before) = (moment(&filter.after, shell.now)?, moment(&filter.before, shell.now)?);
    let search = search
        .and(said(&filter.who, by::ACTOR))
        .and(said(&filter.dag, by::DAG_ID))
        // Users type `clear run`, but events have names such as `clear_dag_run`.
        .and((!filter.what.is_empty()).then(|| by::EVENT.contains([filter.what.replace(' ', "_")])))
        .and(after.map(|at| by::AFTER.compare(Compare::AtLeast, at.first)))
        .and(before.map(|at| by::BEFORE.compare(Compare::AtMost, at.last)))
        .by(by::ID.descending());
    // Date and time inputs accept no other format.
    filter.after = after.map_or_else(String::new, |at| shell.now.field(at.first));
    filter.before = before.map_or_else(String::new, |at| shell.now.field(at.last));
    let mut db = app.pages().await?;
    let mut rows = AUDIT.rows(&mut db, &search.page(turned.skip(), turned.most())).await?;
    let (previous, next) = turned.cut(&mut rows, |page| format!("/audit?page={page}{}", filters.rest(&[])));
    let shows_addresses = shell.can(Role::Op);
    let page = AuditPage {
        lines: rows.into_iter().map(|row| line(row, shell.now, shows_addresses)).collect(),
        previous,
        next,
        shell,
        filter,
        filters,
        shows_addresses,
    };
    html(StatusCode::OK, &page)
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.pairs().iter().all(|(_, value)| value.is_empty())
    }

    fn pairs(&self) -> [(&'static str, &str); 5] {
        let Filter { who, what, dag, after, before } = self;
        [("who", who), ("what", what), ("dag", dag), ("after", after), ("before", before)]
    }
}

/// Reads a field for a date or a time, in the zone of the page. `None` if it is empty.
pub(super) fn moment(text: &str, now: ZonedNow) -> Result<Option<TypedTime>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || Refusal::bad_request(format!("`{text}` is no time: write it as in `2026-11-20T06:00`"));
    now.typed(text).map(Some).ok_or_else(wrong)
}

fn line(row: AuditRow, now: ZonedNow, shows_addresses: bool) -> AuditEntry {
    let mut on = Vec::new();
    if let Some(dag_id) = &row.dag_id {
        let href = dag_href(dag_id);
        on.push((dag_id.clone(), href.clone()));
        if let Some(run_id) = &row.run_id {
            let href = format!("{href}/runs/{}", encoded(run_id));
            on.push((run_id.clone(), href.clone()));
            if let Some(task_id) = &row.task_id {
                let element = row.map_index.filter(|index| *index >= 0);
                let href = format!("{href}/tasks/{}", encoded(task_id));
                on.push(match element {
                    Some(index) => (format!("{task_id}[{index}]"), format!("{href}/{index}")),
                    None => (task_id.clone(), href),
                });
            }
        }
    }
    let extra = row.extra.as_ref().and_then(Value::as_object);
    let details = extra.into_iter().flatten().filter(|(name, _)| *name != "from").map(|(name, value)| match value {
        Value::String(text) => format!("{name}: {}", shortened(text)),
        other => format!("{name}: {other}"),
    });
    // Entries of schedulers have no address. Other entries without one come from commands with database access.
    let elsewhere = if row.actor == SCHEDULER { "–" } else { "command line" };
    let from = extra.and_then(|extra| extra.get("from")?.as_str()).unwrap_or(elsewhere);
    AuditEntry {
        at: now.written(row.at, "%Y-%m-%d %H:%M:%S"),
        ago: parts::ago(row.at, now),
        who_href: format!("/audit?who={}", encoded(&row.actor)),
        who: row.actor,
        what: parts::words(&row.event),
        on,
        details: details.collect::<Vec<_>>().join(", "),
        from: if shows_addresses { from.to_string() } else { String::new() },
    }
}

/// Truncates a long text; the API returns all of it.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}… ({} characters)", &text[..end], text.chars().count()),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_shown_from_its_beginning_with_its_length() {
        assert_eq!(shortened("select 1"), "select 1");
        let shown = shortened(&"ä".repeat(60_000));
        assert!(shown.starts_with("ää") && shown.ends_with("ä… (60000 characters)") && shown.len() < 1_000, "{shown}");
    }

    #[test]
    fn times_are_read_as_browsers_write_them() {
        let now = ZonedNow { zone: chrono_tz::Europe::Berlin, ..ZonedNow::utc(chrono::DateTime::UNIX_EPOCH) };
        let at = |text| moment(text, now).ok().flatten().map(|at| at.first.to_string());
        assert_eq!(at("2026-11-20T06:00").as_deref(), Some("2026-11-20 05:00:00 UTC"));
        assert_eq!(at("2026-11-20T06:00:30Z").as_deref(), Some("2026-11-20 06:00:30 UTC"));
        assert!(moment("", now).is_ok_and(|at| at.is_none()) && moment("yesterday", now).is_err());
    }
}
