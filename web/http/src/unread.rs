//! Drains request bodies that a handler did not read, for example because it rejected the request. If unread body data
//! stayed on the connection, the server would have to close it, and a client that had already sent its next request
//! would get no response and could not tell whether that request was processed.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;

/// If more than this is left, the connection is closed: reconnecting is cheaper.
const MOST_BYTES: usize = 1 << 20;
/// Timeout for the rest of a body. A client that takes longer is withholding it deliberately.
const MOST_TIME: Duration = Duration::from_secs(5);

/// Returns the request with a body that is drained when it is dropped, up to 1 MiB or for 5 s. The connection can then
/// be reused after an early response.
pub fn read_to_the_end(request: Request) -> Request {
    // A client that sends `Expect: 100-continue` has not sent the body yet, and reading the body would request it.
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return request;
    }
    request.map(|body| Body::new(Unread(body)))
}

struct Unread(Body);

impl HttpBody for Unread {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if let (false, Ok(runtime)) = (self.0.is_end_stream(), Handle::try_current()) {
            let rest = std::mem::take(&mut self.0);
            runtime.spawn(tokio::time::timeout(MOST_TIME, read(rest)));
        }
    }
}

async fn read(mut rest: Body) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = rest.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > MOST_BYTES {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use axum::middleware::map_request;
    use axum::{Router, serve};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinSet;

    /// Rejects every request without reading its body.
    async fn server() -> (TcpStream, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let app = Router::new().fallback(async || StatusCode::UNAUTHORIZED);
        let app = app.layer(map_request(async |request| read_to_the_end(request)));
        let mut serving = JoinSet::new();
        serving.spawn(async move { serve(listener, app).await.unwrap() });
        (client, serving)
    }

    async fn answer(client: &mut TcpStream) -> Option<String> {
        let mut answer = vec![0; 4_096];
        let many = client.read(&mut answer).await.ok()?;
        let answer = String::from_utf8_lossy(&answer[..many]);
        answer.lines().next().map(str::to_owned)
    }

    async fn post(client: &mut TcpStream, bytes: usize, more: &str) {
        let head = format!("POST / HTTP/1.1\r\nHost: orch\r\nContent-Length: {bytes}\r\n{more}\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_goes_on_after_an_answer_to_a_part_of_a_request() {
        let (mut client, _serving) = server().await;
        for _ in 0..3 {
            post(&mut client, 20, "").await;
            assert_eq!(answer(&mut client).await.as_deref(), Some("HTTP/1.1 401 Unauthorized"));
            client.write_all(&[b'x'; 20]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_large_rest_is_not_read() {
        let (mut client, _serving) = server().await;
        post(&mut client, 4 * MOST_BYTES, "").await;
        assert!(answer(&mut client).await.is_some());
        let more = vec![b'x'; 1 << 16];
        while client.write_all(&more).await.is_ok() {}
        assert_eq!(answer(&mut client).await, None);
    }

    #[tokio::test]
    async fn a_client_is_not_asked_for_a_body_that_is_refused() {
        let (mut client, _serving) = server().await;
        post(&mut client, 20, "Expect: 100-continue\r\n").await;
        assert_eq!(answer(&mut client).await.as_deref(), Some("HTTP/1.1 401 Unauthorized"));
    }
}
