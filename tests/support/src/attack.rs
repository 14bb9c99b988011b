//! Requests that try to harm a server, sent by real HTTP, with what it must withstand: it answers, says no planted secret, grows
//! by a bounded amount of memory, gives that back, and is there for the next one.
//!
//! A test brings a table of [`Attack`]s and the server as a [`Target`]; more attacks are more rows.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A request may make a server grow by so much.
const MOST_GROWTH_MB: u64 = 512;
/// Two seconds after the answer it is back, but for what allocators keep of it.
const BACK_WITHIN: Duration = Duration::from_secs(2);
const MOST_KEPT_MB: u64 = 128;
/// Processes of queries come and go, and keep no peak.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Machines that build beside it are slow; what hangs takes for ever.
const PATIENCE: Duration = Duration::from_mins(1);

/// One request, and the statuses that may be its answer.
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
    /// Names and values; the token of the form comes by itself.
    Form(Vec<(&'static str, String)>),
}

/// A server, and somebody who is logged in there.
#[derive(Debug, Clone)]
pub struct Target {
    pub address: SocketAddr,
    /// Of the process whose memory counts.
    pub pid: u32,
    /// For `Authorization: Bearer …`.
    pub token: String,
    /// For pages: the header `Cookie`, and the token that forms carry.
    pub cookie: String,
    pub form_token: String,
    /// They must be in no answer.
    pub secrets: Vec<String>,
}

impl Target {
    /// Sends one after the other; panics at the first that does harm.
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

    /// Of the server, and of the processes that run its queries.
    fn rss_mb(&self) -> u64 {
        self.status_mb("VmRSS:") + self.queries_mb()
    }

    fn status_mb(&self, line: &str) -> u64 {
        status_mb(self.pid, line).expect("the server lives")
    }

    /// Without the pages of the program's file, which are there once for all.
    fn queries_mb(&self) -> u64 {
        query_processes(self.pid).into_iter().filter_map(|pid| status_mb(pid, "RssAnon:")).sum()
    }

    /// From now on the peak is that of what follows.
    fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid), "5").expect("the process is ours");
    }
}

/// The processes that a server has started for queries.
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

/// What a line of a process's status says. `None`: the process is gone.
pub fn status_mb(pid: u32, line: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|one| one.strip_prefix(line))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kb| kb / 1024)
}

/// Everything that is answered to a request that asks for `connection: close`. What cannot be written any more was refused.
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

/// For the value of a form or of a query.
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
