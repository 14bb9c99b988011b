//! Sends harmful requests over real HTTP and checks that the server withstands them: it responds, reveals no planted
//! secret, uses a bounded amount of additional memory, releases that memory, and stays healthy.
//!
//! A test provides a table of [`Attack`]s and the server as a [`Target`]; to add an attack, add a row.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Maximum growth of a server's memory during a request.
const MOST_GROWTH_MB: u64 = 512;
/// Time after the response until the memory must be released, except for what allocators keep.
const BACK_WITHIN: Duration = Duration::from_secs(2);
const MOST_KEPT_MB: u64 = 128;
/// Sampling interval. Query processes are short-lived and record no peak.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Timeout for a response. It must allow for machines that run builds at the same time.
const PATIENCE: Duration = Duration::from_mins(1);

/// A request, and the allowed statuses of its response.
#[derive(Debug, Clone)]
pub struct Attack {
    pub name: &'static str,
    pub method: &'static str,
    pub path: String,
    pub body: RequestBody,
    pub may_answer: &'static [u16],
}

#[derive(Debug, Clone)]
pub enum RequestBody {
    Nothing,
    Json(String),
    /// Names and values; the form token is added automatically.
    Form(Vec<(&'static str, String)>),
}

/// A server with a logged-in user.
#[derive(Debug, Clone)]
pub struct Target {
    pub address: SocketAddr,
    /// Process whose memory is measured.
    pub pid: u32,
    /// Token for the header `Authorization: Bearer …`.
    pub token: String,
    /// For pages: the header `Cookie`, and the form token.
    pub cookie: String,
    pub form_token: String,
    /// Texts that no response may contain.
    pub secrets: Vec<String>,
}

impl Target {
    /// Sends the attacks in order and panics at the first one that does harm.
    pub async fn withstands(&self, attacks: &[Attack]) {
        for attack in attacks {
            self.withstands_one(attack).await;
        }
    }

    async fn withstands_one(&self, attack: &Attack) {
        let name = attack.name;
        let before = self.rss_mb();
        self.forget_peak();
        let began = Instant::now();
        let (request, mut queries) = (self.request(attack), 0);
        let asking = ask(self.address, request.as_bytes());
        tokio::pin!(asking);
        let answer = loop {
            tokio::select! {
                answer = &mut asking => break answer,
                () = tokio::time::sleep(LOOK_EVERY) => queries = queries.max(self.queries_mb()),
            }
        };
        let status = status_of(&answer).unwrap_or_else(|| panic!("{name}: no answer: {answer:?}"));
        let told: String = answer.rsplit("\r\n\r\n").next().unwrap_or_default().chars().take(100).collect();
        eprintln!("{name}: {status} after {:?}, {queries} MB of queries: {told}", began.elapsed());
        assert!(attack.may_answer.contains(&status), "{name}: {}", answer.chars().take(2_000).collect::<String>());
        for secret in &self.secrets {
            assert!(!answer.contains(secret.as_str()), "{name}: the answer has a secret");
        }
        let peak = self.status_mb("VmHWM:") + queries;
        assert!(peak <= before + MOST_GROWTH_MB, "{name}: {before} MB grew to {peak} MB");
        let answered = Instant::now();
        while self.rss_mb() > before + MOST_KEPT_MB {
            assert!(answered.elapsed() < BACK_WITHIN, "{name}: {before} MB, and {} MB afterwards", self.rss_mb());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let health = ask(self.address, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
        assert_eq!(status_of(&health), Some(200), "{name}: it does not live afterwards");
    }

    fn request(&self, attack: &Attack) -> String {
        let (kind, body) = match &attack.body {
            RequestBody::Nothing => ("", String::new()),
            RequestBody::Json(body) => ("application/json", body.clone()),
            RequestBody::Form(fields) => {
                let token = [("form_token", self.form_token.clone())];
                let all = fields.iter().chain(&token).map(|(name, value)| format!("{name}={}", encoded(value)));
                ("application/x-www-form-urlencoded", all.collect::<Vec<_>>().join("&"))
            }
        };
        let mut request = format!("{} {} HTTP/1.1\r\nhost: localhost\r\n", attack.method, attack.path);
        let who = format!("authorization: Bearer {}\r\ncookie: {}\r\n", self.token, self.cookie);
        let head = format!("content-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        request.extend([who, head, body]);
        request
    }

    /// Returns the memory of the server and of its query processes.
    fn rss_mb(&self) -> u64 {
        self.status_mb("VmRSS:") + self.queries_mb()
    }

    fn status_mb(&self, line: &str) -> u64 {
        status_mb(self.pid, line).expect("the server lives")
    }

    /// Returns the memory of the query processes without file-backed pages, which exist only once.
    fn queries_mb(&self) -> u64 {
        query_processes(self.pid).into_iter().filter_map(|pid| status_mb(pid, "RssAnon:")).sum()
    }

    /// Resets the peak memory of the server.
    fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid), "5").expect("the process is ours");
    }
}

/// Returns the processes that a server has started for queries.
pub fn query_processes(server: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("there is a /proc").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_query_process(*pid, server)).collect()
}

fn is_query_process(pid: u32, server: u32) -> bool {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let parent = format!("PPid:\t{server}\n");
    read("cmdline").contains("answer-queries") && read("status").contains(&parent)
}

/// Returns the value of a line in the status of a process, in MB, or `None` if the process has ended.
pub fn status_mb(pid: u32, line: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|one| one.strip_prefix(line))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kb| kb / 1024)
}

/// Returns the complete response to a request with `connection: close`. Write errors are ignored, because the server
/// may reject a request before it has read it.
pub async fn ask(address: SocketAddr, request: &[u8]) -> String {
    let asked = async {
        let stream = TcpStream::connect(address).await.expect("it listens");
        let (mut read, mut write) = stream.into_split();
        let send = async { write.write_all(request).await.ok() };
        let receive = async {
            let mut answer = Vec::new();
            read.read_to_end(&mut answer).await.ok();
            answer
        };
        let (_, answer) = tokio::join!(send, receive);
        String::from_utf8_lossy(&answer).into_owned()
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("it answers")
}

pub fn status_of(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// Percent-encodes a value of a form or a query.
pub fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string can grow");
        }
        encoded
    })
}
