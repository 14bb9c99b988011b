//! Apache Kafka for tests: one broker for all tests of a binary, where each test has its own topics; or a private
//! broker that can be killed. Data is in a temporary folder.
//!
//! The jars are fetched by Maven once and kept below the target folder, with an archive of loaded classes (CDS) that
//! reduces a start to two seconds.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::guarded::Guarded;
use crate::maven::fetch_jars;
use crate::ports::free_ports;
use crate::shared::{hex, target};

const POM: &str = include_str!("kafka/pom.xml");
pub(crate) const LOG4J: &str = include_str!("kafka/log4j2.xml");

const START_TIMEOUT: Duration = Duration::from_mins(3);
const LOOK: Duration = Duration::from_millis(20);
const STARTED: &str = "Kafka Server started";

const LOGIN: &str = "streams";
const PASSWORD: &str = "pa@ss:w/rd";

/// Options for a small heap, fast startup and a single garbage collector thread: the broker holds a few thousand
/// records.
pub(crate) const JAVA: [&str; 7] = [
    "-Xms128m",
    "-Xmx128m",
    "-Xss512k",
    "-XX:MaxDirectMemorySize=64m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.awt.headless=true",
];

#[derive(Debug)]
pub struct Kafka {
    id: usize,
    installed: Installed,
    /// `None` while the broker is down.
    guard: Option<Guarded>,
    ports: Ports,
    folder: TempDir,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    plain: u16,
    encrypted: u16,
    controller: u16,
}

/// Returns the broker that all tests of this binary share.
pub async fn kafka() -> &'static Kafka {
    static BROKER: OnceCell<Kafka> = OnceCell::const_new();
    BROKER.get_or_init(Kafka::start).await
}

impl Kafka {
    /// Login and password of the encrypted listener.
    pub const ACCOUNT: (&str, &str) = (LOGIN, PASSWORD);

    /// Starts a private broker, which is a cluster of one.
    pub async fn start() -> Kafka {
        Kafka::cluster(1).await.pop().expect("one was asked for")
    }

    /// Starts `size` brokers with full replication.
    pub async fn cluster(size: usize) -> Vec<Kafka> {
        let prepared = tokio::task::spawn_blocking(move || prepare(size)).await;
        let mut brokers = prepared.expect("preparing brokers does not panic");
        brokers.iter_mut().for_each(Kafka::launch);
        for broker in &brokers {
            broker.wait_until_started().await;
        }
        brokers
    }

    /// Starts a broker with custom settings. They get its folder and three ports; `address` uses the first one.
    pub async fn configured(settings: impl FnOnce(&Path, [u16; 3]) -> String + Send + 'static) -> Kafka {
        let prepared = tokio::task::spawn_blocking(move || {
            let (installed, folder, ports) = (install(), temporary(), Ports::free());
            let properties = folder.path().join("server.properties");
            let Ports { plain, encrypted, controller } = ports;
            write(&properties, &settings(folder.path(), [plain, encrypted, controller]));
            format_storage(&installed, &properties);
            Kafka { id: 1, installed, guard: None, ports, folder }
        });
        let mut broker = prepared.await.expect("preparing a broker does not panic");
        broker.launch();
        broker.wait_until_started().await;
        broker
    }

    /// Returns a command for one of Kafka's own programs, by its class.
    pub fn program(&self, class: &str) -> Command {
        let mut program = java(&self.installed);
        program.arg(class);
        program
    }

    /// Returns the id of the broker in its cluster.
    pub fn id(&self) -> usize {
        self.id
    }

    /// Returns host and port of the listener without encryption and login.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.plain)
    }

    /// Returns host and port of the encrypted listener, which requires a SASL PLAIN login.
    pub fn encrypted_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.encrypted)
    }

    /// Returns the self-signed certificate of the encrypted listener.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// Kills the broker, like a power failure. Its data is kept.
    pub fn kill(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.kill();
        }
    }

    /// Restarts the broker on the same ports, with its data.
    pub async fn start_again(&mut self) {
        self.launch();
        self.wait_until_started().await;
    }

    fn launch(&mut self) {
        let mut broker = java(&self.installed);
        broker.arg(format!("-XX:SharedArchiveFile={}", self.installed.archive().display()));
        broker.arg("kafka.Kafka").arg(self.folder.path().join("server.properties"));
        self.guard = Some(Guarded::start(self.folder.path(), &broker));
    }

    async fn wait_until_started(&self) {
        if let Some(guard) = &self.guard {
            guard.until_said(STARTED).await;
        }
    }
}

/// The jars, the class archive, and the formatted storage of a broker that has never run.
#[derive(Debug, Clone)]
struct Installed {
    folder: PathBuf,
}

impl Installed {
    fn archive(&self) -> PathBuf {
        self.folder.join("classes.jsa")
    }
}

/// Installs Kafka. If several test processes need it, the first one installs it and the others wait.
fn install() -> Installed {
    let folder = target().join("test-kafka").join(&hex(format!("{POM}{LOG4J}{JAVA:?}").as_bytes())[..8]);
    std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("cannot make `{}`: {error}", folder.display()));
    let lock = File::create(folder.with_extension("lock")).and_then(|lock| lock.lock().map(|()| lock));
    let _lock = lock.unwrap_or_else(|error| panic!("cannot lock `{}`: {error}", folder.display()));
    let installed = Installed { folder };
    let whole = installed.folder.join("installed");
    if !whole.exists() {
        write(&installed.folder.join("log4j2.xml"), LOG4J);
        fetch_jars("Kafka", POM, &installed.folder);
        archive_classes(&installed);
        write(&whole, "");
    }
    installed
}

/// Starts and stops a broker once to create Java's archive of loaded classes.
fn archive_classes(installed: &Installed) {
    let folder = temporary();
    let ports = Ports::free();
    let properties = configure(folder.path(), 1, &[ports]);
    format_storage(installed, &properties);
    let storage = installed.folder.join("storage");
    std::fs::create_dir_all(&storage).expect("the folder can be written");
    copy(&folder.path().join("log"), &storage);

    let output = File::create(folder.path().join("output")).expect("the folder can be written");
    let mut broker = java(installed)
        .arg(format!("-XX:ArchiveClassesAtExit={}", installed.archive().display()))
        .arg("kafka.Kafka")
        .arg(&properties)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::null())
        .spawn()
        .expect("Java was started before");
    let started =
        wait_for(|| std::fs::read_to_string(folder.path().join("output")).is_ok_and(|output| output.contains(STARTED)));
    let pid = nix::unistd::Pid::from_raw(broker.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it is ours");
    broker.wait().expect("it ends");
    let output = std::fs::read_to_string(folder.path().join("output")).unwrap_or_default();
    assert!(started && installed.archive().exists(), "Kafka could not be prepared:\n{output}");
}

fn format_storage(installed: &Installed, properties: &Path) {
    let words = ["kafka.tools.StorageTool", "format", "--cluster-id", "orchorchorchorchorchog", "--config"];
    run_java(java(installed).args(words).arg(properties));
}

/// Returns the common part of all Kafka commands. The class archive requires an identical class path.
fn java(installed: &Installed) -> Command {
    let mut command = Command::new("java");
    command.args(JAVA);
    command.arg(format!("-Dlog4j2.configurationFile={}", installed.folder.join("log4j2.xml").display()));
    command.arg("-cp").arg(format!("{}/*", installed.folder.join("jars").display()));
    command
}

fn run_java(command: &mut Command) {
    let done = command.output().unwrap_or_else(|error| {
        panic!("Java cannot be started: {error}\nhint: run `scripts/setup.sh test`, or `apt-get install default-jre-headless`")
    });
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "the storage of Kafka cannot be made:\n{said}");
}

#[expect(clippy::disallowed_methods, reason = "a broker is a process of its own and sends no events")]
fn wait_for(condition: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !condition() {
        if begun.elapsed() > START_TIMEOUT {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}

fn prepare(size: usize) -> Vec<Kafka> {
    let installed = install();
    let folders: Vec<TempDir> = (0..size).map(|_| temporary()).collect();
    let ports: Vec<Ports> = (0..size).map(|_| Ports::free()).collect();
    let name = |folder: &TempDir| format!("{}A", &hex(folder.path().as_os_str().as_encoded_bytes())[..21]);
    let cluster = name(&folders[0]);
    let brokers = folders.into_iter().zip(1..).map(|(folder, id)| {
        configure(folder.path(), id, &ports);
        let log = folder.path().join("log");
        std::fs::create_dir_all(&log).expect("the folder can be written");
        copy(&installed.folder.join("storage"), &log);
        let meta = std::fs::read_to_string(log.join("meta.properties")).expect("the storage was made");
        let meta = meta.lines().map(|line| match line.split_once('=') {
            Some(("node.id", _)) => format!("node.id={id}\n"),
            Some(("cluster.id", _)) => format!("cluster.id={cluster}\n"),
            Some(("directory.id", _)) => format!("directory.id={}\n", name(&folder)),
            _ => format!("{line}\n"),
        });
        write(&log.join("meta.properties"), &meta.collect::<String>());
        Kafka { id, installed: installed.clone(), guard: None, ports: ports[id - 1], folder }
    });
    brokers.collect()
}

fn temporary() -> TempDir {
    tempfile::Builder::new().prefix("orch-kafka-").tempdir().expect("a temporary folder can be made")
}

impl Ports {
    fn free() -> Ports {
        let [plain, encrypted, controller] = free_ports();
        Ports { plain, encrypted, controller }
    }
}

fn configure(folder: &Path, id: usize, cluster: &[Ports]) -> PathBuf {
    let Ports { plain, encrypted, controller } = cluster[id - 1];
    let voters = cluster.iter().zip(1..).map(|(ports, id)| format!("{id}@127.0.0.1:{}", ports.controller));
    let voters = voters.collect::<Vec<String>>().join(",");
    let copies = cluster.len();
    let needed = copies / 2 + 1;
    let certificate =
        rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()]).expect("a certificate");
    let (public, private) = (certificate.cert.pem(), certificate.signing_key.serialize_pem());
    write(&folder.join("cert.pem"), &public);
    write(&folder.join("keystore.pem"), &format!("{private}{public}"));
    let path = folder.join("server.properties");
    let folder = folder.display();
    let properties = format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{plain},SASL_SSL://127.0.0.1:{encrypted},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SASL_SSL://127.0.0.1:{encrypted}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{LOGIN}=\"{PASSWORD}\";
ssl.keystore.type=PEM
ssl.keystore.location={folder}/keystore.pem
log.dirs={folder}/log
num.partitions=1
default.replication.factor={copies}
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=1
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={needed}
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={needed}
min.insync.replicas={needed}
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=4
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=8388608
log.segment.bytes=134217728
"
    );
    write(&path, &properties);
    path
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap_or_else(|error| panic!("cannot read `{}`: {error}", from.display())) {
        let entry = entry.expect("the folder can be read");
        if entry.path().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("the folder can be written");
        }
    }
}

pub(crate) fn write(path: &Path, content: &str) {
    std::fs::write(path, content).unwrap_or_else(|error| panic!("cannot write `{}`: {error}", path.display()));
}
