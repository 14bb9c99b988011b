//! `GET /api/v2/dags/{dag_id}/dagRuns`: filters, orders and pages as Airflow has them.

use super::view::DagRunView;
use crate::api::pages::{Page, orders, pattern, prefix_pattern, words};
use crate::extract::{Dags, Query, RunsPath};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_store::run::{
    Compare, Direction, RunCondition, RunOrder, RunSearch, RunText, RunTime, count_found, search_runs,
};
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DagRunPage {
    dag_runs: Vec<DagRunView>,
    total_entries: i64,
    total_entries_limit: Option<i64>,
    next_cursor: Option<String>,
    previous_cursor: Option<String>,
}

impl DagRunPage {
    /// All there are.
    pub(super) fn whole(dag_runs: Vec<DagRunView>) -> DagRunPage {
        let total_entries = dag_runs.len() as i64;
        DagRunPage { dag_runs, total_entries, total_entries_limit: None, next_cursor: None, previous_cursor: None }
    }
}

pub(crate) const STATES: (&str, &[&str]) = ("state", &["queued", "running", "success", "failed"]);
const TYPES: (&str, &[&str]) = (
    "run type",
    &["backfill", "scheduled", "manual", "operator_triggered", "asset_triggered", "asset_materialization"],
);
pub(crate) const TIMES: [(&str, RunTime); 5] = [
    ("run_after", RunTime::RunAfter),
    ("logical_date", RunTime::LogicalDate),
    ("start_date", RunTime::Started),
    ("end_date", RunTime::Ended),
    ("updated_at", RunTime::Updated),
];
pub(crate) const COMPARES: [(&str, Compare); 4] =
    [("gte", Compare::AtLeast), ("gt", Compare::Above), ("lte", Compare::AtMost), ("lt", Compare::Below)];
const TEXTS: [(&str, RunText); 4] = [
    ("run_id", RunText::RunId),
    ("triggering_user_name", RunText::User),
    ("dag_id", RunText::DagId),
    ("partition_key", RunText::PartitionKey),
];
/// What runs here do not have: asking for it finds none.
const ABSENT: [&str; 3] = ["bundle_version", "partition_date_gte", "partition_date_lte"];

pub(crate) async fn list(
    State(app): State<App>,
    RunsPath(dags): RunsPath,
    mut query: Query,
) -> Result<Json<DagRunPage>, Refusal> {
    let page = Page::with_cursor(&mut query)?;
    let conditions = conditions(&mut query)?;
    let ordered = orders(&query, order)?;
    query.finish()?;
    page_of(&app, dags, conditions, ordered, page).await.map(Json)
}

/// A page of the runs of one DAG or of all.
pub(super) async fn page_of(
    app: &App,
    dags: Dags,
    mut conditions: Vec<RunCondition>,
    ordered: Vec<(RunOrder, bool)>,
    page: Page,
) -> Result<DagRunPage, Refusal> {
    let order = ordered
        .into_iter()
        .map(|(order, descends)| (order, if descends { Direction::Descending } else { Direction::Ascending }));
    let order = order.collect();
    let mut db = app.pages().await?;
    if let Dags::One(dag_id) = dags {
        conditions.push(RunCondition::Dags(vec![crate::api::dags::find(&mut db, &dag_id).await?.dag_id]));
    }
    let search = RunSearch { conditions, order, most: page.limit, skip: page.offset };
    let runs = search_runs(&mut db, &search).await?;
    let total_entries = match page.total(runs.len()) {
        Some(total) => total,
        None => count_found(&mut db, &search).await?,
    };
    let dag_runs = runs.into_iter().map(DagRunView::from).collect();
    let (next_cursor, previous_cursor) = page.cursors(total_entries);
    Ok(DagRunPage { dag_runs, total_entries, total_entries_limit: None, next_cursor, previous_cursor })
}

fn conditions(query: &mut Query) -> Result<Vec<RunCondition>, Refusal> {
    let mut found = Vec::new();
    for (name, time) in TIMES {
        for (suffix, compare) in COMPARES {
            let at = query.moment(&format!("{name}_{suffix}"));
            found.extend(at.map(|at| RunCondition::Time(time, compare, at)));
        }
    }
    for (suffix, compare) in COMPARES {
        let seconds = query.number(&format!("duration_{suffix}"));
        found.extend(seconds.map(|seconds| RunCondition::Duration(compare, seconds)));
    }
    let numbers = query.whole_numbers("dag_version");
    if !numbers.is_empty() {
        // A number that no version can have is none's.
        found.push(RunCondition::Versions(numbers.into_iter().filter_map(|n| i32::try_from(n).ok()).collect()));
    }
    for (name, text) in TEXTS {
        found.extend(pattern(query, &format!("{name}_pattern")).map(|parts| RunCondition::Contains(text, parts)));
        let starts = prefix_pattern(query, &format!("{name}_prefix_pattern"));
        found.extend(starts.map(|starts| RunCondition::StartsWith(text, starts)));
    }
    if let Some(part) = query.text("conf_contains").filter(|part| !part.is_empty()) {
        found.push(RunCondition::Contains(RunText::Conf, vec![part.into()]));
    }
    if ABSENT.iter().any(|name| query.text(name).is_some_and(|text| !text.is_empty() && text != "~")) {
        found.push(RunCondition::Never);
    }
    found.extend(pattern(query, "consuming_asset_pattern").map(RunCondition::ConsumedAsset));
    query.finish()?;
    let states = words(query, "state", STATES)?;
    if !states.is_empty() {
        found.push(RunCondition::States(states));
    }
    let types = words(query, "run_type", TYPES)?;
    if !types.is_empty() {
        found.push(RunCondition::Types(types));
    }
    Ok(found)
}

pub(super) fn order(name: &str) -> Option<RunOrder> {
    match name {
        "id" => Some(RunOrder::Id),
        "state" => Some(RunOrder::State),
        "dag_id" => Some(RunOrder::DagId),
        "run_id" | "dag_run_id" => Some(RunOrder::RunId),
        "duration" => Some(RunOrder::Duration),
        "conf" => Some(RunOrder::Conf),
        "partition_date" => Some(RunOrder::Id),
        other => TIMES.iter().find(|(known, _)| *known == other).map(|(_, time)| RunOrder::Time(*time)),
    }
}
