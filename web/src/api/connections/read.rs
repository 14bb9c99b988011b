//! Airflow's `ConnectionBody`, field by field. What is wrong is told without what was sent.

use crate::extract::Fields;
use orch_core::ids::ConnectionId;
use orch_core::task::Connection;
use orch_store::connection::ConnectionChange;
use orch_store::part::Becomes;
use orch_wire::Problem;
use orch_wire::fields::{integer, text};
use serde_json::{Map, Value, json};

/// Airflow's bound.
const MOST_ID_CHARS: usize = 200;

/// A connection as it was sent: its name, and the parts that stood there.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) id: String,
    pub(crate) change: ConnectionChange,
}

impl Sent {
    /// `masked`: only these parts count; empty: all.
    pub(super) fn read(fields: &mut Fields, masked: &[&str]) -> Sent {
        let id = fields.required_checked("connection_id", id);
        let conn_type = fields.required_checked("conn_type", kind);
        Sent::with(fields, masked, id, Some(conn_type))
    }

    /// Of one that is deleted only its name has to be there.
    pub(super) fn read_named(fields: &mut Fields, masked: &[&str]) -> Sent {
        let id = fields.required_text("connection_id");
        let conn_type = fields.text("conn_type");
        Sent::with(fields, masked, id, conn_type)
    }

    fn with(fields: &mut Fields, masked: &[&str], id: String, conn_type: Option<String>) -> Sent {
        let counts = |name: &str| masked.is_empty() || masked.contains(&name);
        let mut part = |name: &str| {
            let is_there = fields.has(name) && counts(name);
            let text = fields.text(name).filter(|text| !text.is_empty());
            is_there.then_some(Becomes(text))
        };
        let (description, host, login) = (part("description"), part("host"), part("login"));
        let (schema, password) = (part("schema"), part("password"));
        let has_port = fields.has("port") && counts("port");
        let port = fields.checked("port", port);
        let has_extra = fields.has("extra") && counts("extra");
        let extra = fields.checked("extra", extra);
        if fields.text("team_name").is_some() {
            let why = "team_name cannot be set when multi_team mode is disabled. Please contact your administrator.";
            fields.refuse(Problem::value(why));
        }
        let change = ConnectionChange {
            conn_type: conn_type.filter(|_| counts("conn_type")).map(|kind| Connection::normal_type(&kind)),
            description,
            host,
            port: has_port.then_some(Becomes(port)),
            login,
            password,
            schema,
            extra: has_extra.then(|| extra.unwrap_or_default()),
        };
        Sent { id, change }
    }

    /// The whole connection, where there is none yet.
    pub(crate) fn whole(self) -> Connection {
        let nothing = Connection { id: self.id, ..Connection::default() };
        self.change.applied(&nothing).connection
    }
}

fn id(value: &Value) -> Result<String, Problem> {
    let id = text(value)?;
    if id.chars().count() > MOST_ID_CHARS {
        let msg = format!("String should have at most {MOST_ID_CHARS} characters");
        return Err(Problem::new("string_too_long", msg).with_ctx(json!({ "max_length": MOST_ID_CHARS })));
    }
    let pattern = r"^[\w.-]+$";
    let unlike = || Problem::new("string_pattern_mismatch", format!("String should match pattern '{pattern}'"));
    ConnectionId::new(&id).map_err(|_| unlike().with_ctx(json!({ "pattern": pattern })))?;
    Ok(id)
}

fn kind(value: &Value) -> Result<String, Problem> {
    let kind = text(value)?;
    if kind.trim().is_empty() { Err(Problem::value("a connection has a type")) } else { Ok(kind) }
}

fn port(value: &Value) -> Result<u16, Problem> {
    let most = u16::MAX;
    match integer(value).map(u16::try_from) {
        Some(Ok(port)) => Ok(port),
        Some(Err(_)) => Err(Problem::value(format!("a port is a number from 0 to {most}"))),
        None => Err(Problem::new("int_type", "Input should be a valid integer")),
    }
}

/// JSON in a text; an empty one is an empty object, as in Airflow.
fn extra(value: &Value) -> Result<Map<String, Value>, Problem> {
    let written = text(value)?;
    if written.is_empty() {
        return Ok(Map::new());
    }
    let object = "The `extra` field must be a valid JSON object (e.g., {'key': 'value'})";
    match serde_json::from_str(&written) {
        Ok(Value::Object(extra)) if !written.contains("\\u0000") => Ok(extra),
        Ok(_) => Err(Problem::value(object)),
        Err(_) => Err(Problem::value(format!("{object}, but encountered non-JSON in `extra` field"))),
    }
}
