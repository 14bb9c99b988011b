//! DAGs: `/api/v2/dags`.

mod change;
mod details;
mod favorite;
mod view;

pub(crate) use change::{delete, delete_of, patch, patch_all, set_paused};
pub(crate) use details::details;
pub(crate) use favorite::{favorite, unfavorite};

use super::dag_runs::{COMPARES, STATES};
use super::pages::{Page, orders, pattern, prefix_pattern, words};
use crate::auth::Caller;
use crate::extract::{DagPath, Query, no_such_dag};
use crate::refusal::Refusal;
use crate::state::{App, Inner};
use axum::extract::State;
use axum::{Extension, Json};
pub(crate) use details::DagDetails;
use orch_spec::ids::DagId;
use orch_spec::state::RunState;
use orch_store::StoreResult;
use orch_store::dag::{DagCondition, DagOrder, DagRow, DagSearch, count_found_dags, get_dag, resolve, search_dags};
use orch_store::import_error::broken_files;
use orch_store::run::RunTime;
use orch_store::version::Versions;
use orch_wire::Problem;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;
use std::collections::HashSet;
pub(crate) use view::DagView;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DagPage {
    dags: Vec<DagView>,
    total_entries: i64,
}

pub(crate) async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<DagPage>, Refusal> {
    let page = Page::of(&mut query);
    let search = selected(&mut query, page, &caller)?;
    let mut db = app.pages().await?;
    let (rows, total_entries) = all(&mut db, &app.versions, &search, page).await?;
    let broken = broken_files(&mut db).await?;
    let mut dags = Vec::with_capacity(rows.len());
    for row in rows {
        dags.push(view(&app, &mut db, row, &broken).await?);
    }
    Ok(Json(DagPage { dags, total_entries }))
}

/// Which DAGs a query means, and in which order.
fn selected(query: &mut Query, page: Page, caller: &Caller) -> Result<DagSearch, Refusal> {
    let (paused, exclude_stale) = (query.flag("paused"), query.flag("exclude_stale").unwrap_or(true));
    let broken = query.flag("has_import_errors");
    let (favorite, by_assets) = (query.flag("is_favorite"), query.flag("has_asset_schedule"));
    let mut times = Vec::new();
    for (name, time) in [("dag_run_start_date", RunTime::Started), ("dag_run_end_date", RunTime::Ended)] {
        for (suffix, compare) in COMPARES {
            times.extend(query.moment(&format!("{name}_{suffix}")).map(|at| (time, compare, at)));
        }
    }
    query.finish()?;
    if let Some(mode) = query.text("tags_match_mode").filter(|mode| !["any", "all"].contains(mode)) {
        let problem = Problem::new("literal_error", "Input should be 'any' or 'all'");
        return Err(problem.at(["query", "tags_match_mode"]).with_input(&json!(mode)).into());
    }
    let all = |name| query.all(name).map(String::from).collect::<Vec<_>>();
    let mut conditions = Vec::new();
    for name in ["dag_id", "dag_display_name"] {
        conditions.extend(pattern(query, &format!("{name}_pattern")).map(DagCondition::Contains));
        conditions.extend(prefix_pattern(query, &format!("{name}_prefix_pattern")).map(DagCondition::StartsWith));
    }
    let (tags, owners, timetables) = (all("tags"), all("owners"), all("timetable_type"));
    if !timetables.is_empty() {
        conditions.push(DagCondition::Timetable(timetables));
    }
    if !tags.is_empty() {
        conditions.push(DagCondition::Tags(tags, query.text("tags_match_mode") == Some("all")));
    }
    if !owners.is_empty() {
        conditions.push(DagCondition::Owners(owners));
    }
    conditions.extend(paused.map(DagCondition::Paused));
    if exclude_stale {
        conditions.push(DagCondition::Stale(false));
    }
    conditions.extend(query.text("bundle_name").map(|name| DagCondition::Bundle(name.into())));
    conditions.extend(words(query, "last_dag_run_state", STATES)?.pop().map(DagCondition::LastState));
    let states: Vec<RunState> = words(query, "dag_run_state", STATES)?;
    if !states.is_empty() {
        conditions.push(DagCondition::SomeState(states));
    }
    if !times.is_empty() {
        conditions.push(DagCondition::SomeRun(times));
    }
    conditions.extend(favorite.map(|is| DagCondition::Favorite(caller.name.to_string(), is)));
    conditions.extend(by_assets.map(DagCondition::AssetSchedule));
    conditions.extend(pattern(query, "asset_dependency").map(DagCondition::NamesAsset));
    conditions.extend(broken.map(DagCondition::ImportErrors));
    // DAGs here have none of these.
    let asked = |name: &&str| query.text(name).is_some_and(|text| !text.is_empty());
    if ["bundle_version"].iter().any(asked) {
        conditions.push(DagCondition::Never);
    }
    let order = orders(query, |name| match name {
        "dag_id" | "dag_display_name" => Some(DagOrder::Id),
        "next_dagrun" => Some(DagOrder::NextRun),
        "state" | "last_run_state" => Some(DagOrder::LastState),
        "start_date" | "last_run_start_date" => Some(DagOrder::LastStart),
        _ => None,
    })?;
    Ok(DagSearch { conditions, order, most: page.limit, skip: page.offset })
}

/// A page of them, and how many there are.
async fn all(
    db: &mut PgConnection,
    versions: &Versions,
    search: &DagSearch,
    page: Page,
) -> StoreResult<(Vec<DagRow>, i64)> {
    let rows = search_dags(db, search).await?;
    versions.warm(db, &rows.iter().map(|row| row.version).collect::<Vec<_>>()).await?;
    let total = match page.total(rows.len()) {
        Some(total) => total,
        None => count_found_dags(db, search).await?,
    };
    Ok((rows, total))
}

pub(crate) async fn get(State(app): State<App>, DagPath(dag_id): DagPath) -> Result<Json<DagView>, Refusal> {
    let mut db = app.hot().await?;
    let row = find(&mut db, &dag_id).await?;
    let broken = broken_files(&mut db).await?;
    Ok(Json(view(&app, &mut db, row, &broken).await?))
}

/// A DAG by its id or one of its aliases.
pub(super) async fn find(db: &mut PgConnection, dag_id: &DagId) -> Result<DagRow, Refusal> {
    let mut row = get_dag(db, dag_id).await?;
    if row.is_none()
        && let Some(named) = resolve(db, dag_id).await?
    {
        row = get_dag(db, &named).await?;
    }
    row.ok_or_else(|| no_such_dag(dag_id))
}

async fn view(
    app: &Inner,
    db: &mut PgConnection,
    row: DagRow,
    broken: &HashSet<(String, String)>,
) -> Result<DagView, Refusal> {
    let version = app.versions.get(db, row.version).await?;
    let is_broken = broken.contains(&(row.bundle.clone(), row.file.clone()));
    Ok(DagView::new(row, &version.plan.spec).with_import_errors(is_broken))
}
