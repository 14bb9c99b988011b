//! The server that all test processes of a target folder share. Each process registers its pid; the first one starts
//! the server under a file lock, and a watcher stops it when no registered process is alive.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use orch_cluster::{ClusterError, Home, Settings};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use crate::database;

/// Tests run on one thread per core, each with a few pools.
const MAX_CONNECTIONS: u16 = 300;

/// `$1` is the server's folder, `$2` its pid. Between two test binaries of one `cargo test`, no process is registered
/// for a short time, so the watcher checks three times. A process that registers after the last check finds the server
/// stopped and starts it again.
const WATCHER: &str = r#"
trap '' HUP INT
idle=0
while [ "$idle" -lt 3 ]; do
  sleep 1
  idle=$((idle + 1))
  for user in "$1"/users/*; do
    if kill -0 "${user##*/}" 2> /dev/null; then idle=0; else rm -f "$user"; fi
  done
  read -r current < "$1/postgres/data/postmaster.pid" && [ "$current" = "$2" ] || exit 0
done
kill -INT "$2"
"#;

#[derive(Debug)]
pub struct Server {
    home: Home,
}

/// Returns the shared server, and starts it if it is not running.
pub async fn postgres() -> &'static Server {
    static SERVER: OnceCell<Server> = OnceCell::const_new();
    SERVER
        .get_or_init(|| async {
            let attached = tokio::task::spawn_blocking(|| Server::attach(&folder(), std::process::id())).await;
            let server =
                attached.expect("starting the shared server does not panic").unwrap_or_else(|error| fail(&error));
            database::drop_abandoned(&server).await;
            server
        })
        .await
}

impl Server {
    /// Returns the URL of the maintenance database. Tests should use a [`crate::TestDb`] instead.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    pub fn url_of(&self, database: &str) -> String {
        self.home.url(database)
    }

    /// Registers a process as a user of the server in this folder, and starts the server if it is not running.
    fn attach(folder: &Path, user: u32) -> Result<Self, ClusterError> {
        let users = folder.join("users");
        std::fs::create_dir_all(&users).and_then(|()| File::create(users.join(user.to_string()))).unwrap_or_else(
            |error| {
                panic!("cannot register a test in `{}`: {error}", users.display());
            },
        );
        let lock = File::create(folder.join("start.lock")).and_then(|lock| lock.lock().map(|()| lock));
        let _lock = lock.unwrap_or_else(|error| panic!("cannot lock `{}`: {error}", folder.display()));
        let settings = settings();
        let mut home = Home::prepare(folder, &settings)?;
        if home.running().is_some() {
            return Ok(Self { home });
        }
        if home.was_interrupted() {
            // Without fsync, a crash of the machine may leave torn pages. Creating a new cluster takes half a second.
            std::fs::remove_dir_all(home.data()).unwrap_or_else(|error| {
                panic!("cannot remove `{}`: {error}", home.data().display());
            });
            home = Home::prepare(folder, &settings)?;
        }
        let server = home.start()?;
        watch(folder, server.pid());
        Ok(Self { home })
    }
}

/// Fails the test with the error and its hint.
pub(crate) fn fail(error: &ClusterError) -> ! {
    match error.hint() {
        Some(hint) => panic!("{error}\nhint: {hint}"),
        None => panic!("{error}"),
    }
}

fn settings() -> Settings {
    // No test replicates from this server, so it can write less WAL.
    Settings::without_durability()
        .max_connections(MAX_CONNECTIONS)
        .set("wal_level", "minimal")
        .set("max_wal_senders", "0")
}

/// Variable with a folder in memory that `scripts/run_tests.py` creates and removes: most of the time of this server
/// was spent on creating and removing database files on a disk.
const MEMORY: &str = "ORCH_TEST_MEMORY";

/// Returns the folder of the server. Other settings have another folder and server.
#[expect(clippy::disallowed_methods, reason = "tests have no configuration")]
fn folder() -> PathBuf {
    let place = std::env::var_os(MEMORY).map_or_else(target, PathBuf::from);
    place.join("test-postgres").join(&hex(format!("{:?}", settings()).as_bytes())[..8])
}

/// Returns the target folder. Shared files of tests are below it, so that working copies do not share them and `cargo
/// clean` removes them.
pub(crate) fn target() -> PathBuf {
    let binary = std::env::current_exe().expect("the test has a binary");
    let target = binary.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    target.map_or_else(|| std::env::temp_dir().join("orch-target"), Path::to_owned)
}

fn watch(folder: &Path, pid: u32) {
    // The watcher must not inherit a pipe, or `cargo test | tee` would wait for it.
    let started = Command::new("/bin/sh")
        .args(["-c", WATCHER, "orch-test-watcher"])
        .arg(folder)
        .arg(pid.to_string())
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    drop(started.unwrap_or_else(|error| panic!("cannot run `/bin/sh`: {error}")));
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_lives_as_long_as_its_last_user() {
        let folder = tempfile::tempdir().unwrap();
        let mut users: Vec<_> = (0..2).map(|_| Command::new("sleep").arg("600").spawn().unwrap()).collect();
        let first = Server::attach(folder.path(), users[0].id()).unwrap();
        let pid = first.home.running().unwrap();
        let second = Server::attach(folder.path(), users[1].id()).unwrap();
        assert_eq!(second.home.running(), Some(pid));

        for (number, user) in users.iter_mut().enumerate() {
            assert_eq!(first.home.running(), Some(pid), "gone before user {number}");
            user.kill().unwrap();
            user.wait().unwrap();
        }
        wait_for_end(&first);

        // The server is started again for the next user.
        let mut user = Command::new("sleep").arg("600").spawn().unwrap();
        let third = Server::attach(folder.path(), user.id()).unwrap();
        assert!(third.home.running().is_some_and(|again| again != pid));
        user.kill().unwrap();
        user.wait().unwrap();
        wait_for_end(&third);
    }

    #[expect(clippy::disallowed_methods, reason = "the watcher is a process of its own and sends no events")]
    fn wait_for_end(server: &Server) {
        let patience = std::time::Duration::from_millis(20);
        let ended = (0..3_000).any(|_| {
            std::thread::sleep(patience);
            server.home.running().is_none()
        });
        assert!(ended, "the server outlived its last user by a minute");
    }
}
