//! Sail for tests: a Spark Connect server without Java.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::guarded::Guarded;
use crate::patience::until;
use crate::ports::free_ports;
use crate::venv::data_python;

/// A server for one test.
#[derive(Debug)]
pub struct Sail {
    _guard: Guarded,
    python: PathBuf,
    port: u16,
    _folder: TempDir,
}

impl Sail {
    /// Starts a server and waits until it responds.
    pub fn start() -> Sail {
        let python = data_python();
        let [port] = free_ports();
        let folder = tempfile::Builder::new().prefix("orch-sail-").tempdir().expect("a temporary folder can be made");
        let mut server = Command::new(python.with_file_name("sail"));
        server.args(["spark", "server", "--port", &port.to_string()]);
        let guard = Guarded::start(folder.path(), &server);
        until("Sail", || TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string()));
        Sail { _guard: guard, python, port, _folder: folder }
    }

    /// Returns a connection to the server as JSON.
    pub fn connection(&self) -> String {
        let (port, python) = (self.port, self.python.display());
        format!(
            r#"{{"conn_type": "spark_connect", "host": "127.0.0.1", "port": {port},
            "extra": {{"conf": {{"spark.pyspark.python": "{python}"}}}}}}"#
        )
    }
}
