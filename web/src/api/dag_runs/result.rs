//! `POST /api/orch/v1/dags/{dag_id}/trigger`: triggers a run, waits for its end and returns the outputs of its tasks,
//! in one request.

use super::trigger::{NewRunFields, REPLAYED, create};
use super::view::DagRunView;
use super::wait::{ResultParams, Results, outputs, until_over};
use crate::ends::Wait;
use crate::extract::{Actor, DagPath, JsonBody, Query, query_params};
use crate::openapi::kinds::QueryParamType;
use crate::pages::encoded;
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use orch_store::run::run_by_uuid;
use orch_wire::timestamp::Timestamp;
use orch_wire::{Problem, body};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Default of `wait`, in seconds.
const USUAL_WAIT: f64 = 30.0;
/// Maximum of `wait`, in seconds. Proxies close connections that are idle for longer; clients repeat the request
/// instead.
const MOST_WAIT: u32 = 300;

query_params! {
    pub(crate) struct TriggerAndWaitParams {
        /// Seconds to wait for the run to end; default 30
        wait: Option<f64> as QueryParamType::UpTo(MOST_WAIT),
    }
}

/// A run, and what came of it if it is over.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RunResult {
    run: DagRunView,
    /// Nothing of it goes on.
    over: bool,
    /// Outputs of the tasks that were asked for, by task; a mapped task gives a list. Empty until the run is over.
    results: Map<String, Value>,
    /// Instead of results that are larger than 16 MB: the address of the list of outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    results_url: Option<String>,
}

body! {
    /// Like `TriggerDAGRunPostBody`, but all fields are optional.
    pub(crate) struct TriggerAndWaitBody {
        logical_date: Option<Timestamp>,
        ..new: NewRunFields,
    }
}

/// Returns 200 with the finished run, or 202 with the run if it takes longer than `wait`.
pub(crate) async fn trigger_and_wait(
    State(app): State<App>,
    actor: Actor,
    DagPath(dag_id): DagPath,
    mut query: Query,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Refusal> {
    let TriggerAndWaitParams { wait } = query.take();
    let ResultParams { result: wanted } = query.whole()?;
    let seconds = wait.unwrap_or(USUAL_WAIT);
    if !(0.0..=f64::from(MOST_WAIT)).contains(&seconds) {
        let problem = Problem::value(format!("a wait takes 0 to {MOST_WAIT} seconds: wait for the run after that"));
        return Err(problem.at(["query", "wait"]).with_input(&json!(seconds)).into());
    }
    let latest = Instant::now() + Duration::from_secs_f64(seconds);
    let digest = body.digest();
    let body: TriggerAndWaitBody = body.read()?;
    let new = body.new.run_of(&dag_id, body.logical_date)?;
    // Counted before the run is created, so that a refused request creates no run.
    let counted = app.live.count_wait(&actor.name, seconds)?;
    let (mut run, known) = create(&app, &actor, (&dag_id, &headers, digest), new).await?;
    let known = known.then_some(REPLAYED);
    let end = Wait::of(&app, run.id);
    if until_over(&app, &end, latest).await? {
        let mut db = app.hot().await?;
        let gone = || Refusal::not_found(format!("run `{}` was deleted while it was waited for", run.run_id));
        run = run_by_uuid(&mut db, run.id).await?.ok_or_else(gone)?;
    }
    drop(counted);
    if run.state.is_finished() {
        let (results, results_url) = match outputs(&app, &run, &wanted).await? {
            Results::Values(results) => (results, None),
            Results::At(url) => (Map::new(), Some(url)),
        };
        return Ok((known, Json(RunResult { run: run.into(), over: true, results, results_url })).into_response());
    }
    let place = format!("/api/v2/dags/{}/dagRuns/{}", encoded(&run.dag_id), encoded(&run.run_id));
    let answer = RunResult { run: run.into(), over: false, results: Map::new(), results_url: None };
    Ok((StatusCode::ACCEPTED, known, [(header::LOCATION, place)], Json(answer)).into_response())
}
