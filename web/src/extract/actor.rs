//! Who sends a request that changes something, as the audit names them.

use super::Peer;
use crate::auth::{Caller, Role};
use crate::refusal::Refusal;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::ops::Deref;

#[derive(Debug, Clone)]
pub(crate) struct Actor(orch_deeds::Actor);

impl Deref for Actor {
    type Target = orch_deeds::Actor;

    fn deref(&self) -> &orch_deeds::Actor {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Ok(Peer(from)) = Peer::from_request_parts(parts, state).await;
        match parts.extensions.get::<Caller>() {
            Some(Caller { name, role, through }) => Ok(Actor(orch_deeds::Actor {
                name: name.clone(),
                from: Some(from),
                may_start_runs: *role >= Role::User,
                is_admin: *role >= Role::Admin,
                through: *through,
            })),
            // A route that everybody may use has nobody to write down.
            None => Err(Refusal::NotLoggedIn("Not authenticated")),
        }
    }
}
