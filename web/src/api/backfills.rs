//! Backfills: `/api/v2/backfills` as in Airflow, and `/api/orch/v1/backfills` with their progress.
//!
//! In addition to Airflow's fields, the request body accepts individual dates, a step for DAGs without a schedule, and
//! a selection of tasks.

mod plan;
mod progress;
mod view;

pub(crate) use plan::{PlanView, plan};
pub(crate) use progress::{BackfillProgress, BackfillProgressPage, list_all, progress};
pub(crate) use view::{BackfillPage, BackfillView, DryRunPage};

use super::list::asked;
use crate::extract::path_numbers::BACKFILL_ID;
use crate::extract::{Actor, Names, Query, Typed, query_params};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use orch_core::backfill::{Action, BackfillRequest, Dates, Reprocess, Step};
use orch_deeds::backfill;
use orch_store::backfill::{
    BACKFILLS, BackfillRow, BackfillTasks, CancelBackfill, CreateBackfill, NewBackfill, by, get_backfill, plan_backfill,
};
use orch_store::list::ListPage;
use orch_store::locks::Locks;
use orch_wire::body::{AtLeast, IfSent};
use orch_wire::timestamp::{UtcTimestamp, moment_schema};
use orch_wire::{Problem, body, one_of};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use view::DryRunView;

/// The same default as in Airflow.
const USUAL_RUNS: i32 = 10;

pub(crate) async fn list(State(app): State<App>, mut query: Query) -> Result<Json<BackfillPage>, Refusal> {
    let mut search = asked(&mut query, by::OF_DAG)?;
    if search.order.is_empty() {
        search = search.by(by::ID.ascending());
    }
    let ListPage { rows, total: total_entries } = BACKFILLS.find(&mut *app.pages().await?, &search).await?;
    Ok(Json(BackfillPage { backfills: rows.into_iter().map(BackfillView::from).collect(), total_entries }))
}

pub(crate) async fn get(State(app): State<App>, names: Names) -> Result<Json<BackfillView>, Refusal> {
    let id = id(&names)?;
    Ok(Json(find(&mut *app.pages().await?, id).await?.into()))
}

pub(crate) async fn create(
    State(app): State<App>,
    actor: Actor,
    Typed(body): Typed<BackfillPostBody>,
) -> Result<Json<BackfillView>, Refusal> {
    let mut new = NewBackfill::try_from(body)?;
    new.user = Some(actor.name.to_string());
    let id = make(&app, &actor, &new).await?;
    Ok(Json(find(&mut *app.pages().await?, id).await?.into()))
}

pub(crate) async fn make(app: &App, actor: &Actor, new: &NewBackfill) -> Result<i32, Refusal> {
    let id = app.in_transaction(async |tx| done(&new.dag_id, backfill::create(tx, &app.versions, actor, new).await?));
    let id = id.await?;
    app.hints.give(backfill::CREATED);
    Ok(id)
}

pub(crate) async fn dry_run(
    State(app): State<App>,
    Typed(body): Typed<BackfillPostBody>,
) -> Result<Json<DryRunPage>, Refusal> {
    let new = NewBackfill::try_from(body)?;
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
    change(app, actor, id, Change::Paused(paused)).await?;
    Ok(find(&mut *app.pages().await?, id).await?.into())
}

query_params! {
    pub(crate) struct CancelParams {
        /// Also ends what runs; without it only what waits
        stop_running: bool,
    }
}

/// Cancels a backfill. As in Airflow, its running runs continue unless `stop_running` is set.
pub(crate) async fn cancel(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    mut query: Query,
) -> Result<Json<BackfillView>, Refusal> {
    let id = id(&names)?;
    let CancelParams { stop_running } = query.whole()?;
    change(&app, &actor, id, Change::Cancelled { stop_running }).await?;
    Ok(Json(find(&mut *app.pages().await?, id).await?.into()))
}

/// A change of a backfill that is not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Paused(bool),
    Cancelled { stop_running: bool },
}

pub(crate) async fn change(app: &App, actor: &Actor, id: i32, change: Change) -> Result<(), Refusal> {
    let over = || Refusal::plain(StatusCode::CONFLICT, "Backfill is already completed.");
    let hints = app.in_transaction(async |tx| {
        let of = find(tx, id).await?;
        match change {
            Change::Paused(paused) => {
                let goes_on = backfill::set_paused(tx, actor, &of, paused).await?;
                goes_on.then_some(backfill::PAUSED).ok_or_else(over)
            }
            Change::Cancelled { stop_running } => {
                match backfill::cancel(tx, Locks::begin(), &app.versions, actor, &of, stop_running).await? {
                    CancelBackfill::Cancelled { .. } => Ok(backfill::CANCELLED),
                    CancelBackfill::Over => Err(over()),
                    CancelBackfill::NoSuchBackfill => Err(missing()),
                }
            }
        }
    });
    hints.await?.into_iter().for_each(|hint| app.hints.give(hint));
    Ok(())
}

/// Returns the backfill id in the path, which must be a non-negative integer.
pub(crate) fn id(names: &Names) -> Result<i32, Refusal> {
    let id = names.number(BACKFILL_ID)?;
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

/// Returns the result of a request, or the response that explains why it failed.
pub(crate) fn done<T>(dag_id: &str, outcome: CreateBackfill<T>) -> Result<T, Refusal> {
    let wrong = |text: String| Err(Refusal::plain(StatusCode::UNPROCESSABLE_ENTITY, text));
    match outcome {
        CreateBackfill::Done(done) => Ok(done),
        CreateBackfill::NoSuchDag => Err(Refusal::not_found(format!("Could not find dag {}", dag_id.escape_debug()))),
        CreateBackfill::Cannot(why) => wrong(why.to_string()),
        CreateBackfill::BadConf(bad) => wrong(format!("{bad}; {}", bad.hint())),
        CreateBackfill::BadRegex(why) => wrong(format!("the regular expression cannot be used: {why}")),
        CreateBackfill::NoTask => wrong(format!("no task of dag `{dag_id}` matches")),
        CreateBackfill::NoDate => wrong(format!("dag `{dag_id}` has no run for these dates")),
    }
}

one_of! {
    struct ReprocessWord(Reprocess): "failed", "completed", "none"
}

one_of! {
    struct StepWord(Step): "hourly", "daily"
}

body! {
    /// Requires either `from_date` and `to_date`, or `dates`.
    pub(crate) struct BackfillPostBody {
        dag_id: String,
        from_date: IfSent<Option<UtcTimestamp>>,
        to_date: IfSent<Option<UtcTimestamp>>,
        /// Individual dates, instead of a range.
        dates: Option<Vec<UtcTimestamp>>,
        /// The interval between dates, for a DAG without a schedule.
        step: Option<StepWord>,
        run_backwards: Option<bool>,
        dag_run_conf: Option<Map<String, Value>>,
        reprocess_behavior: Option<ReprocessWord>,
        max_active_runs: Option<AtLeast<1>>,
        run_on_latest_version: Option<bool>,
        /// Run only tasks whose ids match this regular expression, and their upstream tasks.
        task_regex: Option<String>,
        /// Run the matching tasks without their upstream tasks.
        ignore_dependencies: Option<bool>,
    }
    rule |body: &BackfillPostBody| body.dates().map(|_| ());
    schema json!({ "anyOf": [
        { "required": ["from_date", "to_date"], "properties": {
            "from_date": moment_schema(), "to_date": moment_schema(), "dates": { "type": "null" } } },
        { "required": ["dates"], "properties": {
            "dates": { "type": "array", "minItems": 1 }, "from_date": false, "to_date": false, "step": false } },
    ] });
}

impl BackfillPostBody {
    fn dates(&self) -> Result<Dates, Problem> {
        let step = self.step.as_ref().map(|step| step.0);
        let Some(each) = &self.dates else {
            let (from, to) = (moment("from_date", &self.from_date)?, moment("to_date", &self.to_date)?);
            return Ok(Dates::Range { from, to, step });
        };
        let ranges = [&self.from_date, &self.to_date].into_iter().any(|end| end.0.flatten().is_some());
        if ranges || step.is_some() || each.is_empty() {
            return Err(Problem::value("either `dates`, at least one, or `from_date` and `to_date`"));
        }
        Ok(Dates::Each(each.iter().map(|date| date.0).collect()))
    }
}

/// Returns a required timestamp. Rejects null.
fn moment(name: &str, sent: &IfSent<Option<UtcTimestamp>>) -> Result<DateTime<Utc>, Problem> {
    match sent.0 {
        Some(Some(UtcTimestamp(at))) => Ok(at),
        Some(None) => Err(Problem::value(format!("{name}: a date is needed"))),
        None => Err(Problem::new("missing", "Field required").below(name)),
    }
}

impl TryFrom<BackfillPostBody> for NewBackfill {
    type Error = Refusal;

    fn try_from(body: BackfillPostBody) -> Result<NewBackfill, Refusal> {
        let reprocess = body.reprocess_behavior.as_ref().map_or(Reprocess::None, |word| word.0);
        let wish = BackfillRequest { dates: body.dates()?, reprocess, backwards: body.run_backwards.unwrap_or(false) };
        let upstream = !body.ignore_dependencies.unwrap_or(false);
        Ok(NewBackfill {
            dag_id: body.dag_id,
            wish,
            conf: body.dag_run_conf.filter(|conf| !conf.is_empty()).map(Value::Object),
            max_active_runs: body.max_active_runs.map_or(USUAL_RUNS, |runs| runs.0),
            latest: body.run_on_latest_version.unwrap_or(true),
            part: body.task_regex.map(|regex| BackfillTasks { regex, upstream }),
            user: None,
        })
    }
}
