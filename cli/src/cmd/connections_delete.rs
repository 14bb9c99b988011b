//! `orch connections delete`.

use crate::app::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};

/// Delete a connection
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch connections delete sales")]
pub(crate) struct Delete {
    conn_id: String,
}

impl Delete {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        if !cx.api().await?.remove("connections", &self.conn_id).await? {
            return Err(no_such_connection(&self.conn_id));
        }
        eprintln!("connection `{}` is deleted", self.conn_id);
        Ok(Exit::Done)
    }
}

pub(super) fn no_such_connection(id: &str) -> Failure {
    Failure::new(format!("there is no connection `{id}`")).hint("list all with `orch connections list`")
}
