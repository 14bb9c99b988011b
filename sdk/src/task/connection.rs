//! A connection to an external system, in Airflow's two forms: URI (`connection/uri.rs`) and JSON
//! (`connection/json.rs`).
//!
//! Errors contain no part of the input: all of it could be secret.

mod json;
mod moved;
mod percent;
mod uri;

pub use moved::Changed;

use crate::secret::{collect, is_sensitive, mask_sensitive, masked_address, password_of, restore};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// `Debug` does not show its secrets.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    pub id: String,
    /// `postgres`, `mysql`, `http`, `s3`, …
    pub conn_type: String,
    #[serde(default)]
    pub description: Option<String>,
    /// May contain a protocol: `https://api.example.com`.
    pub host: Option<String>,
    pub port: Option<u16>,
    pub login: Option<String>,
    pub password: Option<String>,
    pub schema: Option<String>,
    pub extra: Map<String, Value>,
}

/// An invalid connection. The message contains no part of the input that could be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadConnection {
    #[error("the URI of connection `{id}` {problem}: write `type://login:password@host:port/schema?key=value`")]
    Uri { id: String, problem: &'static str },
    #[error("the JSON of connection `{id}` {problem}")]
    Json { id: String, problem: String },
}

impl Connection {
    /// Parses either of Airflow's two forms. A text that starts with a brace is JSON, like in Airflow.
    pub fn parse(id: &str, text: &str) -> Result<Self, BadConnection> {
        let text = text.trim();
        if text.starts_with('{') { Self::from_json(id, text) } else { Self::from_uri(id, text) }
    }

    /// Returns a field of `extra`, also under its long name `extra__<type>__<field>` from older versions of Airflow.
    pub fn extra_field(&self, name: &str) -> Option<&Value> {
        self.extra.get(name).or_else(|| self.extra.get(&format!("extra__{}__{name}", self.conn_type)))
    }

    /// Returns the URL of an HTTP service. A `host` with a protocol is the whole URL; otherwise `port` and `schema`
    /// (the path) are added. `None` if there is no host.
    pub fn http_address(&self) -> Option<String> {
        let host = self.host.as_deref().filter(|host| !host.is_empty())?;
        if host.contains("://") {
            return Some(host.trim_end_matches('/').to_owned());
        }
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let path = self.schema.as_deref().unwrap_or_default();
        Some(format!("http://{host}{port}/{path}").trim_end_matches('/').to_owned())
    }

    /// Returns everything that must not appear in a log: the password, the sensitive fields of `extra` and a password
    /// in the host.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets: Vec<String> = self.password.iter().cloned().collect();
        for (name, value) in &self.extra {
            collect(value, is_sensitive(name), &mut secrets);
        }
        // The host may be a whole URL with its own credentials.
        secrets.extend(self.host.as_deref().and_then(password_of).map(str::to_owned));
        secrets
    }

    /// Returns the connection with `***` for the password, for every sensitive field of `extra`, and for a password in
    /// the host.
    #[must_use]
    pub fn masked(&self) -> Self {
        let mut masked = self.clone();
        masked.host = self.host.as_deref().map(masked_host);
        masked.password = self.password.as_ref().filter(|password| !password.is_empty()).map(|_| MASK.into());
        for (name, value) in &mut masked.extra {
            mask_sensitive(value, is_sensitive(name));
        }
        masked
    }

    /// Replaces each `***` that `masked` produced with the value in `stored`, for connections that users edit and send
    /// back.
    #[must_use]
    pub fn restored(mut self, stored: &Connection) -> Self {
        if self.password.as_deref() == Some(MASK) {
            self.password.clone_from(&stored.password);
        }
        if self.host == stored.host.as_deref().map(masked_host) {
            self.host.clone_from(&stored.host);
        }
        for (name, value) in &mut self.extra {
            if let Some(stored) = stored.extra.get(name) {
                restore(value, stored);
            }
        }
        self
    }

    /// Normalizes a connection type: `google-cloud` is `google_cloud`, `postgresql` is `postgres`.
    pub fn normal_type(conn_type: &str) -> String {
        if conn_type == "postgresql" { "postgres".into() } else { conn_type.replace('-', "_") }
    }
}

const MASK: &str = crate::secret::MASK;

fn masked_host(host: &str) -> String {
    masked_address(host).unwrap_or_else(|| host.to_owned())
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .field("conn_type", &self.conn_type)
            .field("description", &self.description)
            .field("host", &self.host.as_deref().map(|host| host.rsplit_once('@').map_or(host, |(_, host)| host)))
            .field("port", &self.port)
            .field("login", &self.login)
            .field("password", &self.password.as_ref().map(|_| MASK))
            .field("schema", &self.schema)
            .field("extra", &self.extra.keys().collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_neither_printed_nor_part_of_an_error() {
        let read = Connection::from_uri("db", "pg://me:hush@h/?token=hush").expect("a URI");
        assert!(!format!("{read:?}").contains("hush"), "{read:?}");
        for wrong in [
            "hush",
            "://hush",
            "pg://me:hush@h:port",
            "pg://me:hush%ff@h",
            "pg://me:hush#x@h",
            "pg://h/?__extra__=hush",
        ] {
            let error = Connection::from_uri("db", wrong).expect_err("it is wrong").to_string();
            assert!(error.contains("connection `db`") && !error.contains("hush"), "{error}");
        }
        for wrong in ["{\"hush\": 1}", "{hush", "{\"password\": [\"hush\"]}", "{\"port\": \"hush\"}"] {
            let error = Connection::from_json("db", wrong).expect_err("it is wrong").to_string();
            assert!(error.contains("connection `db`") && !error.contains("hush\": 1"), "{error}");
        }
    }

    #[test]
    fn what_is_sensitive_in_extra_is_a_secret_however_deep() {
        let json = r#"{"conn_type": "x", "password": "p1", "extra": {"api_key": "k1", "region": "eu",
            "keyfile_dict": {"private_key": "k2", "project": "k3"}, "nested": {"auth-token": 42},
            "extra__x__secret": "k4", "as_text": "{\"token\": \"k5\"}"}}"#;
        let read = Connection::from_json("c", json).expect("JSON");
        let mut secrets = read.secrets();
        secrets.sort();
        assert_eq!(secrets, ["42", "k1", "k2", "k3", "k4", "k5", "p1"]);
        let masked = serde_json::to_string(&read.masked()).expect("JSON");
        assert!(secrets.iter().all(|secret| !masked.contains(&format!("\"{secret}"))), "{masked}");
        assert!(masked.contains("eu") && !masked.contains("k5"), "{masked}");
        assert_eq!(read.extra_field("secret"), Some(&"k4".into()));
        assert_eq!(read.masked().restored(&read), read, "what was shown changes nothing");
    }

    #[test]
    fn a_password_in_the_host_is_masked_and_comes_back() {
        let read = Connection { host: Some("https://me:hush@h/x".into()), ..Connection::default() };
        assert_eq!(read.masked().host.as_deref(), Some("https://me:***@h/x"));
        assert_eq!(read.masked().restored(&read), read);
        for plain in ["h", "https://h:1", "https://me@h", "a@b"] {
            assert_eq!(masked_host(plain), plain);
        }
    }
}
