//! Sail for tests: a server of Spark Connect without Java. A shell between us and it ends it when this process is gone, however
//! it went.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::patience::until;
use crate::ports::free_ports;
use crate::venv::data_python;

/// `$1` is the program, `$2` its port. It ends when the other end of our input is closed.
const GUARD: &str = r#"
trap '' HUP INT TERM
"$1" spark server --port "$2" < /dev/null &
server=$!
read -r _
kill -9 "$server"
wait
"#;

/// A server of one test.
#[derive(Debug)]
pub struct Sail {
    guard: Child,
    python: PathBuf,
    port: u16,
}

impl Sail {
    /// One that answers.
    pub fn start() -> Sail {
        let python = data_python();
        let [port] = free_ports();
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(python.with_file_name("sail"))
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell can be started");
        until("Sail", || TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string()));
        Sail { guard, python, port }
    }

    /// A connection to it as JSON.
    pub fn connection(&self) -> String {
        let (port, python) = (self.port, self.python.display());
        format!(
            r#"{{"conn_type": "spark_connect", "host": "127.0.0.1", "port": {port},
            "extra": {{"conf": {{"spark.pyspark.python": "{python}"}}}}}}"#
        )
    }
}

impl Drop for Sail {
    fn drop(&mut self) {
        drop(self.guard.stdin.take()); // tells the guard
        self.guard.wait().expect("the guard ends");
    }
}
