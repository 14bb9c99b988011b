//! A proxy in front of the database that counts statements.

use sqlx::postgres::PgConnectOptions;
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;

pub(crate) struct Counted {
    pub(crate) url: String,
    statements: Arc<AtomicUsize>,
    _running: JoinSet<()>,
}

impl Counted {
    /// Listens for the server of this URL, which uses a Unix socket on this machine.
    pub(crate) async fn way_to(url: &str) -> Counted {
        let to = PgConnectOptions::from_str(url).expect("it is a URL");
        let folder = to.get_socket().expect("it has a socket");
        let socket = folder.join(format!(".s.PGSQL.{}", to.get_port()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let port = listener.local_addr().expect("it has a port").port();
        let database = to.get_database().expect("it names a database");
        let url = format!("postgres://{}@127.0.0.1:{port}/{database}?sslmode=disable", to.get_username());
        let statements = Arc::new(AtomicUsize::new(0));
        let (mut running, counted) = (JoinSet::new(), statements.clone());
        running.spawn(async move {
            let mut carried = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&socket).await.expect("the server is there");
                carried.spawn(carry(client, server, counted.clone()));
            }
        });
        Counted { url, statements, _running: running }
    }

    /// Returns the number of statements since the last call.
    pub(crate) fn count(&self) -> usize {
        self.statements.swap(0, Ordering::SeqCst)
    }
}

async fn carry(client: TcpStream, server: UnixStream, statements: Arc<AtomicUsize>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let forth = async {
        // The first message has no type byte.
        let mut is_first = true;
        loop {
            let mut message = vec![0; if is_first { 4 } else { 5 }];
            from_client.read_exact(&mut message).await?;
            // An `Execute` message, or a query without parameters.
            if !is_first && matches!(message[0], b'E' | b'Q') {
                statements.fetch_add(1, Ordering::SeqCst);
            }
            let length = message.last_chunk().map_or(4, |bytes| u32::from_be_bytes(*bytes)) as usize;
            let body = message.len();
            message.resize(body + length - 4, 0);
            from_client.read_exact(&mut message[body..]).await?;
            to_server.write_all(&message).await?;
            is_first = false;
        }
    };
    let back = tokio::io::copy(&mut from_server, &mut to_client);
    // The proxied connection ends when either side closes it.
    let _end: std::io::Result<u64> = tokio::select! { end = forth => end, end = back => end };
}
