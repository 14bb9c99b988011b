//! A query may crash its own process, but nothing else of the server.

use crate::standalone::{PASSWORD, Standalone};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_test_support::attack::{Attack, RequestBody, Target, ask, query_processes, status_of};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Computes for minutes without reading anything.
const ENDLESS: &str = "select count(*) from generate_series(1, 3000000) a, generate_series(1, 3000000) b \
                       where a.value * b.value % 7 = 3";
const PATH: &str = "/api/orch/v1/sql";
const PATIENCE: Duration = Duration::from_secs(30);

struct Server {
    standalone: Standalone,
    address: SocketAddr,
    token: String,
}

impl Server {
    async fn start() -> Server {
        let standalone = Standalone::start();
        let address = standalone.url.strip_prefix("http://").unwrap().parse().unwrap();
        let login = json!({ "username": "admin", "password": PASSWORD }).to_string();
        let request = format!(
            "POST /auth/token HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{login}",
            login.len()
        );
        let answer = ask(address, request.as_bytes()).await;
        let token = body(&answer)["access_token"].as_str().unwrap().to_owned();
        Server { standalone, address, token }
    }

    fn target(&self) -> Target {
        let (pid, token) = (self.standalone.pid(), self.token.clone());
        let secrets = vec![PASSWORD.into()];
        Target { address: self.address, pid, token, cookie: String::new(), form_token: String::new(), secrets }
    }

    fn asking(&self, sql: &str, seconds: u32) -> impl Future<Output = (u16, Value)> + use<> {
        let asked = json!({ "sql": sql, "timeout_seconds": seconds }).to_string();
        let (address, request) = (
            self.address,
            format!(
                "POST {PATH} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n{asked}",
                self.token,
                asked.len()
            ),
        );
        async move {
            let answer = ask(address, request.as_bytes()).await;
            (status_of(&answer).unwrap(), body(&answer))
        }
    }

    /// Waits until `count` queries run according to their history.
    async fn running(&self, count: usize) {
        let request = format!(
            "GET {PATH} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n",
            self.token
        );
        let began = Instant::now();
        loop {
            let listed = body(&ask(self.address, request.as_bytes()).await);
            let states = listed["queries"].as_array().unwrap().iter().map(|query| query["state"].as_str().unwrap());
            if states.filter(|state| *state == "running").count() == count {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{listed}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn processes(&self, count: usize) -> Vec<u32> {
        let began = Instant::now();
        loop {
            let found = query_processes(self.standalone.pid());
            if found.len() == count {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "{found:?} are not {count}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn body(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap_or(Value::Null)
}

fn attack(name: &'static str, sql: impl Into<String>) -> Attack {
    let body = RequestBody::Json(json!({ "sql": sql.into(), "timeout_seconds": 5 }).to_string());
    Attack { name, method: "POST", path: PATH.into(), body, may_answer: &[200, 400, 413] }
}

#[tokio::test]
async fn a_server_withstands_queries_that_take_all_they_can_get() {
    let server = Server::start().await;
    let doubled =
        (0..16).fold("select 1 as x".to_owned(), |inner, _| format!("select x + x as x from ({inner}) q where x > 0"));
    let target = server.target();
    target
        .withstands(&[
            attack("text of 1 GB", "select lpad('a', 1000000000, 'b') as a, lpad('a', 1000000000, 'b') as b"),
            attack("1 MB in each of a million rows", "select repeat('a', 1000000) from generate_series(1, 1000000)"),
            attack(
                "long texts joined",
                "select repeat('a', value) || repeat('b', value) from generate_series(1, 1000000)",
            ),
            attack("a list of all", "select array_agg(value) from generate_series(1, 100000000)"),
            attack("a text of all", "select string_agg(repeat('x', 1000), ',') from generate_series(1, 10000000)"),
            attack(
                "a text of all in each row of a join",
                "select a.s from (select string_agg(repeat('x', 1000), ',') as s from generate_series(1, 100000)) a, \
                 generate_series(1, 100000)",
            ),
            attack(
                "a window of all",
                "select string_agg(repeat('x', 100000), ',') over () from generate_series(1, 1000)",
            ),
            attack("a sort of all", "select value from generate_series(1, 100000000) order by -value"),
            attack(
                "a program of a pattern",
                "select regexp_like('a', value || 'a{1000}{1000}') from generate_series(1, 10)",
            ),
            attack(
                "a text that doubles",
                "with recursive x as (select 'aaaa' as a union all select a || a from x) select a from x",
            ),
            attack("an endless join", ENDLESS),
            attack("columns that double", doubled),
            attack("a deep query", format!("select {}1{}", "(".repeat(20_000), ")".repeat(20_000))),
            attack("a long chain", format!("select 1{}", "+1".repeat(20_000))),
            attack("a number that does not fit", "select 9223372036854775807 + value from generate_series(1, 2)"),
        ])
        .await;
    let (status, answer) = server.asking("select 1 as one", 5).await;
    assert_eq!((status, &answer["rows"]), (200, &json!([[1]])), "{answer}");
}

#[tokio::test]
async fn what_is_killed_comes_back_and_only_its_query_is_lost() {
    let server = Server::start().await;
    let mut running = JoinSet::new();
    for _ in 0..2 {
        running.spawn(server.asking(ENDLESS, 60));
    }
    let processes = server.processes(2).await;
    let (status, answer) = server.asking("select 1", 5).await;
    assert!(status == 429 && answer.to_string().contains("run it again in a moment"), "{status} {answer}");
    // Pages of the lake do not wait for queries.
    let listed = server.standalone.run(&["sql", "select 1"]);
    assert_eq!(listed.code, 0, "{listed:?}");
    for pid in processes {
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
    }
    for (status, answer) in running.join_all().await {
        assert!(status == 413 && answer.to_string().contains("was ended"), "{status} {answer}");
    }
    let (status, answer) = server.asking("select 1 as one", 5).await;
    assert_eq!((status, &answer["rows"]), (200, &json!([[1]])), "{answer}");
    // When the client of a query disconnects, only an idle query process remains.
    let mut left = JoinSet::new();
    left.spawn(server.asking(ENDLESS, 60));
    server.running(1).await;
    left.shutdown().await;
    server.running(0).await;
    server.processes(0).await;
}

#[tokio::test]
async fn a_process_that_has_grown_is_replaced_and_nobody_notices() {
    let server = Server::start().await;
    for round in 0..10 {
        let large = "select count(distinct value) from generate_series(1, 700000)";
        for sql in [large, "select 1"] {
            let (status, answer) = server.asking(sql, 60).await;
            assert_eq!(status, 200, "round {round}, {sql}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_server_that_is_killed_leaves_no_query() {
    let server = Server::start().await;
    let mut running = JoinSet::new();
    running.spawn(server.asking(ENDLESS, 60));
    let processes = server.processes(1).await;
    kill(Pid::from_raw(server.standalone.pid().cast_signed()), Signal::SIGKILL).unwrap();
    let began = Instant::now();
    while processes.iter().any(|pid| std::fs::exists(format!("/proc/{pid}/exe")).unwrap_or(false)) {
        assert!(began.elapsed() < PATIENCE, "{processes:?} live on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
