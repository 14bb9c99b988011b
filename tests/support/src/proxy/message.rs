//! Messages of the Postgres protocol, as far as their borders and a few kinds go.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, BufReader};

/// Larger than anything our processes send.
const LONGEST: usize = 1 << 28;

pub(super) struct Message {
    /// All of it, with kind and length.
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Reader<R> {
    from: BufReader<R>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(from: R) -> Self {
        Reader { from: BufReader::new(from) }
    }

    /// The first words of a client, which have no kind.
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

    /// Query, sync, flush, password and good-bye: what came before goes out with them.
    pub(super) fn ends_a_batch(&self) -> bool {
        matches!(self.kind(), b'Q' | b'S' | b'H' | b'p' | b'X')
    }

    /// The server says that it is ready after these.
    pub(super) fn asks_for_an_answer(&self) -> bool {
        matches!(self.kind(), b'Q' | b'S')
    }

    pub(super) fn is_ready_for_query(&self) -> bool {
        self.kind() == b'Z'
    }

    /// What was written until here is committed.
    pub(super) fn is_outside_transactions(&self) -> bool {
        self.body().first() == Some(&b'I')
    }
}

/// Whether one of these whole messages is an error.
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
