//! Kafka Connect for tests, with the Debezium connectors: a worker for one test, which can be killed. Its jars are
//! fetched by Maven, once below the target folder.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::attack::{ask, status_of};
use crate::guarded::Guarded;
use crate::kafka::{JAVA, Kafka, LOG4J, write};
use crate::maven::jars;
use crate::ports::free_ports;

const WORKER: [&str; 3] = [
    "org.apache.kafka:connect-runtime:4.3.1",
    "org.apache.kafka:connect-json:4.3.1",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4",
];
/// The newest version of each that Maven has with all dependencies.
const POSTGRES: [&str; 1] = ["io.debezium:debezium-connector-postgres:3.7.0.Final"];
const MARIADB: [&str; 1] = ["io.debezium:debezium-connector-mariadb:3.5.0.Final"];

const STARTED: &str = "Kafka Connect started";
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(50);

/// A worker with its connectors. Their offsets are stored in topics of its broker.
#[derive(Debug)]
pub struct Connect {
    /// `None` while the worker is down.
    guard: Option<Guarded>,
    port: u16,
    folder: TempDir,
}

impl Connect {
    pub async fn start(broker: &Kafka) -> Connect {
        let address = broker.address();
        let prepared = tokio::task::spawn_blocking(move || prepare(&address)).await;
        let mut worker = prepared.expect("preparing a worker does not panic");
        worker.start_again().await;
        worker
    }

    /// Kills the worker, like a power failure. Its connectors will resend everything since their last committed
    /// offsets.
    pub fn kill(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.kill();
        }
    }

    /// Restarts the worker on the same port, with its connectors.
    pub async fn start_again(&mut self) {
        let mut worker = Command::new("java");
        worker.args(JAVA).arg("-Xmx256m");
        worker.arg(format!("-Dlog4j2.configurationFile={}", self.folder.path().join("log4j2.xml").display()));
        worker.arg("-cp").arg(format!("{}/*", jars("connect", &pom(&WORKER)).display()));
        worker.arg("org.apache.kafka.connect.cli.ConnectDistributed");
        worker.arg(self.folder.path().join("worker.properties"));
        let guard = Guarded::start(self.folder.path(), &worker);
        guard.until_said(STARTED).await;
        self.guard = Some(guard);
    }

    /// Creates or changes a connector; `config` is a JSON object.
    pub async fn put(&self, connector: &str, config: &str) {
        let begun = Instant::now();
        loop {
            let answer = self.ask("PUT", &format!("/connectors/{connector}/config"), config).await;
            match status_of(&answer) {
                Some(201) => return,
                // A rebalance is in progress, and no event reports its end.
                Some(409) if begun.elapsed() < PATIENCE => tokio::time::sleep(LOOK).await,
                _ => panic!("{answer}\n{}", self.said()),
            }
        }
    }

    /// Restarts the tasks of a connector with the REST API; `&onlyFailed=true` skips running tasks.
    pub async fn restart(&self, connector: &str, which: &str) {
        let path = format!("/connectors/{connector}/restart?includeTasks=true{which}");
        let answer = self.ask("POST", &path, "").await;
        // 409: a rebalance will start the tasks anyway.
        assert!(matches!(status_of(&answer), Some(202 | 204 | 409)), "{answer}\n{}", self.said());
    }

    /// Stops a connector after it has committed its offsets (`stop`), or resumes it (`resume`).
    pub async fn steer(&self, connector: &str, word: &str) {
        let answer = self.ask("PUT", &format!("/connectors/{connector}/{word}"), "").await;
        assert!(matches!(status_of(&answer), Some(202 | 204)), "{answer}\n{}", self.said());
    }

    /// Returns the status of a connector and the output of the worker.
    pub async fn status(&self, connector: &str) -> String {
        let told = self.ask("GET", &format!("/connectors/{connector}/status"), "").await;
        format!("{told}\n{}", self.said())
    }

    fn said(&self) -> String {
        self.guard.as_ref().map(Guarded::said).unwrap_or_default()
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let head = "content-type: application/json\r\nhost: localhost\r\nconnection: close";
        let request = format!("{method} {path} HTTP/1.1\r\n{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        ask(address, request.as_bytes()).await
    }
}

fn prepare(broker: &str) -> Connect {
    let folder = tempfile::Builder::new().prefix("orch-connect-").tempdir().expect("a temporary folder can be made");
    let connectors = [("debezium-postgres", POSTGRES), ("debezium-mariadb", MARIADB)];
    // The plugin path contains one folder per connector.
    let connectors = connectors.map(|(name, artifacts)| {
        let jars = jars(name, &pom(&artifacts));
        jars.parent().expect("it is in a folder").display().to_string()
    });
    jars("connect", &pom(&WORKER));
    let [port] = free_ports();
    let properties = format!(
        "bootstrap.servers={broker}
group.id=connect
listeners=http://127.0.0.1:{port}
plugin.path={}
plugin.discovery=service_load
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
key.converter.schemas.enable=false
value.converter.schemas.enable=false
config.storage.topic=connect-configs
offset.storage.topic=connect-offsets
status.storage.topic=connect-status
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
offset.storage.partitions=1
status.storage.partitions=1
offset.flush.interval.ms=20000
scheduled.rebalance.max.delay.ms=0
session.timeout.ms=2000
heartbeat.interval.ms=500
",
        connectors.join(",")
    );
    write(&folder.path().join("worker.properties"), &properties);
    write(&folder.path().join("log4j2.xml"), LOG4J);
    Connect { guard: None, port, folder }
}

/// Returns a POM for artifacts in the form `group:name:version`.
fn pom(artifacts: &[&str]) -> String {
    let dependency = |artifact: &&str| {
        let parts: Vec<&str> = artifact.split(':').collect();
        let [group, name, version] = parts[..] else { panic!("`{artifact}` is no group:name:version") };
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>"
        )
    };
    let dependencies: String = artifacts.iter().map(dependency).collect();
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion><groupId>orch.tests</groupId>\
         <artifactId>connect</artifactId><version>1</version><packaging>pom</packaging>\
         <dependencies>{dependencies}</dependencies></project>"
    )
}
