//! `orch db backup`: writes the metadata of orch to a file.

use crate::backup::{Copier, listed};
use crate::cx::Cx;
use orch_binary::failure::{Failure, Outcome};
use orch_binary::output::{counted, print_line};
use orch_binary::secrets;
use orch_binary::session::Session;
use orch_store::audit::Deed;
use orch_store::backup::{OtherSchema, contents, other_schemas};
use serde_json::json;
use std::path::PathBuf;

/// Write a backup of the database: dags, runs, logs, connections, variables, users
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch db backup orch-monday.backup\n  \
    orch db backup orch-monday.backup --schema marts\n  \
    orch db backup /backups/orch.backup --database-url postgres://orch@db/orch\n\n\
    It is of one moment, while everybody works on: the schemas `public` and `lake`, which are orch's, and those that are asked\n\
    for. Not in it: the key that opens its secrets, and the files of the lake. The file is of Postgres' format; `orch db restore`\n\
    reads it.")]
pub(crate) struct Backup {
    /// File to write; one that is there is not written over
    file: PathBuf,
    /// Also a schema that pipelines made; may be given several times
    #[arg(long = "schema", value_name = "NAME")]
    schemas: Vec<String>,
    /// Also all other schemas of the database
    #[arg(long, conflicts_with = "schemas")]
    all_schemas: bool,
}

impl Backup {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        if self.file.exists() {
            return Err(Failure::new(format!("`{}` is there", self.file.display())).hint("choose another name"));
        }
        let config = cx.config_of_database()?;
        let mut session = Session::open(&config).await?;
        let found = contents(&mut session.db).await?;
        let (taken, left) = self.choose(other_schemas(&mut session.db).await?)?;
        let names: Vec<String> = taken.iter().map(|schema| schema.name.clone()).collect();
        let copier = Copier::new(&mut session).await?;
        // Recorded before the backup, because it contains password hashes: a backup that fails halfway must be audited
        // too.
        let extra = json!({ "file": self.file.display().to_string(), "schemas": names });
        session.did(&Deed { event: "backup_db", extra: Some(extra), ..Deed::default() }).await?;
        let bytes = copier.dump(&self.file, &names).await?;
        eprintln!(
            "{}, {}, {} and {} are in `{}` ({:.1} MB, schema version {})",
            counted(found.dags, "dag"),
            counted(found.runs, "run"),
            counted(found.connections, "connection"),
            counted(found.variables, "variable"),
            self.file.display(),
            bytes as f64 / 1e6,
            found.schema_version
        );
        if !taken.is_empty() {
            eprintln!("so are the schemas {}", listed(&taken));
        }
        eprintln!("not in it, so keep it yourself: {}", secrets::where_keys_are(&config));
        eprintln!("not in it either: the files of the lake");
        if !left.is_empty() {
            eprintln!(
                "nor what is not orch's in this database, the schemas {}: `--all-schemas` takes them along",
                listed(&left)
            );
        }
        print_line(&self.file.display().to_string())
    }

    /// Splits the schemas that do not belong to orch into those to back up and the others.
    fn choose(&self, others: Vec<OtherSchema>) -> Result<(Vec<OtherSchema>, Vec<OtherSchema>), Failure> {
        let missing = self.schemas.iter().find(|name| !others.iter().any(|other| other.name == **name));
        if let Some(name) = missing {
            let hint = if others.is_empty() {
                "there are none but orch's own".into()
            } else {
                format!("there are {}", listed(&others))
            };
            return Err(Failure::new(format!("nothing is in a schema `{name}` of pipelines")).hint(hint));
        }
        Ok(others.into_iter().partition(|other| self.all_schemas || self.schemas.contains(&other.name)))
    }
}
