//! What Iceberg itself has for catalogs that answer by REST: its tests of them, and its reference server.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::guarded::Guarded;
use crate::maven::jars;
use crate::ports::free_ports;

const KIT: &str = include_str!("iceberg/pom.xml");
const STARTED: &str = "Started oejs.Server";

/// The folder of the jars with both.
pub fn iceberg_kit() -> PathBuf {
    jars("iceberg-kit", KIT)
}

/// The reference server, with a catalog in memory and its tables in a folder.
#[derive(Debug)]
pub struct IcebergCatalog {
    _guard: Guarded,
    port: u16,
    folder: TempDir,
}

impl IcebergCatalog {
    /// One that answers.
    pub async fn start() -> IcebergCatalog {
        let folder =
            tempfile::Builder::new().prefix("orch-iceberg-").tempdir().expect("a temporary folder can be made");
        let [port] = free_ports();
        let jars = tokio::task::spawn_blocking(iceberg_kit).await.expect("installing jars does not panic");
        let mut server = Command::new("java");
        server.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp"]).arg(jars.join("*"));
        server.arg("org.apache.iceberg.rest.RESTCatalogServer");
        server.env("CATALOG_REST_PORT", port.to_string()).env("CATALOG_WAREHOUSE", folder.path().join("warehouse"));
        // Each session would have a database in memory of its own.
        server.env("CATALOG_CLIENTS", "1");
        let guard = Guarded::start(folder.path(), &server);
        guard.until_said(STARTED).await;
        IcebergCatalog { _guard: guard, port, folder }
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where its tables are.
    pub fn warehouse(&self) -> PathBuf {
        self.folder.path().join("warehouse")
    }
}
