//! The user in the audit records of a request.

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
            // Routes without a login have no user for the audit log.
            None => Err(Refusal::NotLoggedIn("Not authenticated")),
        }
    }
}
