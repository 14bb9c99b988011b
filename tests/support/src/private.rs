//! A Postgres server for one test, which can be killed or have its own settings.

use std::process::Command;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_cluster::{Home, Postmaster, Settings, Watchdog};
use tempfile::TempDir;

use crate::shared::fail;

/// Durability of commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Same as in production. For crashes of the machine, and for measurements.
    Full,
    /// Faster: commits do not wait for the disk. A killed process loses no data in both modes.
    None,
}

/// A server in a temporary folder, stopped and removed at the end, even when the test process is killed.
#[derive(Debug)]
pub struct PrivateServer {
    home: Arc<Home>,
    server: Option<Postmaster>,
    watchdog: Option<Watchdog>,
    _folder: TempDir,
}

/// Creates and starts a private server: about 0.7 s.
pub async fn private_server(durability: Durability) -> PrivateServer {
    let settings = match durability {
        Durability::Full => Settings::default(),
        Durability::None => Settings::without_durability(),
    };
    PrivateServer::with(settings).await
}

impl PrivateServer {
    /// Starts a server with custom settings.
    pub async fn with(settings: Settings) -> Self {
        Self::in_folder("orch-", settings).await
    }

    /// Starts a server with logical replication.
    pub async fn with_changes() -> Self {
        Self::with(changes()).await
    }

    /// Starts a server with logical replication over TCP, for programs that cannot use Unix sockets.
    pub async fn with_changes_over_tcp() -> Self {
        Self::in_folder(&long_name(), changes()).await
    }

    /// Starts a server over TCP with these settings of `postgresql.conf`.
    pub async fn over_tcp_with(set: &[(&str, &str)]) -> Self {
        let settings = set.iter().fold(Settings::without_durability(), |all, (name, value)| all.set(name, value));
        Self::in_folder(&long_name(), settings).await
    }

    /// Starts a server over TCP, like a remote one: the name of its folder is too long for a socket.
    pub async fn over_tcp() -> Self {
        Self::in_folder(&long_name(), Settings::without_durability()).await
    }

    async fn in_folder(prefix: &str, settings: Settings) -> Self {
        let folder = tempfile::Builder::new().prefix(prefix).tempdir().expect("a temporary folder can be made");
        let path = folder.path().to_owned();
        let home = blocking(move || Home::prepare(&path, &settings)).await.unwrap_or_else(|error| fail(&error));
        let watchdog = Watchdog::start(&home).unwrap_or_else(|error| fail(&error));
        let mut server = Self { home: Arc::new(home), server: None, watchdog: Some(watchdog), _folder: folder };
        server.start().await;
        server
    }

    /// Returns the URL of the database `orch`, which is empty at first. The URL stays the same across restarts.
    pub fn url(&self) -> String {
        self.url_of("orch")
    }

    pub fn url_of(&self, database: &str) -> String {
        self.home.url(database)
    }

    /// Returns the pid of the postmaster, or `None` while the server is down.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Postmaster::pid)
    }

    /// Starts the stopped or killed server and waits until it responds.
    pub async fn start(&mut self) {
        assert!(self.server.is_none(), "the server runs already");
        let home = Arc::clone(&self.home);
        let server = blocking(move || home.start()).await.unwrap_or_else(|error| fail(&error));
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.guard(server.pid());
        }
        self.server = Some(server);
    }

    /// Stops the server gracefully and closes all connections.
    pub async fn stop(&mut self) {
        let server = self.server.take().expect("the server runs");
        blocking(move || server.stop()).await.expect("the server can be waited for");
    }

    pub async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    /// Kills all processes of the server, like a crash of the machine. No session responds afterwards.
    pub async fn kill_9(&mut self) {
        let mut server = self.server.take().expect("the server runs");
        // Without the postmaster, a busy backend might still respond to a statement or two.
        let processes = std::iter::once(server.pid()).chain(children_of(server.pid()));
        for pid in processes.collect::<Vec<_>>() {
            match kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => panic!("cannot kill process {pid} of the private server: {error}"),
            }
        }
        blocking(move || server.wait()).await.expect("the server can be waited for");
    }
}

fn changes() -> Settings {
    Settings::without_durability().set("wal_level", "logical")
}

/// Returns a folder name that is too long for a socket path.
fn long_name() -> String {
    format!("orch-{}-", "over-tcp".repeat(12))
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        let stopped = self.server.take().map(Postmaster::stop);
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.dismiss();
        }
        if let Some(Err(error)) = stopped
            && !std::thread::panicking()
        {
            panic!("the private server does not stop: {error}");
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("the work does not panic")
}

fn children_of(parent: u32) -> Vec<u32> {
    let output = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output().expect("`ps` is installed");
    let rows = String::from_utf8_lossy(&output.stdout).into_owned();
    let pairs = rows.lines().filter_map(|row| {
        let mut columns = row.split_whitespace().filter_map(|column| column.parse::<u32>().ok());
        Some((columns.next()?, columns.next()?))
    });
    pairs.filter(|(_, ppid)| *ppid == parent).map(|(pid, _)| pid).collect()
}
