//! Waiting for what an HTTP server answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A request, and what its answer must be. Gives what `pointer` points at, else the whole answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpWait {
    /// Its host, port, login and headers are used; the path is below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// With a connection a path, else a whole address.
    pub url: String,
    #[serde(default = "get")]
    pub method: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Sent as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// Those that count as an answer; without any, 200 to 299. 404 is always "not yet".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<u16>,
    /// Points into the JSON of the answer: `/status/phase`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// What must stand there; without any it must be true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub equals: Vec<Value>,
}

fn get() -> String {
    "GET".into()
}

/// Until a server answers well at a path below a connection.
pub fn http(connection: impl Into<String>, path: impl Into<String>) -> HttpWait {
    HttpWait { connection: Some(connection.into()), ..url(path) }
}

/// Until a server answers well at an address.
pub fn url(url: impl Into<String>) -> HttpWait {
    HttpWait {
        connection: None,
        url: url.into(),
        method: get(),
        headers: BTreeMap::new(),
        body: None,
        statuses: Vec::new(),
        pointer: None,
        equals: Vec::new(),
    }
}

impl HttpWait {
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Sent as JSON.
    ///
    /// # Panics
    /// When it is no JSON.
    #[must_use]
    pub fn json(mut self, body: impl Serialize) -> Self {
        self.body = Some(serde_json::to_value(body).expect("a body is JSON"));
        self
    }

    /// A status that counts as an answer.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.statuses.push(status);
        self
    }

    /// What stands there in the JSON of the answer must be true, or one of `equals`.
    #[must_use]
    pub fn pointer(mut self, pointer: &str) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// What may stand where `pointer` points.
    ///
    /// # Panics
    /// When it is no JSON.
    #[must_use]
    pub fn equals(mut self, value: impl Serialize) -> Self {
        self.equals.push(serde_json::to_value(value).expect("a value is JSON"));
        self
    }
}
