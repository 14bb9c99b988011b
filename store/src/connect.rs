//! Opens Postgres connections and pools, and configures their sessions. Sessions of the hot path (the statements that
//! workers run for every task) get extra settings.

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

/// TCP keepalive settings of the server. It detects a dead client within about 15 s.
const KEEPALIVES: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "3"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "15000"),
];
/// Timeout of each statement. No statement of orch should take this long: one that does is stuck, and blocks the loop
/// that sent it.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Postgres ends a session that stays idle in a transaction for longer, which releases its locks.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(30);
/// Idle timeout for transactions whose locks must not outlive a lease. A worker that freezes in a fold holds the run's
/// lock, which the workers that take over its attempts need. A scheduler can freeze with locks in the same way.
pub const HOT_IDLE_IN_TRANSACTION: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Planner settings for the statements of the hot path. With them, plans stay good on fresh, growing and filled tables
/// (measured in docs/DECISIONS.md).
const HOT_SETTINGS: [(&str, &str); 4] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("jit", "off"),
];

/// Returns options that contain only the address and the application name. Other settings are sent in a statement after
/// connecting ([`SessionSettings`]), because poolers reject them in the startup message.
pub fn options(url: &str, name: &str) -> StoreResult<PgConnectOptions> {
    Ok(PgConnectOptions::from_str(url)?.application_name(name).extra_float_digits(None).disable_statement_logging())
}

/// Statements that configure a new session.
struct SessionSettings(String);

impl SessionSettings {
    fn ordinary() -> SessionSettings {
        SessionSettings::with(IDLE_IN_TRANSACTION, &[])
    }

    /// Settings for loops that hold locks which other sessions wait for.
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
            // The module `kept` reads rows as JSON and expects bytes in hex. The database may have another default.
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

/// Opens a connection with the settings of the hot path. It caches prepared statements until it is closed.
#[boxed]
pub async fn hot(url: &str, name: &str) -> StoreResult<PgConnection> {
    connected(
        &options(url, name)?.statement_cache_capacity(HOT_STATEMENTS),
        &SessionSettings::hot(HOT_IDLE_IN_TRANSACTION),
    )
    .await
}

/// Opens a connection without the settings of the hot path.
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

/// Restores the statement timeout after a caller has changed it. `reset` would restore the server's default, which
/// usually is no timeout.
pub(crate) async fn restore_statement_timeout(db: &mut PgConnection) -> StoreResult<()> {
    let text = format!("set statement_timeout = {}", STATEMENT_TIMEOUT.as_millis());
    sqlx::query(AssertSqlSafe(text)).execute(db).await?;
    Ok(())
}

/// Returns the result of `work`, or the error of `cleanup` if only `cleanup` failed. If the connection is lost, both
/// fail, and the error of `work` contains the cause.
pub(crate) fn first_error<T>(work: StoreResult<T>, cleanup: StoreResult<()>) -> StoreResult<T> {
    work.and_then(|done| cleanup.map(|()| done))
}

/// Maximum number of prepared statements that a session of the hot path caches.
const HOT_STATEMENTS: usize = 400;
/// A pooled session that was idle for longer is pinged before use. This detects a restarted server before a request
/// fails, and costs busy sessions nothing.
const PING_AFTER: Duration = Duration::from_secs(1);

/// Returns a small pool with the settings of the hot path, for infrequent statements that need low latency. Its
/// connections stay open.
pub fn hot_pool(url: &str, name: &str, size: u32) -> StoreResult<PgPool> {
    let pool = small(size, SessionSettings::hot(IDLE_IN_TRANSACTION)).idle_timeout(None).max_lifetime(None);
    Ok(pool.connect_lazy_with(options(url, name)?.statement_cache_capacity(HOT_STATEMENTS)))
}

/// Returns a small pool that connects on first use.
pub fn pool(url: &str, name: &str, size: u32) -> StoreResult<PgPool> {
    Ok(small(size, SessionSettings::ordinary()).connect_lazy_with(options(url, name)?))
}

/// Returns the pool of a process, for work outside the hot path that can wait for a free connection.
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

/// Returns false if the connection is inside a transaction, so that the pool closes it. sqlx 0.9 returns such a
/// connection to the pool if the future that begins a transaction is dropped after `begin` was sent. Later statements
/// on the connection would never be committed, and their locks would stay.
///
/// Outside a transaction, `now()` equals the start of the statement, provided that the statement is sent as one
/// message.
async fn is_outside_of_transactions(db: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::raw_sql("select now() = statement_timestamp()").fetch_one(db).await?.try_get(0)
}

/// A pooled connection that returns to its pool only through `give_back`. If it is dropped instead, it is closed,
/// because a statement may still be running on it.
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
        drop(self.0.take().map(PoolConnection::detach)); // closes the connection instead of returning it to the pool
    }
}

/// True if two client sessions share one server session, as behind a transaction pooler. A setting of one client then
/// affects the other. Uses the simple protocol, which every pooler accepts.
#[boxed]
pub async fn is_shared(url: &str, name: &str) -> StoreResult<bool> {
    // A pooler that has no free server session would block the second connection forever.
    let asked = tokio::time::timeout(CONNECT_TIMEOUT, have_one_backend(options(url, name)?));
    asked.await.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut.into()))
}

async fn have_one_backend(options: PgConnectOptions) -> StoreResult<bool> {
    let mut sessions = [PgConnection::connect_with(&options).await?, PgConnection::connect_with(&options).await?];
    let mut first = None;
    // Alternates between the sessions, because a pooler reassigns idle server sessions. Repeats, because other clients
    // may interfere.
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

/// Address and login of a user's database, for any client library. Ignores the environment of this process.
#[derive(Clone)]
pub struct Database {
    /// Host name, or the folder of a Unix socket.
    pub host: String,
    pub port: u16,
    pub login: String,
    pub password: String,
    pub name: String,
    pub ssl_mode: PgSslMode,
    pub ssl_root_cert: Option<String>,
}

impl Database {
    /// Converts a stored connection. Fields that do not fit into a URI may be in its query, as in libpq:
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

    /// Returns the options for a session in this database.
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

/// Returns an extra field as text. A value in the query of a URI that consists of digits was parsed as a number.
fn extra_text(connection: &Outside, name: &str) -> Option<String> {
    match connection.extra_field(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Returns the options for a session in a user's database.
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
