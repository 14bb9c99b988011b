//! The server with a network: keep-alive connections, slow clients, and connections that must be closed.

use crate::fixture::Web;
use orch_store::hint::Hints;
use orch_web::{WebConfig, WebResult, serve};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(crate) const SOON: Duration = Duration::from_secs(5);

pub(crate) struct TestServer {
    at: SocketAddr,
    stop: CancellationToken,
    server: JoinSet<WebResult<()>>,
}

impl TestServer {
    async fn new(web: &Web) -> TestServer {
        TestServer::with(web, |config| config).await
    }

    pub(crate) async fn with(web: &Web, change: impl FnOnce(WebConfig) -> WebConfig) -> TestServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (at, stop) = (listener.local_addr().expect("it is bound"), CancellationToken::new());
        let config = WebConfig { grace: Duration::from_millis(300), ..WebConfig::new(web.database.url()) };
        let config = change(config);
        let mut server = JoinSet::new();
        server.spawn(serve(config, Hints::new(), listener, stop.clone()));
        TestServer { at, stop, server }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.at).await.expect("it listens")
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        let ended = timeout(SOON, self.server.join_next()).await.expect("it ends soon");
        ended.expect("it ran").expect("it did not panic").expect("it ended well");
    }
}

pub(crate) async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> String {
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = vec![0; 64 * 1024];
    let bytes = timeout(SOON, stream.read(&mut answer)).await.expect("it answers").expect("it can be read");
    String::from_utf8_lossy(&answer[..bytes]).into_owned()
}

pub(crate) const HEALTHZ: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";

#[tokio::test]
async fn a_connection_stays_for_the_next_request() {
    let web = Web::new().await;
    let running = TestServer::new(&web).await;
    let mut stream = running.connect().await;
    for _ in 0..3 {
        assert!(ask(&mut stream, HEALTHZ).await.starts_with("HTTP/1.1 200"));
    }
    running.stop().await;
}

#[tokio::test]
async fn a_trigger_over_the_network_works_with_a_token() {
    let web = Web::new().await;
    let running = TestServer::new(&web).await;
    let mut stream = running.connect().await;
    let body = r#"{"logical_date": null}"#;
    let request = format!(
        "POST /api/v2/dags/chain/dagRuns HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nauthorization: Bearer {}\r\n\
        content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        running.at.port(),
        web.token,
        body.len()
    );
    let answer = ask(&mut stream, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("manual__"), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let web = Web::new().await;
    let running = TestServer::new(&web).await;
    let mut stream = running.connect().await;
    let long = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    assert!(ask(&mut stream, &long).await.starts_with("HTTP/1.1 431"));
    let mut stream = running.connect().await;
    assert!(ask(&mut stream, "\0\0\0 nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    running.stop().await;
}

#[tokio::test]
async fn a_request_for_two_hosts_is_refused() {
    let web = Web::new().await;
    let running = TestServer::new(&web).await;
    let mut stream = running.connect().await;
    let two = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n";
    assert!(ask(&mut stream, two).await.starts_with("HTTP/1.1 400"));
    running.stop().await;
}

#[tokio::test]
async fn stopping_cuts_connections_that_do_not_end() {
    let web = Web::new().await;
    let running = TestServer::new(&web).await;
    let (mut idle, mut dawdling) = (running.connect().await, running.connect().await);
    assert!(ask(&mut idle, HEALTHZ).await.starts_with("HTTP/1.1 200"));
    let head =
        "POST /auth/token HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{";
    dawdling.write_all(head.as_bytes()).await.expect("it reads");
    running.stop().await;
    let mut rest = Vec::new();
    let ended = timeout(SOON, idle.read_to_end(&mut rest)).await.expect("it was closed");
    assert!(matches!(ended, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_server_shows_itself_while_it_lives() {
    let web = Web::new().await;
    let running = TestServer::new(&web).await;
    let mut db = web.db().await;
    let count = "select count(*) from process where role = 'web'";
    let shown = async {
        while sqlx::query_scalar::<_, i64>(count).fetch_one(&mut db).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, shown).await.expect("it shows itself");
    running.stop().await;
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&mut db).await.unwrap(), 0);
}
