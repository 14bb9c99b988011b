//! The user behind an action and where the request came from, as the audit log records it.

use orch_spec::approval::Person;
use orch_spec::state::TriggeredBy;
use orch_store::StoreResult;
use orch_store::audit::{Deed, record, record_all};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct Actor {
    pub name: Arc<str>,
    /// Address of the client. `None` for actions from a command line.
    pub from: Option<IpAddr>,
    pub may_start_runs: bool,
    pub is_admin: bool,
    /// The trigger type of runs that this actor starts.
    pub through: TriggeredBy,
}

impl Actor {
    pub fn person(&self) -> Person<'_> {
        Person { name: &self.name, may_start_runs: self.may_start_runs }
    }

    /// Returns the `extra` of an audit record, for statements that write the record themselves.
    pub fn extra(&self) -> Value {
        self.from.map_or_else(|| json!({}), |from| json!({ "from": from }))
    }

    /// Writes an audit record in the transaction of the change.
    pub async fn did(&self, tx: &mut PgConnection, deed: Deed<'_>) -> StoreResult<()> {
        record(tx, &self.signed(deed)).await
    }

    /// Like [`Actor::did`], but writes many records in one statement.
    pub async fn did_all(&self, tx: &mut PgConnection, deeds: Vec<Deed<'_>>) -> StoreResult<()> {
        let deeds: Vec<Deed<'_>> = deeds.into_iter().map(|deed| self.signed(deed)).collect();
        record_all(tx, &deeds).await
    }

    fn signed<'a>(&'a self, deed: Deed<'a>) -> Deed<'a> {
        let mut extra = match deed.extra {
            Some(Value::Object(extra)) => extra,
            _ => Map::new(),
        };
        if let Some(from) = self.from {
            extra.insert("from".into(), json!(from));
        }
        let extra = (!extra.is_empty()).then_some(Value::Object(extra));
        Deed { actor: &self.name, extra, ..deed }
    }
}
