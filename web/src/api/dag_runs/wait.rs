//! `GET …/dagRuns/{dag_run_id}/wait`: sends a line of JSON at an interval, and the last line when the run is finished.
//!
//! A client that accepts only JSON, like Airflow's own client, receives only the last line, after empty lines that keep
//! the connection alive. The response is then a single JSON value.

use super::find;
use crate::auth::{Caller, Role};
use crate::ends::Wait;
use crate::extract::{ParamType, Query, RunPath, query_params};
use crate::live::Counted;
use crate::openapi::kinds::QueryParamType;
use crate::pages::encoded;
use crate::refusal::Refusal;
use crate::state::App;
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use orch_core::plan::TaskIdx;
use orch_spec::state::RunState;
use orch_store::hint::Hint;
use orch_store::output::{mask_sealed, of_tasks};
use orch_store::run::{RunDetails, run_by_uuid};
use orch_store::{StoreError, StoreResult};
use orch_wire::Problem;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Minimum time between two checks, because hints of other runs also wake this request.
const PAUSE: Duration = Duration::from_millis(25);
/// Shorter intervals are raised to this one, because each line costs two statements.
const MIN_INTERVAL: f64 = 0.5;
/// Maximum size of inline results. Larger ones are linked, because they are parsed and held in memory per caller.
const MAX_RESULT_BYTES: usize = 16 << 20;
/// Maximum interval, in seconds. With a longer one, a broken connection would go unnoticed.
const MOST_INTERVAL: f64 = 3_600.0;

query_params! {
    pub(crate) struct WaitParams {
        /// Between two lines, at least 0.5
        interval: Interval,
    }
}

query_params! {
    pub(crate) struct ResultParams {
        /// Tasks whose outputs come with the end
        result: Vec<String>,
    }
}

/// Required parameter: seconds between two lines.
pub(crate) struct Interval;

impl ParamType for Interval {
    type Value = Duration;
    const IS_REQUIRED: bool = true;

    fn kind() -> QueryParamType {
        QueryParamType::Seconds
    }

    fn read(query: &mut Query, name: &'static str) -> Duration {
        let problem = match query.number(name) {
            Some(seconds) if seconds > 0.0 => {
                return Duration::from_secs_f64(seconds.clamp(MIN_INTERVAL, MOST_INTERVAL));
            }
            Some(seconds) => Problem::new("greater_than", "Input should be greater than 0").with_input(&json!(seconds)),
            // The value is not a number, which `query.number` has recorded.
            None if query.text(name).is_some() => return Duration::ZERO,
            None => Problem::new("missing", "Field required"),
        };
        query.refuse(problem.at(["query", name]));
        Duration::ZERO
    }
}

/// A line; of clients that accept JSON alone, the answer.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct WaitLine {
    #[schemars(with = "String")]
    state: RunState,
    /// By task, in the last line, if any were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Map<String, Value>>,
    /// Instead of results that are larger than 16 MB: the address of the list of outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    results_url: Option<String>,
}

struct Waiting {
    app: App,
    /// Checked again before each line: the caller's login may end during the wait.
    headers: HeaderMap,
    run: Uuid,
    end: Wait,
    _counted: Counted,
    /// Ids of the tasks whose outputs are sent in the last line.
    results: Vec<String>,
    interval: Duration,
    told: Option<Instant>,
    over: bool,
    /// True if only the last line is sent, as a single JSON value.
    only_end: bool,
}

pub(crate) async fn wait(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    path: RunPath,
    mut query: Query,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
    let only_end = accept.trim() == "application/json";
    let WaitParams { interval } = query.take();
    let ResultParams { result: results } = query.whole()?;
    let run = {
        let mut db = app.hot().await?;
        find(&mut db, &path).await?.id
    };
    let counted = app.live.count(&caller.name)?;
    let end = Wait::of(&app, run);
    let waiting =
        Waiting { app, headers, run, end, _counted: counted, results, interval, told: None, over: false, only_end };
    let lines = stream::try_unfold(waiting, |mut waiting| async move {
        let line = waiting.next().await.map_err(|error| {
            tracing::warn!(%error, "waiting for a run broke off");
            std::io::Error::other("the database cannot be used at the moment")
        })?;
        Ok::<_, std::io::Error>(line.map(|line| (line, waiting)))
    });
    let kind = if only_end { "application/json" } else { "application/x-ndjson" };
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(lines)).into_response())
}

impl Waiting {
    /// Returns the next line, or `None` after the last one.
    async fn next(&mut self) -> StoreResult<Option<Bytes>> {
        if self.over {
            return Ok(None);
        }
        let due = self.told.map_or_else(Instant::now, |told| told + self.interval);
        until_over(&self.app, &self.end, due).await?;
        if !self.app.may_still(&self.headers, Role::Viewer).await {
            return Ok(None);
        }
        let found = {
            let mut db = self.app.hot().await?;
            run_by_uuid(&mut db, self.run).await?
        };
        let Some(run) = found else { return Ok(None) };
        self.over = run.state.is_finished();
        self.told = Some(Instant::now());
        self.line(&run).await.map(Some)
    }

    async fn line(&self, run: &RunDetails) -> StoreResult<Bytes> {
        if self.only_end && !self.over {
            return Ok(Bytes::from_static(b"\n"));
        }
        let (mut results, mut results_url) = (None, None);
        if self.over && !self.results.is_empty() {
            match outputs(&self.app, run, &self.results).await? {
                Results::Values(values) => results = Some(values),
                Results::At(url) => results_url = Some(url),
            }
        }
        Ok(Bytes::from(format!("{}\n", json!(WaitLine { state: run.state, results, results_url }))))
    }
}

/// Waits for the end of the run until `latest`. Returns whether the run is finished.
pub(super) async fn until_over(app: &App, end: &Wait, latest: Instant) -> StoreResult<bool> {
    loop {
        let hints = app.hints.clone();
        let ended = hints.on(Hint::Run).notified();
        if end.is_over().await? {
            return Ok(true);
        }
        if latest <= Instant::now() {
            return Ok(false);
        }
        tokio::select! {
            () = ended => tokio::time::sleep(PAUSE.min(latest.duration_since(Instant::now()))).await,
            () = tokio::time::sleep_until(latest) => {}
        }
    }
}

pub(super) enum Results {
    /// By task id: the task's output, or a list of the outputs of its mapped elements.
    Values(Map<String, Value>),
    /// URL of the list of outputs, if they are too large for one response.
    At(String),
}

pub(super) async fn outputs(app: &App, run: &RunDetails, results: &[String]) -> StoreResult<Results> {
    let mut db = app.pages().await?;
    let version = app.versions.get(&mut db, run.version).await?;
    let tasks: Vec<TaskIdx> = results.iter().filter_map(|id| version.plan.index_of(id)).collect();
    let values = match of_tasks(&mut db, run.id, &tasks, MAX_RESULT_BYTES).await {
        Err(StoreError::TooManyBytes(_)) => {
            let (base, dag, run) = (&app.config.base_path, encoded(&run.dag_id), encoded(&run.run_id));
            let run = format!("{base}/api/v2/dags/{dag}/dagRuns/{run}");
            return Ok(Results::At(format!("{run}/taskInstances/~/xcomEntries?xcom_key=return_value")));
        }
        values => values?,
    };
    let mut outputs = Map::new();
    for (task, index, value) in values {
        let value = mask_sealed(value);
        let entry = outputs.entry(version.plan.task_id(task));
        if index < 0 {
            *entry.or_insert(Value::Null) = value;
        } else if let Value::Array(elements) = entry.or_insert_with(|| json!([])) {
            elements.push(value);
        }
    }
    Ok(Results::Values(outputs))
}
