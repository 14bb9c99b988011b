//! `orch connections import`: Airflow's exports and ours.

use super::kept::{imported, read};
use crate::api::connection_body;
use crate::cx::Cx;
use crate::kept::Existing;
use orch_binary::failure::{Failure, Outcome};
use orch_deeds::kept::CONNECTION;
use orch_document::kept::Document;
use orch_spec::ids::ConnectionId;
use std::path::PathBuf;

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

impl Import {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let text = read(&self.file)?;
        let all = Document::of_file(&self.file, &text).and_then(|file| file.connections());
        let all = all.map_err(|error| Failure::from_error(&error))?;
        for (id, connection) in &all {
            ConnectionId::new(id)?;
            if connection.conn_type.is_empty() {
                return Err(Failure::new(format!("connection `{id}` has no type")));
            }
        }
        let existing = if self.overwrite { Existing::Overwrite } else { Existing::Skip };
        let bodies: Vec<_> = all.values().map(connection_body).collect();
        let skipped = cx.api().await?.set_kept(CONNECTION, &bodies, existing).await?;
        Ok(imported(CONNECTION, all.len(), &skipped))
    }
}
