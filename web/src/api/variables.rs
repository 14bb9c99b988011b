//! Texts by key: `/api/v2/variables`. What its key or a name inside marks as secret is answered as `***`; whoever may only
//! look sees no value at all.

mod bulk;
mod change;

pub(crate) use change::{Sent, add, create, delete, patch, remove, update};

use super::pages::{Page, orders, pattern, prefix_pattern};
use crate::auth::{Caller, Role};
use crate::extract::{Names, Query, shown};
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::{Extension, Json};
use orch_core::secret::{MASK, masked_variable};
use orch_store::variable::{
    VariableOrder, VariableRow, VariableSearch, count_variables, get_variable, search_variables,
};
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct VariablePage {
    variables: Vec<VariableView>,
    total_entries: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct VariableView {
    key: String,
    value: Option<String>,
    description: Option<String>,
    is_encrypted: bool,
    team_name: Option<String>,
}

pub(crate) async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<VariablePage>, Refusal> {
    let page = Page::of(&mut query);
    query.finish()?;
    let search = VariableSearch {
        contains: pattern(&query, "variable_key_pattern"),
        begins: prefix_pattern(&query, "variable_key_prefix_pattern"),
        order: orders(&query, order)?,
        skip: page.offset,
        most: page.limit,
    };
    let mut db = app.pages().await?;
    let rows = search_variables(&mut db, &search).await?;
    let total_entries = match page.total(rows.len()) {
        Some(total) => total,
        None => count_variables(&mut db, &search).await?,
    };
    let variables = rows.into_iter().map(|row| view(&app, &caller, row)).collect();
    Ok(Json(VariablePage { variables, total_entries }))
}

fn order(name: &str) -> Option<VariableOrder> {
    match name {
        // By their values they cannot be ordered: these are sealed.
        "key" | "_val" => Some(VariableOrder::Key),
        "description" => Some(VariableOrder::Description),
        // All are encrypted, and there are no teams.
        "id" | "is_encrypted" | "team_name" => Some(VariableOrder::Age),
        _ => None,
    }
}

pub(crate) async fn get(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    names: Names,
) -> Result<Json<VariableView>, Refusal> {
    let key = names.get("variable_key");
    let row = get_variable(&mut *app.hot().await?, key).await?.ok_or_else(|| no_such_variable(key))?;
    Ok(Json(view(&app, &caller, row)))
}

/// The value as somebody of this role may see it.
pub(crate) fn visible(app: &App, role: Role, row: &VariableRow) -> String {
    if role < Role::Op {
        return MASK.into();
    }
    // Without a key nobody sees it.
    row.open(&app.config.keys).map_or_else(|_| MASK.into(), |value| masked_variable(&row.key, &value))
}

fn view(app: &App, caller: &Caller, row: VariableRow) -> VariableView {
    VariableView {
        value: Some(visible(app, caller.role, &row)),
        key: row.key,
        description: row.description,
        is_encrypted: true,
        team_name: None,
    }
}

pub(crate) fn no_such_variable(key: &str) -> Refusal {
    Refusal::not_found(format!("The Variable with key: `{}` was not found", shown(key)))
}
