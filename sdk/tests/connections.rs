//! Compares connections with Airflow: a table of URIs with the results of Airflow's own code (recorded by
//! `tests/oracle/connections.py`), and round trips of arbitrary connections.

use orch_sdk::task::Connection;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn oracle() -> Value {
    serde_json::from_str(include_str!("../../tests/oracle/connections.json")).expect("what was recorded is JSON")
}

fn parts(connection: &Connection) -> Value {
    json!({
        "conn_type": connection.conn_type,
        "host": connection.host,
        "login": connection.login,
        "password": connection.password,
        "schema": connection.schema,
        "port": connection.port,
        "extra": connection.extra,
    })
}

/// Airflow sometimes distinguishes an empty password from a missing one; neither changes how a login works.
fn without_empty(mut parts: Value) -> Value {
    if parts["password"] == "" {
        parts["password"] = Value::Null;
    }
    parts
}

#[test]
fn uris_are_read_as_airflow_reads_them() {
    let oracle = oracle();
    for case in oracle["read"].as_array().expect("a list") {
        let uri = case["uri"].as_str().expect("text");
        let read = Connection::from_uri("c", uri).unwrap_or_else(|error| panic!("{uri}: {error}"));
        assert_eq!(without_empty(parts(&read)), without_empty(case["parts"].clone()), "{uri}");
    }
}

#[test]
fn uris_are_written_as_airflow_writes_them() {
    let oracle = oracle();
    for case in oracle["write"].as_array().expect("a list") {
        let given = Connection::from_object("c", case["parts"].as_object().expect("an object")).expect("a connection");
        let (ours, theirs) = (given.to_uri(), case["uri"].as_str().expect("text"));
        // Python writes a space after the colons and commas of JSON.
        assert_eq!(ours.replace("%3A+", "%3A"), theirs.replace("%3A+", "%3A").replace("%2C+", "%2C"));
        let back = Connection::from_uri("c", &ours).expect("what we write we read");
        assert_eq!(without_empty(parts(&back)), without_empty(case["back"].clone()), "{ours}");
    }
}

#[test]
fn json_is_read_in_all_forms_that_airflow_writes() {
    let whole = json!({
        "conn_type": "google-cloud", "description": "d", "host": "h", "login": "l", "password": "p", "schema": "s",
        "port": "5432", "extra": "{\"a\": {\"b\": 1}}",
    });
    let read = Connection::parse("c", &whole.to_string()).expect("JSON");
    assert_eq!((read.conn_type.as_str(), read.port), ("google_cloud", Some(5432)));
    assert_eq!((read.description.as_deref(), &read.extra["a"]["b"]), (Some("d"), &json!(1)));
    for (text, extra) in [
        (r#"{"conn_type": "x", "extra": {"a": 1}}"#, json!({"a": 1})),
        (r#"{"conn_type": "x", "extra_dejson": {"a": 1}}"#, json!({"a": 1})),
        (r#"{"conn_type": "x", "extra": ""}"#, json!({})),
        (r#"{"conn_type": "x", "extra": null, "port": null, "password": null}"#, json!({})),
        (r#"{"uri": "x://h/?a=b"}"#, json!({"a": "b"})),
    ] {
        assert_eq!(Value::Object(Connection::parse("c", text).expect(text).extra), extra, "{text}");
    }
    for wrong in [
        r#"{"conn_type": "x", "colour": 1}"#,
        r#"{"conn_type": "x", "extra": "[]"}"#,
        r#"{"conn_type": "x", "extra": 1}"#,
        r#"{"conn_type": "x", "extra": {}, "extra_dejson": {}}"#,
        r#"{"conn_type": "x", "port": 70000}"#,
        r#"{"conn_type": "x", "conn_id": "other"}"#,
        r#"{"uri": "x://h", "host": "h"}"#,
        "[]",
        "{",
    ] {
        assert!(Connection::from_json("c", wrong).is_err(), "{wrong}");
    }
}

fn text() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("[a-zA-Z0-9 :/?#@%&=+.é☃\"\\\\{}\\[\\]_~-]{1,12}")
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z0-9 {}\"+%&=é]{0,8}".prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| prop::collection::vec(inner, 0..3).prop_map(Value::Array))
}

prop_compose! {
    fn connection()(
        conn_type in "[a-z][a-z0-9_]{0,8}",
        (host, login, password, schema) in (text(), text(), text(), text()),
        port in proptest::option::of(1..u16::MAX),
        extra in prop::collection::btree_map("[a-z_ +&=%]{1,6}", value(), 0..4),
    ) -> Connection {
        let extra: Map<String, Value> = extra.into_iter().filter(|(key, _)| key != "__extra__").collect();
        Connection { id: "c".into(), conn_type: Connection::normal_type(&conn_type), description: None, host, port, login, password, schema, extra }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(written in connection()) {
        let uri = written.to_uri();
        prop_assert_eq!(Connection::from_uri("c", &uri)?, written.clone(), "{}", uri);
        prop_assert_eq!(Connection::from_json("c", &written.to_json())?, written);
    }

    #[test]
    fn nothing_that_is_written_breaks_the_reader(text in "\\PC{0,40}") {
        Connection::parse("c", &text).ok();
        Connection::parse("c", &format!("x://{text}")).ok();
    }
}
