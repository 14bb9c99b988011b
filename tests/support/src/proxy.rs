//! A bad network between our processes and Postgres: slow, silent, or cut at the moment that hurts most.
//!
//! It understands as much of the protocol as it needs to tell the end of a statement. `Cut::After` lets the server carry
//! a write out, waits for its answer and throws that away: the client never learns whether it was done. `Cut::Before`
//! throws the statement away: to the client the two look alike.

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
    /// Every batch of statements takes so much longer.
    Slow(Duration),
    /// Nothing arrives and nothing says so. What was on its way arrives when the network is good again.
    Silent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cut {
    Before,
    After,
}

/// How often each kind of write was cut.
pub type Cuts = BTreeMap<(Statement, Cut), usize>;

/// Listens as long as it lives.
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
    /// About one in so many writes of each kind; 0: none.
    one_in: usize,
    /// How many more writes of a kind pass before one is cut.
    left: BTreeMap<(Statement, Cut), usize>,
    done: Cuts,
}

#[derive(Debug, Clone)]
enum Upstream {
    Socket(PathBuf),
    Port(String, u16),
}

impl Proxy {
    /// Stands before the server of this URL.
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

    /// The same database through this proxy.
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

    /// From now on about one in so many writes of each kind is cut, before or after; 0: none.
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

/// What both directions of a connection know: the batches that wait for an answer.
type Pending = Mutex<VecDeque<Option<Statement>>>;

impl Shared {
    async fn connect(&self, client: TcpStream) {
        client.set_nodelay(true).ok(); // it is only slower without
        self.good_enough().await;
        // A server that is down is a connection that closes at once.
        match &self.upstream {
            Upstream::Socket(path) => {
                let Ok(server) = UnixStream::connect(path).await else { return };
                let (read, write) = server.into_split();
                self.carry(client, read, write).await;
            }
            Upstream::Port(host, port) => {
                let Ok(server) = TcpStream::connect((host.as_str(), *port)).await else { return };
                server.set_nodelay(true).ok(); // likewise
                let (read, write) = server.into_split();
                self.carry(client, read, write).await;
            }
        }
    }

    async fn carry(&self, client: TcpStream, from_server: impl AsyncRead + Unpin, to_server: impl AsyncWrite + Unpin) {
        let (from_client, to_client) = client.into_split();
        let pending = Pending::default();
        // Whichever direction ends first, or is cut, ends both.
        tokio::select! {
            ended = self.requests(from_client, to_server, &pending) => drop(ended),
            ended = self.answers(from_server, to_client, &pending) => drop(ended),
        }
    }

    /// From the client, a batch at a time.
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

    /// From the server: answers to a batch are held back until they are whole.
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
        // The sender lives as long as we do.
        network.wait_for(|n| *n != Network::Silent).await.ok();
    }

    fn cuts_now(&self, statement: Statement, cut: Cut) -> bool {
        let cutting = &mut *self.cutting.lock().expect("nothing panics while holding it");
        if cutting.one_in == 0 {
            return false;
        }
        // The first one soon, so that the rare kinds are cut too; two places to be cut at for each write.
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
