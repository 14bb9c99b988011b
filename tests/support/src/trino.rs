//! Trino for tests: one process that is coordinator and worker. It is fetched by Maven, once below the target folder,
//! and runs on a newer Java.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::guarded::Guarded;
use crate::java::newer_java;
use crate::maven::{jars_with, unpack};
use crate::ports::free_ports;

const POM: &str = include_str!("trino/pom.xml");
const ARCHIVE: &str = "trino-server-476.tar.gz";
const HOME: &str = "trino-server-476";
const PLUGIN: &str = "iceberg";
const STARTED: &str = "SERVER STARTED";

/// A server for one test.
#[derive(Debug)]
pub struct Trino {
    _guard: Guarded,
    port: u16,
    _folder: TempDir,
}

impl Trino {
    /// Name of the Iceberg catalog.
    pub const CATALOG: &str = "orch";

    /// Starts a server with a catalog of these properties, and waits until it responds.
    pub async fn start(catalog: &[(&str, &str)]) -> Trino {
        let installed = tokio::task::spawn_blocking(|| (home(), newer_java())).await;
        let (home, mut java) = installed.expect("installing Trino does not panic");
        let [port] = free_ports();
        let folder = tempfile::Builder::new().prefix("orch-trino-").tempdir().expect("a temporary folder can be made");
        let http = port.to_string();
        let uri = format!("http://127.0.0.1:{port}");
        write(
            &folder.path().join("config.properties"),
            &[
                ("coordinator", "true"),
                ("node-scheduler.include-coordinator", "true"),
                ("http-server.http.port", &http),
                ("discovery.uri", &uri),
                ("plugin.dir", &home.join("plugin").display().to_string()),
                ("catalog.config-dir", &folder.path().join("catalog").display().to_string()),
                ("query.max-memory-per-node", "200MB"),
                ("memory.heap-headroom-per-node", "100MB"),
            ],
        );
        std::fs::create_dir(folder.path().join("catalog")).expect("the folder can be written");
        write(&folder.path().join(format!("catalog/{}.properties", Trino::CATALOG)), catalog);
        java.arg(format!("-Dconfig={}", folder.path().join("config.properties").display()));
        java.arg(format!("-Dnode.data-dir={}", folder.path().join("data").display()));
        java.args(["-Dnode.environment=test", "-Dnode.id=one", "-cp"]).arg(home.join("lib/*"));
        java.arg("io.trino.server.TrinoServer").current_dir(folder.path());
        let guard = Guarded::start(folder.path(), &java);
        guard.until_said(STARTED).await;
        Trino { _guard: guard, port, _folder: folder }
    }

    /// Returns the port on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Returns the folder of the server. Most of its plugins are not needed for Iceberg and are removed.
fn home() -> PathBuf {
    let jars = jars_with("trino", POM, |folder| {
        unpack(folder, ARCHIVE, &[]);
        let plugins = folder.join(HOME).join("plugin");
        let others =
            std::fs::read_dir(&plugins).expect("it is unpacked").map(|plugin| plugin.expect("a plugin").path());
        for other in others.filter(|plugin| !plugin.ends_with(PLUGIN)) {
            std::fs::remove_dir_all(&other).expect("it can be removed");
        }
    });
    jars.with_file_name(HOME)
}

fn write(path: &Path, properties: &[(&str, &str)]) {
    let lines: Vec<String> = properties.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    std::fs::write(path, lines.concat()).unwrap_or_else(|error| panic!("cannot write `{}`: {error}", path.display()));
}
