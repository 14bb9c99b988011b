//! Secrets belong to the address that they were entered for. A change that makes a connection lead elsewhere drops its
//! secrets unless it sends them again. Otherwise a user who can change a connection but not see its password could send
//! it to their own server.

use super::{Connection, MASK};
use serde_json::{Map, Value};

/// Substrings of names in `extra` that mark addresses and TLS options. Without encryption and verification, others in
/// the network can read the secret.
const PLACES: [&str; 24] = [
    "account", "address", "broker", "ca_file", "cafile", "cert", "domain", "encrypt", "endpoint", "host", "insecure",
    "port", "protocol", "prox", "scheme", "server", "socket", "ssl", "tls", "trust", "tunnel", "uri", "url", "verif",
];

/// Types for which `schema` is a database on the same server. For other types it may be the protocol.
const DATABASES: [&str; 11] =
    ["clickhouse", "mongo", "mssql", "mysql", "oracle", "postgres", "presto", "redis", "snowflake", "trino", "vertica"];

#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    pub connection: Connection,
    /// The change affects the type, host, port or protocol, or an address or TLS option in `extra`.
    pub has_moved: bool,
    /// Names of the dropped secrets: `password`, `host`, and fields of `extra`.
    pub dropped: Vec<String>,
}

impl Connection {
    /// Applies the edited connection of a user. Each `***` keeps its secret in `stored` if the connection still leads
    /// to the same address, and is dropped otherwise.
    #[must_use]
    pub fn replacing(self, stored: &Connection) -> Changed {
        let restored = self.clone().restored(stored);
        if restored.leads_where(stored) {
            // Drop masks without a stored secret.
            let (mut connection, mut dropped) = (restored, Vec::new());
            leave_out_masks(&mut connection.extra, "extra", &mut dropped);
            return Changed { connection, has_moved: false, dropped };
        }
        let (mut connection, mut dropped) = (self, Vec::new());
        if connection.password.take_if(|password| password == MASK).is_some() {
            dropped.push("password".into());
        }
        if let Some(host) = &mut connection.host
            && host.contains(":***@")
        {
            *host = host.replace(":***@", "@");
            dropped.push("host".into());
        }
        leave_out_masks(&mut connection.extra, "extra", &mut dropped);
        Changed { connection, has_moved: true, dropped }
    }

    fn leads_where(&self, other: &Connection) -> bool {
        let text = |part: &Option<String>| part.clone().filter(|text| !text.is_empty());
        let protocol = |of: &Connection| text(&of.schema).filter(|_| !DATABASES.contains(&of.conn_type.as_str()));
        let place = |of: &Connection| (of.conn_type.clone(), text(&of.host), of.port, protocol(of));
        place(self) == place(other) && places(&self.extra) == places(&other.extra)
    }
}

/// Returns the fields of `extra` that may contain an address, sorted by name.
fn places(extra: &Map<String, Value>) -> Vec<(&str, &Value)> {
    let mut found = Vec::new();
    for (name, value) in extra {
        let plain = name.to_lowercase().replace('-', "_");
        let is_address = |text: &str| text.contains("://") || text.starts_with(['{', '[']);
        match value {
            _ if PLACES.iter().any(|word| plain.contains(word)) => found.push((name.as_str(), value)),
            Value::String(text) if is_address(text) => found.push((name, value)),
            Value::Object(inner) => found.extend(places(inner)),
            Value::Array(items) => found.extend(items.iter().filter_map(Value::as_object).flat_map(places)),
            _ => {}
        }
    }
    found.sort_by_key(|(name, _)| *name);
    found
}

fn leave_out_masks(fields: &mut Map<String, Value>, of: &str, dropped: &mut Vec<String>) {
    fields.retain(|name, value| {
        let name = format!("{of}.{name}");
        match value {
            Value::Object(inner) => leave_out_masks(inner, &name, dropped),
            other if other.to_string().contains("\"***\"") => {
                dropped.push(name);
                return false;
            }
            _ => {}
        }
        true
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stored() -> Connection {
        let extra =
            json!({ "token": "hush2", "region": "eu", "endpoint_url": "http://s3", "deep": { "secret": "hush3" } });
        Connection {
            id: "c".into(),
            conn_type: "http".into(),
            host: Some("https://me:hush0@api".into()),
            port: Some(443),
            password: Some("hush1".into()),
            extra: extra.as_object().cloned().unwrap_or_default(),
            ..Connection::default()
        }
    }

    #[test]
    fn what_leads_to_the_same_place_keeps_its_secrets() {
        let same = Connection { description: Some("d".into()), login: Some("me".into()), ..stored().masked() };
        let mut same = Connection { extra: same.extra.clone(), ..same };
        same.extra.insert("region".into(), "us".into());
        let changed = same.replacing(&stored());
        assert!(!changed.has_moved && changed.dropped.is_empty());
        assert_eq!(changed.connection.secrets(), stored().secrets());
    }

    #[test]
    fn a_mask_that_stands_for_nothing_is_not_stored() {
        let mut same = stored().masked();
        same.extra.insert("other".into(), "***".into());
        let changed = same.replacing(&stored());
        assert_eq!((changed.has_moved, changed.dropped), (false, vec!["extra.other".to_string()]));
        assert_eq!(changed.connection, stored());
    }

    #[test]
    fn what_leads_elsewhere_has_none_that_it_does_not_bring() {
        let masked = stored().masked();
        let extra = |name: &str, value: &str| {
            let mut extra = masked.extra.clone();
            extra.insert(name.into(), value.into());
            extra
        };
        let some = |text: &str| Some(text.to_string());
        let sent = [
            Connection { conn_type: "smtp".into(), ..masked.clone() },
            Connection { host: some("https://evil"), ..masked.clone() },
            Connection { host: some("https://me:***@evil"), ..masked.clone() },
            Connection { port: Some(80), ..masked.clone() },
            Connection { schema: some("http"), ..masked.clone() },
            Connection { extra: extra("endpoint_url", "http://evil"), ..masked.clone() },
            Connection { extra: extra("bootstrap.servers", "evil:9092"), ..masked.clone() },
            Connection { extra: extra("odd", "tcp://evil"), ..masked.clone() },
            Connection { extra: extra("sslmode", "disable"), ..masked.clone() },
            Connection { extra: extra("sslrootcert", "/tmp/evil.pem"), ..masked.clone() },
            Connection { extra: extra("ssl.ca.location", "/tmp/evil.pem"), ..masked.clone() },
            Connection { extra: extra("enable.ssl.certificate.verification", "false"), ..masked.clone() },
            Connection { extra: extra("ca_file", "/tmp/evil.pem"), ..masked.clone() },
            Connection { extra: extra("verify", "false"), ..masked.clone() },
            Connection { extra: extra("TrustServerCertificate", "yes"), ..masked.clone() },
            Connection { extra: extra("Encrypt", "no"), ..masked.clone() },
        ];
        for sent in sent {
            let changed = sent.clone().replacing(&stored());
            assert!(
                changed.has_moved && !changed.connection.secrets().iter().any(|one| one.contains("hush")),
                "{sent:?}"
            );
            assert!(changed.dropped.contains(&"password".into()), "{changed:?}");
            assert!(changed.dropped.contains(&"extra.deep.secret".into()), "{changed:?}");
        }
        let brings = Connection { port: Some(80), password: some("new"), ..masked.clone() }.replacing(&stored());
        assert_eq!(brings.connection.password.as_deref(), Some("new"));
        assert!(!brings.dropped.contains(&"password".into()));
    }

    #[test]
    fn another_database_of_the_same_server_is_the_same_place() {
        let stored = Connection { conn_type: "postgres".into(), extra: Map::new(), ..stored() };
        let other = Connection { schema: Some("sales".into()), ..stored.masked() };
        assert!(!other.replacing(&stored).has_moved);
    }
}
