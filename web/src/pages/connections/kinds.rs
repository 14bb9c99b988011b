//! Labels of the connection form by connection type, and the fields of `extra` that have a separate input. Other types
//! are valid too: they have all fields with the plain labels.

/// A field of `extra` that has a separate input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extra {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) placeholder: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectionFieldLabels {
    pub(super) conn_type: &'static str,
    pub(super) label: &'static str,
    /// Labels of host, port, login, password and schema. Empty: the type does not use the field.
    names: [&'static str; 5],
    pub(super) extras: &'static [Extra],
}

impl ConnectionFieldLabels {
    /// Returns the fields in the order of the form, each with its label.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        ["host", "port", "login", "password", "schema"].into_iter().zip(self.names)
    }
}

const fn extra(name: &'static str, label: &'static str, placeholder: &'static str) -> Extra {
    Extra { name, label, placeholder }
}

const fn kind(
    conn_type: &'static str,
    label: &'static str,
    names: [&'static str; 5],
    extras: &'static [Extra],
) -> ConnectionFieldLabels {
    ConnectionFieldLabels { conn_type, label, names, extras }
}

const OF_AWS: [Extra; 3] = [
    extra("region_name", "Region", "eu-central-1"),
    extra("endpoint_url", "Endpoint", "only for a store that is not Amazon's"),
    extra("role_arn", "Role", "arn:aws:iam::…"),
];
const OF_KAFKA: [Extra; 3] = [
    extra("bootstrap.servers", "Servers", "one:9092,two:9092"),
    extra("security.protocol", "Protocol", "SASL_SSL"),
    extra("sasl.mechanism", "Mechanism", "SCRAM-SHA-512"),
];
const OF_ICEBERG: [Extra; 4] = [
    extra("token", "Token", "instead of id and secret"),
    extra("warehouse", "Warehouse", "as the catalog calls it"),
    extra("oauth2_server_uri", "Token server", "if the catalog gives no tokens itself"),
    extra("scope", "Scope", "catalog"),
];
const OF_SPARK: [Extra; 2] = [
    extra("spark-home", "Folder of Spark", "on the worker: /opt/spark"),
    extra("deploy-mode", "Deploy mode", "client, cluster"),
];
const KEY_FILE: Extra = extra("key_file", "Key file", "on the worker: /run/secrets/id_ed25519");
const USE_SSL: Extra = extra("use_ssl", "TLS", "true, false");

/// Labels that Airflow uses.
const PLAIN: [&str; 5] = ["Host", "Port", "Login", "Password", "Schema"];
const DATABASE: [&str; 5] = ["Host", "Port", "Login", "Password", "Database"];
const SERVER: [&str; 5] = ["Host", "Port", "Login", "Password", ""];

pub(super) const KINDS: [ConnectionFieldLabels; 13] = [
    kind("postgres", "Postgres", DATABASE, &[extra("sslmode", "TLS", "prefer, require, verify-full")]),
    kind("mysql", "MySQL", DATABASE, &[extra("charset", "Character set", "utf8mb4")]),
    kind("http", "HTTP", ["Host", "Port", "Login", "Password", "Protocol"], &[]),
    kind("aws", "AWS, S3", ["", "", "Access key id", "Secret access key", ""], &OF_AWS),
    kind("kafka", "Kafka", ["", "", "Login", "Password", ""], &OF_KAFKA),
    kind("iceberg", "Iceberg REST catalog", ["Address", "", "Client id", "Client secret", ""], &OF_ICEBERG),
    kind("sftp", "SFTP", SERVER, &[KEY_FILE]),
    kind("ftp", "FTP", SERVER, &[]),
    kind("smtp", "Mail", SERVER, &[extra("from_email", "From", "")]),
    kind("redis", "Redis", SERVER, &[extra("db", "Number", "0")]),
    kind("mssql", "SQL Server", DATABASE, &[]),
    kind("spark", "Spark", ["Master", "Port", "", "", ""], &OF_SPARK),
    kind("spark_connect", "Spark Connect", ["Host", "Port", "User", "Token", ""], &[USE_SSL]),
];

/// Returns the labels of a connection type. Unknown types get all fields with the plain labels.
pub(super) fn of(conn_type: &str) -> ConnectionFieldLabels {
    KINDS.into_iter().find(|kind| kind.conn_type == conn_type).unwrap_or(kind("", "", PLAIN, &[]))
}
