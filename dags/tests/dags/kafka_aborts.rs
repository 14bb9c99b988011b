//! A broker whose responses make librdkafka abort the worker.

use crate::world::World;
use nix::sys::signal::Signal;
use sqlx::PgConnection;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;

/// Starts a broker that answers `ApiVersions` with a null list, for which librdkafka 2.12.1 allocates a negative number
/// of bytes.
fn start_malformed_broker() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // The connection of an aborted client may close at any time.
            if respond(&mut stream).is_ok() {
                open.push(stream);
            }
        }
    });
    address
}

fn respond(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let mut request = vec![0; usize::try_from(i32::from_be_bytes(size)).unwrap()];
    stream.read_exact(&mut request)?;
    let correlation_id = &request[4..8];
    let no_error = [0, 0];
    let null_list = [0];
    stream.write_all(&[&[0, 0, 0, 7][..], correlation_id, &no_error, &null_list].concat())
}

/// Returns the error of a stream, and whether it waits for a manual restart.
async fn failure(db: &mut PgConnection, stream: &str) -> (String, bool) {
    sqlx::query_as("select coalesce(error, ''), coalesce(retry_at = 'infinity', false) from stream where name = $1")
        .bind(stream)
        .fetch_one(db)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_aborts_the_client_stops_only_the_streams_of_its_connection() {
    let broker = start_malformed_broker();
    let mut world = World::new().await;
    world.set("ORCH_CONN_MALFORMED", format!("kafka://{broker}"));
    let folder = world.path().join("streams");
    std::fs::create_dir(&folder).unwrap();
    let file = |name: &str, head: &str| {
        let text = format!("{head}\ntopic: {name}\nfields: {{id: integer}}\ntable: test.{name}\ncommit_every: 20ms\n");
        std::fs::write(folder.join(format!("{name}.stream.yaml")), text).unwrap();
    };
    file("events", "connection: malformed\non_failure: [team_chat]");
    file("orders", "connection: malformed");
    file("healthy", "description: of the built-in log");
    world.set("ORCH_STREAMS_FOLDER", folder.display().to_string());
    world.run(&["topics", "create", "healthy"]).done();

    let mut db = world.db().await;
    let abort = "the Kafka client aborted the worker while it was connected to `malformed`";
    for is_last in [false, true] {
        let worker = world.start_worker();
        let status = world.wait_for_end(worker);
        assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "{status}: {}", world.said());
        // The worker aborts when the first of the two streams connects. It may not have leased the other one yet.
        let failures = [failure(&mut db, "events").await, failure(&mut db, "orders").await];
        assert!(failures.iter().all(|(_, waits)| *waits == is_last), "{failures:?}: {}", world.said());
        let is_named = failures.iter().any(|(error, _)| error.starts_with(abort));
        assert!(is_last || is_named, "{failures:?}: {}", world.said());
    }
    for stream in ["events", "orders"] {
        let (error, waits) = failure(&mut db, stream).await;
        assert!(waits, "{stream}: {error}");
        let stopped = "the Kafka client aborted the worker 2 times in 24 hours while it was connected to `malformed`";
        assert!(error.starts_with(stopped), "{stream}: {error}");
        assert!(error.contains(&format!("orch streams restart {stream}")), "{stream}: {error}");
    }
    let alerts = "select kind from alert where notifier->>'connection' = 'team_chat'";
    let alerts: Vec<String> = sqlx::query_scalar(alerts).fetch_all(&mut db).await.unwrap();
    assert_eq!(alerts, ["stream_stopped"]);

    world.start_worker();
    world.produce("healthy", &[], &[r#"{"id": 1}"#, r#"{"id": 2}"#]);
    assert_eq!(world.streamed("healthy", 2).await, 0);
}
