//! Test alerts and connection tests, over the API and with a database.

use super::World;
use crate::binary::{CommandOutput, command};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// Starts a server that accepts `answers` requests.
pub(crate) fn receiver(answers: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for _ in 0..answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = Vec::new();
            // The body is JSON in one line, so its last character ends the request.
            while !text.ends_with(b"}") {
                let mut some = [0; 4096];
                let read = stream.read(&mut some).unwrap();
                text.extend_from_slice(&some[..read]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").unwrap();
        }
    });
    port
}

#[test]
fn alerts_are_tried_listed_and_sent_again() {
    let world = World::with_settings("test_connection = true\ntest_networks = [\"127.0.0.1\"]\n");
    assert_eq!(world.both(&["alerts", "list"]).err, "no alerts\n");
    let hook = format!(r#"{{"conn_type": "webhook", "host": "http://127.0.0.1:{}"}}"#, receiver(2));
    world.remote(&["connections", "add", "hook", "--conn-json", &hook]).done();
    for told in [
        world.remote(&["alerts", "test", "hook", "-o", "json"]),
        world.local(&["alerts", "test", "hook", "-o", "json"]),
    ] {
        assert_eq!(told.err, "it was taken\n", "{told:?}");
        assert_eq!(told.json()[0]["state"], "sent");
    }
    let failed = world.remote(&["alerts", "test", "nobody"]).failed();
    assert!(failed.err.contains("not delivered over connection `nobody`: there is no connection"), "{failed:?}");
    let listed = world.both(&["alerts", "list", "--state", "sent", "--kind", "test", "-o", "json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let id = |row: &serde_json::Value| row["id"].to_string();
    assert!(world.both(&["alerts", "retry", &id(&listed[0])]).refused().contains("was sent already"));
    world.both(&["alerts", "retry", "0"]).refused();
    let waiting = world.local(&["alerts", "list", "--state", "waiting", "-o", "json"]).json();
    assert_eq!(world.remote(&["alerts", "retry", &id(&waiting[0]), "-o", "json"]).json()[0]["kind"], "test");
    world.both(&["alerts", "test", "hook", "--message", "{password}"]).refused();
}

#[test]
fn what_a_dag_says_is_seen_as_an_alert() {
    let world = World::new();
    world.remote(&["dags", "trigger", "example_alerts", "--wait"]).done();
    let began = Instant::now();
    let listed = loop {
        let listed = world.local(&["alerts", "list", "--dag-id", "example_alerts", "-o", "json"]).json();
        if listed[0]["problem"].is_string() {
            break listed;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{listed}");
    };
    assert_eq!((&listed[0]["kind"], &listed[0]["reason"]), (&"task_retry".into(), &"the shop is busy".into()));
    assert_eq!(listed.as_array().unwrap().len(), 1, "the run succeeded in time");
}

#[test]
fn connections_are_tried_only_where_somebody_allows_it() {
    let world = World::new();
    let open = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = |port: u16| format!("mysql://me:hush@127.0.0.1:{port}/shop");
    world.remote(&["connections", "add", "shop", "--conn-uri", &uri(open.local_addr().unwrap().port())]).done();
    world.remote(&["connections", "add", "gone", "--conn-uri", &uri(1)]).done();
    let test = |id: &str, allowed: &str| {
        let mut command = command(world.home.path());
        command.env("ORCH_TEST_CONNECTION", allowed).env("ORCH_TEST_NETWORKS", "127.0.0.0/8");
        CommandOutput::of(&command.args(["connections", "test", id]).output().unwrap())
    };
    let alert = ["alerts", "test", "shop"];
    assert!(world.both(&alert).refused().contains("testing alerts is switched off"));
    assert!(test("shop", "false").refused().contains("testing connections is switched off"));
    assert!(world.remote(&["connections", "test", "shop"]).refused().contains("Testing connections is disabled"));
    let tried = test("shop", "true");
    assert_eq!(tried.code, 0, "{tried:?}");
    assert!(tried.err.contains("Connection successfully tested") && !tried.err.contains("hush"), "{tried:?}");
    let gone = test("gone", "true").failed();
    let failed = "the test of connection `gone` failed: 127.0.0.1:1 cannot be reached";
    assert!(gone.err.contains(failed) && !gone.err.contains("hush"), "{gone:?}");
    assert!(test("nothing", "true").refused().contains("there is no connection `nothing`"));
}
