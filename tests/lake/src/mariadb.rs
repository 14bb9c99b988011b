//! MariaDB for tests: one server shared by all tests of a binary, with a database for each test, or a private server
//! that a test can kill. Data is in a temporary folder and is not flushed to disk on commit.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use nix::unistd::{Uid, User, chown};
use orch_sdk::task::Connection;
use orch_test_support::Guarded;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::OnceCell;

const START_TIMEOUT: Duration = Duration::from_mins(1);
const ACCOUNT: &str = "retail";
const PASSWORD: &str = "pa@ss:w/rd";

#[derive(Debug)]
pub struct MariaDb {
    guard: Guarded,
    port: u16,
    folder: TempDir,
}

/// Returns the server that all tests of this binary share.
pub async fn mariadb() -> &'static MariaDb {
    static SERVER: OnceCell<MariaDb> = OnceCell::const_new();
    SERVER.get_or_init(MariaDb::start).await
}

/// Returns a server with a row-based binlog, which all tests of this binary share.
pub async fn mariadb_with_changes() -> &'static MariaDb {
    static SERVER: OnceCell<MariaDb> = OnceCell::const_new();
    SERVER.get_or_init(|| MariaDb::with_changes(77)).await
}

impl MariaDb {
    /// Starts a private server, which takes about two seconds.
    pub async fn start() -> MariaDb {
        MariaDb::start_with(vec!["--skip-log-bin".into()]).await
    }

    /// Starts a private server with a row-based binlog and this server id.
    pub async fn with_changes(server_id: u32) -> MariaDb {
        let set = ["--log-bin=binlog", "--binlog-format=ROW", "--log-slave-updates"].map(String::from);
        MariaDb::start_with([&set[..], &[format!("--server-id={server_id}")]].concat()).await
    }

    async fn start_with(set: Vec<String>) -> MariaDb {
        let server =
            tokio::task::spawn_blocking(move || prepare(&set)).await.expect("preparing the server does not panic");
        let begun = Instant::now();
        loop {
            match Conn::new(OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(server.port).user(Some("root")))
                .await
            {
                Ok(mut root) => {
                    root.query_drop(format!("create user {ACCOUNT}@'%' identified by '{PASSWORD}'"))
                        .await
                        .expect("an account can be made");
                    root.query_drop(format!("grant all on *.* to {ACCOUNT}@'%' with grant option"))
                        .await
                        .expect("rights can be given");
                    root.disconnect().await.expect("the session ends");
                    return server;
                }
                Err(error) if begun.elapsed() > START_TIMEOUT => {
                    panic!("MariaDB does not start: {error}\n{}", server.guard.said());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Returns the path of the server's self-signed certificate, which is for the name `db.example`.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Creates an empty database and returns a connection to it with the id `retail_mysql`.
    pub async fn database(&self) -> Connection {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.run_statements(&self.connection("mysql"), &format!("create database {name}")).await;
        self.connection(&name)
    }

    /// Returns a connection to a database.
    pub fn connection(&self, database: &str) -> Connection {
        Connection {
            id: "retail_mysql".into(),
            conn_type: "mysql".into(),
            host: Some("127.0.0.1".into()),
            port: Some(self.port),
            login: Some(ACCOUNT.into()),
            password: Some(PASSWORD.into()),
            schema: Some(database.into()),
            ..Connection::default()
        }
    }

    /// Opens a session in a database.
    pub async fn session(&self, connection: &Connection) -> Conn {
        let opts = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .user(Some(ACCOUNT))
            .pass(Some(PASSWORD))
            .db_name(connection.schema.clone());
        Conn::new(opts).await.expect("the server answers")
    }

    /// Runs statements. A `;` at the end of a line ends a statement.
    pub async fn run_statements(&self, connection: &Connection, statements: &str) {
        let mut conn = self.session(connection).await;
        for statement in statements.split(";\n").filter(|statement| !statement.trim().is_empty()) {
            conn.query_drop(statement).await.unwrap_or_else(|error| panic!("`{statement}` failed: {error}"));
        }
        conn.disconnect().await.expect("the session ends");
    }
}

impl AsRef<MariaDb> for MariaDb {
    fn as_ref(&self) -> &MariaDb {
        self
    }
}

fn prepare(set: &[String]) -> MariaDb {
    let folder = tempfile::Builder::new().prefix("orch-mariadb-").tempdir().expect("a temporary folder can be made");
    let data = folder.path().join("data");
    let account = account(folder.path());
    let install = program(&["mariadb-install-db", "mysql_install_db"]);
    let made = Command::new(&install)
        .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
        .arg(format!("--datadir={}", data.display()))
        // Two concurrent installations would use the same names for their temporary tables.
        .arg(format!("--tmpdir={}", folder.path().display()))
        .args(&account)
        .output()
        .unwrap_or_else(|error| panic!("`{install}` cannot be run: {error}"));
    assert!(made.status.success(), "no database can be made: {}", String::from_utf8_lossy(&made.stderr));
    let certificate = rcgen::generate_simple_self_signed(["db.example".to_string()]).expect("a certificate");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    for (path, pem) in [(&cert, certificate.cert.pem()), (&key, certificate.signing_key.serialize_pem())] {
        std::fs::write(path, pem).expect("it can be written");
    }
    // The port is free now, and the server binds it shortly afterwards.
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port is free").port();
    let mut server = Command::new(program(&["mariadbd", "mysqld"]));
    server
        .args(["--no-defaults", "--skip-name-resolve", "--bind-address=127.0.0.1"])
        .args(set)
        .args(["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=128M", "--max-connections=100"])
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--tmpdir={}", folder.path().display()))
        .arg(format!("--socket={}", folder.path().join("socket").display()))
        .arg(format!("--pid-file={}", folder.path().join("pid").display()))
        .arg(format!("--port={port}"))
        .arg(format!("--ssl-cert={}", cert.display()))
        .arg(format!("--ssl-key={}", key.display()))
        .args(&account);
    MariaDb { guard: Guarded::start(folder.path(), &server), port, folder }
}

/// Returns the option that sets the server's user, and gives that user the folder. The server refuses to run as root.
fn account(folder: &Path) -> Vec<String> {
    if !Uid::effective().is_root() {
        return Vec::new();
    }
    let user = ["mysql", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten());
    let user = user.expect("there is a user `mysql` or `nobody`");
    chown(folder, Some(user.uid), Some(user.gid)).expect("root may give a folder away");
    vec![format!("--user={}", user.name)]
}

/// Returns the path of the first installed program. The folder of the server is often only in root's `PATH`.
fn program(names: &[&str]) -> String {
    let folders = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"];
    let mut found = names.iter().flat_map(|name| folders.iter().map(move |folder| format!("{folder}/{name}")));
    found.find(|path| Path::new(path).exists()).unwrap_or_else(|| {
        panic!("`{}` is not installed: run `scripts/setup.sh test`, or `apt-get install mariadb-server`", names[0])
    })
}
