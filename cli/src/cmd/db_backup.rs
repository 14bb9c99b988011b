//! `orch db backup`: all that orch knows, in a file.

use crate::app::Cx;
use crate::backup::Copier;
use crate::failure::{Failure, Outcome};
use crate::output::print_line;
use crate::secrets;
use crate::session::Session;
use orch_store::backup::contents;
use std::path::PathBuf;

/// Write a backup of the database: dags, runs, logs, connections, variables, users
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch db backup orch-monday.backup\n  \
    orch db backup /backups/orch.backup --database-url postgres://orch@db/orch\n\n\
    It is of one moment, while everybody works on. Not in it: the key that opens its secrets, the files of the lake, and\n\
    tables that pipelines made in schemas of their own. The file is of Postgres' format; `orch db restore` reads it.")]
pub(crate) struct Backup {
    /// File to write; one that is there is not written over
    file: PathBuf,
}

impl Backup {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        if self.file.exists() {
            return Err(Failure::new(format!("`{}` is there", self.file.display())).hint("choose another name"));
        }
        let config = cx.config_of_database()?;
        let mut session = Session::open(&config).await?;
        let found = contents(&mut session.db).await?;
        let bytes = Copier::new(&config, &mut session).await?.dump(&self.file).await?;
        eprintln!(
            "{} dags, {} runs, {} connections and {} variables are in `{}` ({:.1} MB, schema version {})",
            found.dags,
            found.runs,
            found.connections,
            found.variables,
            self.file.display(),
            bytes as f64 / 1e6,
            found.schema_version
        );
        eprintln!("not in it, so keep it yourself: {}", secrets::where_keys_are(&config));
        eprintln!("not in it either: the files of the lake, and tables that pipelines made in schemas of their own");
        print_line(&self.file.display().to_string())
    }
}
