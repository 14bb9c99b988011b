//! Parses the boundaries and a few kinds of messages of the Postgres protocol.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, BufReader};

/// Maximum length; larger than any message of orch.
const LONGEST: usize = 1 << 28;

pub(super) struct Message {
    /// The complete message, with kind and length.
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Reader<R> {
    from: BufReader<R>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(from: R) -> Self {
        Reader { from: BufReader::new(from) }
    }

    /// Reads the startup message of a client, which has no kind.
    pub(super) async fn startup(&mut self) -> io::Result<Vec<u8>> {
        let length = self.from.read_u32().await?;
        self.rest(length.to_be_bytes().to_vec(), length).await
    }

    pub(super) async fn message(&mut self) -> io::Result<Message> {
        let kind = self.from.read_u8().await?;
        let length = self.from.read_u32().await?;
        let mut start = vec![kind];
        start.extend(length.to_be_bytes());
        Ok(Message { bytes: self.rest(start, length).await? })
    }

    async fn rest(&mut self, mut bytes: Vec<u8>, length: u32) -> io::Result<Vec<u8>> {
        let start = bytes.len();
        let rest = (length as usize).checked_sub(4).filter(|&rest| rest < LONGEST);
        let rest = rest.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        bytes.resize(start + rest, 0);
        self.from.read_exact(&mut bytes[start..]).await?;
        Ok(bytes)
    }
}

impl Message {
    pub(super) fn kind(&self) -> u8 {
        self.bytes[0]
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.bytes[5..]
    }

    /// Returns true for query, sync, flush, password and terminate messages, after which the client flushes its batch.
    pub(super) fn ends_a_batch(&self) -> bool {
        matches!(self.kind(), b'Q' | b'S' | b'H' | b'p' | b'X')
    }

    /// Returns true if the server sends `ReadyForQuery` after this message.
    pub(super) fn asks_for_an_answer(&self) -> bool {
        matches!(self.kind(), b'Q' | b'S')
    }

    pub(super) fn is_ready_for_query(&self) -> bool {
        self.kind() == b'Z'
    }

    /// Returns true if no transaction is open, so all earlier writes are committed.
    pub(super) fn is_outside_transactions(&self) -> bool {
        self.body().first() == Some(&b'I')
    }
}

/// Returns true if one of these complete messages is an error.
pub(super) fn has_error(mut messages: &[u8]) -> bool {
    while let [kind, a, b, c, d, ..] = *messages {
        if kind == b'E' {
            return true;
        }
        let next = 1 + u32::from_be_bytes([a, b, c, d]) as usize;
        messages = messages.get(next..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_told_apart() {
        let bytes: &[u8] = b"C\0\0\0\x08OK12Z\0\0\0\x05I";
        let mut reader = Reader::new(bytes);
        let first = reader.message().await.expect("it is whole");
        assert_eq!((first.kind(), first.body()), (b'C', b"OK12".as_slice()));
        let second = reader.message().await.expect("it is whole");
        assert!(second.is_ready_for_query() && second.is_outside_transactions());
        assert!(reader.message().await.is_err());
        assert!(!has_error(bytes));
        assert!(has_error(b"C\0\0\0\x08OK12E\0\0\0\x05IZ\0\0\0\x05I"));
    }
}
