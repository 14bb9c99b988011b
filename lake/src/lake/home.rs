//! Checks that table changes can be committed in the transaction that records the outcome of a task. This requires
//! that a Postgres catalog is in orch's metadata database. Changes in a REST catalog are committed before that
//! transaction.

use super::Lake;
use crate::boxed;
use orch_sdk::task::{Ctx, TaskResult, fatal};
use orch_store::identity::identity;

/// Hint for users whose catalog is in another database.
pub(crate) const HINT: &str = "put the catalog into the metadata database of orch";

impl Lake {
    /// Fails if the Postgres catalog is not in orch's metadata database. Call it at the start of a task; otherwise
    /// `ctx.commit` fails after all work is done. `connection` is the id of the lake's connection. Does nothing in
    /// tests and trial runs.
    ///
    /// # Errors
    /// Returns a fatal error if the catalog is in another database, and a retryable error if a database does not
    /// respond.
    #[boxed]
    pub async fn check_home(&self, ctx: &Ctx, connection: &str) -> TaskResult<()> {
        let Some(catalog) = self.catalog().postgres() else { return Ok(()) };
        let Some(home) = ctx.host().home().await? else { return Ok(()) };
        let mut db = catalog.pool().acquire().await?;
        let found = identity(&mut db).await?;
        drop(db);
        // The identity of orch's database is queried again, because it changes if the server restarts between the two
        // queries.
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
