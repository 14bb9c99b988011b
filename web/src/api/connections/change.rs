//! Connections that come, change and go. Each is written down without any of its values.

use super::{ConnectionView, Sent, no_such_connection, view};
use crate::auth::Caller;
use crate::extract::{Actor, JsonBody, Names, Query};
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use orch_core::task::Connection as Reached;
use orch_store::audit::Deed;
use orch_store::connection::{
    ConnectionChange, ConnectionRow, add_connection, change_connection, delete_connection, get_connection,
};
use serde_json::json;
use sqlx::PgConnection;

/// Airflow's `ConnectionBody`.
pub(crate) async fn create(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    actor: Actor,
    body: JsonBody,
) -> Result<(StatusCode, Json<ConnectionView>), Refusal> {
    let mut fields = body.secret_fields();
    let sent = Sent::read(&mut fields, &[]);
    fields.finish()?;
    let row = app.in_transaction(async |tx| add(&app, tx, &actor, &sent.whole()).await).await?;
    Ok((StatusCode::CREATED, Json(view(&app, &caller, &row))))
}

pub(crate) async fn patch(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    actor: Actor,
    names: Names,
    query: Query,
    body: JsonBody,
) -> Result<Json<ConnectionView>, Refusal> {
    let mut fields = body.secret_fields();
    let sent = Sent::read(&mut fields, &query.all("update_mask").collect::<Vec<_>>());
    fields.finish()?;
    let id = names.get("connection_id");
    if sent.id != id {
        let text = "The connection_id in the request body does not match the URL parameter";
        return Err(Refusal::bad_request(text));
    }
    let (row, dropped) = app.in_transaction(async |tx| update(&app, tx, &actor, id, sent.change).await).await?;
    let dropped_secrets = (!dropped.is_empty()).then_some(dropped);
    Ok(Json(ConnectionView { dropped_secrets, ..view(&app, &caller, &row) }))
}

pub(crate) async fn delete(State(app): State<App>, actor: Actor, names: Names) -> Result<StatusCode, Refusal> {
    app.in_transaction(async |tx| remove(tx, &actor, names.get("connection_id")).await).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// In a transaction of the caller, as all that follow.
pub(crate) async fn add(
    app: &App,
    tx: &mut PgConnection,
    actor: &Actor,
    new: &Reached,
) -> Result<ConnectionRow, Refusal> {
    if !add_connection(tx, new, &app.config.keys).await? {
        return Err(Refusal::Taken(format!("The Connection with connection_id: `{}` already exists", new.id)));
    }
    actor.did(tx, deed("add_connection", &new.id, Some(&new.conn_type))).await?;
    get_connection(tx, &new.id).await?.ok_or_else(|| no_such_connection(&new.id))
}

/// Also gives the secrets that were dropped because the connection leads elsewhere now.
pub(crate) async fn update(
    app: &App,
    tx: &mut PgConnection,
    actor: &Actor,
    id: &str,
    change: ConnectionChange,
) -> Result<(ConnectionRow, Vec<String>), Refusal> {
    let changed = change_connection(tx, id, change, &app.config.keys).await?;
    let (row, dropped) = changed.ok_or_else(|| no_such_connection(id))?;
    let mut deed = deed("change_connection", id, Some(&row.conn_type));
    if let (Some(extra), false) = (&mut deed.extra, dropped.is_empty()) {
        extra["dropped_secrets"] = json!(dropped);
    }
    actor.did(tx, deed).await?;
    Ok((row, dropped))
}

pub(crate) async fn remove(tx: &mut PgConnection, actor: &Actor, id: &str) -> Result<(), Refusal> {
    if !delete_connection(tx, id).await? {
        return Err(no_such_connection(id));
    }
    Ok(actor.did(tx, deed("delete_connection", id, None)).await?)
}

fn deed<'a>(event: &'a str, id: &str, conn_type: Option<&str>) -> Deed<'a> {
    let extra = match conn_type {
        Some(conn_type) => json!({ "connection_id": id, "conn_type": conn_type }),
        None => json!({ "connection_id": id }),
    };
    Deed { event, extra: Some(extra), ..Deed::default() }
}
