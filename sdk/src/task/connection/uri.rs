//! The URI form `type://login:password@host:port/schema?key=value`, read and written like Airflow. A host may contain a
//! protocol (`http://https://me:pw@host`). `extra` is in the query; if it is nested, it is JSON under `__extra__`.

use super::percent::{decode, decode_query, encode, encode_query};
use super::{BadConnection, Connection};
use serde_json::{Map, Value};
use std::fmt::Write as _;

const EXTRA_KEY: &str = "__extra__";

impl Connection {
    /// Reads Airflow's URI form. Parts may be left out; each is percent-decoded by itself.
    pub fn from_uri(id: &str, uri: &str) -> Result<Self, BadConnection> {
        let bad = |problem| BadConnection::Uri { id: id.into(), problem };
        let (conn_type, rest) = uri.split_once("://").ok_or_else(|| bad("has no `://`"))?;
        if !is_scheme(conn_type) {
            return Err(bad("does not begin with a type"));
        }
        if rest.contains('#') {
            return Err(bad("has a `#`, which is written `%23`"));
        }
        let text = |part: &str| decode(part).ok_or_else(|| bad("has an escape that is no UTF-8"));
        let (protocol, rest) = match rest.split_once("://") {
            Some((protocol, rest)) if is_scheme(protocol) => (Some(protocol), rest),
            _ => (None, rest),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, schema) = rest.split_once('/').unwrap_or((rest, ""));
        let (account, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (login, password) = account.split_once(':').map_or((account, None), |(l, p)| (l, Some(p)));
        let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            // An IPv6 address contains colons.
            Some((host, rest)) => (host, rest.strip_prefix(':').unwrap_or("")),
            None => address.split_once(':').unwrap_or((address, "")),
        };
        let port = match port {
            "" => None,
            port => Some(port.parse().map_err(|_| bad("has a port that is not a number up to 65535"))?),
        };
        let part = |part: &str| Ok(Some(text(part)?).filter(|p| !p.is_empty()));
        let host: Option<String> = part(host)?;
        Ok(Connection {
            id: id.into(),
            conn_type: Connection::normal_type(&conn_type.to_ascii_lowercase()),
            description: None,
            host: host.map(|host| protocol.map_or(host.clone(), |protocol| format!("{protocol}://{host}"))),
            port,
            login: part(login)?,
            password: password.map(text).transpose()?,
            schema: part(schema)?,
            extra: extra(query).map_err(bad)?,
        })
    }

    /// Writes the URI like Airflow's `get_uri`. Reading it returns the same connection, except for the description.
    pub fn to_uri(&self) -> String {
        let mut uri = format!("{}://", self.conn_type.to_lowercase().replace('_', "-"));
        let mut host = self.host.as_deref().unwrap_or_default();
        if let Some((protocol, rest)) = host.split_once("://")
            // Airflow keeps a protocol that equals the type as part of the host name.
            && protocol != self.conn_type
            && is_scheme(protocol)
            && !rest.is_empty()
        {
            uri.extend([protocol, "://"]);
            host = rest;
        }
        if let Some(login) = &self.login {
            encode(login, &mut uri);
        }
        if let Some(password) = &self.password {
            uri.push(':');
            encode(password, &mut uri);
        }
        let has_account = self.login.as_ref().is_some_and(|login| !login.is_empty()) || self.password.is_some();
        if has_account {
            uri.push('@');
        }
        encode(host, &mut uri);
        if let Some(port) = self.port {
            let at = if host.is_empty() && !has_account { "@" } else { "" };
            write!(uri, "{at}:{port}").expect("text takes everything");
        }
        let schema = self.schema.as_deref().unwrap_or_default();
        if !schema.is_empty() {
            uri.push('/');
            encode(schema, &mut uri);
        }
        if !self.extra.is_empty() {
            uri += if schema.is_empty() { "/?" } else { "?" };
            match flat(&self.extra) {
                Some(query) => uri += &query,
                None => {
                    uri.extend([EXTRA_KEY, "="]);
                    encode_query(&Value::Object(self.extra.clone()).to_string(), &mut uri);
                }
            }
        }
        uri
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-._".contains(c))
}

/// Parses values as JSON where possible, like Airflow since 3.0.
fn extra(query: &str) -> Result<Map<String, Value>, &'static str> {
    let mut extra = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let text = |part| decode_query(part).ok_or("has an escape that is no UTF-8");
        let (key, value) = (text(key)?, text(value)?);
        if key == EXTRA_KEY {
            return match serde_json::from_str(&value) {
                Ok(Value::Object(extra)) => Ok(extra),
                _ => Err("has an `__extra__` that is not a JSON object"),
            };
        }
        extra.insert(key, serde_json::from_str(&value).unwrap_or(Value::String(value)));
    }
    Ok(extra)
}

/// Returns `extra` as a query string if reading that returns the same `extra`. (Airflow also writes `"1"` flat, and
/// reads it back as a number.)
fn flat(extra: &Map<String, Value>) -> Option<String> {
    let mut query = String::new();
    for (key, value) in extra {
        if !query.is_empty() {
            query.push('&');
        }
        encode_query(key, &mut query);
        query.push('=');
        encode_query(value.as_str()?, &mut query);
    }
    (self::extra(&query).as_ref() == Ok(extra)).then_some(query)
}
