//! `POST /api/v2/dags/{dag_id}/dagRuns/list`: the list, asked for in a body.

use super::list::{DagRunPage, page_of};
use crate::api::list::{Page, orders, ranges};
use crate::extract::{JsonBody, RunsPath};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_spec::state::RunState;
use orch_store::list::Search;
use orch_store::run::{RUNS, by};
use orch_wire::Problem;
use orch_wire::fields::text;
use serde_json::Value;

/// Airflow's default.
const USUAL: i64 = 100;

pub(crate) async fn batch(
    State(app): State<App>,
    RunsPath(dags): RunsPath,
    body: JsonBody,
) -> Result<Json<DagRunPage>, Refusal> {
    let mut fields = body.fields();
    let page = Page::new(fields.count("page_limit", USUAL), fields.count("page_offset", 0));
    let ordered = fields.text("order_by");
    let mut conditions = Vec::new();
    conditions.extend(fields.texts("dag_ids").map(|ids| by::DAG_ID.any_of(ids)));
    // Every run has a state: null finds none.
    let states = fields.list("states", state).map(|states| states.into_iter().flatten().collect::<Vec<_>>());
    conditions.extend(states.map(|states| by::STATE.any_of(states)));
    for column in [by::RUN_AFTER, by::LOGICAL_DATE, by::STARTED, by::ENDED, by::DURATION] {
        conditions.extend(ranges(&mut fields, column));
    }
    let part = fields.text("conf_contains").filter(|part| !part.is_empty());
    conditions.extend(part.map(|part| by::CONF_CONTAINS.contains([part])));
    fields.finish()?;
    let order = orders(ordered.iter().map(String::as_str), RUNS.columns)?;
    let search = Search { conditions, order, skip: page.offset, most: page.limit };
    page_of(&app, dags, search, page).await.map(Json)
}

fn state(value: &Value) -> Result<Option<&'static str>, Problem> {
    if value.is_null() {
        return Ok(None);
    }
    let state = text(value)?.parse::<RunState>().map_err(|error| {
        Problem::new("enum", format!("Input should be {}", error.known.join(", "))).with_input(value)
    })?;
    Ok(Some(state.as_str()))
}
