//! How to reach things outside: `/api/v2/connections`. Secrets go in and never come out: they are answered as `***`, and
//! `***` that comes back leaves what is stored. Whoever may only look sees no value of them at all.

mod bulk;
mod change;
mod read;
mod trial;

pub(crate) use change::{add, create, delete, patch, remove, update};
pub(crate) use read::Sent;
pub(crate) use trial::{ConnectionTest, test};

use super::pages::{Page, orders, pattern, prefix_pattern};
use crate::auth::{Caller, Role};
use crate::extract::{Names, Query, shown};
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::{Extension, Json};
use orch_core::secret::MASK;
use orch_core::task::Connection;
use orch_store::connection::{
    ConnectionOrder, ConnectionRow, ConnectionSearch, count_connections, get_connection, search_connections,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ConnectionPage {
    connections: Vec<ConnectionView>,
    total_entries: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ConnectionView {
    connection_id: String,
    conn_type: String,
    description: Option<String>,
    host: Option<String>,
    login: Option<String>,
    schema: Option<String>,
    port: Option<u16>,
    /// `***` if there is one.
    password: Option<String>,
    /// JSON in a text, as in Airflow.
    extra: Option<String>,
    team_name: Option<String>,
    /// After a change: the secrets that were dropped because the connection leads elsewhere now.
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped_secrets: Option<Vec<String>>,
}

pub(crate) async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<ConnectionPage>, Refusal> {
    let page = Page::of(&mut query);
    query.finish()?;
    let search = ConnectionSearch {
        contains: pattern(&query, "connection_id_pattern"),
        begins: prefix_pattern(&query, "connection_id_prefix_pattern"),
        order: orders(&query, order)?,
        skip: page.offset,
        most: page.limit,
    };
    let mut db = app.pages().await?;
    let rows = search_connections(&mut db, &search).await?;
    let total_entries = match page.total(rows.len()) {
        Some(total) => total,
        None => count_connections(&mut db, &search).await?,
    };
    let connections = rows.iter().map(|row| view(&app, &caller, row)).collect();
    Ok(Json(ConnectionPage { connections, total_entries }))
}

fn order(name: &str) -> Option<ConnectionOrder> {
    match name {
        "conn_id" | "connection_id" => Some(ConnectionOrder::Id),
        "conn_type" => Some(ConnectionOrder::Type),
        "description" => Some(ConnectionOrder::Description),
        "host" => Some(ConnectionOrder::Host),
        "port" => Some(ConnectionOrder::Port),
        // There are no teams: all are equal in that.
        "id" | "team_name" => Some(ConnectionOrder::Age),
        _ => None,
    }
}

pub(crate) async fn get(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    names: Names,
) -> Result<Json<ConnectionView>, Refusal> {
    let id = names.get("connection_id");
    let row = get_connection(&mut *app.hot().await?, id).await?.ok_or_else(|| no_such_connection(id))?;
    Ok(Json(view(&app, &caller, &row)))
}

/// A connection as somebody of this role may see it.
pub(crate) fn visible(app: &App, role: Role, row: &ConnectionRow) -> Connection {
    if role < Role::Op {
        let closed = row.closed();
        return Connection { login: closed.login.as_ref().map(|_| MASK.into()), ..closed };
    }
    // Without a key the rest can still be told.
    row.masked(&app.config.keys).unwrap_or_else(|_| row.closed())
}

fn view(app: &App, caller: &Caller, row: &ConnectionRow) -> ConnectionView {
    let shown = visible(app, caller.role, row);
    ConnectionView {
        connection_id: shown.id,
        conn_type: shown.conn_type,
        description: shown.description,
        host: shown.host,
        login: shown.login,
        schema: shown.schema,
        port: shown.port,
        password: shown.password,
        extra: (!shown.extra.is_empty()).then(|| Value::Object(shown.extra).to_string()),
        team_name: None,
        dropped_secrets: None,
    }
}

pub(crate) fn no_such_connection(id: &str) -> Refusal {
    // Airflow has a route of this name, which is not here.
    if id == "enqueue-test" {
        return Refusal::NoSuchRoute;
    }
    Refusal::not_found(format!("The Connection with connection_id: `{}` was not found", shown(id)))
}
