//! `/dags/{dag_id}/calendar`: one year of runs by day, and the days with failed runs.

use super::{Head, find};
use crate::extract::DagPath;
use crate::pages::{Shell, html};
use crate::parts::{self, DayCount, Year, ZonedNow};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::NaiveDate;
use orch_spec::state::RunState;
use orch_store::dag::{QuarterRuns, runs_by_quarter};
use std::collections::BTreeMap;

#[derive(Template)]
#[template(path = "pages/dag/calendar.html")]
struct CalendarPage {
    shell: Shell,
    head: Head,
    year: Year,
    /// Each day with its number of runs by outcome and the address of its runs.
    bad_days: Vec<(NaiveDate, String, String)>,
    /// Note that only the newest runs are counted; `None` if all runs are.
    counted: Option<String>,
}

/// About two weeks of a DAG that runs every minute. Counting a whole year of such runs takes too long for a page.
const MOST_RUNS: i64 = 20_000;
const MOST_BAD_DAYS: usize = 20;

pub(crate) async fn show(State(app): State<App>, shell: Shell, DagPath(dag_id): DagPath) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let found = find(&app, &mut db, &dag_id).await?;
    let head = Head::new(&found, "calendar", shell.now);
    let now = shell.now;
    let today = now.local(now.at).date_naive();
    let since = now.typed(&Year::first(today).to_string()).map_or(now.at, |day| day.first);
    let rows = runs_by_quarter(&mut db, &found.row.dag_id, since, MOST_RUNS).await?;
    drop(db);
    let counted = rows.iter().map(|row| row.runs).sum::<i64>() >= MOST_RUNS;
    let counted =
        counted.then(|| format!("the newest {}", parts::counted(parts::count(MOST_RUNS.unsigned_abs()), "run")));
    let year = Year::new(today, by_day(&rows, now));
    let bad = year.days().iter().rev().filter(|(_, count)| count.failed > 0).take(MOST_BAD_DAYS);
    let bad_days = bad
        .map(|(day, count)| {
            (*day, count.words(), format!("{}/runs?run_after_gte={day}&run_after_lte={day}", head.href))
        })
        .collect();
    html(StatusCode::OK, &CalendarPage { shell, head, year, bad_days, counted })
}

fn by_day(rows: &[QuarterRuns], now: ZonedNow) -> BTreeMap<NaiveDate, DayCount> {
    let mut days: BTreeMap<NaiveDate, DayCount> = BTreeMap::new();
    for row in rows {
        let count = days.entry(now.local(row.at).date_naive()).or_default();
        match row.state {
            RunState::Success => count.succeeded += row.runs,
            RunState::Failed => count.failed += row.runs,
            RunState::Queued | RunState::Running => count.open += row.runs,
        }
    }
    days
}
