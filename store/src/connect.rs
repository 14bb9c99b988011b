//! Connections: the settings of every session, and more settings for sessions of the hot path.

use crate::{StoreResult, boxed};
use orch_sdk::task::{Connection as Outside, TaskResult, fatal};
use serde_json::Value;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgSslMode, Postgres};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};
use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Both kernels detect a dead peer within about 15 s.
const KEEPALIVES: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "3"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "15000"),
];
/// Timeout of statements. No statement of orch takes that long: one that does is stuck, and blocks its loop.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// A session that is idle in a transaction for longer is ended, which releases its locks.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(30);
/// A worker that freezes while it folds holds the lock of a run, which the workers that take over its work need: the
/// lock must be released about when its lease ends. The same applies to a scheduler that freezes in a round.
pub const HOT_IDLE_IN_TRANSACTION: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Planner settings for the hot statements: their plans stay good on fresh, growing and filled tables (measured in
/// docs/DECISIONS.md).
const HOT_SETTINGS: [(&str, &str); 4] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("jit", "off"),
];

/// Returns the address and name of a session. Settings are sent by a statement once it is open ([`SessionSettings`]),
/// because a pooler rejects them in the startup message.
pub fn options(url: &str, name: &str) -> StoreResult<PgConnectOptions> {
    Ok(PgConnectOptions::from_str(url)?.application_name(name).extra_float_digits(None).disable_statement_logging())
}

/// Statements that configure a new session.
struct SessionSettings(String);

impl SessionSettings {
    fn ordinary() -> SessionSettings {
        SessionSettings::with(IDLE_IN_TRANSACTION, &[])
    }

    /// For loops whose locks others wait for.
    fn of_rounds() -> SessionSettings {
        SessionSettings::with(HOT_IDLE_IN_TRANSACTION, &[])
    }

    fn hot(idle_in_transaction: Duration) -> SessionSettings {
        SessionSettings::with(idle_in_transaction, &HOT_SETTINGS)
    }

    fn with(idle_in_transaction: Duration, more: &[(&str, &str)]) -> SessionSettings {
        let limits = [
            ("statement_timeout", STATEMENT_TIMEOUT.as_millis().to_string()),
            ("idle_in_transaction_session_timeout", idle_in_transaction.as_millis().to_string()),
            // Rows are read as JSON (`kept`), and the database may have a different default format for bytes.
            ("bytea_output", "hex".into()),
        ];
        let limits = limits.iter().map(|(name, value)| format!("set {name} = {value};"));
        let others = KEEPALIVES.iter().chain(more).map(|(name, value)| format!("set {name} = {value};"));
        SessionSettings(limits.chain(others).collect())
    }

    async fn tell(&self, db: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(self.0.as_str())).execute(db).await.map(drop)
    }
}

/// Opens a connection with the settings of the hot path. Prepared statements live as long as it does.
#[boxed]
pub async fn hot(url: &str, name: &str) -> StoreResult<PgConnection> {
    connected(
        &options(url, name)?.statement_cache_capacity(HOT_STATEMENTS),
        &SessionSettings::hot(HOT_IDLE_IN_TRANSACTION),
    )
    .await
}

/// Opens an ordinary connection.
#[boxed]
pub async fn one(url: &str, name: &str) -> StoreResult<PgConnection> {
    connected(&options(url, name)?, &SessionSettings::ordinary()).await
}

async fn connected(options: &PgConnectOptions, told: &SessionSettings) -> StoreResult<PgConnection> {
    let connecting = async {
        let mut db = PgConnection::connect_with(options).await?;
        told.tell(&mut db).await?;
        Ok::<_, sqlx::Error>(db)
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connection) => Ok(connection?),
        Err(_) => Err(sqlx::Error::PoolTimedOut.into()),
    }
}

/// Restores the statement timeout of orch's sessions after a change. `reset` would restore the default of the server,
/// which usually has none.
pub(crate) async fn restore_statement_timeout(db: &mut PgConnection) -> StoreResult<()> {
    let text = format!("set statement_timeout = {}", STATEMENT_TIMEOUT.as_millis());
    sqlx::query(AssertSqlSafe(text)).execute(db).await?;
    Ok(())
}

/// Returns the result of the work, or the error of the cleanup after it if only the cleanup failed. If the connection
/// is lost, both fail, and the first error contains the cause.
pub(crate) fn first_error<T>(work: StoreResult<T>, cleanup: StoreResult<()>) -> StoreResult<T> {
    work.and_then(|done| cleanup.map(|()| done))
}

/// Maximum number of prepared statements of a hot session.
const HOT_STATEMENTS: usize = 400;
/// A session that was idle for longer is pinged before it is used: a restarted server is noticed without a failed
/// request, and a busy session pays nothing.
const PING_AFTER: Duration = Duration::from_secs(1);

/// Returns a small pool with the settings of the hot path, for rare work that must be fast. Its connections stay open.
pub fn hot_pool(url: &str, name: &str, size: u32) -> StoreResult<PgPool> {
    let pool = small(size, SessionSettings::hot(IDLE_IN_TRANSACTION)).idle_timeout(None).max_lifetime(None);
    Ok(pool.connect_lazy_with(options(url, name)?.statement_cache_capacity(HOT_STATEMENTS)))
}

/// Returns a small pool that connects when first used.
pub fn pool(url: &str, name: &str, size: u32) -> StoreResult<PgPool> {
    Ok(small(size, SessionSettings::ordinary()).connect_lazy_with(options(url, name)?))
}

/// Returns the pool of a process, for work that is not hot and may wait for connections.
pub fn cold(url: &str, name: &str, size: u32) -> StoreResult<PgPool> {
    Ok(small(size, SessionSettings::of_rounds()).connect_lazy_with(options(url, name)?))
}

fn small(size: u32, told: SessionSettings) -> PgPoolOptions {
    let told = Arc::new(told);
    pool_options()
        .max_connections(size)
        .acquire_timeout(CONNECT_TIMEOUT)
        .acquire_slow_threshold(CONNECT_TIMEOUT) // pools are small deliberately, so waiting is normal
        .idle_timeout(Duration::from_mins(1))
        .test_before_acquire(false)
        .after_connect(move |db, _| {
            let told = told.clone();
            Box::pin(async move { told.tell(db).await })
        })
        .before_acquire(|db, idle| {
            Box::pin(async move {
                if idle.idle_for > PING_AFTER {
                    db.ping().await?;
                }
                Ok(true)
            })
        })
}

/// Returns the options that all pools share.
pub fn pool_options() -> PgPoolOptions {
    PgPoolOptions::new().after_release(|db, _| Box::pin(is_outside_of_transactions(db)))
}

/// Returns false in the middle of a transaction, so that the connection is closed. sqlx 0.9 returns such a connection
/// if the future that begins a transaction is dropped after `begin` was sent: later work on it would never be
/// committed, and its locks would stay.
///
/// A statement outside of a transaction starts when its own transaction does, if it is sent as one message.
async fn is_outside_of_transactions(db: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::raw_sql("select now() = statement_timestamp()").fetch_one(db).await?.try_get(0)
}

/// A connection that returns to its pool only through `give_back`. Otherwise it is closed, because a statement may be
/// running.
#[derive(Debug)]
pub struct Loan(Option<PoolConnection<Postgres>>);

impl Loan {
    #[boxed]
    pub async fn of(pool: &PgPool) -> StoreResult<Loan> {
        Ok(Loan(Some(pool.acquire().await?)))
    }

    pub fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Deref for Loan {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.0.as_ref().expect("it is taken only when it is given back")
    }
}

impl DerefMut for Loan {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.0.as_mut().expect("it is taken only when it is given back")
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        drop(self.0.take().map(PoolConnection::detach)); // closed, not pooled
    }
}

/// True if two client sessions share one server session, so that settings of one affect the other. Uses simple
/// statements, which every pooler accepts.
#[boxed]
pub async fn is_shared(url: &str, name: &str) -> StoreResult<bool> {
    // A pooler without a free session blocks the second one.
    let asked = tokio::time::timeout(CONNECT_TIMEOUT, have_one_backend(options(url, name)?));
    asked.await.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut.into()))
}

async fn have_one_backend(options: PgConnectOptions) -> StoreResult<bool> {
    let mut sessions = [PgConnection::connect_with(&options).await?, PgConnection::connect_with(&options).await?];
    let mut first = None;
    // Alternates, because a pooler passes idle sessions on; more than once, because other clients may interfere.
    for turn in 0..8 {
        let pid: i32 =
            sqlx::raw_sql("select pg_backend_pid()").fetch_one(&mut sessions[turn % 2]).await?.try_get_unchecked(0)?;
        if turn % 2 == 0 {
            first = Some(pid);
        } else if first == Some(pid) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Address and login of a user database, for any client. The environment of this process is not used.
#[derive(Clone)]
pub struct Database {
    /// A path is the folder of a socket.
    pub host: String,
    pub port: u16,
    pub login: String,
    pub password: String,
    pub name: String,
    pub ssl_mode: PgSslMode,
    pub ssl_root_cert: Option<String>,
}

impl Database {
    /// Reads a connection. Fields that do not fit into a URI may be in its query, as in libpq:
    /// `postgres:///shop?host=/run/postgresql&port=5433`.
    ///
    /// # Errors
    /// Returns a fatal error if the connection has another type, or an invalid port or `sslmode`.
    pub fn of(connection: &Outside) -> TaskResult<Database> {
        let id = &connection.id;
        if !matches!(connection.conn_type.as_str(), "postgres" | "postgresql") {
            let kind = &connection.conn_type;
            return Err(fatal(format!("connection `{id}` is of type `{kind}`, not `postgres`")));
        }
        let text = |field: &Option<String>, name: &str| {
            field.clone().filter(|text| !text.is_empty()).or_else(|| extra_text(connection, name))
        };
        let ssl_mode = match extra_text(connection, "sslmode") {
            None => PgSslMode::Prefer,
            Some(mode) => {
                mode.parse().map_err(|_| fatal(format!("connection `{id}` has an sslmode that is not known")))?
            }
        };
        let port = match (connection.port, extra_text(connection, "port")) {
            (Some(port), _) => port,
            (None, None) => 5432,
            (None, Some(port)) => port
                .parse()
                .map_err(|_| fatal(format!("connection `{id}` has a port that is no number up to 65535: {port}")))?,
        };
        let login = text(&connection.login, "user").unwrap_or_else(|| "postgres".into());
        Ok(Database {
            host: text(&connection.host, "host").unwrap_or_else(|| "localhost".into()),
            port,
            password: text(&connection.password, "password").unwrap_or_default(),
            name: text(&connection.schema, "dbname").unwrap_or_else(|| login.clone()),
            login,
            ssl_mode,
            ssl_root_cert: extra_text(connection, "sslrootcert"),
        })
    }

    /// Returns the options of a session in this database.
    pub fn options(&self) -> PgConnectOptions {
        let options = PgConnectOptions::new_without_pgpass();
        let options = if self.host.starts_with('/') { options.socket(&self.host) } else { options.host(&self.host) };
        let options = options
            .port(self.port)
            .username(&self.login)
            .password(&self.password)
            .database(&self.name)
            .ssl_mode(self.ssl_mode)
            .application_name("orch task");
        match &self.ssl_root_cert {
            Some(path) => options.ssl_root_cert(path),
            None => options,
        }
    }
}

/// Digits in the query of a URI are parsed as a number.
fn extra_text(connection: &Outside, name: &str) -> Option<String> {
    match connection.extra_field(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Returns the options of a session in a user database.
///
/// # Errors
/// Returns the errors of [`Database::of`].
pub fn outside(connection: &Outside, statement_timeout: Option<Duration>) -> TaskResult<PgConnectOptions> {
    let options = Database::of(connection)?.options();
    Ok(match statement_timeout {
        Some(limit) => options.options([("statement_timeout", limit.as_millis())]),
        None => options,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(uri: &str) -> TaskResult<Database> {
        Database::of(&Outside::from_uri("shop", uri).expect("it is a URI"))
    }

    #[test]
    fn the_port_of_a_socket_stands_in_the_query() {
        let place = |uri: &str| database(uri).map(|to| (to.host, to.port)).expect("it is a database");
        assert_eq!(place("postgres:///shop?host=/run/postgres&port=5611"), ("/run/postgres".into(), 5611));
        assert_eq!(place("postgres:///shop?host=/run/postgres"), ("/run/postgres".into(), 5432));
        assert_eq!(place("postgres://db:5433/shop?port=5611"), ("db".into(), 5433));
        assert_eq!(place("postgres://"), ("localhost".into(), 5432));
        for port in ["first", "70000", "54.5"] {
            let error = database(&format!("postgres:///shop?port={port}")).err().expect("it is refused");
            assert_eq!(
                error.to_string(),
                format!("connection `shop` has a port that is no number up to 65535: {port}")
            );
        }
    }

    #[test]
    fn an_account_may_stand_in_the_query() {
        let to = database("postgres:///?user=ann&password=12345").expect("it is a database");
        assert_eq!((to.login.as_str(), to.password.as_str(), to.name.as_str()), ("ann", "12345", "ann"));
        let to = database("postgres://bob:hush@/shop?user=ann&password=12345&dbname=other").expect("it is a database");
        assert_eq!((to.login.as_str(), to.password.as_str(), to.name.as_str()), ("bob", "hush", "shop"));
    }
}
