//! `/connections`: connections of tasks to external systems. All users see their names; operators also see the
//! addresses and change them; no page shows a secret.

pub(crate) mod change;
pub(crate) mod edit;
mod kinds;

use super::Shell;
use super::kept::list::{Cell, Extras, Head, Lists, page};
use super::kept::listed;
use crate::extract::Query;
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::response::Response;
use orch_deeds::kept::ExportFile as _;
use orch_deeds::{Connection, Kept};
use orch_document::kept::FileFormat;
use orch_store::kept::Record;

/// Lists the stored connections and those that the binary provides.
pub(crate) async fn show(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    let listed = listed::<Connection>(&app, query, shell.now).await?;
    let is_kept = |id: &str| listed.rows.iter().any(|row| row.name() == id);
    let asked = app.config.default_connections.of(&app.config.installation).await;
    let mut defaults = asked.unwrap_or_else(|problem| {
        tracing::warn!("the default connections are not listed: {problem}");
        Vec::new()
    });
    defaults.retain(|one| {
        listed.before.is_none() && !listed.filters.are_used() && one.id.contains(&listed.q) && !is_kept(&one.id)
    });
    let brought = defaults.into_iter().map(|one| (one.id, one.conn_type)).collect();
    page::<Connection>(&app, shell, listed, Extras { brought, ..Extras::default() })
}

impl Lists for Connection {
    const ABOUT: &'static str = "How tasks reach things outside, by name. Secrets are sealed and never shown.";
    const CAPTION: &'static str = "Connections";
    const HEADS: &'static [Head] = &[
        Head::new("Connection", "", ""),
        Head::new("Type", "", ""),
        Head::new("Host", "", "mono"),
        Head::new("Login", "only-wide", "only-wide mono"),
        Head::new("Sealed", "only-wide", "only-wide"),
        Head::new("Changed", "only-wide", "only-wide"),
    ];
    const WHEN_EMPTY: &'static str = "A task asks for one by name: `ctx.connection(\"sales\")`. Those of files, a vault and the \
        environment are found too, and are not listed here.";
    const EXPORTS: &'static [FileFormat] = Connection::FILE_FORMATS;
    const FILE_EXAMPLE: &'static str =
        "{\"sales\": {\"conn_type\": \"postgres\", \"host\": \"db\", \"login\": \"me\", \"password\": \"…\"}}";

    fn cells(record: &Record, app: &App, shell: &Shell) -> Vec<Cell> {
        let shown = Connection::visible(record, &app.config.keys, shell.can_operate());
        let port = shown.port.map_or_else(String::new, |port| format!(":{port}"));
        let place = shown.host.unwrap_or_default() + &port;
        let sealed = Self::TABLE.sealed.iter().copied().filter(|column| record.holds(column));
        vec![
            Cell::Text(shown.conn_type),
            if place.is_empty() { Cell::Meta("–".into()) } else { Cell::Text(place) },
            Cell::Text(shown.login.unwrap_or_default()),
            Cell::Meta(sealed.collect::<Vec<_>>().join(", ")),
            Cell::Ago(parts::ago(record.updated_at(), shell.now)),
        ]
    }
}
