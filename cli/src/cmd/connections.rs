//! `orch connections list`, `get`, `export` and `import`. The file formats are those of Airflow and of the file backend
//! for secrets.

use super::kept::{ShowFlags, export, get, import, no_such};
use crate::api::{ListFlags, connection_of};
use crate::cx::Cx;
use crate::kept::{DATABASE, Existing, SecretVisibility};
use clap::builder::PossibleValuesParser;
use orch_binary::failure::{Failure, Outcome};
use orch_binary::output::{FormatFlag, Listing, Record};
use orch_binary::session::Session;
use orch_deeds::kept::{self as nouns, CONNECTION};
use orch_document::kept::{FileFormat, Serialization};
use orch_sdk::secret::MASK;
use orch_sdk::task::Connection;
use orch_spec::ids::ConnectionId;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// List the connections of the database and those that the binary brings; more of them with `--show-values`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch connections list\n  orch connections list --show-values --hide-sensitive\n  \
    orch connections list --show-values -o json\n\n\
    Connections of files, a vault and the environment cannot be listed; `orch connections get` finds them.\n\
    Those that the binary brings come last, and only without `--where`."
)]
pub(crate) struct ListConnections {
    #[command(flatten)]
    show: ShowFlags,
    #[command(flatten)]
    list: ListFlags,
}

/// Show one connection as tasks find it: in files, a vault, the environment, the database or what the binary brings
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch connections get sales\n  orch connections get sales --show-values -o json")]
pub(crate) struct GetConnection {
    conn_id: String,
    /// Show secrets too
    #[arg(long)]
    show_values: bool,
    #[command(flatten)]
    output: FormatFlag,
}

/// Write all connections of the database to a file that only you can read; secrets are in it in the clear
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch connections export connections.json\n  \
    orch connections export - --file-format env --serialization-format json")]
pub(crate) struct ExportConnections {
    /// `-` is standard output
    file: PathBuf,
    /// Format of the file; without it the file's ending tells
    #[arg(long, visible_alias = "format", value_parser = PossibleValuesParser::new(FileFormat::ALL.map(FileFormat::as_str)))]
    file_format: Option<String>,
    /// How a connection is written in a file for the environment
    #[arg(long, value_parser = PossibleValuesParser::new(["json", "uri"]))]
    serialization_format: Option<String>,
}

/// Add the connections of a file: what `airflow connections export` and `orch connections export` write
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  airflow connections export connections.json && orch connections import \
    connections.json\n  orch connections import connections.yaml --overwrite")]
pub(crate) struct ImportConnections {
    /// .json, .yaml or .env
    file: PathBuf,
    /// Put them in the place of those that are there; without it these stay as they are
    #[arg(long)]
    overwrite: bool,
}

impl ListConnections {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let look = self.show.secret_visibility();
        let titles = properties(&Connection::default(), "", look).map(|(title, _)| title);
        let mut listing = Listing::new(titles, "no connections: add one with `orch connections add`");
        for (connection, from) in cx.connections(look, &self.list).await? {
            listing.add(properties(&connection, from, look).map(|(_, value)| value));
        }
        if !self.show.show_values {
            listing.select(&["conn_id", "conn_type", "from"].map(String::from))?;
        }
        self.list.print(listing)
    }
}

impl GetConnection {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        ConnectionId::new(&self.conn_id)?;
        let (found, from) = match cx.remote()? {
            Some(api) => (connection_of(&get(&api, CONNECTION, &self.conn_id).await?)?, DATABASE.to_owned()),
            None => {
                let (found, place, session) = as_tasks_find_it(cx, &self.conn_id).await?;
                if self.show_values && !found.secrets().is_empty() {
                    cx.audit_secret_read(session, CONNECTION, &self.conn_id, &place).await?;
                }
                (found, place)
            }
        };
        let look = if self.show_values { SecretVisibility::Open } else { SecretVisibility::Closed };
        Record::new(properties(&found, &from, look)).print(self.output.format)
    }
}

impl ExportConnections {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let format = self.format()?;
        if self.serialization_format.is_some() && format != FileFormat::Env {
            return Err(Failure::new("`--serialization-format` is for files for the environment")
                .hint("say `--file-format env`, or leave it out"));
        }
        let is_json = self.serialization_format.as_deref() == Some("json");
        let serialization = if is_json { Serialization::Json } else { Serialization::Uri };
        export::<nouns::Connection>(cx, &self.file, format, serialization).await
    }

    fn format(&self) -> Result<FileFormat, Failure> {
        let named = self.file_format.as_deref();
        match FileFormat::ALL.into_iter().find(|format| named == Some(format.as_str())) {
            Some(format) => Ok(format),
            None if self.file.as_os_str() == "-" => Ok(FileFormat::Json),
            None => FileFormat::of(&self.file).ok_or_else(|| {
                Failure::new(format!("the ending of `{}` tells no format", self.file.display()))
                    .hint("name it .json, .yaml or .env, or say `--file-format`")
            }),
        }
    }
}

impl ImportConnections {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let existing = if self.overwrite { Existing::Overwrite } else { Existing::Skip };
        import::<nouns::Connection>(cx, &self.file, existing).await
    }
}

/// Looks a connection up as tasks do. Also returns the name of its source, and the session if one was opened.
pub(super) async fn as_tasks_find_it(cx: &Cx, id: &str) -> Result<(Connection, String, Option<Session>), Failure> {
    let (secrets, session) = cx.sources().await?;
    let (found, place) = secrets.connection_and_place(id).await.map_err(|error| {
        let text = error.to_string();
        if text.starts_with("there is no ") { no_such(CONNECTION, id) } else { Failure::new(text) }
    })?;
    Ok((found, place, session))
}

/// Returns the properties of a connection with the column names of the list.
fn properties(connection: &Connection, from: &str, look: SecretVisibility) -> [(&'static str, Value); 11] {
    let (shown, uri) = match look {
        SecretVisibility::Open => (connection.clone(), connection.to_uri()),
        SecretVisibility::Closed => (connection.masked(), masked_uri(connection)),
    };
    [
        ("conn_id", json!(shown.id)),
        ("conn_type", json!(shown.conn_type)),
        ("description", json!(shown.description)),
        ("host", json!(shown.host)),
        ("schema", json!(shown.schema)),
        ("login", json!(shown.login)),
        ("password", json!(shown.password)),
        ("port", json!(shown.port)),
        ("extra_dejson", json!(shown.extra)),
        ("get_uri", json!(uri)),
        ("from", json!(from)),
    ]
}

/// Returns the URI without `extra`, and with `***` instead of secrets.
fn masked_uri(connection: &Connection) -> String {
    let masked = Connection { extra: Map::new(), ..connection.masked() };
    masked.to_uri().replace("%2A%2A%2A", MASK)
}
