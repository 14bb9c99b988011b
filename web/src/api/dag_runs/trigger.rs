//! `POST /api/v2/dags/{dag_id}/dagRuns`: one statement, one commit, one answer. The worker hears of it at once.

use super::alias;
use super::view::DagRunView;
use crate::api::assets::partition_key;
use crate::extract::{Actor, DagPath, Fields, JsonBody, no_such_dag};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use orch_spec::ids::{DagId, RunId};
use orch_spec::schedule::{DataInterval, run_type_of};
use orch_spec::state::{RunType, TriggeredBy};
use orch_store::run::{CreateRun, NewRun, RunDetails, create_run, run_by_uuid};
use orch_wire::Problem;
use serde_json::Value;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The run was there already.
pub(super) const REPLAYED: [(HeaderName, HeaderValue); 1] =
    [(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"))];
/// Longer keys are no keys: a uuid has 36 characters.
const MOST_KEY_CHARS: usize = 255;

pub(crate) async fn trigger(
    State(app): State<App>,
    actor: Actor,
    DagPath(dag_id): DagPath,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Refusal> {
    let (run, known) = create(&app, &actor, &dag_id, &headers, body, Fields::required_moment).await?;
    Ok((known.then_some(REPLAYED), Json(DagRunView::from(run))).into_response())
}

/// The run of a body, and whether it was created before under the same key.
pub(super) async fn create(
    app: &App,
    actor: &Actor,
    dag_id: &DagId,
    headers: &HeaderMap,
    body: JsonBody,
    date: impl FnOnce(&mut Fields, &str) -> Option<DateTime<Utc>>,
) -> Result<(RunDetails, bool), Refusal> {
    let digest = body.digest();
    let mut new = read_new(dag_id, body.fields(), date)?;
    new.user = Some(actor.name.to_string());
    new.triggered_by = actor.through;
    new.deed = Some(actor.extra());
    new.idempotency_key = key(&actor.name, dag_id, headers)?;
    new.request_hash = new.idempotency_key.is_some().then_some(digest);
    create_of(app, dag_id, new).await
}

/// The run that is wished for, and whether it was created before under the same key.
pub(in crate::api) async fn create_of(
    app: &App,
    dag_id: &DagId,
    mut new: NewRun,
) -> Result<(RunDetails, bool), Refusal> {
    let mut db = app.hot().await?;
    let mut versions = app.versions.clone();
    let mut done = create_run(&mut db, &mut versions, &new).await?;
    if matches!(done, CreateRun::NoSuchDag)
        && let Some(named) = alias(&mut db, dag_id).await?
    {
        new.dag_id = named;
        done = create_run(&mut db, &mut versions, &new).await?;
    }
    match done {
        CreateRun::Created(run) => {
            run.hints().into_iter().for_each(|hint| app.hints.give(hint));
            Ok((RunDetails::created(run, new), false))
        }
        CreateRun::Same(run) => {
            let details = run_by_uuid(&mut db, run.id).await?;
            let details = details.ok_or_else(|| Refusal::Broken(format!("run `{}` is gone", run.id)))?;
            Ok((details, true))
        }
        CreateRun::OtherRequest => {
            let text = "the header `Idempotency-Key` was sent before with another body";
            Err(Refusal::plain(StatusCode::UNPROCESSABLE_ENTITY, text))
        }
        CreateRun::RunIdTaken => {
            let run_id = new.run_id.map(String::from).unwrap_or_default();
            Err(Refusal::Taken(format!("the dag `{dag_id}` has a run `{run_id}` already")))
        }
        CreateRun::LogicalDateTaken => {
            let date = new.logical_date.map(|at| at.to_rfc3339()).unwrap_or_default();
            Err(Refusal::Taken(format!("the dag `{dag_id}` has a run for the logical date {date} already")))
        }
        CreateRun::BadConf(bad) => Err(Refusal::bad_request(format!("{bad}; {}", bad.hint()))),
        CreateRun::NoSuchDag => Err(no_such_dag(dag_id)),
    }
}

/// Airflow's `TriggerDAGRunPostBody`.
pub(in crate::api) fn read_new(
    dag_id: &str,
    mut fields: Fields,
    date: impl FnOnce(&mut Fields, &str) -> Option<DateTime<Utc>>,
) -> Result<NewRun, Refusal> {
    let run_id = fields.text("dag_run_id");
    let start = fields.moment("data_interval_start");
    let end = fields.moment("data_interval_end");
    let logical_date = date(&mut fields, "logical_date");
    let run_after = fields.moment("run_after");
    let conf = fields.object("conf").map(Value::Object);
    let note = fields.note();
    let partition_key = partition_key(&mut fields);
    if start.is_some() != end.is_some() {
        let why = "Either both data_interval_start and data_interval_end must be provided or both must be None";
        fields.refuse(Problem::value(why));
    }
    fields.finish()?;
    let interval = start.zip(end).map(|(start, end)| DataInterval { start, end });
    let run_id = run_id.map(|id| manual_id(&id)).transpose()?;
    // An empty conf is the same as none and costs a row less.
    let conf = conf.filter(|conf| conf.as_object().is_some_and(|map| !map.is_empty()));
    let new = NewRun::manual(dag_id, TriggeredBy::RestApi);
    Ok(NewRun { run_id, logical_date, interval, run_after, conf, note, partition_key, ..new })
}

/// Names of the shape that schedules and backfills give are theirs.
fn manual_id(id: &str) -> Result<RunId, Refusal> {
    let run_id = RunId::new(id).map_err(|bad| Refusal::bad_request(bad.to_string()))?;
    match run_type_of(id) {
        RunType::Manual => Ok(run_id),
        other => {
            let text = format!("A manual Dag run cannot use ID {id:?} since it is reserved for {other} runs");
            Err(Refusal::bad_request(text))
        }
    }
}

/// The key of a request that may be sent twice; each user and DAG has its own.
fn key(user: &str, dag_id: &DagId, headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let readable = key.to_str().ok().filter(|key| (1..=MOST_KEY_CHARS).contains(&key.len()));
    let refused = || {
        let text = format!("the header `Idempotency-Key` has 1 to {MOST_KEY_CHARS} visible ASCII characters");
        Refusal::plain(StatusCode::BAD_REQUEST, text)
    };
    readable.map(|key| Some(format!("{user}/{dag_id}/{key}"))).ok_or_else(refused)
}
