//! A running installation with its database, its data folder and its users.

use crate::client::{FORM, JSON, Login, Reply, request, send};
use crate::memory::ProcessTree;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_store::MIGRATOR;
use orch_store::seal::Keyring;
use orch_store::user::{NewUser, add_user};
use orch_test_support::attack::encoded;
use orch_test_support::{TestDb, until};
use orch_web::{Password, hash_password};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

const PASSWORD: &str = "correct horse battery staple";
/// Timeout for what an installation does in the background: start, read a file, finish a run.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(50);

/// Tests measure memory and time, so they run one at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

pub(crate) struct Installation {
    pub(crate) db: TestDb,
    pub(crate) home: TempDir,
    pub(crate) address: SocketAddr,
    child: Child,
    _alone: MutexGuard<'static, ()>,
}

impl Installation {
    /// Starts `orch standalone` with its bundle and waits until both respond.
    pub(crate) async fn start() -> Installation {
        let arguments = ["standalone", "--port", "0", "--admin-password", PASSWORD];
        let installation = Installation::spawn(&arguments, "http://").await;
        let admin = installation.log_in("admin").await;
        for path in ["/catalog/v1/config", "/serving/health"] {
            installation
                .eventually(path, async || {
                    let reply = installation.get(path, &admin).await;
                    if reply.status == 503 { Err(format!("{reply:?}")) } else { Ok(()) }
                })
                .await;
        }
        installation
    }

    /// Starts only the web server, so that only its requests write to the database.
    pub(crate) async fn start_web() -> Installation {
        Installation::spawn(&["web", "--port", "0", "--admin-password", PASSWORD], "orch web is up: http://").await
    }

    /// Starts a server. Its address follows `up` in its output.
    async fn spawn(arguments: &[&str], up: &str) -> Installation {
        let alone = ALONE.lock().await;
        let db = TestDb::new(&MIGRATOR).await;
        let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
        fs::create_dir_all(home.path().join("data/dags")).unwrap();
        let said = fs::File::create(home.path().join("said")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_orch-under-attack"));
        #[expect(clippy::disallowed_methods, reason = "settings are removed, not read")]
        let foreign = std::env::vars_os().map(|(name, _)| name);
        for name in foreign.filter(|name| name.as_encoded_bytes().starts_with(b"ORCH_")) {
            command.env_remove(name);
        }
        command.env("HOME", home.path()).env("ORCH_DATA_DIR", home.path().join("data"));
        command.env("ORCH_SECRET_KEY", Keyring::generate());
        // Disables the rate limit, because an attacker may have many addresses.
        command.env("ORCH_DATABASE_URL", db.url()).env("ORCH_RATE_LIMIT", "0").args(arguments);
        command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        let child = command.spawn().unwrap();
        let address = until("the address of the server", || {
            let said = fs::read_to_string(home.path().join("said")).unwrap();
            let address = said.lines().find_map(|line| line.strip_prefix(up)?.split_whitespace().next()?.parse().ok());
            address.ok_or(said)
        });
        Installation { db, home, address, child, _alone: alone }
    }

    pub(crate) fn dags_folder(&self) -> PathBuf {
        self.home.path().join("data/dags")
    }

    pub(crate) fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.dags_folder().join(name), bytes).unwrap();
    }

    pub(crate) fn processes(&self) -> ProcessTree {
        ProcessTree { server: self.child.id() }
    }

    /// Returns the output of the server, for failure messages.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.home.path().join("said")).unwrap_or_default()
    }

    /// Adds a user named after the role, and returns a login of this user.
    pub(crate) async fn add_user(&self, role: &str) -> Login {
        let password_hash = hash_password(Password::new(PASSWORD)).await.unwrap();
        let name = format!("a-{role}");
        let new = NewUser { name: &name, password_hash: &password_hash, role, ..NewUser::default() };
        assert_eq!(add_user(&mut self.db.connect().await, &new).await.unwrap(), None);
        self.log_in(&name).await
    }

    pub(crate) async fn log_in(&self, name: &str) -> Login {
        let body = json!({ "username": name, "password": PASSWORD }).to_string();
        let token = self.eventually("the users of the server", async || {
            let answer = self.ask("POST", "/auth/token", None, JSON, body.as_bytes()).await;
            answer.json()["access_token"].as_str().map(str::to_owned).ok_or(format!("{answer:?}"))
        });
        let token = token.await;
        let form = format!("username={name}&password={}", encoded(PASSWORD));
        let answer = self.ask("POST", "/login", None, FORM, form.as_bytes()).await;
        let cookie = answer.header("set-cookie").and_then(|cookie| cookie.split(';').next());
        let cookie = cookie.unwrap_or_else(|| panic!("{answer:?}")).to_owned();
        let mut login = Login { token, cookie, form_token: String::new() };
        let page = self.get("/account", &login).await;
        let (_, after) = page.body.split_once("name=\"form_token\" value=\"").unwrap_or_else(|| panic!("{page:?}"));
        after.split('"').next().unwrap_or_default().clone_into(&mut login.form_token);
        login
    }

    /// Sends a request and panics if no response arrives in time.
    pub(crate) async fn ask(&self, method: &str, path: &str, login: Option<&Login>, kind: &str, body: &[u8]) -> Reply {
        let bytes = request(method, path, login, kind, body);
        send(self.address, &bytes).await.unwrap_or_else(|why| panic!("{method} {path}: {why}\n{}", self.said()))
    }

    pub(crate) async fn get(&self, path: &str, login: &Login) -> Reply {
        self.ask("GET", path, Some(login), JSON, b"").await
    }

    pub(crate) async fn send_json(&self, method: &str, path: &str, login: &Login, body: &Value) -> Reply {
        self.ask(method, path, Some(login), JSON, body.to_string().as_bytes()).await
    }

    /// Triggers a run and returns its id.
    pub(crate) async fn trigger(&self, dag: &str, login: &Login, conf: &Value) -> String {
        let path = format!("/api/v2/dags/{dag}/dagRuns");
        let answer = self.send_json("POST", &path, login, &json!({ "logical_date": null, "conf": conf })).await;
        answer.json()["dag_run_id"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
    }

    /// Waits until a DAG of the folder is registered.
    pub(crate) async fn until_registered(&self, dag: &str, login: &Login) {
        let path = format!("/api/v2/dags/{dag}");
        self.eventually(&path, async || {
            let reply = self.get(&path, login).await;
            if reply.status == 200 { Ok(()) } else { Err(format!("{reply:?}")) }
        })
        .await;
    }

    /// Polls until `look` returns a value, because another process sends no events.
    pub(crate) async fn eventually<T>(&self, what: &str, look: impl AsyncFn() -> Result<T, String>) -> T {
        let began = Instant::now();
        loop {
            match look().await {
                Ok(found) => return found,
                Err(seen) => assert!(began.elapsed() < PATIENCE, "{what}: {seen}\n{}", self.said()),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// # Panics
    /// Panics if the server has ended.
    pub(crate) fn assert_alive(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "the server ended with {ended:?}:\n{}", self.said());
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let ended = kill(pid, Signal::SIGINT).map_err(std::io::Error::from).and_then(|()| self.child.wait());
        assert!(ended.is_ok() || std::thread::panicking(), "the server does not end: {ended:?}");
    }
}
