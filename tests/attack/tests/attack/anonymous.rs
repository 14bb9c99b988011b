//! Unauthenticated clients that slowly send large bodies and heads to every path that needs no login.

use crate::client::send;
use crate::installation::Installation;
use orch_web::{Access, rules};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const CONNECTIONS: usize = 32;
/// Bytes that each connection tries to send.
const BYTES: usize = 64 << 20;
const PIECE_BYTES: usize = 64 << 10;
/// Time without progress after which the server counts as not reading. The connection stays open for the same time.
const STALL: Duration = Duration::from_millis(200);
/// Maximum rise of the memory of a server.
const MAX_RISE_MB: u64 = 64;

/// The part of a request after its first line and the header `host`.
#[derive(Debug, Clone, Copy)]
enum Payload {
    /// A body with a `content-length`.
    Body,
    /// A chunked body.
    Chunks,
    /// An endless head.
    Head,
}

impl Payload {
    fn head(self) -> String {
        match self {
            Payload::Body => format!("content-type: application/json\r\ncontent-length: {BYTES}\r\n\r\n"),
            Payload::Chunks => "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n".into(),
            Payload::Head => String::new(),
        }
    }

    fn piece(self) -> Vec<u8> {
        let filler = |bytes: usize| vec![b'7'; bytes];
        match self {
            Payload::Body => filler(PIECE_BYTES),
            Payload::Chunks => [format!("{PIECE_BYTES:x}\r\n").as_bytes(), &filler(PIECE_BYTES), b"\r\n"].concat(),
            Payload::Head => [&b"x-filler: "[..], &filler(1_000), b"\r\n"].concat(),
        }
    }
}

/// Sends as much as the server reads, then holds the connection open.
async fn push(address: SocketAddr, first_line: String, payload: Payload) {
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    let head = format!("{first_line}\r\nhost: localhost\r\n{}", payload.head());
    let piece = payload.piece();
    let write = async {
        stream.write_all(head.as_bytes()).await?;
        for _ in 0..BYTES / piece.len() {
            match tokio::time::timeout(STALL, stream.write_all(&piece)).await {
                Ok(written) => written?,
                Err(_) => break,
            }
        }
        std::io::Result::Ok(())
    };
    if write.await.is_ok() {
        tokio::time::sleep(STALL).await;
    }
}

/// Returns the method and path of each route that needs no login.
fn open_paths() -> BTreeSet<(String, String)> {
    let open = rules().into_iter().filter(|rule| rule.access == Access::Open);
    let paths = open.flat_map(|rule| {
        let paths = match rule.path {
            "/catalog/{*path}" => {
                vec!["/catalog/v1/config", "/catalog/v1/namespaces", "/catalog/v1/transactions/commit"]
            }
            "/serving/{*path}" => vec!["/serving/health", "/serving/api/v1/trips"],
            "/static/{hash}/{name}" => vec!["/static/hash/name"],
            path => vec![path],
        };
        let method = rule.method.to_string();
        paths.into_iter().map(move |path| (method.clone(), path.to_owned()))
    });
    paths.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymous_callers_cost_little_memory_on_every_open_path() {
    let mut installation = Installation::start().await;
    let (address, processes) = (installation.address, installation.processes());
    let paths = open_paths();
    assert!(paths.len() > 15 && paths.iter().all(|(_, path)| !path.contains('{')), "{paths:?}");
    // Warm-up: the first request to a path loads and caches what later requests use.
    for (method, path) in &paths {
        send(address, format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
    }
    let before = processes.resident_mb();
    for (method, path) in &paths {
        let mut connections = JoinSet::new();
        for payload in [Payload::Body, Payload::Chunks, Payload::Head] {
            for _ in 0..CONNECTIONS {
                connections.spawn(push(address, format!("{method} {path} HTTP/1.1"), payload));
            }
        }
        let (_, peak) = processes.peak_during(connections.join_all()).await;
        eprintln!("{method} {path}: {before} MB, peak {peak} MB");
        assert!(peak <= before + MAX_RISE_MB, "{method} {path}: {before} MB rose to {peak} MB");
    }
    let health = send(address, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert_eq!(health.unwrap().status, 200);
    installation.assert_alive();
}
