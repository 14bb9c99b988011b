//! Apache Spark for tests: a standalone master and a worker, shared by the tests of a binary.
//!
//! Spark is installed as a Python package and additional jars are fetched by Maven, both once below the target folder.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::guarded::Guarded;
use crate::maven::jars;
use crate::ports::free_ports;
use crate::venv::{package_of, venv};

/// Iceberg does not support a newer version yet.
const PACKAGE: &str = "pyspark==4.1.4";
const POM: &str = include_str!("spark/pom.xml");
/// For this version of Spark: Iceberg tables, Postgres catalogs, and files in buckets.
const ICEBERG: &str = include_str!("spark/iceberg.xml");

const REGISTERED: &str = "Successfully registered with master";

/// Options for a small stack, fast startup and a single garbage collector thread.
const JAVA: &str = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xss512k";

/// A master and a worker.
#[derive(Debug)]
pub struct Spark {
    guards: [Guarded; 2],
    home: PathBuf,
    python: PathBuf,
    jars: Vec<String>,
    master: u16,
    worker: u16,
    _folder: TempDir,
}

/// Returns the cluster that all tests of this binary share.
pub async fn spark() -> &'static Spark {
    static CLUSTER: OnceCell<Spark> = OnceCell::const_new();
    CLUSTER.get_or_init(Spark::start).await
}

/// Returns the Python with Spark.
pub fn spark_python() -> PathBuf {
    venv("spark", &[PACKAGE]).join("python")
}

/// Returns the jars that Spark needs to read and write Iceberg tables.
pub fn iceberg_jars() -> Vec<String> {
    paths_of_jars("spark-iceberg", ICEBERG)
}

impl Spark {
    async fn start() -> Spark {
        let started = tokio::task::spawn_blocking(launch).await;
        let spark = started.expect("starting a cluster does not panic");
        spark.guards[0].until_said(REGISTERED).await;
        spark
    }

    /// `spark://127.0.0.1:20000`
    pub fn master(&self) -> String {
        format!("spark://127.0.0.1:{}", self.master)
    }

    /// Returns a connection to this cluster as JSON, for small jobs; `master` may be another one.
    pub fn connection(&self, master: &str) -> String {
        let (home, python, jars) = (self.home.display(), self.python.display(), self.jars.join(","));
        format!(
            r#"{{"conn_type": "spark", "host": "{master}", "extra": {{"spark-home": "{home}", "jars": "{jars}", "conf": {{
            "spark.pyspark.python": "{python}", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
            "spark.ui.enabled": false, "spark.sql.shuffle.partitions": 2, "spark.driver.memory": "512m",
            "spark.executor.memory": "512m", "spark.driver.extraJavaOptions": "{JAVA}",
            "spark.executor.extraJavaOptions": "{JAVA}"}}}}}}"#
        )
    }

    /// Returns the pids of the executors of this cluster.
    pub fn executors(&self) -> Vec<u32> {
        processes(&[&format!("spark://Worker@127.0.0.1:{}", self.worker), "ExecutorBackend"])
    }

    /// Returns the pids of drivers whose command line contains `of`.
    pub fn drivers(of: &str) -> Vec<u32> {
        processes(&["org.apache.spark.deploy.SparkSubmit", of])
    }
}

/// Returns the processes whose command lines contain all of these words.
fn processes(words: &[&str]) -> Vec<u32> {
    let listed = Command::new("ps").args(["-A", "-ww", "-o", "pid=,args="]).output();
    let listed = listed.unwrap_or_else(|error| panic!("cannot run `ps`: {error}\nhint: apt-get install procps"));
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let fitting = listed.lines().filter(|line| words.iter().all(|word| line.contains(word)));
    fitting.filter_map(|line| line.trim_start().split(' ').next()?.parse().ok()).collect()
}

fn launch() -> Spark {
    let python = spark_python();
    let jars = paths_of_jars("spark", POM);
    let home = package_of(python.parent().expect("it is in a folder"), "pyspark");
    let [master, worker] = free_ports();
    let folder =
        tempfile::Builder::new().prefix("orch-spark-cluster-").tempdir().expect("a temporary folder can be made");
    let class = |name: &str, port: u16| {
        let mut class = Command::new(home.join("bin/spark-class"));
        class.arg(format!("org.apache.spark.deploy.{name}"));
        class.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--webui-port", "0"]);
        class.envs([("SPARK_HOME", home.as_os_str()), ("SPARK_LOCAL_IP", "127.0.0.1".as_ref())]);
        class.envs([("SPARK_DAEMON_MEMORY", "256m"), ("SPARK_DAEMON_JAVA_OPTS", JAVA)]);
        class
    };
    let start = |name: &str, class: &Command| {
        let own = folder.path().join(name);
        std::fs::create_dir(&own).expect("the folder can be written");
        Guarded::start(&own, class)
    };
    let guards = {
        let (first, mut second) = (class("master.Master", master), class("worker.Worker", worker));
        let work = folder.path().join("work");
        second.args(["--cores", "2", "--memory", "1g", "--work-dir"]).arg(work);
        second.arg(format!("spark://127.0.0.1:{master}"));
        [start("worker", &second), start("master", &first)]
    };
    Spark { guards, python, home, jars, master, worker, _folder: folder }
}

fn paths_of_jars(what: &str, pom: &str) -> Vec<String> {
    let jars = std::fs::read_dir(jars(what, pom)).expect("Maven has made it");
    jars.map(|jar| jar.expect("the folder can be read").path().display().to_string()).collect()
}
