//! Backfills: `/api/v2/backfills` in Airflow's shape, and `/api/orch/v1/backfills` with how far they are.
//!
//! The body takes what Airflow's takes, and beyond it dates one by one, a step for DAGs without a schedule, and a part of
//! the tasks.

mod plan;
mod progress;
mod view;

pub(crate) use plan::{PlanView, plan};
pub(crate) use progress::{BackfillProgress, BackfillProgressPage, list_all, progress};
pub(crate) use view::{BackfillPage, BackfillView, DryRunPage};

use super::list::asked;
use crate::extract::{Actor, Fields, JsonBody, Names, Query};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use orch_core::backfill::{Action, BackfillRequest, Dates, Reprocess, Step};
use orch_store::StoreError;
use orch_store::audit::Deed;
use orch_store::backfill::{
    BACKFILLS, BackfillRow, CancelBackfill, CreateBackfill, NewBackfill, Part, by, cancel_backfill, create_backfill,
    get_backfill, pause_backfill, plan_backfill,
};
use orch_store::hint::Hint;
use orch_store::list::Found;
use orch_wire::Problem;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use view::DryRunView;

/// Airflow's default.
const USUAL_RUNS: i32 = 10;

pub(crate) async fn list(State(app): State<App>, mut query: Query) -> Result<Json<BackfillPage>, Refusal> {
    let mut search = asked(&mut query, by::OF_DAG)?;
    if search.order.is_empty() {
        search = search.by(by::ID.ascending());
    }
    let Found { rows, total: total_entries } = BACKFILLS.find(&mut *app.pages().await?, &search).await?;
    Ok(Json(BackfillPage { backfills: rows.into_iter().map(BackfillView::from).collect(), total_entries }))
}

pub(crate) async fn get(State(app): State<App>, names: Names) -> Result<Json<BackfillView>, Refusal> {
    let id = id(&names)?;
    Ok(Json(find(&mut *app.pages().await?, id).await?.into()))
}

pub(crate) async fn create(
    State(app): State<App>,
    actor: Actor,
    body: JsonBody,
) -> Result<Json<BackfillView>, Refusal> {
    let mut new = read(body.fields())?;
    new.user = Some(actor.name.to_string());
    let mut db = app.pages().await?;
    let id = make(&app, &mut db, &actor, &new).await?;
    Ok(Json(find(&mut db, id).await?.into()))
}

/// Creates it and writes down who did.
pub(crate) async fn make(app: &App, db: &mut PgConnection, actor: &Actor, new: &NewBackfill) -> Result<i32, Refusal> {
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    let id = done(&new.dag_id, create_backfill(&mut tx, &mut app.versions.clone(), new).await?)?;
    let extra = json!({ "backfill": id, "reprocess": new.wish.reprocess, "max_active_runs": new.max_active_runs });
    let deed = Deed { event: "create_backfill", dag_id: Some(&new.dag_id), extra: Some(extra), ..Deed::default() };
    actor.did(&mut tx, deed).await?;
    tx.commit().await.map_err(StoreError::from)?;
    app.hints.give(Hint::Due);
    Ok(id)
}

pub(crate) async fn dry_run(State(app): State<App>, body: JsonBody) -> Result<Json<DryRunPage>, Refusal> {
    let new = read(body.fields())?;
    let mut db = app.pages().await?;
    let planned = match plan_backfill(&mut db, &mut app.versions.clone(), &new).await? {
        CreateBackfill::NoDate => Vec::new(),
        other => done(&new.dag_id, other)?.dates,
    };
    let runs = planned.into_iter().filter(|(_, action)| !matches!(action, Action::Skip(_)));
    let backfills: Vec<DryRunView> = runs.map(|(date, _)| DryRunView::new(date.logical_date)).collect();
    Ok(Json(DryRunPage { total_entries: backfills.len(), backfills }))
}

pub(crate) async fn pause(State(app): State<App>, actor: Actor, names: Names) -> Result<Json<BackfillView>, Refusal> {
    set_paused(&app, &actor, id(&names)?, true).await.map(Json)
}

pub(crate) async fn unpause(State(app): State<App>, actor: Actor, names: Names) -> Result<Json<BackfillView>, Refusal> {
    set_paused(&app, &actor, id(&names)?, false).await.map(Json)
}

async fn set_paused(app: &App, actor: &Actor, id: i32, paused: bool) -> Result<BackfillView, Refusal> {
    let mut db = app.pages().await?;
    change(app, &mut db, actor, id, Change::Paused(paused)).await?;
    Ok(find(&mut db, id).await?.into())
}

/// What runs goes on, as in Airflow, unless the query says otherwise.
pub(crate) async fn cancel(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    mut query: Query,
) -> Result<Json<BackfillView>, Refusal> {
    let (id, stop_running) = (id(&names)?, query.flag("stop_running").unwrap_or(false));
    query.finish()?;
    let mut db = app.pages().await?;
    change(&app, &mut db, &actor, id, Change::Cancelled { stop_running }).await?;
    Ok(Json(find(&mut db, id).await?.into()))
}

/// What somebody may change about a backfill that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Paused(bool),
    Cancelled { stop_running: bool },
}

pub(crate) async fn change(
    app: &App,
    db: &mut PgConnection,
    actor: &Actor,
    id: i32,
    change: Change,
) -> Result<(), Refusal> {
    let backfill = find(db, id).await?;
    let over = || Refusal::plain(StatusCode::CONFLICT, "Backfill is already completed.");
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    let (event, hints, extra) = match change {
        Change::Paused(paused) => {
            if !pause_backfill(&mut tx, id, paused).await? {
                return Err(over());
            }
            let event = if paused { "pause_backfill" } else { "unpause_backfill" };
            (event, [Hint::Due, Hint::Run], json!({ "backfill": id }))
        }
        Change::Cancelled { stop_running } => {
            match cancel_backfill(&mut tx, &mut app.versions.clone(), id, stop_running).await? {
                CancelBackfill::NoSuchBackfill => return Err(missing()),
                CancelBackfill::Over => return Err(over()),
                CancelBackfill::Cancelled { dropped, ended } => {
                    let extra = json!({ "backfill": id, "dates": dropped, "runs": ended });
                    ("cancel_backfill", [Hint::Stop, Hint::Run], extra)
                }
            }
        }
    };
    let deed = Deed { event, dag_id: Some(&backfill.dag_id), extra: Some(extra), ..Deed::default() };
    actor.did(&mut tx, deed).await?;
    tx.commit().await.map_err(StoreError::from)?;
    hints.into_iter().for_each(|hint| app.hints.give(hint));
    Ok(())
}

/// Numbers of backfills are whole and not below zero.
pub(crate) fn id(names: &Names) -> Result<i32, Refusal> {
    let id: i64 = names.number("backfill_id")?;
    if id < 0 {
        let problem = Problem::new("greater_than_equal", "Input should be greater than or equal to 0");
        return Err(problem.at(["path", "backfill_id"]).with_ctx(json!({ "ge": 0 })).with_input(&json!(id)).into());
    }
    i32::try_from(id).map_err(|_| missing())
}

pub(crate) async fn find(db: &mut PgConnection, id: i32) -> Result<BackfillRow, Refusal> {
    get_backfill(db, id).await?.ok_or_else(missing)
}

fn missing() -> Refusal {
    Refusal::not_found("Backfill not found")
}

/// What came of a wish, or why nothing did.
pub(crate) fn done<T>(dag_id: &str, outcome: CreateBackfill<T>) -> Result<T, Refusal> {
    let wrong = |text: String| Err(Refusal::plain(StatusCode::UNPROCESSABLE_ENTITY, text));
    match outcome {
        CreateBackfill::Done(done) => Ok(done),
        CreateBackfill::NoSuchDag => Err(Refusal::not_found(format!("Could not find dag {}", dag_id.escape_debug()))),
        CreateBackfill::Cannot(why) => wrong(why.to_string()),
        CreateBackfill::BadConf(bad) => wrong(format!("{bad}; {}", bad.hint())),
        CreateBackfill::BadRegex(why) => wrong(format!("the regular expression cannot be read: {why}")),
        CreateBackfill::NoTask => wrong(format!("no task of dag `{dag_id}` matches")),
        CreateBackfill::NoDate => wrong(format!("dag `{dag_id}` has no run for these dates")),
    }
}

/// Airflow's `BackfillPostBody`, and what there is beyond it.
fn read(mut fields: Fields) -> Result<NewBackfill, Refusal> {
    let dag_id = fields.required_text("dag_id");
    let dates = dates(&mut fields);
    let reprocess = fields.word("reprocess_behavior", &["failed", "completed", "none"]);
    let backwards = fields.flag("run_backwards").unwrap_or(false);
    let conf = fields.object("dag_run_conf").map(Value::Object);
    let max_active_runs = fields.whole("max_active_runs").unwrap_or(USUAL_RUNS);
    let latest = fields.flag("run_on_latest_version").unwrap_or(true);
    let regex = fields.text("task_regex");
    let ignores = fields.flag("ignore_dependencies").unwrap_or(false);
    if max_active_runs < 1 {
        fields.refuse(Problem::value("max_active_runs: at least one run must be allowed"));
    }
    fields.finish()?;
    let reprocess = reprocess.and_then(|word| word.parse().ok()).unwrap_or(Reprocess::None);
    Ok(NewBackfill {
        dag_id,
        wish: BackfillRequest { dates, reprocess, backwards },
        conf: conf.filter(|conf| conf.as_object().is_some_and(|map| !map.is_empty())),
        max_active_runs,
        latest,
        part: regex.map(|regex| Part { regex, upstream: !ignores }),
        user: None,
    })
}

/// From one to another, or one by one.
fn dates(fields: &mut Fields) -> Dates {
    let step = fields.word("step", &["hourly", "daily"]).and_then(|word| word.parse::<Step>().ok());
    let Some(each) = fields.list("dates", orch_wire::timestamp::moment) else {
        let (from, to) = (moment(fields, "from_date"), moment(fields, "to_date"));
        return Dates::Range { from, to, step };
    };
    let range = (fields.moment("from_date"), fields.moment("to_date"));
    if range != (None, None) || step.is_some() || each.is_empty() {
        fields.refuse(Problem::value("either `dates`, at least one, or `from_date` and `to_date`"));
    }
    Dates::Each(each)
}

/// A moment that must be there, and not null.
fn moment(fields: &mut Fields, name: &str) -> chrono::DateTime<chrono::Utc> {
    let there = fields.has(name);
    match fields.required_moment(name) {
        Some(at) => at,
        None => {
            if there {
                fields.refuse(Problem::value(format!("{name}: a date is needed")));
            }
            chrono::DateTime::UNIX_EPOCH
        }
    }
}
