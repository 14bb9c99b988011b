//! `orch users list`.

use crate::cx::Cx;
use orch_binary::failure::Outcome;
use orch_binary::output::{FormatFlag, Listing, moment};
use serde_json::json;

/// List who may log in
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch users list\n  orch users list -o json")]
pub(crate) struct ListUsers {
    #[command(flatten)]
    output: FormatFlag,
}

impl ListUsers {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let users = cx.api().await?.users().await?;
        let columns = ["username", "role", "is_disabled", "full_name", "email", "logins", "api_tokens", "created_at"];
        let mut listing = Listing::new(columns, "no users: create one with `orch users create -u NAME -r admin`");
        for user in users {
            listing.add([
                json!(user.name),
                json!(user.role),
                json!(user.is_disabled),
                json!(user.full_name),
                json!(user.email),
                json!(user.sessions),
                json!(user.tokens),
                moment(Some(user.created_at)),
            ]);
        }
        listing.print(self.output.format)
    }
}
