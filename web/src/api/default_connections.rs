//! `/api/orch/v1/defaultConnections`: the connections that are built into the binary of this server. Tasks use one only
//! if no other source has a connection with that name.

use crate::auth::{Caller, Role};
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DefaultConnections {
    /// As `/api/v2/connections` returns them, with `***` for secrets. Roles below op get ids and types only.
    connections: Vec<Map<String, Value>>,
}

pub(crate) async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<DefaultConnections>, Refusal> {
    let defaults = app.config.default_connections.of(&app.config.installation).await;
    let defaults = defaults.unwrap_or_else(|problem| {
        tracing::warn!("the default connections are not listed: {problem}");
        Vec::new()
    });
    let is_whole = caller.role >= Role::Op;
    let connections = defaults.into_iter().map(|one| {
        let mut object = if is_whole { one.masked().to_object() } else { Map::new() };
        object.insert("connection_id".into(), json!(one.id));
        object.insert("conn_type".into(), json!(one.conn_type));
        object
    });
    Ok(Json(DefaultConnections { connections: connections.collect() }))
}
