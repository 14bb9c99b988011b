//! `POST /api/v2/dags/{dag_id}/dagRuns`: creates a run with one statement and one commit. The worker is notified
//! immediately.

use super::alias;
use super::view::DagRunView;
use crate::api::assets::PartitionKey;
use crate::extract::{Actor, DagPath, JsonBody, no_such_dag};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use orch_deeds::run::asked_by;
use orch_spec::ids::{DagId, RunId};
use orch_spec::schedule::{DataInterval, run_type_of};
use orch_spec::state::{RunType, TriggeredBy};
use orch_store::locks::Locks;
use orch_store::run::{CreateRun, NewRun, RunDetails, create_run, run_by_uuid};
use orch_wire::body::{Bare, NoteText};
use orch_wire::fields::text;
use orch_wire::timestamp::Timestamp;
use orch_wire::{Problem, body, field_type};
use serde_json::{Map, Value};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Response header if the run existed already.
pub(super) const REPLAYED: [(HeaderName, HeaderValue); 1] =
    [(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"))];
/// Maximum length of an idempotency key. A UUID has 36 characters.
const MOST_KEY_CHARS: usize = 255;

const RUN_ID: &str = "^[A-Za-z0-9_.:+-][A-Za-z0-9_.~:+-]{0,249}$";

field_type! {
    struct NewRunId(String); text; { "type": "string", "pattern": RUN_ID }
}

body! {
    /// The fields of a new run, except its logical date.
    pub(in crate::api) struct NewRunFields {
        dag_run_id: Option<NewRunId>,
        data_interval_start: Option<Timestamp>,
        data_interval_end: Option<Timestamp>,
        run_after: Option<Timestamp>,
        conf: Option<Map<String, Value>>,
        note: Option<NoteText>,
        partition_key: Option<PartitionKey>,
    }
    rule |body: &NewRunFields| {
        let why = "Either both data_interval_start and data_interval_end must be provided or both must be None";
        let both = body.data_interval_start.is_some() == body.data_interval_end.is_some();
        if both { Ok(()) } else { Err(Problem::value(why)) }
    };
}

body! {
    pub(crate) struct TriggerDAGRunPostBody {
        logical_date: Bare<Timestamp>,
        ..new: NewRunFields,
    }
}

pub(crate) async fn trigger(
    State(app): State<App>,
    actor: Actor,
    DagPath(dag_id): DagPath,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Refusal> {
    let digest = body.digest();
    let body: TriggerDAGRunPostBody = body.read()?;
    let new = body.new.run_of(&dag_id, body.logical_date.0)?;
    let (run, known) = create(&app, &actor, (&dag_id, &headers, digest), new).await?;
    Ok((known.then_some(REPLAYED), Json(DagRunView::from(run))).into_response())
}

/// Returns the run for this request body, and whether it was created before with the same idempotency key.
pub(super) async fn create(
    app: &App,
    actor: &Actor,
    (dag_id, headers, digest): (&DagId, &HeaderMap, Vec<u8>),
    new: NewRun,
) -> Result<(RunDetails, bool), Refusal> {
    let mut new = asked_by(actor, new);
    new.idempotency_key = idempotency_key(headers)?;
    new.request_hash = new.idempotency_key.is_some().then_some(digest);
    create_of(app, dag_id, new).await
}

/// Returns the new run, and whether the same user created it before for the same DAG with the same idempotency key.
pub(in crate::api) async fn create_of(
    app: &App,
    dag_id: &DagId,
    mut new: NewRun,
) -> Result<(RunDetails, bool), Refusal> {
    let mut db = app.hot().await?;
    let mut versions = app.versions.clone();
    let key = new.idempotency_key.take();
    let key_of = |new: &NewRun| {
        key.as_ref().map(|key| format!("{}/{}/{key}", new.user.as_deref().unwrap_or_default(), new.dag_id))
    };
    new.idempotency_key = key_of(&new);
    let mut done = create_run(&mut db, Locks::begin(), &mut versions, &new).await?;
    if matches!(done, CreateRun::NoSuchDag)
        && let Some(named) = alias(&mut db, dag_id).await?
    {
        new.dag_id = named;
        new.idempotency_key = key_of(&new);
        done = create_run(&mut db, Locks::begin(), &mut versions, &new).await?;
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

impl NewRunFields {
    pub(in crate::api) fn run_of(self, dag_id: &str, logical_date: Option<Timestamp>) -> Result<NewRun, Refusal> {
        let ends = self.data_interval_start.zip(self.data_interval_end);
        Ok(NewRun {
            run_id: self.dag_run_id.map(|id| manual_id(&id.0)).transpose()?,
            logical_date: logical_date.map(|at| at.0),
            interval: ends.map(|(Timestamp(start), Timestamp(end))| DataInterval { start, end }),
            run_after: self.run_after.map(|at| at.0),
            // Stored as null, which saves a row.
            conf: self.conf.filter(|conf| !conf.is_empty()).map(Value::Object),
            note: self.note.map(|note| note.0),
            partition_key: self.partition_key.map(|key| key.0),
            ..NewRun::manual(dag_id, TriggeredBy::RestApi)
        })
    }
}

/// Returns the id of a manual run. Rejects ids in the format of scheduled and backfill runs, which are reserved.
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

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let readable = key.to_str().ok().filter(|key| (1..=MOST_KEY_CHARS).contains(&key.len()));
    let refused = || {
        let text = format!("the header `Idempotency-Key` has 1 to {MOST_KEY_CHARS} visible ASCII characters");
        Refusal::plain(StatusCode::BAD_REQUEST, text)
    };
    readable.map(|key| Some(key.to_owned())).ok_or_else(refused)
}
