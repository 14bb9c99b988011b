//! moto for tests: a fake of AWS, here of S3 and of the Glue Data Catalog. Unlike AWS, its Glue does not check the
//! table version of an update.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use tempfile::TempDir;

use crate::guarded::Guarded;
use crate::patience::until;
use crate::ports::free_ports;
use crate::venv::venv;

const PACKAGE: &str = "moto[glue,s3,server]==5.2.5";

/// A server for one test.
#[derive(Debug)]
pub struct Moto {
    _guard: Guarded,
    port: u16,
    _folder: TempDir,
}

impl Moto {
    /// Starts a server with this bucket and waits until it responds.
    pub fn start(bucket: &str) -> Moto {
        let [port] = free_ports();
        let folder = tempfile::Builder::new().prefix("orch-moto-").tempdir().expect("a temporary folder can be made");
        let mut server = Command::new(venv("moto", &[PACKAGE]).join("moto_server"));
        server.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let guard = Guarded::start(folder.path(), &server);
        until("a bucket of moto", || make_bucket(port, bucket));
        Moto { _guard: guard, port, _folder: folder }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn make_bucket(port: u16, bucket: &str) -> Result<(), String> {
    let request =
        format!("PUT /{bucket} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = ask().map_err(|error| error.to_string())?;
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer) }
}
