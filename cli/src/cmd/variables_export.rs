//! `orch variables export`: a file that `import`, Airflow and the backend for files read.

use super::kept::{told_of_export, write_privately};
use crate::cx::Cx;
use orch_binary::failure::{Exit, Outcome};
use orch_binary::output::counted;
use orch_binary::secrets::keyring;
use orch_document::kept::{WrittenVariable, write_variables};
use orch_store::kept::{self, MOST_KEPT, Record, VARIABLE};
use orch_store::seal::SecretError;
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
        let rows = kept::list(&mut session.db, &VARIABLE, None, MOST_KEPT).await?;
        let many = rows.len();
        let open = |row: &Record| {
            let value = row.open("value", &keys)?.unwrap_or_default();
            Ok((
                row.name().to_string(),
                WrittenVariable { value, description: row.text("description").map(String::from) },
            ))
        };
        let all = rows.iter().map(open).collect::<Result<Vec<_>, SecretError>>()?;
        told_of_export(&mut session, ("export_variables", many), &self.file).await?;
        write_privately(&self.file, &write_variables(all))?;
        eprintln!("exported {}", counted(many, "variable"));
        Ok(Exit::Done)
    }
}
