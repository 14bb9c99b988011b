//! A connection to something outside, as Airflow writes it: `postgres://user:secret@host:5432/schema?sslmode=require`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// Its secrets are not shown by `Debug`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    pub id: String,
    /// `postgres`, `mysql`, `http`, `s3`, …
    pub conn_type: String,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub login: Option<String>,
    pub password: Option<String>,
    pub schema: Option<String>,
    pub extra: Map<String, Value>,
}

/// What is wrong with the URI of a connection. Says no part of it that could be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the URI of connection `{id}` {problem}: write `type://login:password@host:port/schema?key=value`")]
pub struct BadUri {
    pub id: String,
    pub problem: &'static str,
}

impl Connection {
    /// Reads Airflow's URI form. Parts may be left out; each is percent-decoded by itself.
    pub fn from_uri(id: &str, uri: &str) -> Result<Self, BadUri> {
        let bad = |problem| BadUri { id: id.into(), problem };
        let (conn_type, rest) = uri.split_once("://").ok_or_else(|| bad("has no `://`"))?;
        if conn_type.is_empty() {
            return Err(bad("has no type"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, schema) = rest.split_once('/').unwrap_or((rest, ""));
        let (account, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (login, password) = account.split_once(':').map_or((account, None), |(l, p)| (l, Some(p)));
        let (host, port) = match address.rsplit_once(':') {
            // An IPv6 address in brackets has colons of its own.
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (address, ""),
        };
        let port = match port {
            "" => None,
            port => Some(port.parse().map_err(|_| bad("has a port that is no number up to 65535"))?),
        };
        let text = |part: &str| decode(part).ok_or_else(|| bad("has a broken `%` escape"));
        let part = |part: &str| Ok(Some(text(part)?).filter(|p| !p.is_empty()));
        let mut extra = Map::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            extra.insert(text(key)?, Value::String(text(value)?));
        }
        Ok(Connection {
            id: id.into(),
            conn_type: conn_type.replace('-', "_"),
            host: part(host)?,
            port,
            login: part(login)?,
            password: password.map(text).transpose()?,
            schema: part(schema)?,
            extra,
        })
    }
}

/// `None` for a `%` that is not followed by two hex digits, or bytes that are not UTF-8.
fn decode(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let hex = std::str::from_utf8(rest.get(..2)?).ok().filter(|h| !h.starts_with('+'))?;
        bytes.push(u8::from_str_radix(hex, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .field("conn_type", &self.conn_type)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("login", &self.login)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("schema", &self.schema)
            .field("extra", &self.extra.keys().collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_read_part_by_part() {
        let read =
            Connection::from_uri("db", "google-cloud://me:p%40ss%2Fword@db.local:5432/sales?sslmode=require&x=%20")
                .expect("a URI");
        assert_eq!(
            (read.conn_type.as_str(), read.host.as_deref(), read.port),
            ("google_cloud", Some("db.local"), Some(5432))
        );
        assert_eq!((read.login.as_deref(), read.password.as_deref()), (Some("me"), Some("p@ss/word")));
        assert_eq!(
            (read.schema.as_deref(), &read.extra["sslmode"], &read.extra["x"]),
            (Some("sales"), &"require".into(), &" ".into())
        );
        let short = Connection::from_uri("s", "s3://").expect("everything may be left out");
        assert_eq!((short.host, short.login, short.schema), (None, None, None));
        let six = Connection::from_uri("s", "http://[::1]:80/").expect("an address in brackets");
        assert_eq!((six.host.as_deref(), six.port), (Some("[::1]"), Some(80)));
    }

    #[test]
    fn secrets_are_neither_printed_nor_part_of_an_error() {
        let read = Connection::from_uri("db", "pg://me:hush@h/?token=hush").expect("a URI");
        assert!(!format!("{read:?}").contains("hush"), "{read:?}");
        for wrong in ["hush", "://hush", "pg://me:hush@h:port", "pg://me:hush%2@h", "pg://me:hush%+1@h"] {
            let error = Connection::from_uri("db", wrong).expect_err("it is wrong").to_string();
            assert!(error.contains("connection `db`") && !error.contains("hush"), "{error}");
        }
    }
}
