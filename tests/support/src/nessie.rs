//! Nessie for tests: an Iceberg REST catalog of another project. It keeps metadata in memory, and files in a bucket.

use tempfile::TempDir;

use crate::guarded::Guarded;
use crate::java::newer_java;
use crate::maven::jars;
use crate::ports::free_ports;

const POM: &str = include_str!("nessie/pom.xml");
const SERVER: &str = "nessie-quarkus-0.99.0-runner.jar";
const STARTED: &str = "Listening on";

/// Location of its files.
#[derive(Debug, Clone, Copy)]
pub struct NessieStorage<'a> {
    /// `s3://bucket/folder`
    pub warehouse: &'a str,
    pub endpoint: &'a str,
    /// Access key and secret key.
    pub keys: (&'a str, &'a str),
}

/// A server for one test.
#[derive(Debug)]
pub struct Nessie {
    _guard: Guarded,
    port: u16,
    _folder: TempDir,
}

impl Nessie {
    /// Starts a server and waits until it responds.
    pub async fn start(storage: NessieStorage<'_>) -> Nessie {
        let installed = tokio::task::spawn_blocking(|| (jars("nessie", POM), newer_java())).await;
        let (jars, mut java) = installed.expect("installing Nessie does not panic");
        let [port, management] = free_ports();
        let folder = tempfile::Builder::new().prefix("orch-nessie-").tempdir().expect("a temporary folder can be made");
        for (name, value) in [
            ("quarkus.http.host", "127.0.0.1"),
            ("quarkus.http.port", &*port.to_string()),
            ("quarkus.management.host", "127.0.0.1"),
            ("quarkus.management.port", &*management.to_string()),
            ("nessie.version.store.type", "IN_MEMORY"),
            ("nessie.catalog.default-warehouse", "lake"),
            ("nessie.catalog.warehouses.lake.location", storage.warehouse),
            ("nessie.catalog.service.s3.default-options.endpoint", storage.endpoint),
            ("nessie.catalog.service.s3.default-options.path-style-access", "true"),
            ("nessie.catalog.service.s3.default-options.region", "us-east-1"),
            ("nessie.catalog.service.s3.default-options.access-key", "urn:nessie-secret:quarkus:keys"),
            ("keys.name", storage.keys.0),
            ("keys.secret", storage.keys.1),
        ] {
            java.arg(format!("-D{name}={value}"));
        }
        java.arg("-jar").arg(jars.join(SERVER));
        let guard = Guarded::start(folder.path(), &java);
        guard.until_said(STARTED).await;
        Nessie { _guard: guard, port, _folder: folder }
    }

    /// Returns the base URL of the catalog, without `/v1/config`.
    pub fn uri(&self) -> String {
        format!("http://127.0.0.1:{}/iceberg", self.port)
    }
}
