//! Runs the services of compose.yml without containers: each with its command, environment, mounted scripts and health
//! check, in which only hosts, ports and paths of containers are replaced. Metabase and MinIO are not available from
//! package registries; an S3 server of the tests replaces MinIO and has the same account.

use super::{compose, names, root, texts, variables};
use crate::http::ask;
use crate::world::{FinishedCommand, bundle, command};
use orch_test_lake::{MariaDb, S3Server};
use orch_test_support::{Guarded, Kafka, PrivateServer, until};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use yaml_rust2::Yaml;

/// The parsed file, the folder with its passwords, and replacements for texts that are only valid in containers.
struct Stack {
    compose: Yaml,
    passwords: PathBuf,
    moved: Vec<(String, String)>,
}

impl Stack {
    /// Creates a stack with the passwords that its first service generates.
    fn new(passwords: PathBuf) -> Stack {
        std::fs::create_dir(&passwords).unwrap();
        let (script, folder) = (root().join("deploy/passwords.sh"), passwords.display().to_string());
        let mut stack = Stack { compose: compose(), passwords, moved: Vec::new() };
        stack.replace("/usr/local/bin/passwords.sh", script.to_str().unwrap());
        stack.replace("/run/passwords", folder);
        let maker = stack.service("passwords");
        let words = texts(&maker["entrypoint"]).into_iter().chain(texts(&maker["command"]));
        let words: Vec<String> = words.map(|word| stack.here(word)).collect();
        done(Command::new(&words[0]).args(&words[1..]));
        stack
    }

    /// Returns the variables that `as-orch` reads.
    fn secrets(&self) -> BTreeMap<String, String> {
        variables(&self.here(&std::fs::read_to_string(self.passwords.join("orch/orch.env")).unwrap()))
    }

    fn service(&self, name: &str) -> &Yaml {
        &self.compose["services"][name]
    }

    fn replace(&mut self, there: impl Into<String>, here: impl Into<String>) {
        self.moved.push((there.into(), here.into()));
    }

    /// Replaces hosts, ports and paths of containers in a text.
    fn here(&self, text: &str) -> String {
        self.moved.iter().fold(text.replace("$$", "$"), |text, (there, here)| text.replace(there, here))
    }

    fn environment(&self, service: &str) -> Vec<(String, String)> {
        let environment = &self.service(service)["environment"];
        let value = |name: &str| self.here(environment[name].as_str().unwrap());
        names(environment).into_iter().map(|name| (name.to_owned(), value(name))).collect()
    }

    fn value(&self, service: &str, name: &str) -> String {
        self.here(self.service(service)["environment"][name].as_str().unwrap())
    }

    /// Returns the contents of the file that a setting of a service names.
    fn password(&self, service: &str, name: &str) -> String {
        let file = self.value(service, name);
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// Returns the health check of a service as a command, like Compose runs it.
    fn check(&self, service: &str, environment: &[(&str, &str)]) -> Command {
        let mut check = match texts(&self.service(service)["healthcheck"]["test"])[..] {
            ["CMD-SHELL", script] => shell(&self.here(script)),
            ["CMD", program, ref words @ ..] => {
                let mut check = Command::new(program);
                check.args(words.iter().map(|word| self.here(word))).stdin(Stdio::null());
                check
            }
            ref other => panic!("{service}: {other:?}"),
        };
        check.envs(self.environment(service)).envs(environment.iter().copied());
        check
    }

    fn until_healthy(&self, service: &str, environment: &[(&str, &str)]) {
        until(&format!("{service} to be healthy"), || {
            let output = self.check(service, environment).output().unwrap();
            if output.status.success() { Ok(()) } else { Err(format!("{output:?}")) }
        });
    }

    async fn postgres(&mut self) -> PrivateServer {
        let command = texts(&self.service("postgres")["command"]);
        let ["postgres", settings @ ..] = &command[..] else { panic!("{command:?}") };
        let set: Vec<(&str, &str)> = settings.chunks(2).map(|pair| pair[1].split_once('=').unwrap()).collect();
        assert!(settings.chunks(2).all(|pair| pair[0] == "-c"), "{settings:?}");
        let server = PrivateServer::over_tcp_with(&set).await;
        // The test server already has the role and database of the image; only the password is set.
        let address = server.url().split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
        assert_eq!((self.value("postgres", "POSTGRES_USER"), self.value("postgres", "POSTGRES_DB")), owner());
        let password = self.password("postgres", "POSTGRES_PASSWORD_FILE");
        let mut psql = Command::new("psql");
        psql.args(["-q", "-v", "ON_ERROR_STOP=1", "-d", &server.url(), "-c"]);
        psql.arg(format!("alter role orch password '{password}'"));
        done(&mut psql);
        let (host, port) = address.split_once(':').unwrap();
        let script = std::fs::read_to_string(root().join("deploy/postgres/databases.sh")).unwrap();
        let mut databases = Command::new("bash");
        databases.arg("-c").arg(self.here(&script)).envs(self.environment("postgres"));
        done(databases.envs([("PGHOST", host), ("PGPORT", port), ("PGPASSWORD", password.as_str())]));
        self.until_healthy("postgres", &[("PGHOST", "127.0.0.1"), ("PGPORT", port)]);
        self.replace("postgres:5432", address);
        server
    }

    async fn mysql(&mut self) -> MariaDb {
        let server = MariaDb::start().await;
        let value = |name| self.value("mysql", name);
        let (database, user) = (value("MYSQL_DATABASE"), value("MYSQL_USER"));
        let password = self.password("mysql", "MYSQL_PASSWORD_FILE");
        let account = format!(
            "create database {database};\ncreate user {user}@'%' identified by '{password}';\n\
             grant all on {database}.* to {user}@'%';\n"
        );
        server.run_statements(&server.connection("mysql"), &account).await;
        let tables = std::fs::read_to_string(root().join("deploy/mysql/1-tables.sql")).unwrap();
        server.run_statements(&server.connection(&database), &tables).await;
        // The image's entrypoint sources the script, which calls a function of it and reads files from mounted folders.
        let files = tempfile::tempdir().unwrap();
        std::fs::set_permissions(files.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let port = server.port().to_string();
        let rows = std::fs::read_to_string(root().join("deploy/mysql/2-rows.sh")).unwrap();
        let rows = rows.replace("/retail/", &format!("{}/", crate::data::folder().display()));
        let rows = rows.replace("/var/lib/mysql-files", files.path().to_str().unwrap());
        let client = format!("mysql --no-defaults --host=127.0.0.1 --port={port} --user=root");
        let script = format!("set -euo pipefail\ndocker_process_sql() {{ {client} \"$@\"; }}\n{rows}");
        done(Command::new("bash").arg("-c").arg(script).envs(self.environment("mysql")));
        self.until_healthy("mysql", &[("MYSQL_TCP_PORT", &port)]);
        self.replace("mysql:3306", format!("127.0.0.1:{port}"));
        server
    }

    /// Starts the broker. The image converts `KAFKA_NODE_ID: "1"` to `node.id=1`.
    async fn kafka(&mut self, folder: &Path) -> Kafka {
        let environment = self.environment("kafka");
        let broker = Kafka::configured(move |data, [inside, outside, controller]| {
            let at = |text: &str| {
                let moved = text.replace("INSIDE://:9092", &format!("INSIDE://127.0.0.1:{inside}"));
                let moved = moved.replace("OUTSIDE://:29092", &format!("OUTSIDE://127.0.0.1:{outside}"));
                let moved = moved.replace("kafka:9092", &format!("127.0.0.1:{inside}"));
                let moved = moved.replace("localhost:9092", &format!("localhost:{outside}"));
                moved
                    .replace("9093", &controller.to_string())
                    .replace("/var/lib/kafka/data", data.join("log").to_str().unwrap())
            };
            let setting = |(name, value): &(String, String)| {
                let name = name.strip_prefix("KAFKA_").unwrap().to_lowercase().replace('_', ".");
                format!("{name}={}\n", at(value))
            };
            // The tests give Java less memory than the image does.
            let small = "log.cleaner.dedupe.buffer.size=8388608\n".to_owned();
            environment.iter().map(setting).chain([small]).collect()
        })
        .await;
        // Kafka's programs are scripts in the image, and Java classes in the tests.
        let program = broker.program("org.apache.kafka.tools.TopicCommand");
        let words: Vec<&str> = program.get_args().filter_map(|word| word.to_str()).collect();
        let script = folder.join("kafka-topics.sh");
        std::fs::write(&script, format!("#!/bin/sh\nexec java '{}' \"$@\"\n", words.join("' '"))).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        self.replace("/opt/kafka/bin/kafka-topics.sh", script.to_str().unwrap());
        self.replace("kafka:9092", broker.address());
        self.replace("localhost:9092", broker.address());
        self.until_healthy("kafka", &[]);
        assert_eq!(texts(&self.service("kafka-topics")["entrypoint"]), ["bash", "-euc"]);
        done(Command::new("bash").arg("-euc").arg(self.here(texts(&self.service("kafka-topics")["command"])[0])));
        broker
    }

    async fn minio(&mut self) -> S3Server {
        let (user, password) =
            (self.value("minio", "MINIO_ROOT_USER"), self.password("minio", "MINIO_ROOT_PASSWORD_FILE"));
        let server = S3Server::start_for(&user, &password).await;
        self.replace("minio:9000", server.endpoint().trim_start_matches("http://"));
        server
    }

    /// Starts a service of our image in a separate folder, waits until it is healthy, and returns its address.
    async fn start(&mut self, service: &str, home: &TempDir) -> (Guarded, String) {
        let folder = home.path().join(service);
        std::fs::create_dir(&folder).unwrap();
        let server = Guarded::start(&folder, &self.command(service, home.path()));
        server.until_said("http://").await;
        let said = server.said();
        let address = said.split_once("http://").unwrap().1.split_whitespace().next().unwrap();
        let port = address.rsplit_once(':').unwrap().1.to_owned();
        let inside = texts(&self.service(service)["ports"])[0].rsplit_once(':').unwrap().1.to_owned();
        self.replace(format!("/dev/tcp/127.0.0.1/{inside} "), format!("/dev/tcp/127.0.0.1/{port} "));
        self.until_healthy(service, &[]);
        (server, format!("127.0.0.1:{port}"))
    }

    /// Returns the command of a container of our image: the entrypoint names the binary, which `as-orch` starts, and
    /// the command has its arguments. Any port is used.
    fn command(&self, service: &str, home: &Path) -> Command {
        let mut command = match texts(&self.service(service)["entrypoint"])[..] {
            ["as-orch", "orch"] => command(home),
            ["as-orch", "orch-pipelines"] => bundle(home),
            ref other => panic!("{other:?}"),
        };
        command.args(texts(&self.service(service)["command"])).args(["--port", "0"]);
        command.envs(self.environment(service)).envs(self.secrets());
        command
    }
}

/// Returns the role and the database of the Postgres server of the tests.
fn owner() -> (String, String) {
    ("orch".into(), "orch".into())
}

fn shell(script: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).stdin(Stdio::null());
    shell
}

/// Returns the output of a command, which must succeed.
#[track_caller]
fn done(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn its_services_work_together() {
    let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
    let mut stack = Stack::new(home.path().join("passwords"));
    let _postgres = stack.postgres().await;
    let _mysql = stack.mysql().await;
    let _minio = stack.minio().await;
    let _kafka = stack.kafka(home.path()).await;

    let (orch, _) = stack.start("orch", &home).await;
    let (_logging, logging) = stack.start("logging-server", &home).await;
    stack.replace("logging-server:9998", &logging);
    let (serving, _) = stack.start("serving", &home).await;

    // Equivalent of `docker compose exec orch as-orch orch …`.
    let run = |words: &[&str]| {
        let mut command = command(home.path());
        FinishedCommand::of(
            &command.args(words).envs(stack.environment("orch")).envs(stack.secrets()).output().unwrap(),
        )
    };
    until("the pipelines", || {
        let listed = run(&["dags", "list", "-o", "plain"]);
        if listed.out.contains("retail_medallion") { Ok(()) } else { Err(format!("{listed:?}\n{}", orch.said())) }
    });
    run(&["dags", "trigger", "retail_medallion", "--wait"]).done();
    let mut psql = Command::new("psql");
    psql.args(["-At", "-d", &stack.secrets()["ORCH_CONN_RETAIL_POSTGRES"], "-c"]);
    let loaded = done(psql.arg("select count(*) from retail.orders_fact"));
    assert_eq!(loaded.trim(), "172198");

    assert_eq!(ask(&logging, "/log?city=Compose&temperature=7.5", &[]).status, 200);
    until("the reading in its table", || {
        let read = run(&["sql", "select temperature from default.weather where city = 'Compose'", "-o", "csv"]);
        if read.out.contains("7.5") { Ok(()) } else { Err(format!("{read:?}\n{}", orch.said())) }
    });
    run(&["doctor"]).done();
    drop(serving);
    let check = stack.check("serving", &[]).output().unwrap();
    assert!(!check.status.success(), "a server that is gone is not healthy: {check:?}");
}
