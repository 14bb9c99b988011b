//! `GET …/hitlDetails`: filters, orders and pages as Airflow has them; of each instance the question of the last try that
//! asked one.

use super::{HitlPage, HitlView};
use crate::api::dag_runs::{COMPARES, find};
use crate::api::pages::{Page, orders, pattern, prefix_pattern};
use crate::api::task_instances::{OfRun, states};
use crate::extract::{Dags, Query, RunPath, Runs};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_store::approval::{ApprovalFilter, ApprovalOrder, ApprovalRow, ApprovalText, count_approvals, list_approvals};
use orch_store::instance::some_instances;
use orch_store::note::notes_of;
use orch_store::run::{Direction, RunCondition, RunDetails, RunSearch, search_runs};
use sqlx::PgConnection;
use std::collections::{BTreeSet, HashMap};
use uuid::Uuid;

const PATTERNS: [(&str, ApprovalText); 2] = [("dag_id", ApprovalText::DagId), ("task_id", ApprovalText::TaskId)];
const SEARCHES: [(&str, ApprovalText); 2] =
    [("subject_search", ApprovalText::Subject), ("body_search", ApprovalText::Body)];
const ANSWERED_BY: [&str; 2] = ["responded_by_user_id", "responded_by_user_name"];

pub(crate) const ORDERS: &[&str] = &[
    "ti_id",
    "subject",
    "responded_at",
    "created_at",
    "responded_by_user_id",
    "responded_by_user_name",
    "dag_id",
    "run_id",
    "task_display_name",
    "run_after",
    "rendered_map_index",
    "task_instance_operator",
    "task_instance_state",
];

pub(crate) async fn list(State(app): State<App>, runs: Runs, mut query: Query) -> Result<Json<HitlPage>, Refusal> {
    let page = Page::of(&mut query);
    let mut filter = filter_of(&mut query)?;
    let mut db = app.pages().await?;
    match (runs.dags, runs.run_id) {
        (Dags::One(dag_id), Some(run_id)) => {
            let run = find(&mut db, &RunPath { dag_id, run_id }).await?;
            (filter.dag_id, filter.run_id) = (Some(run.dag_id), Some(run.run_id));
        }
        (Dags::One(dag_id), None) => filter.dag_id = Some(crate::api::dags::find(&mut db, &dag_id).await?.dag_id),
        (Dags::All, run_id) => filter.run_id = run_id.map(|run_id| run_id.to_string()),
    }
    let rows = list_approvals(&mut db, &filter, (page.offset, page.limit)).await?;
    let total_entries = match page.total(rows.len()) {
        Some(total) => total,
        None => count_approvals(&mut db, &filter).await?,
    };
    Ok(Json(HitlPage { hitl_details: with_instances(&app, &mut db, rows).await?, total_entries }))
}

fn filter_of(query: &mut Query) -> Result<ApprovalFilter, Refusal> {
    let is_answered = query.flag("response_received");
    // A number that no element can have is none's.
    let map_index = query.whole_numbers("map_index").last().map(|&index| i32::try_from(index).unwrap_or(i32::MAX));
    let mut asked = Vec::new();
    for (suffix, compare) in COMPARES {
        asked.extend(query.moment(&format!("created_at_{suffix}")).map(|at| (compare, at)));
    }
    query.finish()?;
    let text = |name: &str| query.text(name).filter(|text| !text.is_empty()).map(String::from);
    let patterns = PATTERNS.map(|(name, text)| Some((text, pattern(query, &format!("{name}_pattern"))?)));
    let searches = SEARCHES.map(|(name, text)| Some((text, pattern(query, name)?)));
    let starts = PATTERNS.map(|(name, text)| Some((text, prefix_pattern(query, &format!("{name}_prefix_pattern"))?)));
    let order = orders(query, order)?.into_iter();
    let mut order: Vec<_> = order
        .map(|(order, descends)| (order, if descends { Direction::Descending } else { Direction::Ascending }))
        .collect();
    if order.is_empty() {
        order.push((ApprovalOrder::Id, Direction::Ascending));
    }
    Ok(ApprovalFilter {
        // Of ours: with `~` in the path.
        dag_id: text("dag_id").filter(|id| id != "~"),
        task_id: text("task_id"),
        map_index,
        is_answered,
        given_by: given_by(query),
        states: states(query)?,
        contains: patterns.into_iter().chain(searches).flatten().collect(),
        starts_with: starts.into_iter().flatten().collect(),
        asked,
        is_last: true,
        order,
        ..ApprovalFilter::default()
    })
}

/// Ids of users are their names: who is asked for by both is in both.
fn given_by(query: &Query) -> Option<Vec<String>> {
    let [ids, names] = ANSWERED_BY.map(|name| query.all(name).map(String::from).collect::<Vec<_>>());
    match (ids.is_empty(), names.is_empty()) {
        (true, true) => None,
        (true, false) => Some(names),
        (false, true) => Some(ids),
        (false, false) => Some(ids.into_iter().filter(|id| names.contains(id)).collect()),
    }
}

fn order(name: &str) -> Option<ApprovalOrder> {
    Some(match name {
        "ti_id" => ApprovalOrder::Id,
        "subject" => ApprovalOrder::Subject,
        "responded_at" => ApprovalOrder::AnsweredAt,
        "created_at" => ApprovalOrder::AskedAt,
        "responded_by_user_id" | "responded_by_user_name" => ApprovalOrder::AnsweredBy,
        "dag_id" => ApprovalOrder::DagId,
        "run_id" => ApprovalOrder::RunId,
        "task_display_name" => ApprovalOrder::TaskId,
        "run_after" => ApprovalOrder::RunAfter,
        "rendered_map_index" => ApprovalOrder::MapIndex,
        "task_instance_operator" => ApprovalOrder::Kind,
        "task_instance_state" => ApprovalOrder::State,
        _ => return None,
    })
}

/// The questions with the instances that ask them, in their order: by as many statements however many runs they are of.
pub(super) async fn with_instances(
    app: &App,
    db: &mut PgConnection,
    rows: Vec<ApprovalRow>,
) -> Result<Vec<HitlView>, Refusal> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.run).collect::<BTreeSet<_>>().into_iter().collect();
    let conditions = vec![RunCondition::Ids(ids.clone())];
    let search = RunSearch { conditions, most: ids.len() as i64, ..RunSearch::default() };
    let runs: HashMap<Uuid, RunDetails> =
        search_runs(db, &search).await?.into_iter().map(|run| (run.id, run)).collect();
    app.versions.warm(db, &runs.values().map(|run| run.version).collect::<Vec<_>>()).await?;
    let mut asking = Vec::with_capacity(rows.len());
    for row in rows {
        // Deleted a moment ago, or a task that its run has no more.
        let Some(run) = runs.get(&row.run) else { continue };
        let version = app.versions.get(db, run.version).await?;
        let Some(task) = version.plan.index_of(&row.task_id) else { continue };
        asking.push(((run.id, task, row.map_index), run, version, row));
    }
    let wanted: Vec<_> = asking.iter().map(|(key, .., row)| (*key, row.task_id.as_str())).collect();
    let mut instances = some_instances(db, &wanted).await?;
    let notes = notes_of(db, &ids).await?;
    let mut views = Vec::with_capacity(asking.len());
    for (key, run, version, row) in asking {
        let Some(instance) = instances.remove(&key) else { continue };
        let task_instance = OfRun { run, plan: &version.plan, notes: &notes }.instance(instance);
        views.push(HitlView { question: row.into(), task_instance });
    }
    Ok(views)
}
