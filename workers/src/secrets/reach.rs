//! Finds the servers that a connection leads to, and checks that users may reach them.

use orch_core::network::{NOT_REACHED, Reach};
use orch_sdk::task::Connection;
use orch_store::connect::Database;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr};
use tokio::net::lookup_host;

/// Name lookups require a port, but only the resolved addresses are checked, so any port works.
const ANY_PORT: u16 = 443;

/// Checks that all addresses of every server that the connection names are permitted by `reach`. One permitted address
/// is not enough, because the client resolves the name again.
///
/// # Errors
/// Returns a message if a server has an address that is not permitted, or no address.
pub(super) async fn check(connection: &Connection, reach: &Reach) -> Result<(), String> {
    let id = &connection.id;
    for host in hosts(connection) {
        let refused = || format!("connection `{id}` leads to `{host}`: {NOT_REACHED}");
        if host.starts_with('/') {
            // A Unix socket leads to a server on this machine.
            if !reach.allows(IpAddr::V4(Ipv4Addr::LOCALHOST)) {
                return Err(refused());
            }
            continue;
        }
        let found = lookup_host((host.as_str(), ANY_PORT)).await;
        let mut found = found.map_err(|error| format!("connection `{id}` leads to `{host}`: {error}"))?.peekable();
        if found.peek().is_none() || !found.all(|address| reach.allows(address.ip())) {
            return Err(refused());
        }
    }
    Ok(())
}

/// Returns the host names and addresses that a connection contains.
fn hosts(connection: &Connection) -> Vec<String> {
    let mut hosts = Vec::new();
    match Database::of(connection) {
        Ok(database) => hosts.push(database.host),
        // A connection of type `file` names no server.
        Err(_) if connection.conn_type == "file" => {}
        Err(_) => hosts.extend(connection.host.as_deref().filter(|host| !host.is_empty()).map(host_of)),
    }
    hosts.extend(connection.extra.iter().flat_map(|(name, value)| addresses(name, value)).map(|text| host_of(&text)));
    hosts
}

/// Returns the HTTP server addresses in a field of `extra`, such as `endpoint_url` or a catalog's token server.
fn addresses(name: &str, value: &Value) -> Vec<String> {
    match value {
        Value::String(text)
            if name.contains("endpoint") || text.starts_with("http://") || text.starts_with("https://") =>
        {
            vec![text.clone()]
        }
        Value::Object(fields) => fields.iter().flat_map(|(name, value)| addresses(name, value)).collect(),
        Value::Array(items) => items.iter().flat_map(|item| addresses(name, item)).collect(),
        _ => Vec::new(),
    }
}

/// Returns the host of `protocol://user@host:port/path`. All other parts are optional.
fn host_of(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    if rest.starts_with('/') {
        return rest.into();
    }
    let server = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let server = server.rsplit_once('@').map_or(server, |(_, server)| server);
    if let Some((host, _)) = server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return host.into();
    }
    match server.split_once(':') {
        Some((host, port)) if !port.contains(':') => host.into(),
        // The text is an IPv6 address without a port.
        _ => server.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::{Backend, BackendResult, Secrets};
    use orch_sdk::task::BoxFuture;
    use serde_json::json;
    use std::future::ready;
    use std::sync::Arc;

    fn connection(conn_type: &str, host: &str, extra: &Value) -> Connection {
        Connection {
            id: "lake".into(),
            conn_type: conn_type.into(),
            host: Some(host.into()).filter(|host: &String| !host.is_empty()),
            extra: extra.as_object().cloned().unwrap_or_default(),
            ..Connection::default()
        }
    }

    #[test]
    fn hosts_are_read_from_every_field_that_leads_somewhere() {
        for (conn_type, host, extra, expected) in [
            ("postgres", "db.example.com", json!({}), "db.example.com"),
            ("postgres", "", json!({}), "localhost"),
            ("postgres", "", json!({ "host": "/run/postgresql" }), "/run/postgresql"),
            ("iceberg", "https://me@catalog:8181/api", json!({}), "catalog"),
            ("aws", "", json!({ "endpoint_url": "http://[::1]:9000" }), "::1"),
            ("aws", "", json!({ "endpoint_url": "minio:9000", "region_name": "eu" }), "minio"),
            ("aws", "", json!({ "deep": [{ "url": "https://a.b/c" }], "warehouse": "s3://bucket/lake" }), "a.b"),
            ("s3", "10.0.0.1", json!({}), "10.0.0.1"),
            ("s3", "::1", json!({}), "::1"),
            ("file", "", json!({ "path": "/data" }), ""),
        ] {
            assert_eq!(hosts(&connection(conn_type, host, &extra)).join(" "), expected, "{conn_type} {host} {extra}");
        }
    }

    #[tokio::test]
    async fn only_addresses_that_users_may_reach_pass() {
        let also = Reach::also(vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.1".parse().unwrap()]);
        for (conn_type, host, extra, public, named) in [
            ("postgres", "8.8.8.8", json!({}), true, true),
            ("postgres", "10.1.2.3", json!({}), false, true),
            ("postgres", "/run/postgresql", json!({}), false, true),
            ("iceberg", "http://169.254.169.254/latest", json!({}), false, false),
            ("iceberg", "https://8.8.8.8", json!({ "oauth2-server-uri": "http://192.168.0.1/token" }), false, false),
            ("aws", "", json!({ "endpoint_url": "http://127.0.0.1:9000" }), false, true),
            ("aws", "", json!({}), true, true),
        ] {
            let connection = connection(conn_type, host, &extra);
            let passes = [check(&connection, &Reach::default()).await.is_ok(), check(&connection, &also).await.is_ok()];
            assert_eq!(passes, [public, named], "{connection:?}");
        }
    }

    struct Place {
        is_changed_by_users: bool,
    }

    impl Backend for Place {
        fn name(&self) -> String {
            "a test".into()
        }

        fn is_changed_by_users(&self) -> bool {
            self.is_changed_by_users
        }

        fn connection(&self, _: &str) -> BoxFuture<BackendResult<Connection>> {
            Box::pin(ready(Ok(Some(connection("postgres", "10.1.2.3", &json!({}))))))
        }

        fn variable(&self, _: &str) -> BoxFuture<BackendResult<String>> {
            Box::pin(ready(Ok(None)))
        }
    }

    #[tokio::test]
    async fn connections_of_the_environment_may_lead_anywhere() {
        for is_changed_by_users in [true, false] {
            let place: Arc<dyn Backend> = Arc::new(Place { is_changed_by_users });
            let anywhere = Secrets { places: Arc::new([place]), ..Secrets::none() };
            assert!(anywhere.connection("lake").await.is_ok(), "tasks are not limited");
            let within = anywhere.within(Reach::default());
            assert_eq!(within.connection("lake").await.is_err(), is_changed_by_users);
        }
    }
}
