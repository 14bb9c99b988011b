//! `/backfills`: all backfills with their progress, newest first.

pub(crate) mod backfill;

use super::filters::Filters;
use super::turned::Turned;
use super::{Shell, encoded, html};
use crate::extract::Query;
use crate::parts::{self, ZonedNow};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use orch_store::backfill::{BACKFILLS, BackfillRow, by};

#[derive(Template)]
#[template(path = "pages/backfills.html")]
struct BackfillsPage {
    shell: Shell,
    list: List,
    active: bool,
}

/// Backfills of one DAG or of all DAGs.
pub(crate) struct List {
    /// The other filters, to append to an address after `show`.
    pub(crate) rest: String,
    pub(crate) filters: Filters,
    pub(crate) lines: Vec<ListedBackfill>,
    /// True if the list has backfills of all DAGs, so each line names its DAG.
    pub(crate) of_all: bool,
    pub(crate) back: Option<String>,
    pub(crate) on: Option<String>,
}

pub(crate) struct ListedBackfill {
    pub(crate) href: String,
    pub(crate) id: i32,
    pub(crate) dag_id: String,
    pub(crate) dag_href: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) state: parts::State,
    pub(crate) said: &'static str,
    pub(crate) percent: i64,
    pub(crate) over: i64,
    pub(crate) total: i64,
    pub(crate) failed: i64,
    pub(crate) by: String,
    pub(crate) created: parts::Ago,
}

const OF_A_PAGE: i64 = 50;

pub(crate) fn href(id: i32) -> String {
    format!("/backfills/{id}")
}

pub(crate) async fn show(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    let active = query.text("show") == Some("active");
    let list = list(&app, &shell, query, None).await?;
    html(StatusCode::OK, &BackfillsPage { shell, list, active })
}

/// Returns one page of backfills.
pub(crate) async fn list(app: &App, shell: &Shell, mut query: Query, dag_id: Option<&str>) -> Result<List, Refusal> {
    let turned = Turned::to(&mut query, OF_A_PAGE);
    let active = query.text("show") == Some("active");
    let (search, filters) = Filters::read(query, BACKFILLS.columns, &[], shell.now)?;
    let search = search
        .and(dag_id.map(|dag_id| by::DAG_ID.is(dag_id)))
        .and(active.then(|| by::ACTIVE.holds()))
        .page(turned.skip(), turned.most());
    let mut rows = BACKFILLS.rows(&mut *app.pages().await?, &search).await?;
    let place = match dag_id {
        Some(dag_id) => format!("{}/backfills", parts::dag_href(dag_id)),
        None => "/backfills".into(),
    };
    let (back, on) = turned.cut(&mut rows, |page| format!("{place}?page={page}{}", filters.rest(&[])));
    Ok(List {
        rest: filters.rest(&["show"]),
        filters,
        lines: rows.into_iter().map(|row| line(row, shell)).collect(),
        of_all: dag_id.is_none(),
        back,
        on,
    })
}

fn line(row: BackfillRow, shell: &Shell) -> ListedBackfill {
    let (state, said) = standing(&row);
    ListedBackfill {
        href: href(row.id),
        id: row.id,
        dag_href: format!("{}/backfills", parts::dag_href(&row.dag_id)),
        from: day(row.from_date, shell.now),
        to: last_day(row.to_date, shell.now),
        state: parts::bare(state),
        said,
        percent: percent(&row),
        over: row.over(),
        total: row.total(),
        failed: row.failed,
        by: row.created_by.unwrap_or_default(),
        created: parts::ago(row.created_at, shell.now),
        dag_id: row.dag_id,
    }
}

/// Returns the state whose icon represents the backfill, and its status as text.
pub(crate) fn standing(row: &BackfillRow) -> (&'static str, &'static str) {
    match () {
        () if row.is_cancelled => ("skipped", "cancelled"),
        () if row.completed_at.is_some() && row.failed > 0 => ("failed", "done, some runs failed"),
        () if row.completed_at.is_some() => ("success", "done"),
        () if row.is_paused => ("deferred", "paused"),
        () if row.dag_is_paused => ("deferred", "waits: its DAG is paused"),
        () if row.running + row.queued > 0 => ("running", "running"),
        () => ("queued", "waits for a scheduler"),
    }
}

pub(crate) fn percent(row: &BackfillRow) -> i64 {
    row.over() * 100 / row.total().max(1)
}

/// Formats a logical date or the first date of a range in the page's time zone. Midnight is written without a time.
pub(crate) fn day(at: DateTime<Utc>, now: ZonedNow) -> String {
    let is_midnight = now.local(at).time() == NaiveTime::MIN;
    now.written(at, if is_midnight { "%Y-%m-%d" } else { "%Y-%m-%d %H:%M:%S" })
}

/// Formats the last date of a range in the time zone of the page. A date without a time includes the whole day, so
/// only the last millisecond of a day is written as a date; midnight is written with its time.
pub(crate) fn last_day(at: DateTime<Utc>, now: ZonedNow) -> String {
    let next = at.checked_add_signed(TimeDelta::milliseconds(1));
    let ends_day = next.is_some_and(|next| now.local(next).date_naive() != now.local(at).date_naive());
    now.written(at, if ends_day { "%Y-%m-%d" } else { "%Y-%m-%d %H:%M:%S" })
}

pub(crate) fn run_href(dag_id: &str, run_id: &str) -> String {
    format!("{}/runs/{}", parts::dag_href(dag_id), encoded(run_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_in_the_zone_of_the_page_and_a_whole_day_has_no_time() {
        for (zone, at, first, last) in [
            ("UTC", "2026-11-20T00:00:00Z", "2026-11-20", "2026-11-20 00:00:00"),
            ("UTC", "2026-11-20T23:59:59.999999Z", "2026-11-20 23:59:59", "2026-11-20"),
            ("UTC", "2026-11-20T23:59:59.999Z", "2026-11-20 23:59:59", "2026-11-20"),
            ("UTC", "2026-11-20T23:59:59Z", "2026-11-20 23:59:59", "2026-11-20 23:59:59"),
            ("Europe/Berlin", "2026-11-20T00:00:00Z", "2026-11-20 01:00:00", "2026-11-20 01:00:00"),
            ("Europe/Berlin", "2026-11-19T23:00:00Z", "2026-11-20", "2026-11-20 00:00:00"),
            ("Europe/Berlin", "2026-11-20T22:59:59.999999Z", "2026-11-20 23:59:59", "2026-11-20"),
        ] {
            let now = ZonedNow { zone: zone.parse().expect("a zone"), ..ZonedNow::utc(DateTime::UNIX_EPOCH) };
            let at: DateTime<Utc> = at.parse().expect("a timestamp");
            assert_eq!((day(at, now).as_str(), last_day(at, now).as_str()), (first, last), "{zone} {at}");
        }
    }
}
