//! `/backfills/{backfill_id}`: one backfill, the state of each of its dates, and the buttons that change it.

use super::{day, href, last_day, percent, run_href, standing};
use crate::api::backfills::{Change, change, find, id};
use crate::extract::{Actor, Form, Names, Query};
use crate::pages::{Shell, html, see_other};
use crate::parts::{self, ZonedNow};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_spec::state::RunState;
use orch_store::backfill::{BackfillDate, BackfillRow, list_dates};
use orch_store::narrow;

#[derive(Template)]
#[template(path = "pages/backfills/backfill.html")]
struct BackfillPage {
    shell: Shell,
    row: BackfillRow,
    href: String,
    dag_href: String,
    from: String,
    to: String,
    state: parts::State,
    said: &'static str,
    sign: &'static str,
    percent: i64,
    created: parts::Ago,
    completed: Option<parts::Ago>,
    conf: Option<String>,
    /// All dates, or the first `MOST_DRAWN`.
    strip: parts::Cells,
    lines: Vec<BackfillDateRow>,
    first: Option<String>,
    on: Option<String>,
    command: String,
}

struct BackfillDateRow {
    date: String,
    state: parts::State,
    why: String,
    run: Option<(String, String)>,
    took: Option<String>,
}

const OF_A_PAGE: i64 = 100;
/// Maximum number of dates in the picture.
const MOST_DRAWN: i64 = 1_500;

pub(crate) async fn show(
    State(app): State<App>,
    shell: Shell,
    names: Names,
    mut query: Query,
) -> Result<Response, Refusal> {
    let (id, after) = (id(&names)?, query.count("after", 0));
    query.finish()?;
    let after = i32::try_from(after).unwrap_or(i32::MAX);
    let mut db = app.pages().await?;
    let row = find(&mut db, id).await?;
    let mut dates = list_dates(&mut db, id, after, OF_A_PAGE + 1).await?;
    let more = dates.len() as i64 > OF_A_PAGE;
    dates.truncate(narrow::size(OF_A_PAGE));
    let drawn = list_dates(&mut db, id, 0, MOST_DRAWN).await?;
    let (word, said) = standing(&row);
    let on = dates.last().filter(|_| more).map(|last| format!("{}?after={}", href(id), last.ordinal));
    let page = BackfillPage {
        href: href(id),
        dag_href: parts::dag_href(&row.dag_id),
        from: day(row.from_date, shell.now),
        to: last_day(row.to_date, shell.now),
        state: parts::bare(word),
        said,
        sign: parts::sign(word),
        percent: percent(&row),
        created: parts::ago(row.created_at, shell.now),
        completed: row.completed_at.map(|at| parts::ago(at, shell.now)),
        conf: row.conf.as_ref().map(|conf| format!("{conf:#}")),
        strip: parts::Cells::new("Dates", drawn.iter().map(|date| cell(date, &row.dag_id, shell.now)).collect()),
        lines: dates.into_iter().map(|date| line(date, &row.dag_id, shell.now)).collect(),
        first: (after > 0).then(|| href(id)),
        on,
        command: format!("orch backfill show {id}"),
        row,
        shell,
    };
    html(StatusCode::OK, &page)
}

/// Returns the state whose icon represents the date.
fn state_of(date: &BackfillDate) -> &'static str {
    match (date.state.parse::<RunState>(), date.state.as_str()) {
        (Ok(state), _) => state.as_str(),
        (Err(_), "skipped") => "skipped",
        (Err(_), "dropped") => "removed",
        (Err(_), _) => "none",
    }
}

fn cell(date: &BackfillDate, dag_id: &str, now: ZonedNow) -> parts::Cell {
    parts::Cell {
        name: day(date.logical_date, now),
        state: state_of(date),
        took: date.active_time(now.at),
        href: date.run_id.as_ref().map(|run_id| run_href(dag_id, run_id)),
    }
}

fn line(date: BackfillDate, dag_id: &str, now: ZonedNow) -> BackfillDateRow {
    let took = date.active_time(now.at).map(parts::duration);
    BackfillDateRow {
        date: day(date.logical_date, now),
        state: parts::state(state_of(&date)),
        why: date.why.unwrap_or_default(),
        run: date.run_id.map(|run_id| (run_href(dag_id, &run_id), run_id)),
        took,
    }
}

/// `POST`: pauses, resumes, cancels or stops the backfill.
pub(crate) async fn change_it(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    form: Form,
) -> Result<Response, Refusal> {
    let id = id(&names)?;
    let wish = match form.text("do") {
        Some("pause") => Change::Paused(true),
        Some("unpause") => Change::Paused(false),
        Some("cancel") => Change::Cancelled { stop_running: false },
        Some("stop") => Change::Cancelled { stop_running: true },
        _ => return Err(Refusal::bad_request("do is one of pause, unpause, cancel and stop")),
    };
    change(&app, &actor, id, wish).await?;
    Ok(see_other(&href(id)))
}
