//! `orch connections import`: Airflow's exports and ours.

use crate::app::Cx;
use crate::failure::{Exit, Failure, Outcome};
use crate::secrets::keyring;
use crate::session::did_in;
use orch_core::ids::ConnectionId;
use orch_core::task::Document;
use orch_store::audit::Deed;
use orch_store::connection::{add_connection, set_connection};
use serde_json::json;
use sqlx::Connection as _;
use std::path::{Path, PathBuf};

/// Add the connections of a file: what `airflow connections export` and `orch connections export` write
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  airflow connections export connections.json && orch connections import \
    connections.json\n  orch connections import connections.yaml --overwrite")]
pub(crate) struct Import {
    /// .json, .yaml or .env
    file: PathBuf,
    /// Put them in the place of those that are there; without it these stay as they are
    #[arg(long)]
    overwrite: bool,
}

pub(super) fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(Failure::io(format!("cannot read `{}`", path.display())))
}

impl Import {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let text = read(&self.file)?;
        let all = Document::of_file(&self.file, &text).and_then(|file| file.connections());
        let all = all.map_err(|error| Failure::told(&error))?;
        for (id, connection) in &all {
            ConnectionId::new(id)?;
            if connection.conn_type.is_empty() {
                return Err(Failure::new(format!("connection `{id}` has no type")));
            }
        }
        let keys = keyring(&cx.config()?)?;
        let mut session = cx.session().await?;
        // All or nothing.
        let mut transaction = session.db.begin().await?;
        let mut skipped = Vec::new();
        for (id, connection) in &all {
            if self.overwrite {
                set_connection(&mut transaction, connection, &keys).await?;
            } else if !add_connection(&mut transaction, connection, &keys).await? {
                skipped.push(id.as_str());
                continue;
            }
            let extra = Some(json!({ "connection_id": id, "conn_type": connection.conn_type }));
            did_in(&mut transaction, &Deed { event: "import_connection", extra, ..Deed::default() }).await?;
        }
        transaction.commit().await?;
        eprintln!("{} of {} connections are imported", all.len() - skipped.len(), all.len());
        if !skipped.is_empty() {
            eprintln!("these are there already and stay as they are: {}", skipped.join(", "));
        }
        Ok(Exit::Done)
    }
}
