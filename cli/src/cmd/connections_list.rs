//! `orch connections list` and `orch connections get`.

use super::connections_delete::no_such_connection;
use crate::app::Cx;
use crate::failure::{Failure, Outcome};
use crate::output::{FormatFlag, Listing, Record};
use crate::secrets::{keyring, sources_of_server};
use orch_core::ids::ConnectionId;
use orch_core::secret::MASK;
use orch_core::task::Connection;
use orch_store::connection::{MOST_CONNECTIONS, list_connections};
use orch_workers::Secrets;
use serde_json::{Value, json};

/// How much is shown of what may be secret.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct ShowFlags {
    /// Show values too
    #[arg(long)]
    pub(super) show_values: bool,
    /// Mask what is secret; together with `--show-values`
    #[arg(long, requires = "show_values")]
    pub(super) hide_sensitive: bool,
}

/// List the connections of the database: their names and types, more with `--show-values`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch connections list\n  orch connections list --show-values --hide-sensitive\n  \
    orch connections list --show-values -o json\n\n\
    Connections of files, a vault and the environment cannot be listed; `orch connections get` finds them."
)]
pub(crate) struct List {
    #[command(flatten)]
    show: ShowFlags,
    #[command(flatten)]
    output: FormatFlag,
}

/// Show one connection as tasks find it: in files, a vault, the environment or the database; secrets are masked
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch connections get sales\n  orch connections get sales --show-values -o json")]
pub(crate) struct Get {
    conn_id: String,
    /// Show secrets too
    #[arg(long)]
    show_values: bool,
    #[command(flatten)]
    output: FormatFlag,
}

impl List {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let keys = keyring(&cx.config()?)?;
        let mut session = cx.session().await?;
        let rows = list_connections(&mut session.db, None, MOST_CONNECTIONS).await?;
        let empty = "no connections: add one with `orch connections add`";
        if !self.show.show_values {
            let mut listing = Listing::new(["conn_id", "conn_type"], empty);
            rows.iter().for_each(|row| listing.add([json!(row.conn_id), json!(row.conn_type)]));
            return listing.print(self.output.format);
        }
        let mut listing = Listing::new(COLUMNS, empty);
        for row in &rows {
            let shown = if self.show.hide_sensitive {
                Connection {
                    password: row.password.as_ref().map(|_| MASK.into()),
                    extra: row.extra.iter().map(|_| (MASK.into(), MASK.into())).collect(),
                    ..row.without_secrets()
                }
            } else {
                row.open(&keys)?
            };
            let uri = if self.show.hide_sensitive { masked_uri(&shown) } else { shown.to_uri() };
            listing.add(cells(&shown, &uri));
        }
        listing.print(self.output.format)
    }
}

impl Get {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        ConnectionId::new(&self.conn_id)?;
        let config = cx.config_of_database()?;
        // A standalone that does not run is started for this question; it ends with the session.
        let mut session = None;
        let mut sources = sources_of_server(&config)?;
        if sources.database_url.is_none() {
            let opened = cx.session().await?;
            sources.database_url = opened.url();
            session = Some(opened);
        }
        let secrets = Secrets::new(&sources, None).map_err(|error| Failure::told(&error))?;
        let found = secrets.connection(&self.conn_id).await.map_err(|error| {
            let text = error.to_string();
            if text.starts_with("there is no ") { no_such_connection(&self.conn_id) } else { Failure::new(text) }
        })?;
        drop(session);
        let (shown, uri) =
            if self.show_values { (found.clone(), found.to_uri()) } else { (found.masked(), masked_uri(&found)) };
        let values = COLUMNS.into_iter().zip(cells(&shown, &uri)).collect::<Vec<_>>();
        Record::new(values).print(self.output.format)
    }
}

const COLUMNS: [&str; 10] =
    ["conn_id", "conn_type", "description", "host", "schema", "login", "password", "port", "extra_dejson", "get_uri"];

fn cells(connection: &Connection, uri: &str) -> [Value; 10] {
    [
        json!(connection.id),
        json!(connection.conn_type),
        json!(connection.description),
        json!(connection.host),
        json!(connection.schema),
        json!(connection.login),
        json!(connection.password),
        json!(connection.port),
        json!(connection.extra),
        json!(uri),
    ]
}

/// With `***` as it is, and without `extra`.
fn masked_uri(connection: &Connection) -> String {
    let masked = Connection { extra: serde_json::Map::new(), ..connection.masked() };
    masked.to_uri().replace("%2A%2A%2A", MASK)
}
