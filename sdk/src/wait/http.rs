//! Waiting for the response of an HTTP server.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A request and the expected response. Returns the value at `pointer`, or the whole response without a pointer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpWait {
    /// Provides host, port, login and headers. `url` is a path below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// A path if there is a connection, otherwise a complete URL.
    pub url: String,
    #[serde(default = "get")]
    pub method: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// Accepted status codes. Default: 200 to 299. 404, 425 and 429 mean "not yet" unless they are listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<u16>,
    /// JSON pointer into the response: `/status/phase`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Accepted values at `pointer`. Without any, the value must be truthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub equals: Vec<Value>,
}

fn get() -> String {
    "GET".into()
}

/// Waits for a successful response to a path below a connection.
pub fn http(connection: impl Into<String>, path: impl Into<String>) -> HttpWait {
    HttpWait { connection: Some(connection.into()), ..url(path) }
}

/// Waits for a successful response to a URL.
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

    /// Sends a JSON body.
    ///
    /// # Panics
    /// Panics if the body is not JSON.
    #[must_use]
    pub fn json(mut self, body: impl Serialize) -> Self {
        self.body = Some(serde_json::to_value(body).expect("a body is JSON"));
        self
    }

    /// Adds an accepted status code.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.statuses.push(status);
        self
    }

    /// Requires that the value at this JSON pointer is truthy, or one of `equals`.
    #[must_use]
    pub fn pointer(mut self, pointer: &str) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// Adds an accepted value at `pointer`.
    ///
    /// # Panics
    /// Panics if the value is not JSON.
    #[must_use]
    pub fn equals(mut self, value: impl Serialize) -> Self {
        self.equals.push(serde_json::to_value(value).expect("a value is JSON"));
        self
    }
}
