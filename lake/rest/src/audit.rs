//! Entries of the audit log.

use orch_store::StoreResult;
use orch_store::audit::{Deed, record};
use orch_store::user::Role;
use serde_json::{Map, Value, json};
use sqlx::PgConnection;

/// A client that calls the REST catalog, as recorded in the audit log.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) user: String,
    pub(crate) role: Role,
    /// The value of the HTTP header `User-Agent`.
    pub(crate) client: String,
}

/// Maximum number of characters of a client's `User-Agent`. Longer values are truncated.
const MAX_CLIENT_CHARS: usize = 200;

impl Caller {
    /// Adds an audit log entry for a change of the catalog, in the transaction of the change. `of` contains the kind
    /// and the name of the changed entity.
    pub(crate) async fn did(
        &self,
        db: &mut PgConnection,
        event: &str,
        of: (&str, &str),
        details: Value,
    ) -> StoreResult<()> {
        let client: String = self.client.chars().take(MAX_CLIENT_CHARS).collect();
        let mut extra = Map::from_iter([
            (of.0.to_owned(), json!(of.1)),
            ("role".to_owned(), json!(self.role.as_str())),
            ("client".to_owned(), json!(client)),
        ]);
        if let Value::Object(details) = details {
            extra.extend(details.into_iter().filter(|(_, value)| value.as_array().is_none_or(|list| !list.is_empty())));
        }
        let deed = Deed { actor: &self.user, event, extra: Some(Value::Object(extra)), ..Deed::default() };
        record(db, &deed).await
    }
}
