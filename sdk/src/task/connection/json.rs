//! The JSON form: an object with Airflow's field names, as in `AIRFLOW_CONN_…`, in exports and in secrets files.

use super::{BadConnection, Connection};
use serde_json::{Map, Value, json};

impl Connection {
    pub fn from_json(id: &str, text: &str) -> Result<Self, BadConnection> {
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Self::from_object(id, &fields),
            Ok(_) => Err(bad(id, "is not an object: write `{\"conn_type\": \"postgres\", \"host\": \"db\"}`")),
            // The message of the parser's error may contain parts of the input.
            Err(error) => Err(bad(id, format!("breaks off or is not JSON at line {}: {EXAMPLE}", error.line()))),
        }
    }

    /// Reads an object. `extra` may be an object or JSON in a string; `uri` excludes the separate fields.
    pub fn from_object(id: &str, fields: &Map<String, Value>) -> Result<Self, BadConnection> {
        let mut connection = Connection { id: id.into(), ..Connection::default() };
        if let Some(Value::String(uri)) = fields.get("uri").filter(|uri| !is_empty(uri)) {
            let parts = ["conn_type", "host", "login", "password", "schema", "port", "extra", "extra_dejson"];
            if parts.iter().any(|part| fields.get(*part).is_some_and(|value| !is_empty(value))) {
                return Err(bad(id, "has a `uri` and parts of one: write either"));
            }
            connection = Self::from_uri(id, uri)?;
        }
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            let text = || match value {
                Value::String(text) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
                Value::Number(number) => Ok(Some(number.to_string())),
                _ => Err(bad(id, format!("has a `{name}` that is not text"))),
            };
            match name.as_str() {
                "conn_id" | "connection_id" if value.as_str() == Some(id) => {}
                "conn_id" | "connection_id" => return Err(bad(id, "names another connection inside")),
                "conn_type" => connection.conn_type = Self::normal_type(&text()?.unwrap_or_default()),
                "description" => connection.description = text()?,
                "host" => connection.host = text()?,
                "login" => connection.login = text()?,
                "password" => connection.password = text()?,
                "schema" => connection.schema = text()?,
                "port" => connection.port = port(id, value)?,
                "extra" if fields.contains_key("extra_dejson") => {
                    return Err(bad(id, "has both `extra` and `extra_dejson`"));
                }
                "extra" | "extra_dejson" => connection.extra = extra(id, value)?,
                // `uri` was read above. The other fields only appear in Airflow's lists and exports.
                "uri" | "id" | "team_name" | "is_encrypted" | "is_extra_encrypted" | "get_uri" => {}
                _ => return Err(bad(id, UNKNOWN)),
            }
        }
        Ok(connection)
    }

    /// Returns the fields of Airflow's export in the same order. `extra` is JSON in a string.
    pub fn to_object(&self) -> Map<String, Value> {
        let extra = (!self.extra.is_empty()).then(|| Value::Object(self.extra.clone()).to_string());
        let Value::Object(fields) = json!({
            "conn_type": self.conn_type,
            "description": self.description,
            "login": self.login,
            "password": self.password,
            "host": self.host,
            "port": self.port,
            "schema": self.schema,
            "extra": extra,
        }) else {
            unreachable!("it is written as an object")
        };
        fields
    }

    pub fn to_json(&self) -> String {
        Value::Object(self.to_object()).to_string()
    }
}

const EXAMPLE: &str = "put names and texts in double quotes, as in `{\"conn_type\": \"postgres\", \"host\": \"db\"}`";
const UNKNOWN: &str = "has a name that no connection has: use `conn_type`, `description`, `host`, `login`, `password`, \
    `schema`, `port` and `extra`";

fn bad(id: &str, problem: impl Into<String>) -> BadConnection {
    BadConnection::Json { id: id.into(), problem: problem.into() }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value == "" || value == &json!({})
}

fn port(id: &str, value: &Value) -> Result<Option<u16>, BadConnection> {
    let wrong = || bad(id, "has a port that is not a number up to 65535");
    match value {
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => text.trim().parse().map(Some).map_err(|_| wrong()),
        Value::Number(number) => {
            let port = number.as_u64().and_then(|port| u16::try_from(port).ok());
            port.map(|port| Some(port).filter(|port| *port > 0)).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

fn extra(id: &str, value: &Value) -> Result<Map<String, Value>, BadConnection> {
    let wrong = || bad(id, "has an `extra` that is not a JSON object: write `{\"key\": \"value\"}`");
    match value {
        Value::Object(extra) => Ok(extra.clone()),
        Value::String(text) if text.trim().is_empty() => Ok(Map::new()),
        Value::String(text) => serde_json::from_str(text).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}
