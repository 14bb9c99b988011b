//! `POST /api/v2/connections/test`: tries a connection as it was sent. Nothing is stored. What is stored under its name is
//! used for what was sent as `***`, but only to reach the same place: nobody has secrets sent to another one.

use super::Sent;
use crate::auth::Caller;
use crate::extract::JsonBody;
use crate::refusal::Refusal;
use crate::state::App;
use crate::trial::try_connection;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use orch_core::task::Connection;
use orch_store::connection::get_connection;
use schemars::JsonSchema;
use serde::Serialize;

/// Airflow's words.
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
    let mut fields = body.secret_fields();
    let sent = Sent::read(&mut fields, &[]);
    fields.finish()?;
    if !app.config.test_connection {
        return Err(Refusal::plain(StatusCode::FORBIDDEN, DISABLED));
    }
    let meant = meant(&app, sent).await?;
    tracing::info!(user = %caller.name, connection = %meant.id, "somebody tries a connection");
    let (status, message) = match try_connection(&meant, &app.config.reach).await {
        Ok(message) => (true, message),
        Err(message) => (false, message),
    };
    Ok(Json(ConnectionTest { status, message }))
}

/// What was sent, with what is stored in the place of `***`.
pub(crate) async fn meant(app: &App, sent: Sent) -> Result<Connection, Refusal> {
    let row = get_connection(&mut *app.hot().await?, &sent.id).await?;
    let Some(row) = row else { return Ok(sent.whole()) };
    let stored = row.open(&app.config.keys)?;
    let new = sent.change.applied(&stored);
    if !new.dropped.is_empty() && new.connection.password.is_none() {
        let text = "The host or port to test differs from the stored connection. Include the credentials to test in the \
            request body.";
        return Err(Refusal::bad_request(text));
    }
    Ok(new.connection)
}
