//! `orch connections list` and `orch connections get`.

use super::kept::no_such;
use crate::api::connection_of;
use crate::cx::Cx;
use crate::kept::SecretVisibility;
use orch_binary::failure::{Failure, Outcome};
use orch_binary::output::{FormatFlag, Listing, Record};
use orch_deeds::kept::CONNECTION;
use orch_sdk::secret::MASK;
use orch_sdk::task::Connection;
use orch_spec::ids::ConnectionId;
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
    pub(super) fn secret_visibility(self) -> SecretVisibility {
        if self.show_values && !self.hide_sensitive { SecretVisibility::Open } else { SecretVisibility::Closed }
    }
}

/// List the connections of the database and those that the binary brings; more of them with `--show-values`
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

/// Show one connection as tasks find it: in files, a vault, the environment, the database or what the binary brings
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
        let (look, empty) = (self.show.secret_visibility(), "no connections: add one with `orch connections add`");
        let (all, defaults) = cx.connections(look).await?;
        let defaults = defaults
            .into_iter()
            .map(|one| (if look == SecretVisibility::Closed { one.masked() } else { one }, DEFAULTS));
        let all: Vec<_> = all.into_iter().map(|one| (one, DATABASE)).chain(defaults).collect();
        if !self.show.show_values {
            let mut listing = Listing::new(["conn_id", "conn_type", "from"], empty);
            all.iter().for_each(|(one, from)| listing.add([json!(one.id), json!(one.conn_type), json!(from)]));
            return listing.print(self.output.format);
        }
        let mut listing = Listing::new(COLUMNS, empty);
        for (one, from) in &all {
            let uri = if look == SecretVisibility::Closed { masked_uri(one) } else { one.to_uri() };
            listing.add(cells(one, &uri, from));
        }
        listing.print(self.output.format)
    }
}

impl Get {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        ConnectionId::new(&self.conn_id)?;
        let (found, from) = match cx.remote()? {
            Some(api) => {
                let found = api.get_kept(CONNECTION, &self.conn_id).await?;
                let found = found.ok_or_else(|| no_such(CONNECTION, &self.conn_id))?;
                (connection_of(&found)?, DATABASE.to_owned())
            }
            None => as_tasks_find_it(cx, &self.conn_id).await?,
        };
        let (shown, uri) =
            if self.show_values { (found.clone(), found.to_uri()) } else { (found.masked(), masked_uri(&found)) };
        let values = COLUMNS.into_iter().zip(cells(&shown, &uri, &from)).collect::<Vec<_>>();
        Record::new(values).print(self.output.format)
    }
}

/// With the place that has it.
pub(super) async fn as_tasks_find_it(cx: &Cx, id: &str) -> Result<(Connection, String), Failure> {
    let (secrets, _session) = cx.sources().await?;
    secrets.connection_and_place(id).await.map_err(|error| {
        let text = error.to_string();
        if text.starts_with("there is no ") { no_such(CONNECTION, id) } else { Failure::new(text) }
    })
}

/// As the places call themselves.
const DATABASE: &str = "the database";
const DEFAULTS: &str = "the defaults of this binary";

const COLUMNS: [&str; 11] = [
    "conn_id",
    "conn_type",
    "description",
    "host",
    "schema",
    "login",
    "password",
    "port",
    "extra_dejson",
    "get_uri",
    "from",
];

fn cells(connection: &Connection, uri: &str, from: &str) -> [Value; 11] {
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
        json!(from),
    ]
}

/// With `***` as it is, and without `extra`.
fn masked_uri(connection: &Connection) -> String {
    let masked = Connection { extra: serde_json::Map::new(), ..connection.masked() };
    masked.to_uri().replace("%2A%2A%2A", MASK)
}
