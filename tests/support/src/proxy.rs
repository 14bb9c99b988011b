//! A proxy that simulates a bad network between orch and Postgres: slow, silent, or cut at the worst time.
//!
//! It parses enough of the protocol to find the end of a statement. `Cut::After` lets the server execute a write, waits
//! for its response and drops it, so the client does not know if the write was executed. `Cut::Before` drops the
//! statement. The client cannot distinguish the two.

mod message;
mod statement;

pub use statement::Statement;

use crate::rng::Rng;
use message::Reader;
use sqlx::postgres::PgConnectOptions;
use statement::Names;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Good,
    /// Delays every batch of statements.
    Slow(Duration),
    /// Delivers no data and reports no error. Delayed data is delivered when the network recovers.
    Silent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cut {
    Before,
    After,
}

/// Number of cuts for each kind of write.
pub type Cuts = BTreeMap<(Statement, Cut), usize>;

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    url: String,
    shared: Arc<Shared>,
    _running: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: Upstream,
    network: watch::Sender<Network>,
    cutting: Mutex<Cutting>,
}

#[derive(Debug)]
struct Cutting {
    rng: Rng,
    /// About one in this many writes of each kind is cut; 0 disables cuts.
    one_in: usize,
    /// Number of writes of a kind that pass before the next one is cut.
    left: BTreeMap<(Statement, Cut), usize>,
    done: Cuts,
}

#[derive(Debug, Clone)]
enum Upstream {
    Socket(PathBuf),
    Port(String, u16),
}

impl Proxy {
    /// Starts a proxy in front of the server of this URL.
    pub async fn start(url: &str, rng: Rng) -> Proxy {
        let options = PgConnectOptions::from_str(url).expect("the URL of the server parses");
        let upstream = match options.get_socket() {
            Some(folder) => Upstream::Socket(folder.join(format!(".s.PGSQL.{}", options.get_port()))),
            None => Upstream::Port(options.get_host().to_owned(), options.get_port()),
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let port = listener.local_addr().expect("a listener has an address").port();
        let shared = Arc::new(Shared {
            upstream,
            network: watch::Sender::new(Network::Good),
            cutting: Mutex::new(Cutting { rng, one_in: 0, left: BTreeMap::new(), done: Cuts::new() }),
        });
        let mut running = JoinSet::new();
        running.spawn(listen(listener, shared.clone()));
        Proxy { port, url: url.to_owned(), shared, _running: running }
    }

    /// Returns the URL of the same database through this proxy.
    pub fn url(&self) -> String {
        let options = PgConnectOptions::from_str(&self.url).expect("it parsed before");
        if options.get_socket().is_none() {
            return self.url.replace(&format!(":{}/", options.get_port()), &format!(":{}/", self.port));
        }
        let database = options.get_database().unwrap_or("orch");
        format!("postgres://{}@127.0.0.1:{}/{database}?sslmode=disable", options.get_username(), self.port)
    }

    pub fn set(&self, network: Network) {
        self.shared.network.send_replace(network);
    }

    /// Cuts about one in `many` writes of each kind from now on, before or after the write; 0 disables cuts.
    pub fn cut_one_in(&self, many: usize) {
        self.shared.cutting.lock().expect("nothing panics while holding it").one_in = many;
    }

    pub fn cuts(&self) -> Cuts {
        self.shared.cutting.lock().expect("nothing panics while holding it").done.clone()
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                let shared = shared.clone();
                connections.spawn(async move { shared.connect(client).await });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Batches that wait for a response, shared by both directions of a connection.
type Pending = Mutex<VecDeque<Option<Statement>>>;

impl Shared {
    async fn connect(&self, client: TcpStream) {
        client.set_nodelay(true).ok(); // only reduces latency
        self.good_enough().await;
        // If the server is down, the connection of the client is closed immediately.
        match &self.upstream {
            Upstream::Socket(path) => {
                let Ok(server) = UnixStream::connect(path).await else { return };
                let (read, write) = server.into_split();
                self.carry(client, read, write).await;
            }
            Upstream::Port(host, port) => {
                let Ok(server) = TcpStream::connect((host.as_str(), *port)).await else { return };
                server.set_nodelay(true).ok(); // only reduces latency
                let (read, write) = server.into_split();
                self.carry(client, read, write).await;
            }
        }
    }

    async fn carry(&self, client: TcpStream, from_server: impl AsyncRead + Unpin, to_server: impl AsyncWrite + Unpin) {
        let (from_client, to_client) = client.into_split();
        let pending = Pending::default();
        // If one direction ends or is cut, the other one ends too.
        tokio::select! {
            ended = self.requests(from_client, to_server, &pending) => drop(ended),
            ended = self.answers(from_server, to_client, &pending) => drop(ended),
        }
    }

    /// Forwards messages from the client to the server, one complete batch at a time. Closes the connection instead of
    /// sending a batch that the test wants cut.
    async fn requests(
        &self,
        from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        pending: &Pending,
    ) -> io::Result<()> {
        let mut from = Reader::new(from);
        to.write_all(&from.startup().await?).await?;
        let mut names = Names::default();
        let mut batch = Vec::new();
        loop {
            let message = from.message().await?;
            names.hear(&message);
            batch.extend_from_slice(&message.bytes);
            if !message.ends_a_batch() {
                continue;
            }
            self.good_enough().await;
            if message.asks_for_an_answer() {
                let statement = names.take();
                if statement.is_some_and(|s| self.cuts_now(s, Cut::Before)) {
                    return Ok(());
                }
                pending.lock().expect("nothing panics while holding it").push_back(statement);
            }
            to.write_all(&batch).await?;
            batch.clear();
        }
    }

    /// Forwards messages from the server to the client. The response to a batch is held back until it is complete.
    async fn answers(
        &self,
        from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        pending: &Pending,
    ) -> io::Result<()> {
        let mut from = Reader::new(from);
        let mut answer = Vec::new();
        loop {
            let message = from.message().await?;
            answer.extend_from_slice(&message.bytes);
            let asked = !pending.lock().expect("nothing panics while holding it").is_empty();
            let whole = message.is_ready_for_query();
            if asked && !whole {
                continue;
            }
            if whole {
                let statement = pending.lock().expect("nothing panics while holding it").pop_front().flatten();
                let written = message.is_outside_transactions() && !message::has_error(&answer);
                if written && statement.is_some_and(|s| self.cuts_now(s, Cut::After)) {
                    return Ok(());
                }
            }
            self.good_enough().await;
            to.write_all(&answer).await?;
            answer.clear();
        }
    }

    async fn good_enough(&self) {
        let mut network = self.network.subscribe();
        let slow = match *network.borrow() {
            Network::Slow(by) => Some(by),
            _ => None,
        };
        if let Some(by) = slow {
            tokio::time::sleep(by).await;
        }
        // The sender lives as long as the proxy.
        network.wait_for(|n| *n != Network::Silent).await.ok();
    }

    fn cuts_now(&self, statement: Statement, cut: Cut) -> bool {
        let cutting = &mut *self.cutting.lock().expect("nothing panics while holding it");
        if cutting.one_in == 0 {
            return false;
        }
        // The first cut is early, so that rare kinds are cut too. The interval is doubled because each write can be cut
        // before or after it.
        let rng = &mut cutting.rng;
        let left = cutting.left.entry((statement, cut)).or_insert_with(|| rng.below(3));
        if *left > 0 {
            *left -= 1;
            return false;
        }
        *left = 2 * cutting.one_in + rng.below(2 * cutting.one_in);
        *cutting.done.entry((statement, cut)).or_default() += 1;
        true
    }
}
