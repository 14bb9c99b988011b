//! Pools: `/api/v2/pools`, with what is in them.

mod bulk;
mod change;

pub(crate) use change::{Sent, add, create, delete, in_transaction, patch, remove, update};

use super::pages::{Page, orders, pattern, prefix_pattern};
use crate::extract::{Names, Query, shown};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_store::narrow;
use orch_store::pool::{PoolRow, get_pool, list_pools};
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PoolPage {
    pools: Vec<PoolView>,
    total_entries: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PoolView {
    name: String,
    /// -1: infinite.
    slots: i32,
    description: Option<String>,
    include_deferred: bool,
    occupied_slots: i64,
    running_slots: i64,
    queued_slots: i64,
    scheduled_slots: i64,
    /// -1: infinite.
    open_slots: i64,
    deferred_slots: i64,
    team_name: Option<String>,
}

impl From<PoolRow> for PoolView {
    fn from(row: PoolRow) -> Self {
        PoolView {
            occupied_slots: row.occupied(),
            open_slots: row.open(),
            name: row.name,
            slots: row.slots,
            description: row.description,
            include_deferred: row.include_deferred,
            running_slots: row.running,
            queued_slots: row.queued,
            scheduled_slots: row.scheduled,
            deferred_slots: row.deferred,
            team_name: None,
        }
    }
}

/// There are few of them, and each is counted: all are read, and some are answered.
pub(crate) async fn list(State(app): State<App>, mut query: Query) -> Result<Json<PoolPage>, Refusal> {
    let page = Page::of(&mut query);
    query.finish()?;
    // All orders are by name: as they were made nobody knows.
    let orders = orders(&query, |name| ["id", "pool", "name"].contains(&name).then_some(()))?;
    let contains = pattern(&query, "pool_name_pattern");
    let begins = prefix_pattern(&query, "pool_name_prefix_pattern");
    let mut rows = list_pools(&mut *app.pages().await?).await?;
    rows.retain(|row| {
        let lower = row.name.to_lowercase();
        contains.as_ref().is_none_or(|parts| parts.iter().any(|part| lower.contains(&part.to_lowercase())))
            && begins.as_ref().is_none_or(|parts| parts.iter().any(|part| row.name.starts_with(part.as_str())))
    });
    if orders.first().is_some_and(|((), descends)| *descends) {
        rows.reverse();
    }
    let total_entries = rows.len();
    let some = rows.into_iter().skip(narrow::size(page.offset)).take(narrow::size(page.limit));
    Ok(Json(PoolPage { pools: some.map(PoolView::from).collect(), total_entries }))
}

pub(crate) async fn get(State(app): State<App>, names: Names) -> Result<Json<PoolView>, Refusal> {
    let name = names.get("pool_name");
    let row = get_pool(&mut *app.pages().await?, name).await?.ok_or_else(|| no_such_pool(name))?;
    Ok(Json(row.into()))
}

pub(crate) fn no_such_pool(name: &str) -> Refusal {
    Refusal::not_found(format!("The Pool with name: `{}` was not found", shown(name)))
}
