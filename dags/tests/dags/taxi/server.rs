//! A file server with network faults.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Serves until it is dropped. Responds with 404 to unknown paths.
pub(crate) struct Files {
    address: String,
    files: Arc<Mutex<HashMap<String, Served>>>,
    _serving: JoinSet<()>,
}

#[derive(Clone)]
struct Served {
    bytes: Arc<Vec<u8>>,
    /// Byte after which complete responses break off, and the number of responses that do.
    cut: (usize, u32),
    /// True if the server supports range requests.
    resumes: bool,
}

impl Files {
    pub(crate) async fn start() -> Files {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let files: Arc<Mutex<HashMap<String, Served>>> = Arc::default();
        let (mut serving, of) = (JoinSet::new(), files.clone());
        serving.spawn(async move {
            let mut sessions = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let of = of.clone();
                // The client may disconnect at any time.
                sessions.spawn(async move { drop(answer(stream, &of).await) });
            }
        });
        Files { address, files, _serving: serving }
    }

    /// Starts a server with the files of these months.
    pub(crate) async fn of(months: &[impl AsRef<str>]) -> Files {
        let files = Files::start().await;
        for month in months {
            files.put(month.as_ref(), super::file(month.as_ref()));
        }
        files
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn put(&self, month: &str, bytes: Vec<u8>) {
        self.serve(month, Served { bytes: bytes.into(), cut: (0, 0), resumes: true });
    }

    pub(crate) fn remove(&self, month: &str) {
        self.files.lock().unwrap().remove(&super::name(month));
    }

    /// Breaks off the next `times` responses after `after` bytes.
    pub(crate) fn cut(&self, month: &str, bytes: Vec<u8>, after: usize, times: u32, resumes: bool) {
        self.serve(month, Served { bytes: bytes.into(), cut: (after, times), resumes });
    }

    fn serve(&self, month: &str, served: Served) {
        self.files.lock().unwrap().insert(super::name(month), served);
    }
}

async fn answer(mut stream: TcpStream, files: &Mutex<HashMap<String, Served>>) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    let request = String::from_utf8_lossy(&request).to_lowercase();
    let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let served = {
        let mut files = files.lock().unwrap();
        let found = files.get_mut(&path);
        found.map(|served| {
            let now = served.clone();
            served.cut.1 = served.cut.1.saturating_sub(1);
            now
        })
    };
    let Some(Served { bytes, cut, resumes }) = served else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    };
    let from = request.lines().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse().ok());
    let tag = if resumes { format!("etag: \"{}\"\r\n", bytes.len()) } else { String::new() };
    let (status, first): (_, usize) = match from {
        Some(from) if resumes => {
            (format!("206 Partial\r\ncontent-range: bytes {from}-{}/{}", bytes.len() - 1, bytes.len()), from)
        }
        _ => ("200 OK".into(), 0),
    };
    let rest = &bytes[first..];
    let head = format!("HTTP/1.1 {status}\r\n{tag}content-length: {}\r\nconnection: close\r\n\r\n", rest.len());
    stream.write_all(head.as_bytes()).await?;
    let end = if cut.1 > 0 { cut.0.min(rest.len()) } else { rest.len() };
    stream.write_all(&rest[..end]).await?;
    stream.shutdown().await
}
