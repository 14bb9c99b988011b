//! `…/hitlDetails`: questions of tasks to users (human in the loop), with Airflow's API to read and answer them.

mod list;

pub(crate) use list::list;

use super::task_instances::{OfRun, TaskInstanceView, TaskTryView, one_instance};
use crate::extract::path_numbers::{MAP_INDEX, TRY_NUMBER};
use crate::extract::{Actor, Names, Typed};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use list::with_instances;
use orch_deeds::approval::{ANSWERED, answer};
use orch_spec::approval::{ApprovalInput, FALLBACK, Refused};
use orch_store::approval::{APPROVALS, ApprovalRow, Stand, approval, by};
use orch_store::instance::tries;
use orch_store::list::Search;
use orch_store::note::Notes;
use orch_wire::body;
use orch_wire::body::NonEmpty;
use orch_wire::timestamp::{Timestamp, stamp};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct HitlPage {
    hitl_details: Vec<HitlView>,
    total_entries: i64,
}

/// A question with the instance that asks it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct HitlView {
    #[serde(flatten)]
    question: QuestionView,
    task_instance: TaskInstanceView,
}

/// A question with the try that asked it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct HitlTryView {
    #[serde(flatten)]
    question: QuestionView,
    task_instance: TaskTryView,
}

#[derive(Debug, Serialize, JsonSchema)]
struct QuestionView {
    options: Vec<String>,
    subject: String,
    body: Option<String>,
    defaults: Option<Vec<String>>,
    multiple: bool,
    /// What is to be typed in, by name: its default, what it is for and its schema.
    params: Map<String, Value>,
    /// Empty: all users who may start runs.
    assigned_users: Vec<HitlUser>,
    created_at: Timestamp,
    responded_by_user: Option<HitlUser>,
    responded_at: Option<Timestamp>,
    chosen_options: Option<Vec<String>>,
    params_input: Map<String, Value>,
    response_received: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct HitlUser {
    id: String,
    name: String,
}

/// What counts of an answer.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct HitlAnswer {
    responded_by: HitlUser,
    responded_at: Timestamp,
    chosen_options: Vec<String>,
    params_input: Map<String, Value>,
}

impl HitlUser {
    fn named(name: &str) -> HitlUser {
        HitlUser { id: name.into(), name: name.into() }
    }
}

impl From<ApprovalRow> for QuestionView {
    fn from(row: ApprovalRow) -> Self {
        let question = row.question;
        let by = match (&row.given, &row.given_by) {
            (Some(_), Some(name)) => Some(HitlUser::named(name)),
            (Some(_), None) => Some(HitlUser::named(FALLBACK)),
            (None, _) => None,
        };
        let answered_at = row.ended_at.filter(|_| row.given.is_some());
        let (chosen_options, params_input) = match row.given {
            Some(given) => (Some(given.chosen_options), given.params_input),
            None => (None, Map::new()),
        };
        QuestionView {
            params: params(&question.params),
            options: question.options,
            subject: question.subject,
            body: question.body,
            defaults: question.defaults,
            multiple: question.multiple,
            assigned_users: question.assigned_users.iter().map(|name| HitlUser::named(name)).collect(),
            created_at: Timestamp(row.asked_at),
            responded_by_user: by,
            responded_at: stamp(answered_at),
            response_received: chosen_options.is_some(),
            chosen_options,
            params_input,
        }
    }
}

/// Returns the params in Airflow's format, one object per param.
fn params(schema: &Value) -> Map<String, Value> {
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let one = |(name, schema): (&String, &Value)| {
        let of = |word: &str| schema.get(word).cloned().unwrap_or_default();
        (name.clone(), json!({ "value": of("default"), "description": of("description"), "schema": schema }))
    };
    properties.map(one).collect()
}

/// Returns the question of the last attempt of an instance that asked one.
async fn last_question(app: &App, names: &Names, try_no: Option<i16>) -> Result<ApprovalRow, Refusal> {
    let path = names.task()?;
    let map_index = names.number(MAP_INDEX)?;
    let instance = one_instance(app, path, map_index).await?;
    let search = Search::default()
        .and(by::DAG_ID.is(&instance.run.dag_id))
        .and(by::RUN_ID.is(&instance.run.run_id))
        .and(by::TASK_ID.is(&instance.row.task_id))
        .and(by::MAP_INDEX.is(map_index))
        .and(try_no.map(|try_no| by::TRY.is(i32::from(try_no))));
    let found = APPROVALS.first(&mut *app.pages().await?, &search).await?;
    found.ok_or_else(|| {
        let of = &instance.path;
        Refusal::not_found(format!(
            "Human-in-the-loop detail does not exist for Task Instance with dag_id: `{}`, run_id: `{}`, task_id: `{}` and \
            map_index: `{map_index}`",
            of.run.dag_id, of.run.run_id, of.task_id
        ))
    })
}

pub(crate) async fn get(State(app): State<App>, names: Names) -> Result<Json<HitlView>, Refusal> {
    let row = last_question(&app, &names, None).await?;
    let missing = || Refusal::not_found("its task instance is gone");
    let mut db = app.pages().await?;
    with_instances(&app, &mut db, vec![row]).await?.pop().map(Json).ok_or_else(missing)
}

pub(crate) async fn get_try(State(app): State<App>, names: Names) -> Result<Json<HitlTryView>, Refusal> {
    let number = names.number(TRY_NUMBER)?;
    let row = last_question(&app, &names, Some(number)).await?;
    let instance = one_instance(&app, names.task()?, row.map_index).await?;
    let all = tries(&mut *app.pages().await?, instance.run.id, instance.row.task, row.map_index).await?;
    let missing = || Refusal::not_found("its try is gone");
    let one = all.into_iter().rfind(|one| one.try_no == number).ok_or_else(missing)?;
    let notes = Notes::default();
    let of_run = OfRun { run: &instance.run, plan: &instance.version.plan, notes: &notes };
    let task_instance = of_run.try_of(instance.row.task, row.map_index, one);
    Ok(Json(HitlTryView { question: row.into(), task_instance }))
}

body! {
    pub(crate) struct HitlBody {
        chosen_options: NonEmpty<String>,
        params_input: Option<Map<String, Value>>,
    }
}

/// Answers a question. The first answer wins; later ones receive an error.
pub(crate) async fn patch(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    Typed(body): Typed<HitlBody>,
) -> Result<Json<HitlAnswer>, Refusal> {
    let row = last_question(&app, &names, None).await?;
    let given =
        ApprovalInput { chosen_options: body.chosen_options.0, params_input: body.params_input.unwrap_or_default() };
    let (responded_at, given) = give(&app, &actor, &row, given).await?;
    Ok(Json(HitlAnswer {
        responded_by: HitlUser::named(&actor.name),
        responded_at: Timestamp(responded_at),
        chosen_options: given.chosen_options,
        params_input: given.params_input,
    }))
}

/// Stores a valid answer and wakes the task that waits for it.
pub(crate) async fn give(
    app: &App,
    actor: &Actor,
    row: &ApprovalRow,
    given: ApprovalInput,
) -> Result<(DateTime<Utc>, ApprovalInput), Refusal> {
    is_asked(actor, row)?;
    if row.stand != Stand::Open {
        return Err(too_late(row));
    }
    let given = row.question.answered(given).map_err(|no| refused(&no))?;
    let at = app.in_transaction(async |tx| match answer(tx, actor, row, &given).await? {
        Some(at) => Ok(at),
        None => Err(too_late(approval(tx, row.attempt).await?.as_ref().unwrap_or(row))),
    });
    let at = at.await?;
    app.hints.give(ANSWERED);
    Ok((at, given))
}

/// Checks that the user may answer: a named user with any role, or if no users are named, any user who may start runs.
pub(crate) fn is_asked(actor: &Actor, row: &ApprovalRow) -> Result<(), Refusal> {
    row.question.asks(actor.person()).map_err(|no| refused(&no))
}

fn refused(refused: &Refused) -> Refusal {
    let status = match refused {
        Refused::NotAsked { .. } | Refused::MayNotRun { .. } => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_REQUEST,
    };
    Refusal::plain(status, refused.to_string())
}

fn too_late(row: &ApprovalRow) -> Refusal {
    let why = match (row.stand, &row.given_by) {
        (Stand::Answered, Some(name)) => format!("`{name}` has answered it already"),
        (Stand::TakenBack, _) => "it was taken back: its task was cleared or marked, or its run is over".into(),
        _ => "its time to be answered is over".into(),
    };
    Refusal::plain(StatusCode::CONFLICT, format!("Human-in-the-loop detail of task `{}`: {why}", row.task_id))
}
