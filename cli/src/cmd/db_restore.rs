//! `orch db restore`: a backup takes the place of what the database holds.

use crate::app::Cx;
use crate::backup::Copier;
use crate::failure::{Exit, Failure, Outcome};
use crate::person::YesFlag;
use crate::secrets;
use crate::session::Session;
use orch_store::backup::{contents, is_empty, put_back, set_aside, settle, who_is_here};
use orch_store::connection::count_locked;
use orch_store::guard::{self, SCHEMA_VERSION, Schema};
use std::path::PathBuf;

/// Restore a backup: what the database holds is replaced
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch db restore orch-monday.backup\n  \
    orch db restore orch-monday.backup --yes --database-url postgres://orch@db/orch\n\n\
    Nobody may be at work. It is restored whole or not at all; until it is, what was there before stays. A backup of an older\n\
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
        let copier = Copier::new(&config, &mut session).await?;
        let label = copier.label(&self.file).await?;
        if label.min_binary > SCHEMA_VERSION {
            let why = format!("the backup is of schema version {}, this binary knows {SCHEMA_VERSION}", label.version);
            return Err(Failure::new(why).hint("install the orch that made the backup, or a newer one"));
        }
        let here = who_is_here(&mut session.db).await?;
        if !here.is_empty() {
            return Err(Failure::new(format!("somebody works with this database: {}", here.join(", ")))
                .hint("stop all orch processes first"));
        }
        if !is_empty(&mut session.db).await? {
            let held = match guard::look(&mut session.db).await? {
                Schema::Fits => {
                    let held = contents(&mut session.db).await?;
                    format!("{} dags, {} runs and all else of this database", held.dags, held.runs)
                }
                _ => "what is in the schemas `public` and `lake` of this database".into(),
            };
            self.yes.agree(&format!("This deletes {held}."))?;
        }
        set_aside(&mut session.db).await?;
        if let Err(failure) = copier.restore(&self.file).await {
            put_back(&mut session.db).await?;
            eprintln!("nothing was changed: what was there is there");
            return Err(failure);
        }
        settle(&mut session.db).await?;
        self.tell(cx, &mut session).await
    }

    async fn tell(&self, cx: &Cx, session: &mut Session) -> Outcome {
        if guard::look(&mut session.db).await? != Schema::Fits {
            eprintln!(
                "`{}` is restored; it is of an older orch: bring it up with `orch db migrate`",
                self.file.display()
            );
            return Ok(Exit::Done);
        }
        let found = contents(&mut session.db).await?;
        eprintln!(
            "{} dags, {} runs, {} connections and {} variables are restored from `{}`",
            found.dags,
            found.runs,
            found.connections,
            found.variables,
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
