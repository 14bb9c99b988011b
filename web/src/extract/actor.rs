//! Who changes something, and from where: what the audit log says of every change.

use super::Peer;
use crate::auth::{Caller, Role};
use crate::refusal::Refusal;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use orch_core::approval::Person;
use orch_core::state::TriggeredBy;
use orch_store::StoreResult;
use orch_store::audit::{Deed, record};
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub(crate) struct Actor {
    pub(crate) name: Arc<str>,
    role: Role,
    from: IpAddr,
    pub(crate) through: TriggeredBy,
}

impl Actor {
    /// As whom it answers what people are asked.
    pub(crate) fn person(&self) -> Person<'_> {
        Person { name: &self.name, may_start_runs: self.role >= Role::User }
    }

    /// What the audit log says beside who and what, for those who write it down themselves.
    pub(crate) fn extra(&self) -> Value {
        json!({ "from": self.from })
    }

    /// Writes down a deed, in the transaction of the change itself.
    pub(crate) async fn did(&self, db: &mut PgConnection, deed: Deed<'_>) -> StoreResult<()> {
        let mut extra = match &deed.extra {
            Some(Value::Object(extra)) => extra.clone(),
            _ => serde_json::Map::new(),
        };
        extra.insert("from".into(), json!(self.from));
        record(db, &Deed { actor: &self.name, extra: Some(Value::Object(extra)), ..deed }).await
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Ok(Peer(from)) = Peer::from_request_parts(parts, state).await;
        match parts.extensions.get::<Caller>() {
            Some(caller) => Ok(Actor { name: caller.name.clone(), role: caller.role, from, through: caller.through }),
            // A route that everybody may use has nobody to write down.
            None => Err(Refusal::NotLoggedIn("Not authenticated")),
        }
    }
}
