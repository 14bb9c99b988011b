//! HTTP requests to a scripted server.

use crate::support::{is_fatal, words};
use futures::TryStreamExt;
use orch_lake::bucket::{Bucket, Options};
use orch_lake::source::http::Http;
use orch_sdk::task::{Connection, Ctx, MemoryHost};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A server that answers one request per connection with the next scripted response, and stops listening after the
/// last one.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

async fn server(answers: Vec<String>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = format!("http://{}", listener.local_addr().expect("it is bound"));
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let (mut serving, heard) = (JoinSet::new(), asked.clone());
    serving.spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("somebody comes");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.expect("a request"));
            }
            heard.lock().expect("nobody panics").push(String::from_utf8_lossy(&request).to_lowercase());
            stream.write_all(answer.as_bytes()).await.expect("it listens");
        }
    });
    Server { address, asked, _serving: serving }
}

impl Server {
    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panics").clone()
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn http() -> Http {
    Http::new().expect("a client").pause(Duration::from_millis(1))
}

#[tokio::test]
async fn what_may_pass_is_asked_again() {
    let server = server(vec![
        answer("503 Unavailable", "", ""),
        answer("429 Too Many", "retry-after: 0\r\n", ""),
        String::new(),
        answer("200 OK", "", r#"{"n": 7}"#),
    ])
    .await;
    let host = MemoryHost::new();
    let said: Value = http().json(&host.ctx(), &format!("{}/x?key=hush", server.address)).await.expect("in the end");
    assert_eq!(said, json!({ "n": 7 }));
    assert_eq!(server.asked().len(), 4);
    let log = format!("{:?}", host.logs());
    assert!(log.contains("answers 503: asking again in") && !log.contains("hush"), "{log}");
}

#[tokio::test]
async fn what_cannot_pass_is_told_at_once_without_its_keys() {
    for (status, hint) in
        [("401 No", "look at login"), ("404 None", "is the address right?"), ("400 Bad", "answers 400")]
    {
        let server = server(vec![answer(status, "", "")]).await;
        let error = http().bytes(&Ctx::test(), &format!("{}/x?key=hush", server.address)).await.expect_err(status);
        let said = words(&error);
        assert!(said.contains(hint) && said.contains("/x` answers") && !said.contains("hush"), "{said}");
        assert!(is_fatal(error));
    }
    let server = server(vec![answer("200 OK", "", r#"{"n": "hush"}"#)]).await;
    let error = http().json::<Vec<u8>>(&Ctx::test(), &server.address).await.expect_err("it is no list");
    assert!(!words(&error).contains("hush"), "{}", words(&error));
}

#[tokio::test]
async fn what_may_not_be_there_is_told_from_what_fails() {
    let server = server(vec![
        answer("404 None", "", ""),
        answer("503 Unavailable", "", ""),
        answer("200 OK", "", "all"),
        answer("403 No", "", ""),
    ])
    .await;
    let (http, ctx) = (http(), Ctx::test());
    assert!(http.get_if_there(&ctx, &server.address).await.expect("an answer").is_none());
    let pieces = http.get_if_there(&ctx, &server.address).await.expect("an answer").expect("it is there");
    let pieces: Vec<bytes::Bytes> = pieces.try_collect().await.expect("all of it");
    assert_eq!(pieces.concat(), b"all");
    assert!(http.get_if_there(&ctx, &server.address).await.is_err());
}

#[tokio::test]
async fn a_server_that_stays_silent_is_given_up() {
    let server = server(vec![]).await;
    let address = server.address.clone();
    drop(server);
    let error =
        http().again(2).bytes(&Ctx::test(), &format!("{address}/x?key=hush")).await.expect_err("nobody is there");
    let said = words(&error);
    assert!(said.contains("does not answer, asked 3 times") && !said.contains("hush"), "{said}");
    assert!(!is_fatal(error), "another day it may be there");
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_where_it_stopped() {
    let whole = "0123456789".repeat(1_000);
    let cut = &answer("200 OK", "etag: \"v1\"\r\n", &whole)[..4_000];
    let at = cut.split_once("\r\n\r\n").expect("a body").1.len();
    let rest = |headers: &str| {
        answer("206 Partial", &format!("{headers}content-range: bytes {at}-9999/10000\r\n"), &whole[at..])
    };
    let server = server(vec![cut.into(), rest("")]).await;
    let folder = TempDir::new().expect("a folder");
    let bucket = Bucket::open(&format!("file://{}", folder.path().display()), &Options::default()).expect("a folder");
    let ctx = Ctx::test();
    let bytes = http().download(&ctx, &format!("{}/x", server.address), &bucket, "x").await.expect("in two parts");
    assert_eq!(bytes, 10_000);
    assert_eq!(bucket.get("x").await.expect("it is there"), whole);
    let second = &server.asked()[1];
    assert!(second.contains(&format!("range: bytes={at}-")) && second.contains("if-range: \"v1\""), "{second}");
}

#[tokio::test]
async fn a_download_does_not_go_on_in_something_else() {
    let whole = "0123456789".repeat(1_000);
    let cut = answer("200 OK", "etag: \"v1\"\r\n", &whole)[..4_000].to_string();
    let weak = cut.replace("\"v1\"", "W/\"v1\"");
    for answers in [vec![cut, answer("200 OK", "etag: \"v2\"\r\n", &whole)], vec![weak]] {
        let server = server(answers).await;
        let folder = TempDir::new().expect("a folder");
        let bucket =
            Bucket::open(&format!("file://{}", folder.path().display()), &Options::default()).expect("a folder");
        let error = http().download(&Ctx::test(), &server.address, &bucket, "x").await.expect_err("it has changed");
        assert!(words(&error).contains("broke off after"), "{}", words(&error));
        assert_eq!(bucket.list_all("").await.expect("the folder answers"), [], "no half of it is left");
    }
}

#[tokio::test]
async fn requests_keep_to_a_pace() {
    let server = server((0..4).map(|_| answer("200 OK", "", "x")).collect()).await;
    let http = http().pace(20, Duration::from_secs(1));
    let begun = Instant::now();
    let asking = (0..4).map(|_| {
        let (http, address) = (http.clone(), server.address.clone());
        async move { http.bytes(&Ctx::test(), &address).await }
    });
    assert!(futures::future::join_all(asking).await.into_iter().all(|answer| answer.is_ok()));
    assert!(begun.elapsed() >= Duration::from_millis(150), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_connection_gives_account_and_headers() {
    let server = server(vec![answer("200 OK", "", "x"), answer("302 Found", "location: /y\r\n", "")]).await;
    let uri = format!("{}?X-Team=data", server.address.replace("http://", "http://me:open@"));
    let http = Http::of(&Connection::from_uri("api", &uri).expect("a URI")).expect("a client");
    let pieces = http.get(&Ctx::test(), "/v1/x").await.expect("an answer");
    assert_eq!(pieces.try_collect::<Vec<_>>().await.expect("a body"), ["x"]);
    let asked = &server.asked()[0];
    for part in ["get /v1/x ", "authorization: basic bwu6b3blbg==", "x-team: data"] {
        assert!(asked.contains(part), "{asked}");
    }
    let error = http.get(&Ctx::test(), "/v1/x").await.err().expect("no redirect is followed with secrets");
    assert!(words(&error).contains("follows no redirect"), "{}", words(&error));
}
