//! Connections: what every session is told, and what a hot one is told besides.

use crate::StoreResult;
use orch_core::task::{Connection as Outside, TaskResult, fatal};
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection};
use std::str::FromStr;
use std::time::Duration;

/// A dead peer is noticed within about 15 s, by the kernel on both sides.
const KEEPALIVES: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "3"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "15000"),
];
/// No statement of ours takes that long; one that does is stuck, and the loop behind it must go on.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Who says nothing for so long in the middle of a transaction is ended, and its locks are free.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(30);
/// A worker that is frozen while it folds holds the lock of a run, and everybody who takes its work over needs that
/// lock: it must be free by the time its lease is over, or soon after. So with a scheduler that is frozen in a round.
pub const HOT_IDLE_IN_TRANSACTION: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Plans for the hot statements that stay good on fresh, growing and filled tables: measured in docs/DECISIONS.md.
const HOT_SETTINGS: [(&str, &str); 4] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("jit", "off"),
];

/// Options of an ordinary session.
pub fn options(url: &str, name: &str) -> StoreResult<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url)?
        .application_name(name)
        .options(KEEPALIVES)
        .options([("statement_timeout", STATEMENT_TIMEOUT.as_millis())])
        .options([idle_in_transaction(IDLE_IN_TRANSACTION)])
        .options([("timezone", "UTC")])
        .disable_statement_logging();
    Ok(options)
}

fn idle_in_transaction(limit: Duration) -> (&'static str, u128) {
    ("idle_in_transaction_session_timeout", limit.as_millis())
}

/// One connection with the settings of the hot path. Its statements live as long as it does.
pub async fn hot(url: &str, name: &str) -> StoreResult<PgConnection> {
    let options = options(url, name)?.options(HOT_SETTINGS).options([idle_in_transaction(HOT_IDLE_IN_TRANSACTION)]);
    connected(&options.statement_cache_capacity(400)).await
}

/// One ordinary connection.
pub async fn one(url: &str, name: &str) -> StoreResult<PgConnection> {
    connected(&options(url, name)?).await
}

/// One connection of a loop whose locks others wait for.
pub async fn of_rounds(url: &str, name: &str) -> StoreResult<PgConnection> {
    connected(&options(url, name)?.options([idle_in_transaction(HOT_IDLE_IN_TRANSACTION)])).await
}

async fn connected(options: &PgConnectOptions) -> StoreResult<PgConnection> {
    match tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(options)).await {
        Ok(connection) => Ok(connection?),
        Err(_) => Err(sqlx::Error::PoolTimedOut.into()),
    }
}

/// A session that idled for longer is asked whether it is still there before it is used: a server that was restarted is
/// noticed without a failed request, and a busy session pays nothing.
const PING_AFTER: Duration = Duration::from_secs(1);

/// A small pool with the settings of the hot path, for what must be quick whenever it comes: its connections stay.
pub fn hot_pool(url: &str, name: &str, size: u32) -> StoreResult<PgPool> {
    Ok(PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(CONNECT_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .before_acquire(|db, idle| {
            Box::pin(async move {
                if idle.idle_for > PING_AFTER {
                    db.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options(url, name)?.options(HOT_SETTINGS).statement_cache_capacity(400)))
}

/// A small pool that connects when first used.
pub fn pool(url: &str, name: &str, size: u32) -> StoreResult<PgPool> {
    Ok(PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(CONNECT_TIMEOUT)
        .idle_timeout(Duration::from_mins(1))
        .test_before_acquire(false) // a ping a statement; a broken connection is an error its user must handle anyway
        .connect_lazy_with(options(url, name)?))
}

/// Where a connection to a database of users leads, before it is told to any client. Nothing of this process's
/// environment is used.
#[derive(Clone)]
pub struct Database {
    /// A folder is that of a socket.
    pub host: String,
    pub port: u16,
    pub login: String,
    pub password: String,
    pub name: String,
    pub ssl_mode: PgSslMode,
    pub ssl_root_cert: Option<String>,
}

impl Database {
    /// # Errors
    /// A fatal error when the connection is for something else, or says what no session can be told.
    pub fn of(connection: &Outside) -> TaskResult<Database> {
        let id = &connection.id;
        if !matches!(connection.conn_type.as_str(), "postgres" | "postgresql") {
            let kind = &connection.conn_type;
            return Err(fatal(format!("connection `{id}` is of type `{kind}`, not `postgres`")));
        }
        let text = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        let extra = |name: &str| connection.extra_field(name).and_then(Value::as_str).map(String::from);
        let ssl_mode = match extra("sslmode") {
            None => PgSslMode::Prefer,
            Some(mode) => {
                mode.parse().map_err(|_| fatal(format!("connection `{id}` has an sslmode that is not known")))?
            }
        };
        let login = text(&connection.login).or_else(|| extra("user")).unwrap_or_else(|| "postgres".into());
        Ok(Database {
            host: text(&connection.host).or_else(|| extra("host")).unwrap_or_else(|| "localhost".into()),
            port: connection.port.unwrap_or(5432),
            password: connection.password.clone().unwrap_or_default(),
            name: text(&connection.schema).unwrap_or_else(|| login.clone()),
            login,
            ssl_mode,
            ssl_root_cert: extra("sslrootcert"),
        })
    }
}

/// Options of a session at a database of users, as their connection says.
///
/// # Errors
/// As [`Database::of`].
pub fn outside(connection: &Outside, statement_timeout: Option<Duration>) -> TaskResult<PgConnectOptions> {
    let to = Database::of(connection)?;
    let options = PgConnectOptions::new_without_pgpass();
    let options = if to.host.starts_with('/') { options.socket(&to.host) } else { options.host(&to.host) };
    let mut options = options
        .port(to.port)
        .username(&to.login)
        .password(&to.password)
        .database(&to.name)
        .ssl_mode(to.ssl_mode)
        .application_name("orch task");
    if let Some(path) = &to.ssl_root_cert {
        options = options.ssl_root_cert(path);
    }
    if let Some(limit) = statement_timeout {
        options = options.options([("statement_timeout", limit.as_millis())]);
    }
    Ok(options)
}
