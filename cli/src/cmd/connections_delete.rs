//! `orch connections delete`.

use super::kept::delete;
use crate::cx::Cx;
use orch_binary::failure::Outcome;
use orch_deeds::kept::CONNECTION;

/// Delete a connection
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch connections delete sales")]
pub(crate) struct Delete {
    conn_id: String,
}

impl Delete {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        delete(cx, CONNECTION, &self.conn_id).await
    }
}
