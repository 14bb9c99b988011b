//! `POST /api/v2/dags/{dag_id}/dagRuns/list`: lists runs with filters in the body.

use super::list::{DagRunPage, page_of};
use crate::api::list::{Columns, Page, Ranges, orders};
use crate::extract::{RunsPath, Typed};
use crate::openapi::queries::orders as order_words;
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_spec::state::RunState;
use orch_store::list::{Column, Search};
use orch_store::run::{RUNS, by};
use orch_wire::body::{Count, word};
use orch_wire::fields::text;
use orch_wire::{body, field_type};

field_type! {
    struct RunOrder(String); text; { "type": "string", "enum": order_words(RUNS.columns) }
}

field_type! {
    struct RunStateWord(RunState);
    |value| word(value, RunState::WORDS);
    { "type": "string", "enum": RunState::WORDS }
}

#[derive(Debug)]
struct RunRanges;

impl Columns for RunRanges {
    const COLUMNS: &[Column] = &[by::RUN_AFTER, by::LOGICAL_DATE, by::STARTED, by::ENDED, by::DURATION];
}

body! {
    pub(crate) struct DAGRunsBatchBody {
        order_by: Option<RunOrder>,
        page_offset: Option<Count>,
        page_limit: Option<Count>,
        dag_ids: Option<Vec<String>>,
        states: Option<Vec<Option<RunStateWord>>>,
        conf_contains: Option<String>,
        ..within: Ranges<RunRanges>,
    }
}

pub(crate) async fn batch(
    State(app): State<App>,
    RunsPath(dags): RunsPath,
    Typed(body): Typed<DAGRunsBatchBody>,
) -> Result<Json<DagRunPage>, Refusal> {
    let page = Page::of_body(body.page_limit, body.page_offset);
    let mut conditions = body.within.conditions;
    conditions.extend(body.dag_ids.map(|ids| by::DAG_ID.any_of(ids)));
    // Every run has a state, so null matches no run.
    let states = body.states.map(|states| states.into_iter().flatten().map(|state| state.0.as_str()));
    conditions.extend(states.map(|states| by::STATE.any_of(states)));
    let part = body.conf_contains.filter(|part| !part.is_empty());
    conditions.extend(part.map(|part| by::CONF_CONTAINS.contains([part])));
    let order = orders(body.order_by.iter().map(|order| &*order.0), RUNS.columns)?;
    let search = Search { conditions, order, skip: page.offset, most: page.limit };
    page_of(&app, dags, search, page).await.map(Json)
}
