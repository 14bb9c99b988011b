//! Connections and variables. What is secret goes there and never comes back: it is `***` in every answer.

use super::{Answer, Api, Query, encoded, refused};
use crate::kept::{Existing, VariableSeen};
use orch_binary::failure::Failure;
use orch_core::task::Connection;
use orch_core::task::WrittenVariable;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Of one request.
const MOST_ENTITIES: usize = 500;

impl Api {
    /// By name.
    pub(crate) async fn connections(&self) -> Result<Vec<Connection>, Failure> {
        let query = || Query::default().with("order_by", "conn_id");
        self.pages("connections", "connections", query, usize::MAX, connection).await
    }

    pub(crate) async fn connection(&self, id: &str) -> Result<Option<Connection>, Failure> {
        self.one(&format!("connections/{}", encoded(id)), connection).await
    }

    /// Whether it leads anywhere, in the server's words; what is secret of it stays there.
    pub(crate) async fn test_connection(&self, connection: &Connection) -> Result<Result<String, String>, Failure> {
        match self.post("connections/test", &body_of(connection)).await? {
            Answer::Found(said) => {
                let words = said["message"].as_str().ok_or_else(|| self.strange())?.to_string();
                Ok(if said["status"] == true { Ok(words) } else { Err(words) })
            }
            Answer::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Whether there was none of that name.
    pub(crate) async fn add_connection(&self, new: &Connection) -> Result<bool, Failure> {
        match self.post("connections", &body_of(new)).await? {
            Answer::Found(_) => Ok(true),
            Answer::Refused(409, words) if words.contains("already exists") => Ok(false),
            Answer::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Whether there was one of that name in the list.
    pub(crate) async fn remove(&self, list: &str, name: &str) -> Result<bool, Failure> {
        match self.change("DELETE", &format!("{list}/{}", encoded(name)), None).await? {
            Answer::Found(_) => Ok(true),
            Answer::Refused(404, _) => Ok(false),
            Answer::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Each with its value, if it may be seen, and its description.
    pub(crate) async fn variables(&self) -> Result<Vec<VariableSeen>, Failure> {
        let query = || Query::default().with("order_by", "key");
        self.pages("variables", "variables", query, usize::MAX, |entry| {
            let text = |name: &str| entry[name].as_str().map(String::from);
            Some((text("key")?, text("value"), text("description")))
        })
        .await
    }

    pub(crate) async fn variable(&self, key: &str) -> Result<Option<String>, Failure> {
        match self.get(&format!("variables/{}", encoded(key)), &Query::default()).await? {
            Answer::Found(found) => Ok(found["value"].as_str().map(String::from)),
            Answer::Refused(404, _) => Ok(None),
            Answer::Refused(_, words) => Err(refused(&words)),
        }
    }

    pub(crate) async fn set_variable(&self, key: &str, value: &str, description: Option<&str>) -> Result<(), Failure> {
        let mut body = json!({ "key": key, "value": value });
        if let Some(description) = description {
            body["description"] = json!(description);
        }
        let refused = self.create_all("variables", &[(key.into(), body)], Existing::Overwrite).await?;
        if refused.is_empty() { Ok(()) } else { Err(self.strange()) }
    }

    /// Those that were there already and stay as they are.
    pub(crate) async fn import_connections(
        &self,
        all: &BTreeMap<String, Connection>,
        existing: Existing,
    ) -> Result<Vec<String>, Failure> {
        let entities: Vec<_> = all.values().map(|one| (one.id.clone(), body_of(one))).collect();
        self.create_all("connections", &entities, existing).await
    }

    /// The same; with `Fail` none is taken over if one is there.
    pub(crate) async fn import_variables(
        &self,
        all: &BTreeMap<String, WrittenVariable>,
        existing: Existing,
    ) -> Result<Vec<String>, Failure> {
        let entity = |(key, variable): (&String, &WrittenVariable)| {
            let mut body = json!({ "key": key, "value": variable.value });
            if let Some(description) = &variable.description {
                body["description"] = json!(description);
            }
            (key.clone(), body)
        };
        let entities: Vec<_> = all.iter().map(entity).collect();
        self.create_all("variables", &entities, existing).await
    }

    /// Those that were there already and stay as they are.
    pub(super) async fn create_all(
        &self,
        list: &str,
        entities: &[(String, Value)],
        existing: Existing,
    ) -> Result<Vec<String>, Failure> {
        let mut skipped = Vec::new();
        if existing == Existing::Fail {
            // Nothing is to be done then: look first.
            for (name, _) in entities {
                if let Answer::Found(_) = self.get(&format!("{list}/{}", encoded(name)), &Query::default()).await? {
                    skipped.push(name.clone());
                }
            }
            if !skipped.is_empty() {
                return Ok(skipped);
            }
        }
        let word = match existing {
            Existing::Overwrite => "overwrite",
            Existing::Fail => "fail",
            Existing::Skip => "skip",
        };
        for part in entities.chunks(MOST_ENTITIES) {
            let bodies: Vec<&Value> = part.iter().map(|(_, body)| body).collect();
            let action = json!({ "action": "create", "entities": bodies, "action_on_existence": word });
            let body = self.found(self.change("PATCH", list, Some(&json!({ "actions": [action] }))).await?)?;
            let done = &body["create"];
            if let Some(error) = done["errors"].as_array().and_then(|errors| errors.first()) {
                return Err(refused(&super::shown(error["error"].as_str().unwrap_or_default())));
            }
            let dropped = done["dropped_secrets"].as_array().into_iter().flatten();
            for secret in dropped.filter_map(Value::as_str).map(super::shown) {
                eprintln!("dropped, as the connection leads elsewhere now: {secret}");
            }
            let succeeded = |name: &str| done["success"].as_array().is_some_and(|names| names.contains(&json!(name)));
            skipped.extend(part.iter().map(|(name, _)| name).filter(|name| !succeeded(name)).cloned());
        }
        Ok(skipped)
    }
}

/// Airflow's `ConnectionBody`.
fn body_of(connection: &Connection) -> Value {
    let mut body = Value::Object(connection.to_object());
    body["connection_id"] = json!(connection.id);
    body
}

/// With `***` for what is secret.
fn connection(entry: &Value) -> Option<Connection> {
    let text = |name: &str| entry[name].as_str().map(String::from);
    let extra = entry["extra"].as_str().map(serde_json::from_str).transpose().ok()?;
    Some(Connection {
        id: text("connection_id")?,
        conn_type: text("conn_type")?,
        description: text("description"),
        host: text("host"),
        port: entry["port"].as_u64().and_then(|port| u16::try_from(port).ok()),
        login: text("login"),
        password: text("password"),
        schema: text("schema"),
        extra: extra.unwrap_or_default(),
    })
}
