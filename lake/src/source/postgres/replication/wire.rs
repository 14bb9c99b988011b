//! The part of the Postgres protocol that replication needs: authentication, simple queries, and `copy` in one or
//! both directions. The Postgres client libraries that orch uses elsewhere lack the bidirectional `copy`.

use super::super::session;
use anyhow::{Context as _, anyhow, bail, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use orch_sdk::task::{Connection, TaskResult};
use orch_store::connect::Database;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use socket2::{SockRef, TcpKeepalive};
use sqlx::postgres::PgSslMode;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Detects a dead server within a minute. A timeout on silence is not possible, because the server may send nothing
/// for hours while transactions are open.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10)).with_retries(3);
/// Session settings that give values the same text format in `copy` and in replication.
const SETTINGS: [(&str, &str); 6] = [
    ("client_encoding", "UTF8"),
    ("datestyle", "ISO"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
];
/// Maximum size of a protocol message. Postgres sends no message larger than 1 GiB.
const LONGEST_MESSAGE: usize = 1 << 30;
const READ_BYTES: usize = 64 << 10;

#[derive(Debug, Clone, thiserror::Error)]
#[error("the database says: {message} (SQLSTATE {code})")]
pub struct Refused {
    pub code: String,
    pub message: String,
}

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// A connection to the server. Dropping it ends the session.
pub(super) struct Wire {
    socket: Box<dyn Socket>,
    read: BytesMut,
    write: BytesMut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A session that accepts replication commands in addition to SQL.
    Replication,
    Statements,
}

pub(super) type Rows = Vec<Vec<Option<String>>>;

impl Wire {
    pub(super) async fn open(connection: &Connection, purpose: Purpose, name: &str) -> TaskResult<Wire> {
        let (id, to) = (&connection.id, Database::of(connection)?);
        let place = format!("{}:{}", to.host, to.port);
        let opening = tokio::time::timeout(CONNECT_TIMEOUT, Wire::begin(&to, purpose, name)).await;
        let opened = opening.unwrap_or_else(|_| Err(anyhow!("it does not answer")));
        opened.map_err(|error| match error.downcast_ref::<Refused>() {
            Some(refused) => anyhow!(
                "the Postgres server at {place} refuses connection `{id}`: {}\n\
                 hint: look at login, password and schema of the connection: `orch connections get {id}`. To capture changes its \
                 account needs the attribute REPLICATION, and `max_wal_senders` a free place",
                refused.message
            ),
            None => error.context(format!(
                "cannot reach the Postgres server of connection `{id}` at {place}\n\
                 hint: is it running, and is the address right? `orch connections get {id}`"
            )),
        })
    }

    async fn begin(to: &Database, purpose: Purpose, name: &str) -> TaskResult<Wire> {
        let mut wire = Wire { socket: socket(to).await?, read: BytesMut::new(), write: BytesMut::new() };
        let replication = (purpose == Purpose::Replication).then_some(("replication", "database"));
        let who = [("user", to.login.as_str()), ("database", &to.name), ("application_name", name)];
        let told = who.into_iter().chain(SETTINGS).chain(replication);
        frontend::startup_message(told, &mut wire.write)?;
        wire.flush().await?;
        wire.authenticate(to).await?;
        wire.ready().await?;
        Ok(wire)
    }

    async fn authenticate(&mut self, to: &Database) -> TaskResult<()> {
        let mut scram = ScramSha256::new(to.password.as_bytes(), ChannelBinding::unsupported());
        loop {
            let mut asked = self.expect(b'R').await?;
            match asked.try_get_i32()? {
                0 => return Ok(()),
                3 => frontend::password_message(to.password.as_bytes(), &mut self.write)?,
                5 => {
                    let salt = asked.as_ref().try_into().context("a salt has four bytes")?;
                    let hash = md5_hash(to.login.as_bytes(), to.password.as_bytes(), salt);
                    frontend::password_message(hash.as_bytes(), &mut self.write)?;
                }
                10 => {
                    let offers = asked.split(|byte| *byte == 0).any(|one| one == SCRAM_SHA_256.as_bytes());
                    ensure!(offers, "the server asks for a password in a way that orch does not know");
                    frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut self.write)?;
                }
                11 => {
                    scram.update(&asked)?;
                    frontend::sasl_response(scram.message(), &mut self.write)?;
                }
                12 => scram.finish(&asked)?,
                other => bail!("the server asks for a kind of login that orch does not know ({other})"),
            }
            self.flush().await?;
        }
    }

    /// Executes SQL statements and returns the result rows as text.
    pub(super) async fn ask(&mut self, sql: &str) -> TaskResult<Rows> {
        self.say(sql).await?;
        let (mut rows, mut refused) = (Rows::new(), None);
        loop {
            match self.message().await? {
                (b'D', row) => rows.push(values(row)?),
                (b'E', error) => refused = Some(refusal(&error)),
                (b'Z', _) => return refused.map_or(Ok(rows), |refused| Err(refused.into())),
                _ => {}
            }
        }
    }

    /// Starts a `copy … to stdout`, or replication, which is a `copy` in both directions.
    pub(super) async fn begin_copy(&mut self, statement: &str) -> TaskResult<()> {
        self.say(statement).await?;
        loop {
            match self.message().await? {
                (b'H' | b'W', _) => return Ok(()),
                (b'E', error) => {
                    self.ready().await?;
                    return Err(refusal(&error).into());
                }
                (b'Z', _) => bail!("the server did not begin to copy"),
                _ => {}
            }
        }
    }

    /// Returns the next chunk of `copy` data, or `None` at its end. Cancel safe.
    pub(super) async fn piece(&mut self) -> TaskResult<Option<Bytes>> {
        loop {
            match self.message().await? {
                (b'd', piece) => return Ok(Some(piece)),
                (b'c', _) => return Ok(None),
                (b'E', error) => return Err(refusal(&error).into()),
                _ => {}
            }
        }
    }

    /// Reads messages until the server is ready for the next statement.
    pub(super) async fn ready(&mut self) -> TaskResult<()> {
        loop {
            match self.message().await? {
                (b'E', error) => return Err(refusal(&error).into()),
                (b'Z', _) => return Ok(()),
                _ => {}
            }
        }
    }

    pub(super) async fn send_piece(&mut self, piece: &[u8]) -> TaskResult<()> {
        frontend::CopyData::new(piece)?.write(&mut self.write);
        self.flush().await
    }

    async fn say(&mut self, statement: &str) -> TaskResult<()> {
        frontend::query(statement, &mut self.write)?;
        self.flush().await
    }

    async fn expect(&mut self, kind: u8) -> TaskResult<Bytes> {
        match self.message().await? {
            (found, body) if found == kind => Ok(body),
            (b'E', error) => Err(refusal(&error).into()),
            (other, _) => bail!("the server answers with a message of kind `{}`", char::from(other)),
        }
    }

    /// Reads a protocol message. Cancel safe: received bytes stay in the buffer until the message is complete.
    async fn message(&mut self) -> TaskResult<(u8, Bytes)> {
        loop {
            if let Some(length) = self.read.get(1..5) {
                let length = u32::from_be_bytes(length.try_into()?) as usize;
                ensure!((4..=LONGEST_MESSAGE).contains(&length), "this is no server of Postgres");
                if self.read.len() > length {
                    let kind = self.read.get_u8();
                    self.read.advance(4);
                    return Ok((kind, self.read.split_to(length - 4).freeze()));
                }
                self.read.reserve(length + 1 - self.read.len());
            }
            self.read.reserve(READ_BYTES);
            let came = self.socket.read_buf(&mut self.read).await?;
            ensure!(came > 0, "the server has closed the connection");
        }
    }

    async fn flush(&mut self) -> TaskResult<()> {
        while self.write.has_remaining() {
            self.socket.write_buf(&mut self.write).await?;
        }
        Ok(self.socket.flush().await?)
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

async fn socket(to: &Database) -> TaskResult<Box<dyn Socket>> {
    if to.host.starts_with('/') {
        return Ok(Box::new(UnixStream::connect(format!("{}/.s.PGSQL.{}", to.host, to.port)).await?));
    }
    let mut socket = TcpStream::connect((to.host.as_str(), to.port)).await?;
    socket.set_nodelay(true)?;
    SockRef::from(&socket).set_tcp_keepalive(&KEEPALIVE)?;
    if matches!(to.ssl_mode, PgSslMode::Disable) {
        return Ok(Box::new(socket));
    }
    let mut wish = BytesMut::new();
    frontend::ssl_request(&mut wish);
    socket.write_all(&wish).await?;
    match socket.read_u8().await? {
        b'S' => {
            let connector = TlsConnector::from(Arc::new(session::tls(to).context("TLS")?));
            Ok(Box::new(connector.connect(ServerName::try_from(to.host.clone())?, socket).await?))
        }
        _ if matches!(to.ssl_mode, PgSslMode::Allow | PgSslMode::Prefer) => Ok(Box::new(socket)),
        _ => bail!("the server has no TLS, and the connection asks for it"),
    }
}

fn values(mut row: Bytes) -> TaskResult<Vec<Option<String>>> {
    let columns = row.try_get_i16()?;
    let mut values = Vec::new();
    for _ in 0..columns {
        let length = row.try_get_i32()?;
        values.push(match usize::try_from(length) {
            Ok(length) => {
                ensure!(row.len() >= length, "a row of the server is cut off");
                Some(String::from_utf8(row.split_to(length).into())?)
            }
            Err(_) => None,
        });
    }
    Ok(values)
}

/// Parses an error response. Each field is a letter followed by a NUL-terminated string.
fn refusal(error: &Bytes) -> Refused {
    let mut refused = Refused { code: String::new(), message: String::new() };
    for field in error.split(|byte| *byte == 0) {
        match field.split_first() {
            Some((b'C', code)) => refused.code = String::from_utf8_lossy(code).into_owned(),
            Some((b'M', message)) => refused.message = String::from_utf8_lossy(message).into_owned(),
            _ => {}
        }
    }
    refused
}

/// Builds a standby status message, which lets the server discard WAL before `flushed`. If `wants_answer` is true,
/// the server replies immediately.
pub(super) fn status(flushed: u64, now_micros: i64, wants_answer: bool) -> Bytes {
    let mut status = BytesMut::with_capacity(34);
    status.put_u8(b'r');
    for _ in 0..3 {
        status.put_u64(flushed);
    }
    status.put_i64(now_micros);
    status.put_u8(wants_answer.into());
    status.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_read_field_by_field() {
        let error = Bytes::from_static(b"SERROR\0VERROR\0C42704\0Mreplication slot \"x\" does not exist\0Fslot.c\0\0");
        let refused = refusal(&error);
        assert_eq!(
            (refused.code.as_str(), refused.message.as_str()),
            ("42704", "replication slot \"x\" does not exist")
        );
    }

    #[test]
    fn values_of_a_row_may_be_null() {
        let row = Bytes::from_static(b"\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0");
        assert_eq!(values(row).unwrap(), [Some("ab".into()), None, Some(String::new())]);
        assert!(values(Bytes::from_static(b"\0\x01\0\0\0\x09ab")).is_err());
    }
}
