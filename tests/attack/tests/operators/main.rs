//! Attacks by operators and unauthenticated clients over real HTTP. The server runs in the process of this test, which
//! is the only one, so the process has the memory of the server. To add an attack, add a row to `table`. Attacks by
//! lake queries are in `dags/tests/dags/queries.rs`.

use orch_sdk::task::Connection;
use orch_store::connection::{columns, open};
use orch_store::hint::Hints;
use orch_store::kept::{CONNECTION, get, insert};
use orch_store::seal::Keyring;
use orch_store::user::{NewUser, add_user};
use orch_store::{MIGRATOR, connect};
use orch_test_support::TestDb;
use orch_test_support::attack::{Attack, RequestBody, Target, ask, status_of};
use orch_web::{Password, WebConfig, ensure_admin, hash_password, serve};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const PASSWORD: &str = "canary-5f1c2e";
const SECRET: &str = "planted-7d02aa";
const REFUSED: &[u16] = &[400, 403, 404, 413, 422];

fn form(name: &'static str, path: &str, format: &str, text: String) -> Attack {
    let body = RequestBody::Form(vec![("text", text), ("format", format.into()), ("overwrite", "on".into())]);
    Attack { name, method: "POST", path: path.into(), body, may_answer: REFUSED }
}

fn api(name: &'static str, method: &'static str, path: &str, body: &impl ToString) -> Attack {
    Attack { name, method, path: path.into(), body: RequestBody::Json(body.to_string()), may_answer: REFUSED }
}

fn table() -> Vec<Attack> {
    let doubled: Vec<_> = (1..40).map(|n| format!("a{n}: &a{n} [*a{m}, *a{m}]\n", m = n - 1)).collect();
    let doubled = format!("a0: &a0 x\n{}", doubled.concat());
    let repeated = format!("a: &a {}\nb: [{}]\n", "x".repeat(300_000), vec!["*a"; 50_000].join(","));
    let anchors = (0..60).map(|n| format!("&a{n} [")).collect::<Vec<_>>().concat();
    let nested_anchors = format!("{anchors}{}{}", "0,".repeat(90_000), "]".repeat(60));
    let mut all = Vec::new();
    for path in ["/variables/import", "/connections/import"] {
        all.extend([
            form("YAML whose aliases double", path, "yaml", doubled.clone()),
            form("YAML whose aliases repeat a long text", path, "yaml", repeated.clone()),
            form("YAML with anchors in anchors", path, "yaml", nested_anchors.clone()),
            form("YAML that is deep", path, "yaml", format!("a: {}", "[".repeat(10_000))),
            form("YAML that is deep in blocks", path, "yaml", "- ".repeat(100_000)),
            form("YAML with keys in keys", path, "yaml", "? ".repeat(100_000)),
            form("JSON that is deep", path, "json", format!("{{\"a\": {}", "[".repeat(300_000))),
        ]);
    }
    let deep = format!("{{\"key\": \"a\", \"value\": {}", "[".repeat(200_000));
    let many: Vec<_> = (0..20_000).map(|n| json!({ "key": format!("k{n}"), "value": "v" })).collect();
    let elsewhere =
        json!({ "connection_id": "canary", "conn_type": "postgres", "host": "evil.example", "password": "***" });
    let program = json!({ "connection_id": "program", "conn_type": "command", "host": "/bin/sh",
        "extra": json!({ "argv": ["/bin/sh", "-c", "kill -9 $PPID"] }).to_string() });
    all.extend([
        api("JSON that is deep, by the API", "POST", "/api/v2/variables", &deep),
        api(
            "too many at once",
            "PATCH",
            "/api/v2/variables",
            &json!({ "actions": [{ "action": "create", "entities": many }] }),
        ),
        Attack {
            may_answer: &[200],
            ..api("a secret is to follow another host", "PATCH", "/api/v2/connections/canary", &elsewhere)
        },
        Attack { may_answer: &[201], ..api("a program in a connection", "POST", "/api/v2/connections", &program) },
        api("a test of that program", "POST", "/api/orch/v1/alerts/test", &json!({ "connection_id": "program" })),
        api(
            "a test of a connection",
            "POST",
            "/api/v2/connections/test",
            &json!({ "connection_id": "near", "conn_type": "http", "host": "169.254.169.254" }),
        ),
        Attack {
            name: "a query that is too long",
            method: "GET",
            path: format!("/api/v2/variables?variable_key_pattern={}", "%25".repeat(3_000)),
            body: RequestBody::Nothing,
            may_answer: &[414],
        },
    ]);
    all
}

struct AttackedServer {
    address: SocketAddr,
    stop: CancellationToken,
    server: JoinSet<()>,
    db: TestDb,
    keys: Keyring,
}

impl AttackedServer {
    async fn new(change: impl FnOnce(&mut WebConfig)) -> AttackedServer {
        let db = TestDb::new(&MIGRATOR).await;
        let mut own = db.connect().await;
        ensure_admin(&mut own, Some(&Password::new(PASSWORD))).await.expect("there is an admin");
        let password_hash = hash_password(Password::new(PASSWORD)).await.expect("it hashes");
        let op = NewUser { name: "op", password_hash: &password_hash, role: "op", ..NewUser::default() };
        assert_eq!(add_user(&mut own, &op).await.expect("it can be written"), None);
        let keys = Keyring::parse(&Keyring::generate()).expect("it was made just now");
        let canary = format!("postgres://me:{SECRET}@db:5432/sales?token={SECRET}");
        let canary = Connection::from_uri("canary", &canary).expect("a URI");
        let added = insert(&mut own, &CONNECTION, "canary", &columns(&canary), &keys).await;
        assert!(added.expect("it can be sealed"));
        let listener = TcpListener::bind("0.0.0.0:0").await.expect("a free port");
        let address = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().expect("it is bound").port()));
        let mut config = WebConfig { keys: keys.clone(), ..WebConfig::new(db.url()) };
        change(&mut config);
        let (stop, mut server) = (CancellationToken::new(), JoinSet::new());
        let stopped = stop.clone();
        server.spawn(async move { serve(config, Hints::new(), listener, stopped).await.expect("it ends well") });
        AttackedServer { address, stop, server, db, keys }
    }

    async fn post(&self, path: &str, kind: &str, body: &str) -> String {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        ask(self.address, request.as_bytes()).await
    }

    /// Returns the server with a token and a session of the operator.
    async fn target(&self) -> Target {
        let login = json!({ "username": "op", "password": PASSWORD }).to_string();
        let answer = self.post("/auth/token", "application/json", &login).await;
        let token = between(&answer, "\"access_token\":\"", "\"");
        let form = format!("username=op&password={PASSWORD}");
        let answer = self.post("/login", "application/x-www-form-urlencoded", &form).await;
        let cookie = format!("orch={}", between(&answer, "set-cookie: orch=", ";"));
        let page = format!(
            "GET /variables/import HTTP/1.1\r\nhost: localhost\r\ncookie: {cookie}\r\nconnection: close\r\n\r\n"
        );
        let page = ask(self.address, page.as_bytes()).await;
        let form_token = between(&page, "name=\"form_token\" value=\"", "\"");
        let (address, secrets) = (self.address, vec![SECRET.to_string()]);
        Target { address, pid: std::process::id(), token, cookie, form_token, secrets }
    }

    async fn end(mut self) {
        self.stop.cancel();
        self.server.join_next().await.expect("it ran").expect("it did not panic");
    }
}

fn between(text: &str, begin: &str, end: &str) -> String {
    let rest = text.split(begin).nth(1).unwrap_or_else(|| panic!("no `{begin}` in {text}"));
    rest.split(end).next().unwrap_or_default().to_string()
}

#[test]
fn a_server_withstands_operators_and_strangers() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("it starts");
    // Sequential, because the memory of the process is measured.
    runtime.block_on(async {
        operators().await;
        strangers_who_log_in().await;
        strangers_who_never_read().await;
    });
}

async fn operators() {
    let running = AttackedServer::new(|_| {}).await;
    running.target().await.withstands(&table()).await;
    let mut db = connect::one(&running.db.url(), "test").await.expect("the server is there");
    let row = get(&mut db, &CONNECTION, "canary").await.expect("it can be read").expect("it is there");
    let canary = open(&row, &running.keys).expect("there is a key");
    assert!(canary.secrets().is_empty(), "the password followed to `{:?}`", canary.host);
    running.end().await;
}

/// Hundreds of concurrent logins: few passwords are compared at a time, some requests wait, and the rest get an error
/// that asks to retry.
async fn strangers_who_log_in() {
    let running = AttackedServer::new(|config| config.rate_limit = 0).await;
    let mut asked = JoinSet::new();
    for n in 0..300 {
        let body = json!({ "username": format!("nobody{n}"), "password": "wrong" }).to_string();
        let address = running.address;
        asked.spawn(async move {
            let head = "POST /auth/token HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n";
            ask(address, format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await
        });
    }
    let answers = asked.join_all().await;
    let later: Vec<_> = answers.iter().filter(|answer| status_of(answer) == Some(503)).collect();
    assert!(later.iter().all(|answer| answer.contains("retry-after: ")), "{later:?}");
    let others = answers.iter().filter(|answer| matches!(status_of(answer), Some(401 | 503))).count();
    assert_eq!((later.is_empty(), others), (false, answers.len()));
    running.end().await;
}

/// Two addresses open the maximum number of connections and never read the responses. A third address must still be
/// served.
async fn strangers_who_never_read() {
    let running = AttackedServer::new(|_| {}).await;
    let mut held = Vec::new();
    for from in [2, 3] {
        for _ in 0..600 {
            let Ok(mut stream) = connected(from, running.address).await else { break };
            let request = "GET /login HTTP/1.1\r\nhost: localhost\r\n\r\n";
            if stream.write_all(request.as_bytes()).await.is_err() {
                break;
            }
            held.push(stream);
        }
    }
    let asked = async {
        let mut stream = connected(4, running.address).await.expect("it listens");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("it is read");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("it is answered");
        assert_eq!(&answer, b"HTTP/1.1 200");
    };
    tokio::time::timeout(Duration::from_secs(20), asked).await.expect("others are served");
    drop(held);
    running.end().await;
}

/// Connects from the loopback address `127.0.0.LAST`.
async fn connected(last: u8, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0)))?;
    socket.connect(to).await
}
