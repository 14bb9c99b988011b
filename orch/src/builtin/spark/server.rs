//! A Spark server as configured by a connection: its master or Connect server, the program that runs applications,
//! and the default properties.

use crate::{Connection, TaskResult, fatal};
use anyhow::bail;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The type of a connection to a Spark Connect server, as in Airflow.
pub const CONNECT: &str = "spark_connect";
/// Default port of Spark Connect.
const CONNECT_PORT: u16 = 15_002;
/// Property with the Python interpreter of applications.
const PYTHON: &str = "spark.pyspark.python";
const USUAL_PYTHON: &str = "python3";

/// Allowed programs, as in Airflow. The list is closed because the worker executes the program.
const PROGRAMS: [&str; 3] = ["spark-submit", "spark2-submit", "spark3-submit"];
/// Masters that are not the address of a standalone server.
const OTHER_MASTERS: [&str; 3] = ["local", "yarn", "k8s://"];
const USUAL_PORT: u16 = 7077;
/// Timeout for a connection to the master. Spark itself waits for a minute.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

const CONNECT_HINT: &str = "hint: write `spark-connect://host:15002`";
const HINT: &str = "hint: write `spark://host:7077`, or `{\"conn_type\": \"spark\", \"host\": \"yarn\"}`, `local[*]` or `k8s://…` as the host";

#[derive(Debug)]
pub(super) struct Server {
    id: String,
    /// The master as users write it, without a token.
    pub(super) master: String,
    /// The address of a Connect server, including the token. `None` if applications are submitted.
    pub(super) remote: Option<String>,
    pub(super) is_cluster: bool,
    home: Option<String>,
    program: String,
    properties: BTreeMap<String, String>,
}

impl Server {
    pub(super) fn of(connection: &Connection) -> TaskResult<Server> {
        let id = &connection.id;
        if connection.conn_type == CONNECT {
            return Server::of_connect(connection);
        }
        if connection.conn_type != "spark" {
            return Err(fatal(format!(
                "connection `{id}` is of type `{}`, not `spark` or `{CONNECT}`\n{HINT}",
                connection.conn_type
            )));
        }
        let text = |name: &str| {
            let value = connection.extra_field(name).and_then(Value::as_str).filter(|text| !text.is_empty());
            value.map(String::from)
        };
        let Some(master) = master(connection) else {
            return Err(fatal(format!("connection `{id}` names no master\n{HINT}")));
        };
        let program = text("spark-binary").unwrap_or_else(|| PROGRAMS[0].into());
        if !PROGRAMS.contains(&program.as_str()) {
            let known = PROGRAMS.join("`, `");
            return Err(fatal(format!("connection `{id}`: `spark-binary` is one of `{known}`, not `{program}`")));
        }
        let mode = text("deploy-mode").unwrap_or_else(|| "client".into());
        if !["client", "cluster"].contains(&mode.as_str()) {
            return Err(fatal(format!("connection `{id}`: `deploy-mode` is `client` or `cluster`, not `{mode}`")));
        }
        let is_cluster = mode == "cluster";
        let told = [
            ("spark.master", Some(master.clone())),
            ("spark.submit.deployMode", Some(mode)),
            ("spark.yarn.queue", text("queue")),
            ("spark.kubernetes.namespace", text("namespace")),
            ("spark.jars", connection.extra_field("jars").map(text_of)),
            ("spark.jars.packages", connection.extra_field("packages").map(text_of)),
            // The progress of stages is parsed from the progress bar. Without it the log would have a line for each
            // task of a stage.
            ("spark.ui.showConsoleProgress", Some("true".into())),
            ("spark.log.level", Some("WARN".into())),
            // Without this, `spark-submit` exits as soon as a standalone master has accepted the driver.
            ("spark.standalone.submit.waitAppCompletion", is_cluster.then(|| "true".into())),
        ];
        let mut properties: BTreeMap<String, String> =
            told.into_iter().filter_map(|(name, value)| Some((name.into(), value?))).collect();
        properties.extend(conf(connection));
        Ok(Server { id: id.clone(), master, remote: None, is_cluster, home: text("spark-home"), program, properties })
    }

    fn of_connect(connection: &Connection) -> TaskResult<Server> {
        let id = &connection.id;
        let host = connection.host.as_deref().unwrap_or_default();
        let host = host.strip_prefix("sc://").unwrap_or(host).trim_end_matches('/');
        if host.is_empty() || host.contains('/') {
            return Err(fatal(format!("connection `{id}` names no Spark Connect server\n{CONNECT_HINT}")));
        }
        let master = format!("sc://{host}:{}", connection.port.unwrap_or(CONNECT_PORT));
        let use_ssl = connection.extra_field("use_ssl").map(text_of);
        let told =
            [("use_ssl", use_ssl), ("user_id", connection.login.clone()), ("token", connection.password.clone())];
        let mut remote = format!("{master}/");
        for (name, value) in told.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            let value = utf8_percent_encode(&value, NON_ALPHANUMERIC).to_string();
            remote.extend([";", name, "=", &value]);
        }
        let properties: BTreeMap<String, String> = conf(connection).collect();
        let program = properties.get(PYTHON).cloned().unwrap_or_else(|| USUAL_PYTHON.into());
        Ok(Server { id: id.clone(), master, remote: Some(remote), is_cluster: false, home: None, program, properties })
    }

    pub(super) fn properties(&self) -> BTreeMap<String, String> {
        self.properties.clone()
    }

    /// Returns `SPARK_HOME`, if the connection has it.
    pub(super) fn environment(&self) -> Option<(&'static str, String)> {
        self.home.clone().map(|home| ("SPARK_HOME", home))
    }

    /// Returns the path of `spark-submit`, or its name to search in the `PATH`. With a Connect server, returns
    /// Python.
    pub(super) fn program(&self) -> TaskResult<String> {
        let name = &self.program;
        if self.remote.is_some() {
            return Ok(name.clone());
        }
        let hint = "hint: install it on the worker, `pip install 'pyspark==4.1.*'`, and Java 17; or name its folder as \
                    `spark-home` in the connection";
        if let Some(home) = &self.home {
            let path = format!("{}/bin/{name}", home.trim_end_matches('/'));
            if !Path::new(&path).is_file() {
                return Err(fatal(format!("connection `{}`: there is no `{path}`\n{hint}", self.id)));
            }
            return Ok(path);
        }
        #[expect(clippy::disallowed_methods, reason = "programs are found there")]
        let path = std::env::var_os("PATH").unwrap_or_default();
        if std::env::split_paths(&path).any(|folder| folder.join(name).is_file()) {
            return Ok(name.clone());
        }
        Err(fatal(format!("there is no `{name}` in the `PATH` of this worker\n{hint}")))
    }

    /// Checks that a standalone master or a Connect server accepts connections. Spark itself reports nothing for a
    /// minute if not.
    pub(super) async fn check(&self) -> TaskResult<()> {
        let address = self.master.split_once("://").filter(|(scheme, _)| ["spark", "sc"].contains(scheme));
        let Some((_, addresses)) = address else { return Ok(()) };
        let mut problem = String::new();
        // One of several masters is the leader, and any of them may be down.
        for address in addresses.split(',') {
            problem = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no connection in {CONNECT_TIMEOUT:?}"),
            };
        }
        bail!(
            "connection `{}`: the Spark {} `{}` does not answer: {problem}\nhint: start it, or correct the connection",
            self.id,
            if self.remote.is_some() { "Connect server" } else { "master" },
            self.master
        )
    }

    /// Returns the text of the properties file: `spark-defaults.conf` of this Spark, followed by `told`. Spark
    /// ignores the former if it gets another properties file.
    pub(super) fn defaults(&self, told: &BTreeMap<String, String>) -> String {
        let own = self.home.as_ref().map(|home| Path::new(home).join("conf/spark-defaults.conf"));
        let mut text = own.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        text.push('\n');
        for (name, value) in told {
            // Writing to a string does not fail.
            writeln!(text, "{}={}", escaped(name), escaped(value)).ok();
        }
        text
    }
}

/// Returns the master, with the same rules as Airflow. Also accepts a `spark://host:port` URI, where `spark` becomes
/// the connection's type.
fn master(connection: &Connection) -> Option<String> {
    let host = connection.host.as_deref().filter(|host| !host.is_empty())?;
    let port = connection.port;
    if OTHER_MASTERS.iter().any(|other| host.starts_with(other)) {
        return Some(port.map_or_else(|| host.into(), |port| format!("{host}:{port}")));
    }
    let addresses = host.strip_prefix("spark://").unwrap_or(host);
    let has_port = addresses.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Some(match port {
        None if has_port => format!("spark://{addresses}"),
        port => format!("spark://{addresses}:{}", port.unwrap_or(USUAL_PORT)),
    })
}

/// Returns the properties that a connection sets for every application.
fn conf(connection: &Connection) -> impl Iterator<Item = (String, String)> {
    let conf = connection.extra_field("conf").and_then(Value::as_object).into_iter().flatten();
    conf.map(|(name, value)| (name.clone(), text_of(value)))
}

/// Returns a value in Spark's format. Lists are joined with commas.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text_of).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Escapes a string for a Java properties file.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => escaped += "\\n",
            '\r' => escaped += "\\r",
            '\t' => escaped += "\\t",
            '\\' | '=' | ':' | '#' | '!' | ' ' => escaped.extend(['\\', c]),
            c if c.is_ascii() => escaped.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string does not fail.
                    write!(escaped, "\\u{unit:04x}").ok();
                }
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(uri: &str) -> TaskResult<Server> {
        Server::of(&Connection::parse("spark_default", uri).expect("a connection"))
    }

    #[test]
    fn a_connection_names_its_master_as_in_airflow_or_as_a_url() {
        for (text, expected) in [
            ("spark://spark-master:7077", "spark://spark-master:7077"),
            ("spark://spark-master", "spark://spark-master:7077"),
            ("spark://local", "local"),
            (r#"{"conn_type": "spark", "host": "local[2]"}"#, "local[2]"),
            (r#"{"conn_type": "spark", "host": "yarn"}"#, "yarn"),
            (r#"{"conn_type": "spark", "host": "spark://one:7077,two:7077"}"#, "spark://one:7077,two:7077"),
            (r#"{"conn_type": "spark", "host": "spark://one", "port": 7000}"#, "spark://one:7000"),
            (r#"{"conn_type": "spark", "host": "k8s://https://here", "port": 443}"#, "k8s://https://here:443"),
        ] {
            assert_eq!(server(text).expect("a master").master, expected, "{text}");
        }
        for wrong in ["spark://", "http://host", "spark://h?spark-binary=sh", "spark://h?deploy-mode=here"] {
            let told = server(wrong).expect_err("it is wrong").to_string();
            assert!(told.contains("connection `spark_default`"), "{told}");
        }
    }

    #[test]
    fn a_connect_server_is_named_as_in_airflow() {
        for (text, master, remote) in [
            ("spark-connect://sail:50051", "sc://sail:50051", "sc://sail:50051/"),
            (r#"{"conn_type": "spark_connect", "host": "sc://spark"}"#, "sc://spark:15002", "sc://spark:15002/"),
            (
                "spark-connect://me:a%2Fb%3Bc@cloud:443?use_ssl=true",
                "sc://cloud:443",
                "sc://cloud:443/;use_ssl=true;user_id=me;token=a%2Fb%3Bc",
            ),
        ] {
            let server = server(text).expect("a server");
            assert_eq!((server.master.as_str(), server.remote.as_deref()), (master, Some(remote)), "{text}");
        }
        let told = server("spark-connect://").expect_err("no host").to_string();
        assert!(told.contains("names no Spark Connect server"), "{told}");
    }

    #[test]
    fn what_a_connection_says_is_given_to_every_application() {
        let text = r#"{"conn_type": "spark", "host": "yarn", "extra": {"deploy-mode": "cluster", "queue": "night",
            "jars": ["a.jar", "b.jar"], "conf": {"spark.sql.shuffle.partitions": 4}}}"#;
        let server = server(text).expect("a server");
        let told = server.properties();
        for (name, expected) in [
            ("spark.master", "yarn"),
            ("spark.submit.deployMode", "cluster"),
            ("spark.yarn.queue", "night"),
            ("spark.jars", "a.jar,b.jar"),
            ("spark.sql.shuffle.partitions", "4"),
        ] {
            assert_eq!(told.get(name).map(String::as_str), Some(expected), "{name}");
        }
        assert!(server.is_cluster);
    }

    #[test]
    fn values_are_what_java_reads_back() {
        let told = BTreeMap::from([("spark.a".to_owned(), "x=\"1\"\n\\ü 😀".to_owned())]);
        let text = server("spark://local").expect("a server").defaults(&told);
        assert_eq!(text, "\nspark.a=x\\=\"1\"\\n\\\\\\u00fc\\ \\ud83d\\ude00\n");
    }
}
