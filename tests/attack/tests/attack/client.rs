//! A client that sends raw bytes, so that tests can send requests that no client library sends.

use orch_test_support::attack::{ask, encoded, status_of};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

/// Timeout for every request, including hostile ones.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const JSON: &str = "application/json";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// A logged-in user: a token for the API, and a session with its form token for pages.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) token: String,
    pub(crate) cookie: String,
    pub(crate) form_token: String,
}

impl Login {
    /// Encodes a form, including its token.
    pub(crate) fn form(&self, fields: &[(String, Vec<u8>)]) -> Vec<u8> {
        let token = format!("form_token={}", encoded(&self.form_token));
        let fields = fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded_bytes(value)));
        [token].into_iter().chain(fields).collect::<Vec<_>>().join("&").into_bytes()
    }
}

/// Percent-encodes bytes that need not be UTF-8.
pub(crate) fn encoded_bytes(bytes: &[u8]) -> String {
    let parts = bytes.utf8_chunks().map(|chunk| {
        let invalid = chunk.invalid().iter().map(|byte| format!("%{byte:02X}"));
        encoded(chunk.valid()) + &invalid.collect::<String>()
    });
    parts.collect()
}

#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find_map(|(field, value)| field.eq_ignore_ascii_case(name).then_some(value))
    }

    fn parse(text: &str) -> Option<Reply> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut reply = Reply { status: status_of(text)?, head: head.to_owned(), body: body.to_owned() };
        if reply.header("transfer-encoding") == Some("chunked") {
            reply.body = joined(body);
        }
        Some(reply)
    }
}

/// Decodes a chunked body.
fn joined(mut chunked: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = chunked.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or_default();
        let (Some(chunk), Some(after)) = (rest.get(..size), rest.get(size + 2..)) else { break };
        body += chunk;
        chunked = after;
    }
    body
}

/// Builds a request with both the token and the session of `login`.
pub(crate) fn request(method: &str, path: &str, login: Option<&Login>, kind: &str, body: &[u8]) -> Vec<u8> {
    let identity = login.map_or_else(String::new, |Login { token, cookie, .. }| {
        format!("authorization: Bearer {token}\r\ncookie: {cookie}\r\nsec-fetch-site: same-origin\r\n")
    });
    let content = if matches!(method, "GET" | "HEAD") {
        String::new()
    } else {
        format!("content-type: {kind}\r\ncontent-length: {}\r\n", body.len())
    };
    let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{identity}{content}\r\n");
    [head.as_bytes(), body].concat()
}

/// # Errors
/// Returns the reason if no complete response arrives in time.
pub(crate) async fn send(address: SocketAddr, request: &[u8]) -> Result<Reply, String> {
    let text = tokio::time::timeout(REQUEST_TIMEOUT, ask(address, request)).await;
    let text = text.map_err(|_| format!("no response within {REQUEST_TIMEOUT:?}"))?;
    Reply::parse(&text).ok_or_else(|| format!("not a response: {text:?}"))
}
