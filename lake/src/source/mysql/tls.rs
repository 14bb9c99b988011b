//! Reads TLS settings from the `extra` of a connection: `ssl_mode` with the values of MySQL's own clients, and `ssl`
//! with certificate files, as in Airflow.

use mysql_async::{ClientIdentity, SslOpts};
use orch_sdk::task::{Connection, TaskResult, fatal};
use serde_json::Value;
use std::path::PathBuf;

/// Returns the TLS options, or `None` for a session without TLS.
pub(super) fn options(connection: &Connection) -> TaskResult<Option<SslOpts>> {
    let id = &connection.id;
    let ssl = connection.extra_field("ssl").unwrap_or(&Value::Null);
    let file = |name: &str| ssl.get(name).and_then(Value::as_str).map(PathBuf::from);
    let mode = match (connection.extra_field("ssl_mode").and_then(Value::as_str), ssl) {
        (Some(mode), _) => mode.to_uppercase(),
        (None, Value::Null | Value::Bool(false)) => "DISABLED".into(),
        (None, _) => "VERIFY_IDENTITY".into(),
    };
    let mut options = SslOpts::default();
    options = match mode.as_str() {
        "DISABLED" => return Ok(None),
        "REQUIRED" => options.with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true),
        "VERIFY_IDENTITY" => options,
        // `VERIFY_CA` is not supported. The client library would recognize a host name mismatch by an error message
        // that its TLS library no longer uses.
        _ => {
            return Err(fatal(format!(
                "connection `{id}` has the ssl_mode `{mode}`, which is not known here\n\
                 hint: it is one of DISABLED, REQUIRED and VERIFY_IDENTITY; a certificate for another name than the \
                 host's is told by `name` in `ssl`"
            )));
        }
    };
    if let Some(ca) = file("ca") {
        options = options.with_root_certs(vec![ca.into()]).with_disable_built_in_roots(true);
    }
    if let Some(name) = ssl.get("name").and_then(Value::as_str) {
        options = options.with_danger_tls_hostname_override(Some(name.to_string()));
    }
    match (file("cert"), file("key")) {
        (None, None) => {}
        (Some(cert), Some(key)) => {
            options = options.with_client_identity(Some(ClientIdentity::new(cert.into(), key.into())));
        }
        _ => {
            return Err(fatal(format!("`ssl` of connection `{id}` has a `cert` or a `key`\nhint: it takes both")));
        }
    }
    Ok(Some(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls_flags(extra: &str) -> Result<Option<(bool, bool)>, String> {
        let extra = serde_json::from_str(extra).expect("an object");
        let connection = Connection { id: "db".into(), extra, ..Connection::default() };
        let options = options(&connection).map_err(|error| error.to_string())?;
        Ok(options.map(|options| (options.accept_invalid_certs(), options.disable_built_in_roots())))
    }

    /// Expected values: whether any certificate is accepted, and whether only the given root certificate is trusted.
    #[test]
    fn modes_are_those_of_mysql_and_files_those_of_airflow() {
        for (extra, expected) in [
            ("{}", None),
            (r#"{"ssl": false}"#, None),
            (r#"{"ssl": {"ca": "/ca.pem"}, "ssl_mode": "disabled"}"#, None),
            (r#"{"ssl": true}"#, Some((false, false))),
            (r#"{"ssl_mode": "required"}"#, Some((true, false))),
            (r#"{"ssl": {"ca": "/ca.pem"}}"#, Some((false, true))),
        ] {
            assert_eq!(tls_flags(extra).unwrap(), expected, "{extra}");
        }
        assert!(tls_flags(r#"{"ssl_mode": "VERIFY_CA"}"#).unwrap_err().contains("hint: it is one of DISABLED"));
        assert!(tls_flags(r#"{"ssl": {"cert": "/c.pem"}}"#).unwrap_err().contains("takes both"));
    }
}
