//! A database per test: cloned from a template with the migrations, dropped at the end of the test. Its name contains
//! the pid of its owner, so that the next test can drop the databases of a killed one.

use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::kill;
use nix::unistd::Pid;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

use crate::shared::{Server, hex, postgres};

/// Connections per test. The server can serve about 30 such tests at a time.
const POOL_SIZE: u32 = 10;
/// Maximum number of templates; the oldest ones are dropped.
const TEMPLATES_KEPT: usize = 8;
/// Owner of the test databases. It is not a superuser, as in production.
const OWNER: &str = "orch_owner";
/// Advisory lock with an arbitrary id that all test processes share.
const TEMPLATE_LOCK: i64 = 0x6f72_6368;

/// A database for one test, with the migrations and no other data.
#[derive(Debug)]
pub struct TestDb {
    server: &'static Server,
    name: String,
    pool: PgPool,
}

impl TestDb {
    /// Clones the template, and creates it first if it does not exist. Each distinct set of migrations has its own
    /// template.
    pub async fn new(migrator: &Migrator) -> Self {
        let server = postgres().await;
        let mut connection = connect(&server.url()).await;
        let template = template(server, &mut connection, migrator).await;
        Self::of_template(server, connection, &template).await
    }

    /// Returns a copy with the same rows, ids and times. Postgres copies only databases without sessions, so the
    /// sessions of this database are terminated.
    pub async fn copy(&self) -> Self {
        let mut connection = connect(&self.server.url()).await;
        sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1")
            .bind(&self.name)
            .execute(&mut connection)
            .await
            .expect("sessions can be ended");
        Self::of_template(self.server, connection, &self.name).await
    }

    async fn of_template(server: &'static Server, mut connection: PgConnection, template: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        // 45 ms here, against 75 ms with a copy through the WAL. Versions before 15 always copy files and have no such
        // option.
        let is_asked = connection.server_version_num().is_some_and(|version| version >= 15_00_00);
        let strategy = if is_asked { " strategy file_copy" } else { "" };
        execute(&mut connection, format!("create database {name} owner {OWNER} template {template}{strategy}")).await;
        close(connection).await;
        let options: PgConnectOptions = owners_url(server, &name).parse().expect("our own URL parses");
        let pool = PgPoolOptions::new().max_connections(POOL_SIZE).connect_lazy_with(options);
        Self { server, name, pool }
    }

    /// Returns the URL, for separate processes such as a worker that is killed.
    pub fn url(&self) -> String {
        owners_url(self.server, &self.name)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns a pool of up to ten connections; the same one at every call.
    pub fn pool(&self) -> PgPool {
        self.pool.clone()
    }

    /// Opens a connection outside the pool.
    pub async fn connect(&self) -> PgConnection {
        connect(&self.url()).await
    }
}

impl Drop for TestDb {
    /// Drops the database and terminates its remaining connections.
    fn drop(&mut self) {
        let (url, name) = (self.server.url(), self.name.clone());
        // The runtime of the test may be shutting down or have a single thread, so this uses a separate one.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
            runtime.block_on(async {
                let mut connection = connect(&url).await;
                execute(&mut connection, format!("drop database {name} with (force)")).await;
                close(connection).await;
            });
        })
        .join();
        // If the test is already failing, its own failure is shown instead.
        assert!(dropped.is_ok() || std::thread::panicking(), "the database `{}` could not be dropped", self.name);
    }
}

/// Returns the URL of a database for its owner.
fn owners_url(server: &Server, database: &str) -> String {
    let url = server.url_of(database);
    let (all, _) = url.rsplit_once("user=").expect("the URL of a socket names its user");
    format!("{all}user={OWNER}")
}

/// Drops the databases of test processes that were killed.
pub(crate) async fn drop_abandoned(server: &Server) {
    let mut connection = connect(&server.url()).await;
    for name in names_like(&mut connection, "test\\_%").await {
        let owner = name.split('_').nth(1).and_then(|pid| pid.parse().ok());
        if owner.is_some_and(|pid| kill(Pid::from_raw(pid), None).is_err()) {
            execute(&mut connection, format!("drop database if exists {name} with (force)")).await;
        }
    }
    close(connection).await;
}

async fn template(server: &Server, connection: &mut PgConnection, migrator: &Migrator) -> String {
    let migrations: Vec<u8> = migrator
        .iter()
        .flat_map(|migration| migration.version.to_le_bytes().into_iter().chain(migration.checksum.iter().copied()))
        .collect();
    let name = format!("template_owned_{}", &hex(&migrations)[..16]);
    if exists(connection, &name).await {
        return name;
    }
    sqlx::query("select pg_advisory_lock($1)")
        .bind(TEMPLATE_LOCK)
        .execute(&mut *connection)
        .await
        .expect("the lock is free in the end");
    if !exists(connection, &name).await {
        // The template gets its final name only when it is complete.
        let unfinished = format!("unfinished_{name}");
        execute(connection, format!("drop database if exists {unfinished} with (force)")).await;
        let has_owner = sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)");
        let has_owner: bool = has_owner.bind(OWNER).fetch_one(&mut *connection).await.expect("roles can be listed");
        if !has_owner {
            execute(connection, format!("create role {OWNER} login createdb createrole")).await;
        }
        execute(connection, format!("create database {unfinished} owner {OWNER}")).await;
        let mut inside = connect(&owners_url(server, &unfinished)).await;
        // Not `run`: its future is not `Send` for every lifetime, and tests are spawned too.
        migrator
            .run_direct(None, &mut inside, false)
            .await
            .unwrap_or_else(|error| panic!("the migrations do not apply: {error}"));
        close(inside).await;
        drop_old_templates(connection).await;
        execute(connection, format!("alter database {unfinished} rename to {name}")).await;
    }
    sqlx::query("select pg_advisory_unlock($1)")
        .bind(TEMPLATE_LOCK)
        .execute(connection)
        .await
        .expect("the lock is ours");
    name
}

async fn drop_old_templates(connection: &mut PgConnection) {
    let names = names_like(connection, "template\\_%").await;
    for name in names.iter().rev().skip(TEMPLATES_KEPT) {
        execute(connection, format!("drop database if exists {name} with (force)")).await;
    }
}

/// Returns the names of matching databases, the oldest first.
async fn names_like(connection: &mut PgConnection, pattern: &str) -> Vec<String> {
    sqlx::query_scalar("select datname::text from pg_database where datname like $1 order by oid")
        .bind(pattern)
        .fetch_all(connection)
        .await
        .expect("the list of databases can be read")
}

async fn exists(connection: &mut PgConnection, name: &str) -> bool {
    sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(name)
        .fetch_one(connection)
        .await
        .expect("the list of databases can be read")
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap_or_else(|error| panic!("cannot connect to `{url}`: {error}"))
}

async fn close(connection: PgConnection) {
    connection.close().await.expect("a connection closes");
}

/// Executes SQL with database names, which cannot be bound. All of the names are ours.
async fn execute(connection: &mut PgConnection, sql: String) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(connection).await;
    done.unwrap_or_else(|error| panic!("`{sql}` failed: {error}"));
}
