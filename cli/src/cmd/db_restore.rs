//! `orch db restore`: replaces the content of the database by a backup.

use crate::backup::{Copier, listed};
use crate::cx::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::counted;
use orch_binary::person::YesFlag;
use orch_binary::secrets;
use orch_binary::session::Session;
use orch_store::audit::Deed;
use orch_store::backup::{
    SCHEMAS, can_be_set_aside, contents, is_empty, other_schemas, put_back, set_aside, settle, who_is_here,
};
use orch_store::guard::{self, SCHEMA_VERSION, Schema};
use orch_store::kept::count_locked;
use serde_json::json;
use std::path::PathBuf;

/// Restore a backup: what the database holds is replaced
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch db restore orch-monday.backup\n  \
    orch db restore orch-monday.backup --yes --database-url postgres://orch@db/orch\n\n\
    No process of orch may use the database. It is restored whole or not at all; until it is, what was there before stays. A backup of an older\n\
    orch is brought up with `orch db migrate`.")]
pub(crate) struct Restore {
    /// File that `orch db backup` wrote
    file: PathBuf,
    #[command(flatten)]
    yes: YesFlag,
}

impl Restore {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        if !self.file.is_file() {
            return Err(Failure::new(format!("there is no file `{}`", self.file.display())));
        }
        let config = cx.config_of_database()?;
        let mut session = Session::open_or_create(&config).await?;
        let copier = Copier::new(&mut session).await?;
        let label = copier.label(&self.file).await?;
        if label.min_binary > SCHEMA_VERSION {
            let why = format!("the backup is of schema version {}, this binary knows {SCHEMA_VERSION}", label.version);
            return Err(Failure::new(why).hint("install the orch that made the backup, or a newer one"));
        }
        guard::can_be_brought_up(label.version)?;
        let here = who_is_here(&mut session.db).await?;
        if !here.is_empty() {
            return Err(Failure::new(format!("this database is in use: {}", here.join(", ")))
                .hint("stop all orch processes first"));
        }
        let schemas = copier.schemas(&self.file).await?;
        if let Some(long) = schemas.iter().find(|schema| !can_be_set_aside(schema)) {
            return Err(Failure::new(format!(
                "the name of the schema `{long}` in the backup is too long to be restored"
            ))
            .hint("restore it with `pg_restore --schema`, and the rest from a backup without it"));
        }
        if !is_empty(&mut session.db, &schemas).await? {
            let held = held(&mut session, &schemas[SCHEMAS.len()..]).await?;
            self.yes.agree(&format!("This deletes {held}."))?;
        }
        set_aside(&mut session.db, &schemas).await?;
        if let Err(failure) = copier.restore(&self.file).await {
            put_back(&mut session.db).await?;
            eprintln!("nothing was changed: what was there is there");
            return Err(failure);
        }
        settle(&mut session.db).await?;
        let extra = json!({ "file": self.file.display().to_string(), "schema_version": label.version });
        session.did(&Deed { event: "restore_db", extra: Some(extra), ..Deed::default() }).await?;
        let others = other_schemas(&mut session.db).await?;
        let (restored, left): (Vec<_>, Vec<_>) = others.into_iter().partition(|other| schemas.contains(&other.name));
        if !restored.is_empty() {
            eprintln!("the schemas {} are restored", listed(&restored));
        }
        if !left.is_empty() {
            eprintln!("what is not in the backup was left as it is: the schemas {}", listed(&left));
        }
        self.tell(cx, &mut session).await
    }

    async fn tell(&self, cx: &Cx, session: &mut Session) -> Outcome {
        if guard::read_schema(&mut session.db).await? != Schema::Fits {
            eprintln!(
                "`{}` is restored; it is of an older orch: bring it up with `orch db migrate`",
                self.file.display()
            );
            return Ok(Exit::Done);
        }
        let found = contents(&mut session.db).await?;
        eprintln!(
            "{}, {}, {} and {} are restored from `{}`",
            counted(found.dags, "dag"),
            counted(found.runs, "run"),
            counted(found.connections, "connection"),
            counted(found.variables, "variable"),
            self.file.display()
        );
        let keys = secrets::keyring(&cx.config()?)?;
        let locked = count_locked(&mut session.db, &keys).await?;
        if locked > 0 {
            eprintln!(
                "{locked} of its secrets cannot be opened with the keys that are here: give that of the backup's time, with \
                `ORCH_SECRET_KEY` or as `secret.key` in the data folder"
            );
        }
        Ok(Exit::Done)
    }
}

/// Describes the existing data that would be replaced. `more` contains schemas that do not belong to orch.
async fn held(session: &mut Session, more: &[String]) -> Result<String, Failure> {
    let held = match guard::read_schema(&mut session.db).await? {
        Schema::Fits => {
            let held = contents(&mut session.db).await?;
            format!(
                "{}, {} and all else of orch in this database",
                counted(held.dags, "dag"),
                counted(held.runs, "run")
            )
        }
        _ => "what is in the schemas `public` and `lake` of this database".into(),
    };
    let more: Vec<String> = more.iter().map(|schema| format!(", and the schema `{schema}`")).collect();
    Ok(held + &more.concat())
}
