//! Converts a connection to settings of librdkafka. As in Airflow's Kafka connections, `extra` contains settings by
//! name. A connection must not change settings on which exactly-once reading depends.

use super::abort::Mark;
use orch_sdk::task::{Connection, TaskResult, fatal};
use rdkafka::config::{FromClientConfig, FromClientConfigAndContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientConfig, ClientContext};
use serde_json::Value;
use std::collections::BTreeMap;

const PORT: u16 = 9092;
const BROKERS: &str = "bootstrap.servers";
/// Key of `extra` that is not a librdkafka setting. It maps the topic names in streams and tasks to the names in the
/// cluster.
const TOPICS: &str = "topics";

/// Settings that a connection must not contain, with the reason for the error message.
const DECIDED: [(&str, &str); 18] = [
    ("group.id", "streams join no consumer group"),
    ("group.instance.id", "streams join no consumer group"),
    ("group.protocol", "streams join no consumer group"),
    ("enable.auto.commit", "the table that a stream writes holds its offsets"),
    ("enable.auto.offset.store", "the table that a stream writes holds its offsets"),
    ("auto.offset.reset", "an offset that is no longer kept is an error, or records would be lost in silence"),
    ("isolation.level", "only committed records are read"),
    ("check.crcs", "checksums are always compared"),
    ("enable.partition.eof", "the end of a partition is no event"),
    ("acks", "a record is produced when all replicas have it"),
    ("request.required.acks", "a record is produced when all replicas have it"),
    ("enable.idempotence", "a record that is sent again is written once"),
    ("transactional.id", "each capture has its own, so that only one process at a time writes its changes"),
    ("partitioner", "a key has the same partition for all producers"),
    ("client.id", "it is `orch`"),
    // A connection is data that users enter. It must not name code to load.
    ("plugin.library.paths", "libraries are not loaded"),
    ("ssl.engine.location", "libraries are not loaded"),
    ("ssl.providers", "libraries are not loaded"),
];

const CONSUMER: [(&str, &str); 10] = [
    // librdkafka requires a group to assign partitions. No offset is committed for this group.
    ("group.id", "orch"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("isolation.level", "read_committed"),
    ("check.crcs", "true"),
    ("client.id", "orch"),
    // Time for which librdkafka requests an unknown topic again before the topic is considered missing.
    ("topic.metadata.propagation.max.ms", "2000"),
    // By default, librdkafka pauses 1 s after a full queue. With a small queue, this reduces 1,600,000 records per
    // second to 183,000.
    ("queued.max.messages.kbytes", "8192"),
    ("fetch.queue.backoff.ms", "1"),
];

const PRODUCER: [(&str, &str); 4] = [
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("client.id", "orch"),
    // Use the partitioner of the Java client, so that a key has the same partition with all producers and in the
    // built-in log.
    ("partitioner", "murmur2_random"),
];

/// Maximum delay until a broker that has restarted is used again.
const RECONNECT: (&str, &str) = ("reconnect.backoff.max.ms", "1000");
/// Delivery timeout. Long enough for a leader election, which takes up to 11 s after a leader dies.
const DELIVERED_WITHIN: (&str, &str) = ("message.timeout.ms", "60000");

/// Settings of a connection that apply to every kind of client.
#[derive(Clone)]
pub(super) struct Settings {
    connection: String,
    mark: Mark,
    own: BTreeMap<String, String>,
    topics: BTreeMap<String, String>,
}

impl Settings {
    pub(super) fn of(connection: &Connection) -> TaskResult<Settings> {
        let id = &connection.id;
        if connection.conn_type != "kafka" {
            let other = &connection.conn_type;
            return Err(fatal(format!("connection `{id}` has type `{other}`: a topic of Kafka needs type `kafka`")));
        }
        let mut own = BTreeMap::new();
        if let Some(host) = connection.host.as_deref().filter(|host| !host.is_empty()) {
            own.insert(BROKERS.into(), broker(host, connection.port.unwrap_or(PORT)));
        }
        if let Some(login) = &connection.login {
            own.insert("sasl.username".into(), login.clone());
            own.insert("sasl.password".into(), connection.password.clone().unwrap_or_default());
            // A password is sent without TLS only if the connection explicitly sets `sasl_plaintext`.
            own.insert("security.protocol".into(), "sasl_ssl".into());
            if !connection.extra.contains_key("sasl.mechanisms") {
                own.insert("sasl.mechanism".into(), "PLAIN".into());
            }
        }
        let topics = connection.extra.get(TOPICS).map_or(Ok(BTreeMap::new()), |topics| names(id, topics))?;
        for (name, value) in connection.extra.iter().filter(|(name, _)| *name != TOPICS) {
            if let Some((_, instead)) = DECIDED.iter().find(|(decided, _)| decided == name) {
                return Err(fatal(format!(
                    "connection `{id}` sets `{name}`, which streams decide: {instead}\nhint: remove `{name}` from its extra"
                )));
            }
            own.insert(name.clone(), text(id, name, value)?);
        }
        if own.get(BROKERS).is_none_or(String::is_empty) {
            return Err(fatal(format!(
                "connection `{id}` names no broker\nhint: set its host and port, or `{BROKERS}` in its extra"
            )));
        }
        let encrypted = own.get("security.protocol").is_some_and(|protocol| protocol.to_lowercase().ends_with("ssl"));
        if encrypted && !own.keys().any(|name| name.starts_with("ssl.ca.")) {
            // OpenSSL is linked statically and does not find the system's certificates by itself.
            own.insert("ssl.ca.location".into(), "probe".into());
        }
        Ok(Settings { connection: id.clone(), mark: Mark::of(id), own, topics })
    }

    /// Returns the name that a topic has in the cluster.
    pub(super) fn topic<'a>(&'a self, name: &'a str) -> &'a str {
        self.topics.get(name).map_or(name, String::as_str)
    }

    /// Returns the mark that attributes aborts of librdkafka to this connection. Blocking calls must be made through
    /// it.
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    pub(super) fn brokers(&self) -> &str {
        self.own.get(BROKERS).map_or("", String::as_str)
    }

    pub(super) fn consumer<C, T: FromClientConfigAndContext<C>>(&self, context: C) -> TaskResult<T>
    where
        C: ClientContext,
    {
        self.made(|| T::from_config_and_context(&self.with(&CONSUMER, &[RECONNECT]), context))
    }

    pub(super) fn producer<C, T: FromClientConfigAndContext<C>>(&self, context: C) -> TaskResult<T>
    where
        C: ClientContext,
    {
        self.made(|| T::from_config_and_context(&self.with(&PRODUCER, &[RECONNECT, DELIVERED_WITHIN]), context))
    }

    pub(super) fn transactional<C, T: FromClientConfigAndContext<C>>(&self, context: C, id: &str) -> TaskResult<T>
    where
        C: ClientContext,
    {
        let mut config = self.with(&PRODUCER, &[RECONNECT, DELIVERED_WITHIN]);
        self.made(|| T::from_config_and_context(config.set("transactional.id", id), context))
    }

    pub(super) fn admin<T: FromClientConfig>(&self) -> TaskResult<T> {
        self.made(|| T::from_config(&self.with(&[], &[])))
    }

    /// Builds a configuration. The connection's settings override the defaults, but not the settings in [`DECIDED`].
    fn with(&self, decided: &[(&str, &str)], defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in decided.iter().chain(defaults) {
            config.set(*name, *value);
        }
        for (name, value) in &self.own {
            config.set(name, value);
        }
        config
    }

    /// Creates a client. Error messages do not contain setting values, because these include the password.
    fn made<T>(&self, make: impl FnOnce() -> KafkaResult<T>) -> TaskResult<T> {
        let id = &self.connection;
        self.mark.call(make).map_err(|error| match error {
            KafkaError::ClientConfig(_, _, name, _) => fatal(format!(
                "connection `{id}` sets `{name}`, which librdkafka does not know or not with this value\nhint: correct it in \
                 the extra of the connection; all names are in librdkafka's CONFIGURATION.md"
            )),
            KafkaError::ClientCreation(problem) => {
                fatal(format!("the settings of connection `{id}` do not go together: {problem}"))
            }
            error => anyhow::Error::new(error).context(format!("no client can be made of connection `{id}`")),
        })
    }
}

fn broker(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn names(id: &str, topics: &Value) -> TaskResult<BTreeMap<String, String>> {
    let names = topics.as_object().and_then(|topics| {
        topics.iter().map(|(name, there)| Some((name.clone(), there.as_str()?.to_owned()))).collect()
    });
    names.ok_or_else(|| {
        fatal(format!(
            "`{TOPICS}` in the extra of connection `{id}` is no object of names\nhint: with `{{\"{TOPICS}\": {{\"openweather\": \
             \"weather\"}}}}` the topic `openweather` is called `weather` at the cluster"
        ))
    })
}

fn text(id: &str, name: &str, value: &Value) -> TaskResult<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        _ => Err(fatal(format!(
            "connection `{id}` sets `{name}` to something else than a text, a number, true or false"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn connection(extra: Value) -> Connection {
        let Value::Object(extra) = extra else { panic!("an object") };
        let (id, conn_type) = ("events".into(), "kafka".into());
        Connection { id, conn_type, host: Some("broker".into()), extra, ..Connection::default() }
    }

    fn check(connection: &Connection, expected: &[(&str, &str)]) {
        let own = Settings::of(connection).expect("it has what is needed").own;
        let own: Vec<_> = own.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(own, expected);
    }

    fn refused(connection: &Connection) -> String {
        Settings::of(connection).err().expect("it is refused").to_string()
    }

    #[test]
    fn brokers_are_the_host_or_a_list_in_extra() {
        check(&connection(json!({})), &[(BROKERS, "broker:9092")]);
        check(&Connection { port: Some(19092), ..connection(json!({})) }, &[(BROKERS, "broker:19092")]);
        check(&Connection { host: Some("::1".into()), ..connection(json!({})) }, &[(BROKERS, "[::1]:9092")]);
        let list = json!({ BROKERS: "a:1,b:2" });
        check(&Connection { host: None, ..connection(list) }, &[(BROKERS, "a:1,b:2")]);
        let none = refused(&Connection { host: None, ..connection(json!({})) });
        assert!(none.contains("names no broker") && none.contains("hint: "), "{none}");
    }

    #[test]
    fn a_login_is_sent_encrypted_unless_the_connection_says_otherwise() {
        let (login, password) = (Some("me".into()), Some("secret".into()));
        let with_login = |extra| Connection { login: login.clone(), password: password.clone(), ..connection(extra) };
        let account = [("sasl.password", "secret"), ("sasl.username", "me")];
        let brokers = (BROKERS, "broker:9092");
        check(
            &with_login(json!({})),
            &[
                brokers,
                ("sasl.mechanism", "PLAIN"),
                account[0],
                account[1],
                ("security.protocol", "sasl_ssl"),
                ("ssl.ca.location", "probe"),
            ],
        );
        check(
            &with_login(json!({ "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-256" })),
            &[
                brokers,
                ("sasl.mechanism", "SCRAM-SHA-256"),
                account[0],
                account[1],
                ("security.protocol", "SASL_PLAINTEXT"),
            ],
        );
    }

    #[test]
    fn other_settings_of_librdkafka_are_handed_on_as_text() {
        let extra = json!({ "fetch.min.bytes": 100, "socket.keepalive.enable": true });
        check(
            &connection(extra),
            &[(BROKERS, "broker:9092"), ("fetch.min.bytes", "100"), ("socket.keepalive.enable", "true")],
        );
        let list = refused(&connection(json!({ "fetch.min.bytes": [1] })));
        assert!(list.contains("`fetch.min.bytes`"), "{list}");
    }

    #[test]
    fn a_cluster_may_call_topics_otherwise() {
        let connection = |topics: Value| connection(json!({ TOPICS: topics }));
        let renamed = connection(json!({ "openweather": "weather" }));
        check(&renamed, &[(BROKERS, "broker:9092")]);
        let settings = Settings::of(&renamed).expect("it has what is needed");
        assert_eq!(["openweather", "users"].map(|name| settings.topic(name)), ["weather", "users"]);
        for wrong in [json!("weather"), json!({ "openweather": 1 }), json!(["weather"])] {
            let problem = refused(&connection(wrong));
            assert!(problem.contains("no object of names") && problem.contains("hint: "), "{problem}");
        }
    }

    #[test]
    fn what_streams_decide_is_refused() {
        for (name, instead) in DECIDED {
            let problem = refused(&connection(json!({ name: "x" })));
            assert!(problem.contains(&format!("sets `{name}`")) && problem.contains(instead), "{problem}");
            assert!(problem.contains("hint: "), "{problem}");
        }
        // Lookups by key compute the partition with murmur2, so the partitioner cannot be changed.
        let partitioner = refused(&connection(json!({ "partitioner": "consistent_random" })));
        assert!(partitioner.contains("sets `partitioner`"), "{partitioner}");
        let other = refused(&Connection { conn_type: "http".into(), ..connection(json!({})) });
        assert!(other.contains("needs type `kafka`"), "{other}");
    }
}
