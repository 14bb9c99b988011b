//! Tests of alerts with hostile failures and hostile receivers.

use crate::hostile::text;
use crate::world::{World, body, element, wide};
use orch_sdk::task::TaskError;
use orch_store::connect;
use orch_store::hint::Hint;
use orch_test_support::Receiver;
use orch_workers::{MessengerConfig, SecretsConfig, send_alerts};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const MANY: u32 = 56;

/// Starts a server that sends a different invalid response each time, and returns its port.
async fn rude(running: &mut JoinSet<()>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    running.spawn(async move {
        for n in 0.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let mut asked = vec![0; 64 * 1024];
            drop(stream.read(&mut asked).await);
            let words = text(n / 6);
            let answer = match n % 6 {
                0 => format!("HTTP/1.1 400 {words}\r\ncontent-length: {}\r\n\r\n{words}", words.len()).into_bytes(),
                1 => format!("HTTP/1.1 500 no\r\nx-{words}: {words}\r\n\r\n").into_bytes(),
                2 => b"HTTP/1.1 400 \xff\xfe\0\r\n\r\n".to_vec(),
                3 => format!("HTTP/1.1 302 away\r\nlocation: {words}\r\n\r\n").into_bytes(),
                4 => [b"HTTP/1.1 503 no\r\ncontent-length: 10000000\r\n\r\n".to_vec(), vec![0; 10_000_000]].concat(),
                _ => words.into_bytes(),
            };
            drop(stream.write_all(&answer).await);
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_receivers_say_and_what_they_are_told_holds_up_no_alert() {
    let mut servers = JoinSet::new();
    let (rude, kind) = (rude(&mut servers).await, Receiver::http().await);
    let fails = body(|ctx| async move { Err(TaskError::fatal(text(element(&ctx)))) });
    let (mut dag, bodies) = wide("told", MANY, fails);
    let notifiers = json!([
        { "connection": "rude", "each": true, "subject": "\u{202E}{task_id}", "message": "\u{1}{reason}" },
        { "connection": "kind", "each": true },
        { "connection": "none" },
    ]);
    dag["tasks"][1]["callbacks"] = json!({ "on_failure": notifiers });
    let mut world = World::new(vec![(dag, bodies)]).await;
    let address =
        |port: u16| json!({ "conn_type": "webhook", "host": format!("http://127.0.0.1:{port}/") }).to_string();
    let environment = [("RUDE", rude), ("KIND", kind.port())];
    let environment = environment.map(|(name, port)| (format!("ORCH_CONN_{name}"), address(port))).into();
    let secrets = SecretsConfig { environment, ..SecretsConfig::default() };
    let config = MessengerConfig::new(world.database.url(), secrets);
    let cold = connect::cold(&world.database.url(), "orch scheduler", 4).unwrap();
    world.running.spawn(send_alerts(config, cold, world.hints.clone(), world.stop.clone()));
    let run = world.trigger("told").await;
    assert_eq!(world.end_of(&run).await, "failed");
    world.hints.give(Hint::Alert);
    let letters = kind.until("each element is told", |letters| letters.len() == MANY as usize).await;
    for letter in letters {
        let told: Value = serde_json::from_str(&letter.body).unwrap();
        assert!(!told["text"].as_str().unwrap().contains('\0'), "{told}");
    }
    let tried = "select count(*) from alert where tries > 0 and problem is not null and notifier ->> 'connection' =";
    while world.number(&format!("{tried} 'rude'")).await < i64::from(MANY) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Postgres can parse all stored data of the alerts.
    let read = "select count(facts::jsonb) + count(notifier::jsonb) from alert";
    assert_eq!(world.number(read).await, 2 * world.number("select count(*) from alert").await);
    world.end().await;
}
