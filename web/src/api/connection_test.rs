//! `POST /api/v2/connections/test`: tests the connection in the request without storing it. `***` is replaced by the
//! stored secret of the same connection, but only if the address is unchanged: a stored secret is never sent to another
//! address. Only admins receive the reason of a failure.

use super::kept::fields;
use crate::auth::{Caller, Role};
use crate::extract::JsonBody;
use crate::openapi::kept::BodyOf;
use crate::refusal::Refusal;
use crate::state::App;
use crate::trial::try_connection;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use orch_deeds::Connection as Noun;
use orch_deeds::kept::applied;
use orch_sdk::task::Connection;
use orch_store::connection::open;
use orch_store::kept;
use orch_wire::NounBody;
use schemars::JsonSchema;
use serde::Serialize;

/// Airflow's error message.
const DISABLED: &str =
    "Testing connections is disabled in Airflow configuration. Contact your deployment admin to enable it.";

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ConnectionTest {
    status: bool,
    message: String,
}

pub(crate) async fn test(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    body: JsonBody,
) -> Result<Json<ConnectionTest>, Refusal> {
    let sent = fields::<Noun>(body).whole::<BodyOf<Noun>>()?.sent;
    if !app.config.test_connection {
        return Err(Refusal::plain(StatusCode::FORBIDDEN, DISABLED));
    }
    let meant = meant(&app, sent).await?;
    tracing::info!(user = %caller.name, connection = %meant.id, "a connection is tested");
    let (status, message) = match try_connection(&meant, &app.config.reach).await {
        Ok(message) => (true, message),
        Err(error) => (false, error.message_for(&meant.id, caller.role >= Role::Admin)),
    };
    Ok(Json(ConnectionTest { status, message }))
}

/// Returns the connection in the request, with stored secrets instead of `***`.
async fn meant(app: &App, sent: NounBody) -> Result<Connection, Refusal> {
    let record = kept::get(&mut *app.pages().await?, &kept::CONNECTION, &sent.name).await?;
    let Some(record) = record else {
        let nothing = Connection { id: sent.name.clone(), ..Connection::default() };
        return Ok(applied(sent, &nothing).connection);
    };
    let new = applied(sent, &open(&record, &app.config.keys)?);
    if !new.dropped.is_empty() && new.connection.password.is_none() {
        let text = "The host or port to test differs from the stored connection. Include the credentials to test in the \
            request body.";
        return Err(Refusal::bad_request(text));
    }
    Ok(new.connection)
}
