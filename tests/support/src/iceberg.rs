//! Iceberg's own tools for REST catalogs: its compatibility tests, and its reference server.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::guarded::Guarded;
use crate::maven::jars;
use crate::ports::free_ports;

const KIT: &str = include_str!("iceberg/pom.xml");
/// The reference server with the clients of Hive and Glue.
const BRIDGE: &str = include_str!("iceberg/bridge.xml");
const STARTED: &str = "Started oejs.Server";

/// Returns the folder with the jars of both.
pub fn iceberg_kit() -> PathBuf {
    jars("iceberg-kit", KIT)
}

/// The reference server. It keeps its tables in a folder unless the properties name another catalog.
#[derive(Debug)]
pub struct IcebergCatalog {
    _guard: Guarded,
    port: u16,
    folder: TempDir,
}

impl IcebergCatalog {
    /// Starts a server and waits until it responds.
    pub async fn start() -> IcebergCatalog {
        // Otherwise each session would get a separate in-memory database.
        Self::launch(iceberg_kit, &[("clients", "1")], &[]).await
    }

    /// Starts a server that stores its tables in the catalog with these properties, such as Hive: a bridge to it.
    pub async fn bridge(properties: &[(&str, &str)], environment: &[(&str, &str)]) -> IcebergCatalog {
        Self::launch(|| jars("iceberg-bridge", BRIDGE), properties, environment).await
    }

    async fn launch(
        install: fn() -> PathBuf,
        properties: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> IcebergCatalog {
        let folder =
            tempfile::Builder::new().prefix("orch-iceberg-").tempdir().expect("a temporary folder can be made");
        let [port] = free_ports();
        let jars = tokio::task::spawn_blocking(install).await.expect("installing jars does not panic");
        let mut server = Command::new("java");
        server.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp"]).arg(jars.join("*"));
        server.arg("org.apache.iceberg.rest.RESTCatalogServer");
        server.env("CATALOG_REST_PORT", port.to_string()).env("CATALOG_WAREHOUSE", folder.path().join("warehouse"));
        for (name, value) in properties {
            server.env(format!("CATALOG_{}", name.replace('-', "__").replace('.', "_").to_uppercase()), value);
        }
        server.envs(environment.iter().copied());
        let guard = Guarded::start(folder.path(), &server);
        guard.until_said(STARTED).await;
        IcebergCatalog { _guard: guard, port, folder }
    }

    /// Returns host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the folder of its tables.
    pub fn warehouse(&self) -> PathBuf {
        self.folder.path().join("warehouse")
    }
}
