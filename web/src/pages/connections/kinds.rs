//! What the form asks for by the type of a connection: how its parts are called there, and which fields of `extra` have a
//! line of their own. Any other type is fine: it has all parts under their plain names.

/// A field of `extra` with a line of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extra {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) placeholder: &'static str,
}

/// How a type calls the parts; an empty name: it has no use for that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectionFieldLabels {
    pub(super) conn_type: &'static str,
    pub(super) label: &'static str,
    pub(super) host: &'static str,
    pub(super) port: &'static str,
    pub(super) login: &'static str,
    pub(super) password: &'static str,
    pub(super) schema: &'static str,
    pub(super) extras: &'static [Extra],
}

impl ConnectionFieldLabels {
    /// The parts in the order of the form: the field, how the type calls it, and a note beside that.
    pub(super) fn parts(&self) -> [(&'static str, &'static str, &'static str); 5] {
        [
            ("host", self.host, ""),
            ("port", self.port, "a number"),
            ("login", self.login, ""),
            ("password", self.password, ""),
            ("schema", self.schema, ""),
        ]
    }
}

const fn extra(name: &'static str, label: &'static str, placeholder: &'static str) -> Extra {
    Extra { name, label, placeholder }
}

/// All parts as Airflow calls them.
const PLAIN: ConnectionFieldLabels = ConnectionFieldLabels {
    conn_type: "",
    label: "",
    host: "Host",
    port: "Port",
    login: "Login",
    password: "Password",
    schema: "Schema",
    extras: &[],
};

const DATABASE: ConnectionFieldLabels = ConnectionFieldLabels { schema: "Database", ..PLAIN };

pub(super) const KINDS: [ConnectionFieldLabels; 13] = [
    ConnectionFieldLabels {
        conn_type: "postgres",
        label: "Postgres",
        extras: &[extra("sslmode", "TLS", "prefer, require, verify-full")],
        ..DATABASE
    },
    ConnectionFieldLabels {
        conn_type: "mysql",
        label: "MySQL",
        extras: &[extra("charset", "Character set", "utf8mb4")],
        ..DATABASE
    },
    ConnectionFieldLabels { conn_type: "http", label: "HTTP", schema: "Protocol", ..PLAIN },
    ConnectionFieldLabels {
        conn_type: "aws",
        label: "AWS, S3",
        host: "",
        port: "",
        login: "Access key id",
        password: "Secret access key",
        schema: "",
        extras: &[
            extra("region_name", "Region", "eu-central-1"),
            extra("endpoint_url", "Endpoint", "only for a store that is not Amazon's"),
            extra("role_arn", "Role", "arn:aws:iam::…"),
        ],
    },
    ConnectionFieldLabels {
        conn_type: "kafka",
        label: "Kafka",
        host: "",
        port: "",
        schema: "",
        extras: &[
            extra("bootstrap.servers", "Servers", "one:9092,two:9092"),
            extra("security.protocol", "Protocol", "SASL_SSL"),
            extra("sasl.mechanism", "Mechanism", "SCRAM-SHA-512"),
        ],
        ..PLAIN
    },
    ConnectionFieldLabels {
        conn_type: "iceberg",
        label: "Iceberg REST catalog",
        host: "Address",
        port: "",
        login: "Client id",
        password: "Client secret",
        schema: "",
        extras: &[
            extra("token", "Token", "instead of id and secret"),
            extra("warehouse", "Warehouse", "as the catalog calls it"),
            extra("oauth2_server_uri", "Token server", "if the catalog gives no tokens itself"),
            extra("scope", "Scope", "catalog"),
        ],
    },
    ConnectionFieldLabels {
        conn_type: "sftp",
        label: "SFTP",
        schema: "",
        extras: &[extra("key_file", "Key file", "on the worker: /run/secrets/id_ed25519")],
        ..PLAIN
    },
    ConnectionFieldLabels { conn_type: "ftp", label: "FTP", schema: "", ..PLAIN },
    ConnectionFieldLabels {
        conn_type: "smtp",
        label: "Mail",
        schema: "",
        extras: &[extra("from_email", "From", "")],
        ..PLAIN
    },
    ConnectionFieldLabels {
        conn_type: "redis",
        label: "Redis",
        schema: "",
        extras: &[extra("db", "Number", "0")],
        ..PLAIN
    },
    ConnectionFieldLabels { conn_type: "mssql", label: "SQL Server", ..DATABASE },
    ConnectionFieldLabels {
        conn_type: "spark",
        label: "Spark",
        host: "Master",
        login: "",
        password: "",
        schema: "",
        extras: &[
            extra("spark-home", "Folder of Spark", "on the worker: /opt/spark"),
            extra("deploy-mode", "Deploy mode", "client, cluster"),
        ],
        ..PLAIN
    },
    ConnectionFieldLabels {
        conn_type: "spark_connect",
        label: "Spark Connect",
        login: "User",
        password: "Token",
        schema: "",
        extras: &[extra("use_ssl", "TLS", "true, false")],
        ..PLAIN
    },
];

/// What the form asks for.
pub(super) fn of(conn_type: &str) -> ConnectionFieldLabels {
    KINDS.into_iter().find(|kind| kind.conn_type == conn_type).unwrap_or(PLAIN)
}
