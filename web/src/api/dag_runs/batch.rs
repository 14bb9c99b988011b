//! `POST /api/v2/dags/{dag_id}/dagRuns/list`: the list, asked for in a body.

use super::list::{COMPARES, DagRunPage, STATES, TIMES, order, page_of};
use crate::api::pages::{Page, orders_of};
use crate::extract::{JsonBody, RunsPath};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_spec::state::RunState;
use orch_store::run::{RunCondition, RunText};
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
    conditions.extend(fields.texts("dag_ids").map(RunCondition::Dags));
    conditions.extend(fields.list("states", state).map(|states| {
        // Every run has a state: null finds none.
        RunCondition::States(states.into_iter().flatten().collect())
    }));
    for (name, time) in TIMES.into_iter().filter(|(name, _)| *name != "updated_at") {
        for (suffix, compare) in COMPARES {
            let at = fields.moment(&format!("{name}_{suffix}"));
            conditions.extend(at.map(|at| RunCondition::Time(time, compare, at)));
        }
    }
    for (suffix, compare) in COMPARES {
        let seconds = fields.number(&format!("duration_{suffix}"));
        conditions.extend(seconds.map(|seconds| RunCondition::Duration(compare, seconds)));
    }
    let part = fields.text("conf_contains").filter(|part| !part.is_empty());
    conditions.extend(part.map(|part| RunCondition::Contains(RunText::Conf, vec![part])));
    fields.finish()?;
    let ordered = orders_of(ordered.iter().map(String::as_str), order)?;
    page_of(&app, dags, conditions, ordered, page).await.map(Json)
}

fn state(value: &Value) -> Result<Option<RunState>, Problem> {
    if value.is_null() {
        return Ok(None);
    }
    text(value)?.parse().map(Some).map_err(|_| {
        let msg = format!("Input should be {}", STATES.1.join(", "));
        Problem::new("enum", msg).with_input(value)
    })
}
