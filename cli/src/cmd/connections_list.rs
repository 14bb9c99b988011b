//! `orch connections list` and `orch connections get`.

use super::connections_delete::no_such_connection;
use crate::app::Cx;
use crate::failure::{Failure, Outcome};
use crate::kept::Look;
use crate::output::{FormatFlag, Listing, Record};
use orch_core::ids::ConnectionId;
use orch_core::secret::MASK;
use orch_core::task::Connection;
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

impl ShowFlags {
    pub(super) fn look(self) -> Look {
        if self.show_values && !self.hide_sensitive { Look::Open } else { Look::Closed }
    }
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
        let (look, empty) = (self.show.look(), "no connections: add one with `orch connections add`");
        let all = cx.kept().await?.connections(look).await?;
        if !self.show.show_values {
            let mut listing = Listing::new(["conn_id", "conn_type"], empty);
            all.iter().for_each(|one| listing.add([json!(one.id), json!(one.conn_type)]));
            return listing.print(self.output.format);
        }
        let mut listing = Listing::new(COLUMNS, empty);
        for one in &all {
            let uri = if look == Look::Closed { masked_uri(one) } else { one.to_uri() };
            listing.add(cells(one, &uri));
        }
        listing.print(self.output.format)
    }
}

impl Get {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        ConnectionId::new(&self.conn_id)?;
        let found = match cx.api()? {
            Some(api) => api.connection(&self.conn_id)?.ok_or_else(|| no_such_connection(&self.conn_id))?,
            None => {
                let (secrets, _session) = cx.sources().await?;
                secrets.connection(&self.conn_id).await.map_err(|error| {
                    let text = error.to_string();
                    if text.starts_with("there is no ") {
                        no_such_connection(&self.conn_id)
                    } else {
                        Failure::new(text)
                    }
                })?
            }
        };
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
