//!
//! The data folder of a private server: its layout, the address of the server, and how the server's programs access it.
//!
//! ```text
//! <data_dir>/            0700, owned by the user of this process
//!   orch.lock            locked by the owning process, contains its pid
//!   postgres.log         log of the server
//!   postgres.password    0600, for loopback TCP
//!   postgres/            0700, owned by the server's account, like everything in it
//!     data/              the cluster
//!     socket/            0700: access to this folder permits connections
//! ```

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::account::Account;
use crate::error::ClusterError;
use crate::installation::Installation;
use crate::paths::encode_for_url;
use crate::postmaster::{PidFile, Postmaster};
use crate::settings::Settings;
use crate::{initialize, postmaster};

/// Name of the superuser and of the first database.
pub(crate) const NAME: &str = "orch";
/// The port is only a part of the socket's file name, so it cannot conflict with other servers.
const SOCKET_PORT: u16 = 5432;
/// Maximum length of the socket path. `sun_path` has 104 bytes on macOS and 108 on Linux, including the final zero.
const LONGEST_SOCKET_PATH: usize = 100;

/// A data folder with an initialized cluster. It does not lock the folder: the caller must do that first.
#[derive(Debug)]
pub struct Home {
    data_dir: PathBuf,
    account: Account,
    installation: Installation,
    address: Address,
}

#[derive(Debug)]
enum Address {
    Socket,
    /// TCP on 127.0.0.1, if the path of a socket would be too long for the operating system.
    Loopback {
        port: u16,
        password: String,
    },
}

impl Home {
    /// Creates the folder and the cluster if they do not exist, and writes the settings. The caller must hold the lock
    /// on the folder.
    pub fn prepare(data_dir: &Path, settings: &Settings) -> Result<Self, ClusterError> {
        let data_dir = create_data_dir(data_dir)?;
        let data = data_dir.join("postgres/data");
        let account = Account::choose(&data_dir, &data)?;
        for folder in ["postgres", "postgres/socket"] {
            let folder = data_dir.join(folder);
            create_private_dir(&folder)?;
            account.take(&folder)?;
        }
        let installation = match major_of_cluster(&data) {
            Some(major) => Installation::of_major(major, &data_dir)?,
            None => Installation::newest()?,
        };
        let mut home = Self { data_dir, account, installation, address: Address::Socket };
        if !data.exists() {
            initialize::initialize(&home, settings)?;
        }
        initialize::write_settings(&home, settings)?;
        home.address = home.choose_address()?;
        Ok(home)
    }

    /// Starts the server and returns when it accepts connections. First stops a server that a killed owner left
    /// running.
    pub fn start(&self) -> Result<Postmaster, ClusterError> {
        postmaster::end_leftover(self)?;
        Postmaster::start(self)
    }

    /// Returns the pid of this folder's server if it runs and accepts connections.
    pub fn running(&self) -> Option<u32> {
        PidFile::read(&self.data())
            .filter(|file| file.ready && postmaster::is_alive(file.pid, &self.data()))
            .map(|file| file.pid)
    }

    /// Returns true if the last server of this folder was killed or its machine crashed, instead of a clean stop.
    pub fn was_interrupted(&self) -> bool {
        PidFile::read(&self.data()).is_some_and(|file| !postmaster::is_alive(file.pid, &self.data()))
    }

    /// Returns the connection URL of a database on this server.
    pub fn url(&self, database: &str) -> String {
        match &self.address {
            Address::Socket => {
                format!(
                    "postgres:///{database}?host={}&port={SOCKET_PORT}&user={NAME}",
                    encode_for_url(&self.socket_dir())
                )
            }
            Address::Loopback { port, password } => {
                format!("postgres://{NAME}:{password}@127.0.0.1:{port}/{database}?sslmode=disable")
            }
        }
    }

    /// Returns the folder of the server's socket, for `psql -h`.
    pub fn socket_dir(&self) -> PathBuf {
        self.data_dir.join("postgres/socket")
    }

    /// Returns the folder of the cluster.
    pub fn data(&self) -> PathBuf {
        self.data_dir.join("postgres/data")
    }

    pub fn log(&self) -> PathBuf {
        self.data_dir.join("postgres.log")
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    pub(crate) fn password_file(&self) -> PathBuf {
        self.data_dir.join("postgres.password")
    }

    pub(crate) fn socket_lock(&self) -> PathBuf {
        self.socket_dir().join(format!(".s.PGSQL.{SOCKET_PORT}.lock"))
    }

    /// Returns arguments that make the server listen only at this address.
    pub(crate) fn listen_arguments(&self, passage: &Passage) -> [String; 3] {
        match self.address {
            Address::Socket => [
                format!("--unix_socket_directories={}", passage.path("socket").display()),
                "--listen_addresses=".into(),
                format!("--port={SOCKET_PORT}"),
            ],
            Address::Loopback { port, .. } => {
                ["--unix_socket_directories=".into(), "--listen_addresses=127.0.0.1".into(), format!("--port={port}")]
            }
        }
    }

    /// Returns a command for a server program. It runs under the account of the server and in its own process group, so
    /// that Ctrl-C does not reach it (the owner stops it). It does not inherit secrets or Postgres variables of the
    /// environment.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.installation.program(program));
        command.env_clear().envs(needed()).env("LC_ALL", "C").current_dir("/").process_group(0);
        self.account.apply(&mut command);
        command
    }

    fn choose_address(&self) -> Result<Address, ClusterError> {
        let socket = self.socket_dir().join(format!(".s.PGSQL.{SOCKET_PORT}"));
        if socket.as_os_str().len() <= LONGEST_SOCKET_PATH {
            return Ok(Address::Socket);
        }
        let password_file = self.password_file();
        let password = std::fs::read_to_string(&password_file).map_err(ClusterError::io("read", &password_file))?;
        let port = match PidFile::read(&self.data()) {
            Some(file) if postmaster::is_alive(file.pid, &self.data()) => file.port,
            _ => TcpListener::bind(("127.0.0.1", 0))
                .and_then(|listener| listener.local_addr())
                .map_err(ClusterError::io("find a free port for", &self.data_dir))?
                .port(),
        };
        Ok(Address::Loopback { port, password: password.trim().to_owned() })
    }
}

/// Access to `<data_dir>/postgres` for the server's programs.
///
/// The account of the server often has no permission for the parent folders, such as root's home or a `mktemp -d`
/// folder (0700). So this process opens the folder and the programs inherit the handle, and no permissions have to be
/// widened.
pub(crate) struct Passage {
    root: PathBuf,
    _handle: Option<File>,
}

impl Passage {
    pub(crate) fn open(home: &Home) -> Result<Self, ClusterError> {
        let folder = home.data_dir.join("postgres");
        if home.account == Account::Own || cfg!(not(target_os = "linux")) {
            return Ok(Self { root: folder, _handle: None });
        }
        let handle = File::open(&folder).map_err(ClusterError::io("open", &folder))?;
        nix::fcntl::fcntl(&handle, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))
            .map_err(|error| ClusterError::io("hand on", &folder)(error.into()))?;
        Ok(Self { root: PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd())), _handle: Some(handle) })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

pub(crate) fn create_data_dir(data_dir: &Path) -> Result<PathBuf, ClusterError> {
    if let Some(parent) = data_dir.parent() {
        std::fs::create_dir_all(parent).map_err(ClusterError::io("create", parent))?;
    }
    create_private_dir(data_dir)?;
    data_dir.canonicalize().map_err(ClusterError::io("open", data_dir))
}

fn create_private_dir(path: &Path) -> Result<(), ClusterError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        done => done.map_err(ClusterError::io("create", path)),
    }
}

/// Opens a file that only its owner may read, and creates it if it does not exist.
pub(crate) fn open_private_file(options: &mut OpenOptions, path: &Path) -> Result<File, ClusterError> {
    options.create(true).mode(0o600).open(path).map_err(ClusterError::io("open", path))
}

/// Returns the environment variables that server programs inherit.
#[expect(clippy::disallowed_methods, reason = "they are handed on, not read")]
pub(crate) fn needed() -> impl Iterator<Item = (&'static str, OsString)> {
    ["PATH", "HOME", "TZ", "TMPDIR", "LD_LIBRARY_PATH"]
        .into_iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)))
}

fn major_of_cluster(data: &Path) -> Option<u32> {
    std::fs::read_to_string(data.join("PG_VERSION")).ok()?.trim().parse().ok()
}
