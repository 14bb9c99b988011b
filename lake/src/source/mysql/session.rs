//! Sessions of a MySQL server. Dropping a session while a result is read closes the socket without reading the rest.

use super::{errors, tls};
use futures::FutureExt;
use mysql_async::{Conn, Opts, OptsBuilder};
use orch_sdk::task::{Connection, TaskResult, fatal};
use std::fmt;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The MySQL or MariaDB server of a connection.
#[derive(Clone)]
pub struct Server {
    opts: Opts,
    id: String,
}

impl Server {
    /// Returns the server of a connection.
    ///
    /// # Errors
    /// Returns a fatal error if the connection has another type or invalid TLS settings.
    pub fn of(connection: &Connection) -> TaskResult<Server> {
        let id = &connection.id;
        if !matches!(connection.conn_type.as_str(), "mysql" | "mariadb") {
            let kind = &connection.conn_type;
            return Err(fatal(format!("connection `{id}` is of type `{kind}`, not `mysql`")));
        }
        let text = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        let opts = OptsBuilder::default()
            .ip_or_hostname(text(&connection.host).unwrap_or_else(|| "localhost".into()))
            .tcp_port(connection.port.unwrap_or(3306))
            .user(text(&connection.login))
            .pass(text(&connection.password))
            .db_name(text(&connection.schema))
            .tcp_keepalive(Some(KEEPALIVE))
            .ssl_opts(tls::options(connection)?)
            // Sets the session to UTC, because the server converts `timestamp` columns to the time zone of the
            // session.
            .init(vec!["set time_zone = '+00:00'"]);
        Ok(Server { opts: opts.into(), id: id.clone() })
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.opts.ip_or_hostname(), self.opts.tcp_port())
    }

    pub(crate) fn database(&self) -> Option<&str> {
        self.opts.db_name()
    }

    pub(crate) async fn session(&self) -> TaskResult<Session> {
        match tokio::time::timeout(CONNECT_TIMEOUT, Conn::new(self.opts.clone())).await {
            Ok(Ok(conn)) => Ok(Session { conn: Some(conn) }),
            Ok(Err(error)) => Err(errors::unreachable(error, self)),
            Err(_) => Err(anyhow::anyhow!(
                "the MySQL server of connection `{}` does not answer at {} within {} s",
                self.id,
                self.address(),
                CONNECT_TIMEOUT.as_secs()
            )),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("id", &self.id).field("address", &self.address()).finish_non_exhaustive()
    }
}

/// A session. Dropping it closes the socket.
#[derive(Debug)]
pub(crate) struct Session {
    conn: Option<Conn>,
}

impl Session {
    pub(crate) fn conn(&mut self) -> &mut Conn {
        self.conn.as_mut().expect("only the end takes it")
    }

    /// Returns the connection to a caller that closes it itself.
    pub(crate) fn take(mut self) -> Conn {
        self.conn.take().expect("only the end takes it")
    }
}

impl Drop for Session {
    /// Polls the disconnect future once, which closes the socket. Otherwise, the client would read the rest of a
    /// result in the background before closing, which may take long.
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            conn.disconnect().now_or_never();
        }
    }
}
