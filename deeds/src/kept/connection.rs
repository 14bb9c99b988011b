//! Connections. A secret that the client sends back as `***` keeps its stored value, unless the change makes the
//! connection lead elsewhere. Secrets that a request does not send need no key.

use super::{Change, DESCRIPTION, ExportFile, ImportFile, Kept, MASKS, NAMED, Refused, checked};
use orch_document::kept::{BadDocument, Document, FileFormat, Serialization, write_connections};
use orch_sdk::secret::MASK;
use orch_sdk::task::{self, Changed};
use orch_spec::ids::ConnectionId;
use orch_store::connection::{closed, columns, masked, open, open_extra, set, without_secrets};
use orch_store::kept::{self, Record, Table};
use orch_store::list::{Column, Filter};
use orch_store::seal::{Keyring, SecretError};
use orch_wire::NounBody;
use orch_wire::noun::{AppearsIn, Field, FieldKind, NameConflict, Noun, Patch, TEAM};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

#[derive(Debug)]
pub struct Connection;

static NOUN: Noun = Noun {
    one: "Connection",
    many: "connections",
    path: "/api/v2/connections",
    path_of_one: "/api/v2/connections/{connection_id}",
    path_key: "connection_id",
    fields: &[
        Field::new(
            "connection_id",
            FieldKind::Name {
                most: 200,
                pattern: Some("^[A-Za-z0-9_.-]{1,200}$"),
                check: |id| checked(ConnectionId::new(id)),
            },
        )
        .column("conn_id"),
        Field::new("conn_type", FieldKind::Word { usual: task::Connection::normal_type }).required(),
        Field::new("description", FieldKind::FilledText),
        Field::new("host", FieldKind::FilledText),
        Field::new("login", FieldKind::FilledText),
        Field::new("schema", FieldKind::FilledText),
        Field::new("port", FieldKind::Port),
        Field::new("password", FieldKind::FilledText).about("`***` in answers, if there is one."),
        Field::new("extra", FieldKind::Object).about("A JSON object in a text."),
        TEAM,
        Field::new("dropped_secrets", FieldKind::Names)
            .only_in(AppearsIn::AnswersOfChanges)
            .about(
                "After a change: the secrets that are not stored, because `***` stood for nothing or the connection leads elsewhere now.",
            ),
    ],
    patch: Patch::Whole {
        other_name: "The connection_id in the request body does not match the URL parameter",
        mask_is_checked: false,
    },
    taken: NameConflict::Constraint,
    has_secrets: true,
    about: MASKS,
    about_list: "secrets are `***`, and viewers see no values",
    about_change: "`***` leaves what is stored",
    about_delete: "",
};

impl Kept for Connection {
    const NOUN: &'static Noun = &NOUN;
    const TABLE: &'static Table = &kept::CONNECTION;
    const COLUMNS: &'static [Column] = &[
        Column::text("connection_id", "conn_id").by(NAMED).sorted(),
        Column::text("conn_id", "conn_id").sorted(),
        Column::text("conn_type", "conn_type").by(&[Filter::AnyOf]).about("Of one of these types").sorted(),
        DESCRIPTION,
        Column::text("host", "host").by(&[Filter::AnyOf]).about("On one of these hosts").nullable().sorted(),
        Column::whole("port", "port").by(&[Filter::AnyOf]).about("At one of these ports").nullable().sorted(),
        Column::text("id", "created_at").sorted(),
        Column::text("team_name", "created_at").sorted(),
    ];
    const ADMIN_NAMES: &'static [&'static str] = &["lake", "buckets", "archive", "spark_default"];
    const AUDITED: &'static [&'static str] = &["conn_type"];

    fn change(old: Option<&Record>, sent: NounBody, keys: &Keyring) -> Result<Change, Refused> {
        let Some(old) = old else {
            let nothing = task::Connection { id: sent.name.clone(), ..task::Connection::default() };
            let new = applied(sent, &nothing).connection;
            return Ok(Change { needs_admin: needs_admin(&nothing, &new), ..Change::of(columns(&new)) });
        };
        let extra = sent.columns.iter().find(|(column, _)| *column == "extra").map(|(_, extra)| extra);
        let (sends_extra, sends_masks) = (extra.is_some(), extra.is_some_and(|extra| extra.to_string().contains(MASK)));
        let (opened, is_locked) = match open_extra(old, keys) {
            Ok(opened) => (opened, false),
            Err(error) if sends_masks => return Err(error.into()),
            // The old `extra` is locked, so its address is unknown: the new one counts as leading elsewhere.
            Err(_) if sends_extra => (Map::from_iter([("host".into(), Value::Null)]), true),
            Err(_) => (Map::new(), true),
        };
        // The password is not decrypted: a `***` keeps the sealed value.
        let password = old.holds("password").then(|| MASK.into());
        let stored = task::Connection { extra: opened, password, ..without_secrets(old) };
        let Changed { connection: new, has_moved, mut dropped } = applied(sent, &stored);
        let leaves_extra = is_locked && !sends_extra && has_moved;
        if leaves_extra && old.holds("extra") {
            dropped.push("extra".into());
        }
        let stays = |column: &str| match column {
            "password" => new.password.as_deref() == Some(MASK) && old.holds("password"),
            "extra" => !leaves_extra && !sends_extra && new.extra == stored.extra,
            _ => false,
        };
        let needs_admin = needs_admin(&stored, &new);
        let columns = columns(&new).into_iter().filter(|(column, _)| !stays(column)).collect();
        Ok(Change { columns, dropped, needs_admin })
    }

    fn visible_fields(record: &Record, keys: &Keyring, sees: bool) -> Map<String, Value> {
        let shown = Connection::visible(record, keys, sees);
        let mut fields = shown.to_object();
        fields.insert("connection_id".into(), json!(shown.id));
        fields
    }
}

impl ImportFile for Connection {
    fn read(document: &Document<'_>) -> Result<Vec<NounBody>, BadDocument> {
        let body = |(name, connection): (String, task::Connection)| {
            ConnectionId::new(&name).map_err(|error| document.bad(error.to_string()))?;
            if connection.conn_type.is_empty() {
                return Err(document.bad(format!("connection `{name}` has no type")));
            }
            // An empty `extra` deletes the stored one.
            let set =
                |(column, value)| if column == "extra" { (column, json!(connection.extra)) } else { (column, value) };
            Ok(NounBody { name, columns: columns(&connection).into_iter().map(set).collect() })
        };
        document.connections()?.into_iter().map(body).collect()
    }
}

impl ExportFile for Connection {
    type Written = task::Connection;
    const FILE_FORMATS: &'static [FileFormat] = &FileFormat::ALL;

    fn opened(record: &Record, keys: &Keyring) -> Result<task::Connection, SecretError> {
        open(record, keys)
    }

    fn masked(record: &Record, keys: &Keyring) -> task::Connection {
        Connection::visible(record, keys, true)
    }

    fn write(all: Vec<task::Connection>, format: FileFormat, serialization: Serialization) -> String {
        write_connections(&all, format, serialization)
    }
}

impl Connection {
    /// Returns the connection with its secrets masked. Without a key, all of `extra` is masked. Without `sees`, login,
    /// schema and the path of the host are masked, too.
    pub fn visible(record: &Record, keys: &Keyring, sees: bool) -> task::Connection {
        if !sees {
            let closed = closed(record);
            let [login, schema] = [&closed.login, &closed.schema].map(|value| value.as_ref().map(|_| MASK.into()));
            let host = closed.host.as_deref().map(host_alone);
            return task::Connection { login, schema, host, ..closed };
        }
        masked(record, keys).unwrap_or_else(|_| closed(record))
    }
}

/// Returns the host of an address with its protocol, without the path: the path of a webhook is its secret.
fn host_alone(address: &str) -> String {
    let (protocol, rest) = address.split_at(address.find("://").map_or(0, |at| at + 3));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{protocol}{}", host.rsplit_once('@').map_or(host, |(_, host)| host))
}

/// Prefixes of Spark properties that operators may set. Other properties can name programs and classes to run.
const SPARK_CONF: [&str; 16] = [
    "spark.default.parallelism",
    "spark.driver.cores",
    "spark.driver.maxResultSize",
    "spark.driver.memory",
    "spark.dynamicAllocation.",
    "spark.executor.cores",
    "spark.executor.instances",
    "spark.executor.memory",
    "spark.hadoop.fs.s3a.endpoint",
    "spark.hadoop.fs.s3a.path.style.access",
    "spark.memory.",
    "spark.network.timeout",
    "spark.shuffle.",
    "spark.speculation",
    "spark.sql.",
    "spark.task.",
];

/// Prefixes of fields that operators may set in the `extra` of a Kafka connection. Other librdkafka settings can name
/// commands, libraries and files.
const KAFKA_SETTINGS: [&str; 30] = [
    "batch.",
    "bootstrap.servers",
    "broker.address.family",
    "client.rack",
    "compression.",
    "connections.max.idle.ms",
    "enable.ssl.certificate.verification",
    "fetch.",
    "linger.ms",
    "max.in.flight",
    "max.partition.fetch.bytes",
    "message.",
    "metadata.",
    "queue",
    "receive.message.max.bytes",
    "reconnect.",
    "request.timeout.ms",
    "retries",
    "retry.",
    "sasl.mechanism",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "socket.",
    "ssl.ca.",
    "ssl.certificate.pem",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.endpoint.identification.algorithm",
    "topics",
];

/// Returns the fields of a connection that only admins may set, with their values.
fn fields_of_admins(connection: &task::Connection) -> BTreeMap<String, &Value> {
    let is_listed = |name: &str, list: &[&str]| list.iter().any(|start| name.starts_with(start));
    let extra = connection.extra.iter();
    match connection.conn_type.as_str() {
        "spark" | "spark_connect" => {
            let code = extra.filter(|(name, _)| ["jars", "packages", "spark-home"].contains(&name.as_str()));
            let code = code.map(|(name, value)| (name.clone(), value));
            let conf = connection.extra.get("conf").and_then(Value::as_object).into_iter().flatten();
            let conf = conf.filter(|(name, _)| !is_listed(name, &SPARK_CONF));
            code.chain(conf.map(|(name, value)| (format!("conf.{name}"), value))).collect()
        }
        "kafka" => {
            let others = extra.filter(|(name, _)| !is_listed(name, &KAFKA_SETTINGS));
            others.map(|(name, value)| (name.clone(), value)).collect()
        }
        _ => BTreeMap::new(),
    }
}

/// Returns the reason why only an admin may make this change; `None` if operators may.
fn needs_admin(old: &task::Connection, new: &task::Connection) -> Option<String> {
    let old = fields_of_admins(old);
    let (field, _) = fields_of_admins(new).into_iter().find(|(name, value)| old.get(name) != Some(value))?;
    Some(format!(
        "`{field}` of a connection of type `{}` can run code on a worker, so only admins set it",
        new.conn_type
    ))
}

/// Applies a request body to the stored connection. Fields that were not sent keep their value; a secret does so only
/// if the connection does not lead elsewhere.
pub fn applied(sent: NounBody, stored: &task::Connection) -> Changed {
    // Secrets that the request does not send are `***` here, as in the response that the user saw.
    let mut new = stored.masked();
    for (column, value) in sent.columns {
        set(&mut new, column, &value);
    }
    new.replacing(stored)
}
