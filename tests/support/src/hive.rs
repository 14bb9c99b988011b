//! A Hive Metastore for tests, with its own database. Its jars are fetched by Maven, once below the target folder.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::guarded::Guarded;
use crate::maven::{jars_with, run, unpack};
use crate::patience::until;
use crate::ports::free_ports;

const POM: &str = include_str!("hive/metastore.xml");
const ARCHIVE: &str = "hive-standalone-metastore-3.1.3-bin.tar.gz";
const HOME: &str = "apache-hive-metastore-3.1.3-bin";
const EMPTY: &str = "empty-database";

/// Two settings select classes that do not need the rest of Hive. The first one allows Iceberg to drop a column, after
/// which the next column has its position.
const SETTINGS: [(&str, &str); 3] = [
    ("metastore.disallow.incompatible.col.type.changes", "false"),
    ("metastore.expression.proxy", "org.apache.hadoop.hive.metastore.DefaultPartitionExpressionProxy"),
    ("metastore.task.threads.always", "org.apache.hadoop.hive.metastore.events.EventCleanerTask"),
];

/// A metastore for one test.
#[derive(Debug)]
pub struct HiveMetastore {
    _guard: Guarded,
    port: u16,
    folder: TempDir,
}

impl HiveMetastore {
    /// Starts a metastore and waits until it responds.
    pub async fn start() -> HiveMetastore {
        let jars = tokio::task::spawn_blocking(installed).await.expect("installing a metastore does not panic");
        let [port] = free_ports();
        let folder = tempfile::Builder::new().prefix("orch-hive-").tempdir().expect("a temporary folder can be made");
        let database = folder.path().join("database");
        run("cp", Command::new("cp").arg("-r").arg(jars.with_file_name(EMPTY)).arg(&database));
        let mut java = Command::new("java");
        java.current_dir(folder.path());
        java.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp"]).arg(jars.join("*"));
        java.args(["org.apache.hadoop.hive.metastore.HiveMetaStore", "-p", &port.to_string()]);
        let own = [
            ("javax.jdo.option.ConnectionURL", format!("jdbc:derby:{}", database.display())),
            ("metastore.warehouse.dir", format!("file:{}", folder.path().join("warehouse").display())),
        ];
        let set = own.iter().map(|(name, value)| (*name, value.as_str())).chain(SETTINGS);
        for (name, value) in set {
            java.arg("--hiveconf").arg(format!("{name}={value}"));
        }
        let guard = Guarded::start(folder.path(), &java);
        until("the Hive Metastore", || TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string()));
        HiveMetastore { _guard: guard, port, folder }
    }

    /// Returns the Thrift address.
    pub fn uri(&self) -> String {
        format!("thrift://127.0.0.1:{}", self.port)
    }

    /// Returns the folder of its tables.
    pub fn warehouse(&self) -> PathBuf {
        self.folder.path().join("warehouse")
    }
}

fn installed() -> PathBuf {
    jars_with("hive-metastore", POM, |folder| {
        unpack(folder, ARCHIVE, &[&format!("{HOME}/scripts/*")]);
        make_database(folder);
    })
}

/// Creates the database with its tables. This takes longer than copying it.
fn make_database(folder: &Path) {
    let mut java = Command::new("java");
    java.env("METASTORE_HOME", folder.join(HOME)).current_dir(folder);
    java.arg("-cp").arg(folder.join("jars/*")).arg("org.apache.hadoop.hive.metastore.tools.MetastoreSchemaTool");
    java.args(["-dbType", "derby", "-initSchema", "-driver", "org.apache.derby.jdbc.EmbeddedDriver"]);
    java.args(["-userName", "APP", "-passWord", "mine", "-url", &format!("jdbc:derby:{EMPTY};create=true")]);
    run("the schema tool of Hive", &mut java);
}
