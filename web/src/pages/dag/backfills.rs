//! `/dags/{dag_id}/backfills`: the backfills of a DAG, and a form that previews a new backfill before it is created.

use super::{Head, LoadedDag, find};
use crate::api::backfills::{done, make};
use crate::extract::{Actor, DagPath, Form, Query};
use crate::pages::backfills::{List, day, href, list};
use crate::pages::{Shell, html, see_other};
use crate::parts::{self, TypedTime, ZonedNow};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use orch_core::backfill::{Action, BackfillRequest, Dates, Reprocess, Step, dates};
use orch_spec::Schedule;
use orch_spec::params::parse_conf;
use orch_store::backfill::{BackfillTasks, NewBackfill, Planned, plan_backfill};

#[derive(Template)]
#[template(path = "pages/dag/backfills.html")]
struct BackfillsPage {
    shell: Shell,
    head: Head,
    list: List,
    /// True if the DAG has a schedule that defines dates.
    is_scheduled: bool,
    typed: Typed,
    problem: Option<String>,
    preview: Option<Preview>,
}

#[derive(Debug, Clone)]
struct Typed {
    from: String,
    to: String,
    each: String,
    step: String,
    reprocess: String,
    most: String,
    backwards: bool,
    own_version: bool,
    conf: String,
    regex: String,
    alone: bool,
}

impl Default for Typed {
    fn default() -> Typed {
        let nothing = String::new;
        Typed {
            from: nothing(),
            to: nothing(),
            each: nothing(),
            step: "daily".into(),
            reprocess: "none".into(),
            most: "10".into(),
            backwards: false,
            own_version: false,
            conf: nothing(),
            regex: nothing(),
            alone: false,
        }
    }
}

/// Effect that the backfill would have.
struct Preview {
    created: usize,
    again: usize,
    skipped: usize,
    lines: Vec<(String, parts::State, &'static str)>,
    more: usize,
    tasks: Option<Vec<String>>,
}

/// Maximum number of dates listed in a preview.
const MOST_SHOWN: usize = 100;

pub(crate) async fn show(
    State(app): State<App>,
    shell: Shell,
    DagPath(dag_id): DagPath,
    query: Query,
) -> Result<Response, Refusal> {
    let found = find(&app, &mut *app.pages().await?, &dag_id).await?;
    page(&app, shell, &found, query, StatusCode::OK, Typed::default(), Ok(None)).await
}

/// Previews the backfill, or creates it if the form contains `do=create`.
pub(crate) async fn create(
    State(app): State<App>,
    shell: Shell,
    actor: Actor,
    DagPath(dag_id): DagPath,
    form: Form,
) -> Result<Response, Refusal> {
    let found = find(&app, &mut *app.pages().await?, &dag_id).await?;
    let typed = typed(&form);
    let wish = match new(&found, &typed, &actor, shell.now) {
        Ok(new) => new,
        Err(problem) => {
            let refused = StatusCode::UNPROCESSABLE_ENTITY;
            return page(&app, shell, &found, Query::parse(""), refused, typed, Err(problem)).await;
        }
    };
    let made = if form.text("do") == Some("create") {
        make(&app, &actor, &wish).await.map(Ok)
    } else {
        let planned = plan_backfill(&mut *app.pages().await?, &mut app.versions.clone(), &wish).await?;
        done(&wish.dag_id, planned).map(|planned| Err(preview(planned, shell.now)))
    };
    match made {
        Ok(Ok(id)) => Ok(see_other(&href(id))),
        Ok(Err(preview)) => page(&app, shell, &found, Query::parse(""), StatusCode::OK, typed, Ok(Some(preview))).await,
        // Errors in the request are shown next to the form; internal errors are not.
        Err(Refusal::Plain { status, text }) => {
            page(&app, shell, &found, Query::parse(""), status, typed, Err(text.into_owned())).await
        }
        Err(refusal) => Err(refusal),
    }
}

fn typed(form: &Form) -> Typed {
    let text = |name: &str| form.text(name).unwrap_or_default().trim().to_string();
    Typed {
        from: text("from"),
        to: text("to"),
        each: text("each"),
        step: text("step"),
        reprocess: text("reprocess"),
        most: text("most"),
        backwards: form.text("backwards").is_some(),
        own_version: form.text("own_version").is_some(),
        conf: text("conf"),
        regex: text("regex"),
        alone: form.text("alone").is_some(),
    }
}

fn new(found: &LoadedDag, typed: &Typed, actor: &Actor, now: ZonedNow) -> Result<NewBackfill, String> {
    let time = |text: &str| now.typed(text).ok_or_else(|| format!("`{text}` is not a date: write it like 2026-11-20."));
    let dates = if typed.each.is_empty() {
        if typed.from.is_empty() || typed.to.is_empty() {
            return Err("Say from when to when, or name dates one by one.".into());
        }
        let step = if is_scheduled(found) { None } else { typed.step.parse::<Step>().ok() };
        Dates::Range { from: time(&typed.from)?.first, to: time(&typed.to)?.last, step }
    } else {
        let words = typed.each.split([',', '\n']).map(str::trim).filter(|word| !word.is_empty());
        let mut each = Vec::new();
        for word in words {
            each.extend(logical_dates(found, word, time(word)?, now)?);
        }
        Dates::Each(each)
    };
    let most = typed.most.parse().ok().filter(|most| *most > 0);
    let conf = match typed.conf.as_str() {
        "" => None,
        text => Some(parse_conf(text).map_err(|bad| format!("{bad}; {}.", bad.hint()))?),
    };
    let regex = Some(typed.regex.clone()).filter(|regex| !regex.is_empty());
    Ok(NewBackfill {
        dag_id: found.row.dag_id.clone(),
        wish: BackfillRequest {
            dates,
            reprocess: typed.reprocess.parse().unwrap_or(Reprocess::None),
            backwards: typed.backwards,
        },
        conf: conf.filter(|conf| conf.as_object().is_some_and(|map| !map.is_empty())),
        max_active_runs: most.ok_or("Runs at a time is a number above zero.")?,
        latest: !typed.own_version,
        part: regex.map(|regex| BackfillTasks { regex, upstream: !typed.alone }),
        user: Some(actor.name.to_string()),
    })
}

/// Returns the logical dates that a single typed date stands for. A date without a time stands for every finished date
/// of the schedule on that day, or for the start of the day if the DAG has no schedule.
fn logical_dates(
    found: &LoadedDag,
    text: &str,
    TypedTime { first, last }: TypedTime,
    now: ZonedNow,
) -> Result<Vec<DateTime<Utc>>, String> {
    if first == last || !is_scheduled(found) {
        return Ok(vec![first]);
    }
    // `Completed` is valid for every DAG; the request itself is checked later.
    let request = BackfillRequest {
        dates: Dates::Range { from: first, to: last, step: None },
        reprocess: Reprocess::Completed,
        backwards: false,
    };
    let of_day = dates(&found.version.plan.spec, &request, now.at).map_err(|problem| problem.to_string())?;
    if of_day.is_empty() {
        return Err(format!("The schedule of `{}` has no run on {text} that is over.", found.row.dag_id));
    }
    Ok(of_day.into_iter().map(|date| date.logical_date).collect())
}

fn is_scheduled(found: &LoadedDag) -> bool {
    matches!(found.version.plan.spec.schedule, Schedule::Cron { .. } | Schedule::EveryMs(_))
}

fn preview(planned: Planned, now: ZonedNow) -> Preview {
    let many = |wanted: fn(&Action) -> bool| planned.dates.iter().filter(|(_, action)| wanted(action)).count();
    let line = |(date, action): &(orch_core::backfill::Date, Action)| {
        let (state, words) = match action {
            Action::Create => ("queued", "gets a run"),
            Action::Rerun => ("restarting", "runs again"),
            Action::Skip(reason) => ("skipped", reason.as_str()),
        };
        (day(date.logical_date, now), parts::bare(state), words)
    };
    Preview {
        created: many(|action| *action == Action::Create),
        again: many(|action| *action == Action::Rerun),
        skipped: many(|action| matches!(action, Action::Skip(_))),
        lines: planned.dates.iter().take(MOST_SHOWN).map(line).collect(),
        more: planned.dates.len().saturating_sub(MOST_SHOWN),
        tasks: planned.tasks,
    }
}

async fn page(
    app: &App,
    shell: Shell,
    found: &LoadedDag,
    query: Query,
    status: StatusCode,
    typed: Typed,
    came: Result<Option<Preview>, String>,
) -> Result<Response, Refusal> {
    let list = list(app, &shell, query, Some(&found.row.dag_id)).await?;
    let head = Head::new(found, "backfills", shell.now);
    let (preview, problem) = match came {
        Ok(preview) => (preview, None),
        Err(problem) => (None, Some(problem)),
    };
    html(status, &BackfillsPage { head, list, is_scheduled: is_scheduled(found), typed, problem, preview, shell })
}
