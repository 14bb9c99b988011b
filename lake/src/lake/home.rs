//! Whether the changes of a task can be committed with its outcome: for that a catalog in Postgres must be in the database where orch
//! records how tasks end. One that answers over HTTP is committed to before.

use super::Lake;
use crate::boxed;
use orch_sdk::task::{Ctx, TaskResult, fatal};
use orch_store::identity::identity;

/// What to do about a catalog that is elsewhere.
pub(crate) const HINT: &str = "put the catalog into the metadata database of orch";

impl Lake {
    /// To be asked before a task does anything else: what it has written by the time `ctx.commit` is refused was in vain.
    /// `connection` is the one that the lake was opened by. In tests and trials nothing is asked.
    ///
    /// # Errors
    /// A fatal error when the catalog is in another database; one that is tried again when a database does not answer.
    #[boxed]
    pub async fn check_home(&self, ctx: &Ctx, connection: &str) -> TaskResult<()> {
        let Some(catalog) = self.catalog().postgres() else { return Ok(()) };
        let Some(home) = ctx.host().home().await? else { return Ok(()) };
        let mut db = catalog.pool().acquire().await?;
        let found = identity(&mut db).await?;
        drop(db);
        // A server that was restarted between the two questions is another one to the first.
        if found == home || ctx.host().home().await?.as_ref() == Some(&found) {
            return Ok(());
        }
        Err(fatal(format!(
            "connection `{connection}` leads to another database than that of orch, so a task cannot commit tables of this \
             lake with its outcome\n\
             hint: {HINT}: let the connection lead to the database of `ORCH_DATABASE_URL`, or delete it if the default will do"
        )))
    }
}
