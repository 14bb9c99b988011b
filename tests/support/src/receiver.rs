//! Receivers of alerts: an HTTP and an SMTP server that can be down, reject alerts, or not respond.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// A received alert.
#[derive(Debug, Clone, Default)]
pub struct Letter {
    /// Headers with lowercase names. For a mail also `from` and `to` of the envelope, and `auth`.
    pub head: BTreeMap<String, String>,
    pub body: String,
}

/// Behavior towards clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Takes,
    /// Responds with HTTP 503 or SMTP 451.
    Refuses,
    /// Reads the alert and sends no response.
    IsSilent,
}

/// State shared by the connections of a receiver.
#[derive(Debug)]
struct Shared {
    manner: Mutex<Manner>,
    letters: Mutex<Vec<Letter>>,
    /// A mail server with TLS rejects clients that do not start TLS.
    tls: Option<Tls>,
}

struct Tls(TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

#[derive(Debug)]
enum Speaks {
    Http,
    Smtp,
}

/// A server on a free port of this machine.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    speaks: Speaks,
    shared: Arc<Shared>,
    running: JoinSet<()>,
}

impl Receiver {
    pub async fn http() -> Receiver {
        Receiver::new(Speaks::Http, None).await
    }

    pub async fn smtp() -> Receiver {
        Receiver::new(Speaks::Smtp, None).await
    }

    /// Starts a mail server with STARTTLS for `localhost`. Also returns its certificate as PEM.
    pub async fn smtp_with_tls() -> (Receiver, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key);
        let tls = Tls(TlsAcceptor::from(Arc::new(config.expect("they belong together"))));
        (Receiver::new(Speaks::Smtp, Some(tls)).await, made.cert.pem())
    }

    async fn new(speaks: Speaks, tls: Option<Tls>) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared { manner: Mutex::new(Manner::Takes), letters: Mutex::default(), tls });
        let mut receiver = Receiver { address, speaks, shared, running: JoinSet::new() };
        receiver.listen(listener);
        receiver
    }

    fn listen(&mut self, listener: TcpListener) {
        let (shared, is_http) = (self.shared.clone(), matches!(self.speaks, Speaks::Http));
        self.running.spawn(async move {
            let mut talks = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let shared = shared.clone();
                talks.spawn(async move {
                    // Errors only mean that the client has closed the connection.
                    drop(if is_http { http(stream, &shared).await } else { smtp(stream, &shared).await });
                });
                while talks.try_join_next().is_some() {}
            }
        });
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn is(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }

    /// Stops listening and closes all connections.
    pub async fn go_down(&mut self) {
        self.running.shutdown().await;
    }

    /// Listens on the same port again.
    pub async fn come_up(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port is still ours");
        self.listen(listener);
    }

    /// Returns all received alerts in order.
    pub fn letters(&self) -> Vec<Letter> {
        self.shared.letters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the received alerts satisfy the condition.
    pub async fn until(&self, what: &str, holds: impl Fn(&[Letter]) -> bool) -> Vec<Letter> {
        for _ in 0..3_000 {
            let letters = self.letters();
            if holds(&letters) {
                return letters;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}; it was told {:#?}", self.letters());
    }
}

impl Shared {
    fn manner(&self) -> Manner {
        *self.manner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, letter: Letter) {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
    }
}

async fn http(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut letter = Letter::default();
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        letter.head.insert("request".into(), line.trim().to_string());
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            letter.head.insert(name.to_lowercase(), value.trim().to_string());
        }
        let length = letter.head.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        letter.body = String::from_utf8_lossy(&body).into_owned();
        let answer: &[u8] = match shared.manner() {
            Manner::Refuses => b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\n\r\nnot today",
            manner => {
                shared.keep(letter);
                if manner == Manner::IsSilent {
                    return std::future::pending().await;
                }
                b"HTTP/1.1 204 No Content\r\n\r\n"
            }
        };
        stream.write_all(answer).await?;
    }
}

async fn smtp(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 receiver.test\r\n").await?;
    let Some(Tls(tls)) = &shared.tls else { return talk(&mut stream, shared).await };
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let answer: &[u8] = match line.trim().to_uppercase().as_str() {
            "STARTTLS" => {
                stream.write_all(b"220 go on\r\n").await?;
                return talk(&mut BufReader::new(tls.accept(stream.into_inner()).await?), shared).await;
            }
            word if word.starts_with("EHLO") => b"250-receiver.test\r\n250 STARTTLS\r\n",
            _ => b"530 begin TLS first\r\n",
        };
        stream.write_all(answer).await?;
    }
}

async fn talk(stream: &mut (impl AsyncBufRead + AsyncWrite + Unpin), shared: &Shared) -> std::io::Result<()> {
    let mut letter = Letter::default();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let (word, rest) = line.trim().split_once([' ', ':']).unwrap_or((line.trim(), ""));
        let answer: &[u8] = match word.to_uppercase().as_str() {
            "EHLO" => b"250-receiver.test\r\n250 AUTH PLAIN\r\n",
            "AUTH" => {
                letter.head.insert("auth".into(), rest.to_string());
                b"235 yes\r\n"
            }
            "MAIL" if shared.manner() == Manner::Refuses => b"451 not today\r\n",
            "MAIL" | "RCPT" => {
                let named =
                    rest.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(name, _)| name);
                let name = if word.eq_ignore_ascii_case("MAIL") { "from" } else { "to" };
                let before = letter.head.entry(name.into()).or_default();
                *before = format!("{before} {named}").trim().to_string();
                b"250 yes\r\n"
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let mut in_head = true;
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).await?;
                    match line.trim_end() {
                        "." => break,
                        "" if in_head => in_head = false,
                        text if in_head => {
                            let (name, value) = text.split_once(':').unwrap_or((text, ""));
                            letter.head.entry(name.to_lowercase()).or_insert_with(|| value.trim().to_string());
                        }
                        text => letter.body.extend([text, "\n"]),
                    }
                }
                shared.keep(std::mem::take(&mut letter));
                b"250 kept\r\n"
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => b"250 yes\r\n",
        };
        stream.write_all(answer).await?;
    }
}
