//! Requests about named objects of users: pools, connections, variables. Secrets are write-only: every response
//! contains `***` instead.

use super::{Api, ApiReply, ListQuery, encoded, refused};
use crate::kept::Existing;
use orch_binary::failure::Failure;
use orch_deeds::Noun;
use orch_sdk::task::Connection;
use serde_json::{Map, Value, json};

/// Maximum number of objects in one request.
const MOST_ENTITIES: usize = 500;

/// An object in the form of the API.
pub(crate) type ApiObject = Map<String, Value>;

impl Api {
    /// Lists objects, ordered by name.
    pub(crate) async fn list_kept(&self, noun: &Noun, asked: ListQuery) -> Result<Vec<ApiObject>, Failure> {
        self.pages_from(path(noun), noun.many, &asked.with("order_by", noun.name().column), seen).await
    }

    pub(crate) async fn get_kept(&self, noun: &Noun, name: &str) -> Result<Option<ApiObject>, Failure> {
        // No object has an empty name, and its path would be the path of the list.
        if name.is_empty() {
            return Ok(None);
        }
        self.one(&path_of_one(noun, name), seen).await
    }

    /// Adds an object. Returns false if the name already exists.
    pub(crate) async fn add_kept(&self, noun: &Noun, body: &Value) -> Result<bool, Failure> {
        match self.ask("POST", path(noun), Some(body)).await? {
            ApiReply::Found(_) => Ok(true),
            ApiReply::Refused(409, words) if words.contains("already exists") => Ok(false),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Changes the fields in `body`. Returns `None` if the object does not exist.
    pub(crate) async fn change_kept(
        &self,
        noun: &Noun,
        name: &str,
        body: &Value,
    ) -> Result<Option<ApiObject>, Failure> {
        if name.is_empty() {
            return Ok(None);
        }
        match self.ask("PATCH", &path_of_one(noun, name), Some(body)).await? {
            ApiReply::Found(changed) => seen(&changed).map(Some).ok_or_else(|| self.strange()),
            ApiReply::Refused(404, _) => Ok(None),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Deletes an object. Returns false if it does not exist.
    pub(crate) async fn delete_kept(&self, noun: &Noun, name: &str) -> Result<bool, Failure> {
        if name.is_empty() {
            return Ok(false);
        }
        match self.ask("DELETE", &path_of_one(noun, name), None).await? {
            ApiReply::Found(_) => Ok(true),
            ApiReply::Refused(404, _) => Ok(false),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Adds objects. Returns the names that exist already, whose objects are not changed. With `Existing::Fail`, adds
    /// none if one exists.
    pub(crate) async fn set_kept(
        &self,
        noun: &Noun,
        bodies: &[Value],
        existing: Existing,
    ) -> Result<Vec<String>, Failure> {
        let name = |body: &Value| body[noun.name().name].as_str().unwrap_or_default().to_string();
        let mut skipped = Vec::new();
        if existing == Existing::Fail {
            for body in bodies {
                if self.get_kept(noun, &name(body)).await?.is_some() {
                    skipped.push(name(body));
                }
            }
            if !skipped.is_empty() {
                return Ok(skipped);
            }
        }
        for part in bodies.chunks(MOST_ENTITIES) {
            let action = json!({ "action": "create", "entities": part, "action_on_existence": existing.as_str() });
            let body = json!({ "actions": [action] });
            let answer = self.found(self.ask("PATCH", path(noun), Some(&body)).await?)?;
            let done = &answer["create"];
            if let Some(error) = done["errors"].as_array().and_then(|errors| errors.first()) {
                return Err(refused(&super::sanitize_text(error["error"].as_str().unwrap_or_default())));
            }
            let dropped = done["dropped_secrets"].as_array().into_iter().flatten();
            for secret in dropped.filter_map(Value::as_str).map(super::sanitize_text) {
                eprintln!(
                    "not stored: {secret} (`***` stands for nothing here, or the connection leads elsewhere now)"
                );
            }
            let succeeded = |name: &str| done["success"].as_array().is_some_and(|names| names.contains(&json!(name)));
            skipped.extend(part.iter().map(name).filter(|name| !succeeded(name)));
        }
        Ok(skipped)
    }

    /// Tests a connection. Returns the message of the server for success or failure, without secrets.
    pub(crate) async fn test_connection(&self, connection: &Connection) -> Result<Result<String, String>, Failure> {
        match self.post("connections/test", &connection_body(connection)).await? {
            ApiReply::Found(said) => {
                let words = said["message"].as_str().ok_or_else(|| self.strange())?.to_string();
                Ok(if said["status"] == true { Ok(words) } else { Err(words) })
            }
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }
}

impl Api {
    /// Returns the default connections of a server's binary, with `***` for secrets. Empty if the server is older than
    /// this command.
    pub(crate) async fn default_connections(&self) -> Result<Vec<Connection>, Failure> {
        match self.get_extra("defaultConnections").await? {
            ApiReply::Found(found) => {
                let all = found["connections"].as_array().ok_or_else(|| self.strange())?;
                all.iter().map(|one| connection_of(one.as_object().ok_or_else(|| self.strange())?)).collect()
            }
            ApiReply::Refused(404, _) => Ok(Vec::new()),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }
}

/// Returns the path relative to the address of the server.
pub(super) fn path(noun: &Noun) -> &'static str {
    noun.path.trim_start_matches('/')
}

pub(super) fn path_of_one(noun: &Noun, name: &str) -> String {
    format!("{}/{}", path(noun), encoded(name))
}

fn seen(entry: &Value) -> Option<ApiObject> {
    entry.as_object().cloned()
}

/// Returns a connection in the form of Airflow's `ConnectionBody`.
pub(crate) fn connection_body(connection: &Connection) -> Value {
    let mut body = Value::Object(connection.to_object());
    body["connection_id"] = json!(connection.id);
    body
}

/// Parses a connection of a response, with `***` for secrets.
pub(crate) fn connection_of(seen: &ApiObject) -> Result<Connection, Failure> {
    let id = seen.get("connection_id").and_then(Value::as_str).unwrap_or_default();
    Connection::from_object(id, seen).map_err(|error| Failure::from_error(&error))
}
