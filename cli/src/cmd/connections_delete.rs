//! `orch connections delete`.

use crate::app::Cx;
use crate::failure::{Exit, Failure, Outcome};
use crate::session::did_in;
use orch_store::audit::Deed;
use orch_store::connection::delete_connection;
use serde_json::json;
use sqlx::Connection as _;

/// Delete a connection
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch connections delete sales")]
pub(crate) struct Delete {
    conn_id: String,
}

impl Delete {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let mut session = cx.session().await?;
        let mut transaction = session.db.begin().await?;
        if !delete_connection(&mut transaction, &self.conn_id).await? {
            return Err(no_such_connection(&self.conn_id));
        }
        let extra = Some(json!({ "connection_id": self.conn_id }));
        did_in(&mut transaction, &Deed { event: "delete_connection", extra, ..Deed::default() }).await?;
        transaction.commit().await?;
        eprintln!("connection `{}` is deleted", self.conn_id);
        Ok(Exit::Done)
    }
}

pub(super) fn no_such_connection(id: &str) -> Failure {
    Failure::new(format!("there is no connection `{id}`")).hint("list all with `orch connections list`")
}
