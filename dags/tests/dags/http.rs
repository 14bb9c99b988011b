//! A minimal HTTP client.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

pub(crate) struct PlainResponse {
    pub(crate) status: u16,
    /// Status line and headers.
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) fn ask(address: &str, path: &str, headers: &[&str]) -> PlainResponse {
    let mut stream = TcpStream::connect(address).unwrap();
    let host = format!("Host: {address}");
    let head = [&["Connection: close", &host], headers].concat().join("\r\n");
    write!(stream, "GET {path} HTTP/1.1\r\n{head}\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    PlainResponse { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head: head.into(), body: body.into() }
}
