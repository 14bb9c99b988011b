//! `orch secrets generate-key` and `orch secrets rotate`.

use crate::cx::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::{counted, print_line};
use orch_binary::secrets::keyring;
use orch_binary::session::did_in;
use orch_store::audit::Deed;
use orch_store::kept::rotate;
use orch_store::seal::Keyring;
use serde_json::json;
use sqlx::Connection as _;

/// Print a new key for `ORCH_SECRET_KEY`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch secrets generate-key > secret.key")]
pub(crate) struct GenerateKey {}

/// Seal all secrets of the database with the first of the keys that are known here
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch secrets rotate\n\n\
    Give all processes both keys first, `ORCH_SECRET_KEY=NEW,OLD`; rotate; then take the old one away.")]
pub(crate) struct Rotate {}

impl GenerateKey {
    pub(crate) fn run() -> Outcome {
        print_line(&Keyring::generate())
    }
}

impl Rotate {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let keys = keyring(&cx.config()?)?;
        let Some(first) = keys.first_id() else {
            return Err(Failure::new("no key for secrets is known here")
                .hint("set `ORCH_SECRET_KEY` to the new key, a comma and the old one"));
        };
        let mut session = cx.session().await?;
        let done = rotate(&mut session.db, &keys).await?;
        let mut transaction = session.db.begin().await?;
        let extra = json!({ "key": first, "connections": done.connections, "variables": done.variables });
        did_in(&mut transaction, &Deed { event: "rotate_secrets", extra: Some(extra), ..Deed::default() }).await?;
        transaction.commit().await?;
        eprintln!(
            "{} and {} are now sealed with the key {first}; sealed with it before: {}",
            counted(done.connections, "connection"),
            counted(done.variables, "variable"),
            done.current
        );
        Ok(Exit::Done)
    }
}
