//! `orch variables export`: a file that `import`, Airflow and the backend for files read.

use super::connections_export::write_privately;
use crate::app::Cx;
use orch_binary::failure::{Exit, Outcome};
use orch_binary::secrets::keyring;
use orch_core::task::{WrittenVariable, write_variables};
use orch_store::seal::SecretError;
use orch_store::variable::{MOST_VARIABLES, VariableRow, list_variables};
use std::path::PathBuf;

/// Write all variables of the database as JSON to a file that only you can read; secrets are in it in the clear
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch variables export variables.json\n  orch variables export -")]
pub(crate) struct Export {
    /// `-` is standard output
    file: PathBuf,
}

impl Export {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let keys = keyring(&cx.config()?)?;
        let mut session = cx.session().await?;
        let rows = list_variables(&mut session.db, None, MOST_VARIABLES).await?;
        let many = rows.len();
        let open = |row: VariableRow| {
            let written = WrittenVariable { value: row.open(&keys)?, description: row.description };
            Ok((row.key, written))
        };
        let all = rows.into_iter().map(open).collect::<Result<Vec<_>, SecretError>>()?;
        write_privately(&self.file, &write_variables(all))?;
        eprintln!("{many} variables are exported");
        Ok(Exit::Done)
    }
}
