//! `orch users list-tokens` and `orch users revoke-token`.

use super::users_change::at_command_line;
use crate::clock::now;
use crate::cx::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::{FormatFlag, Listing, moment};
use orch_deeds::account;
use orch_store::token::list_tokens;
use orch_store::user::get_user;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

/// List the API tokens of a user; their values are not stored
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch users list-tokens -u ada\n  orch users list-tokens -u ada -o json")]
pub(crate) struct ListTokens {
    /// Owner of the tokens
    #[arg(short, long, value_name = "NAME")]
    username: String,
    #[command(flatten)]
    output: FormatFlag,
}

/// Revoke an API token of a user
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch users revoke-token -u ada --name ci")]
pub(crate) struct RevokeToken {
    /// Owner of the token
    #[arg(short, long, value_name = "NAME")]
    username: String,
    /// Name of the token
    #[arg(short, long, value_name = "TEXT")]
    name: String,
}

impl ListTokens {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let mut session = cx.session().await?;
        let user = canonical_name(&mut session.db, &self.username).await?;
        let columns = ["name", "scope", "created_at", "expires_at", "is_expired"];
        let empty =
            format!("user `{user}` has no API tokens: create one with `orch users create-token -u {user} --name NAME`");
        let (mut listing, now) = (Listing::new(columns, empty), now());
        for token in list_tokens(&mut session.db, &user).await? {
            listing.add([
                json!(token.name),
                json!(token.scope.as_str()),
                moment(Some(token.created_at)),
                moment(token.expires_at),
                json!(token.expires_at.is_some_and(|at| at <= now)),
            ]);
        }
        listing.print(self.output.format)
    }
}

impl RevokeToken {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let mut session = cx.session().await?;
        let mut tx = session.db.begin().await?;
        let user = canonical_name(&mut tx, &self.username).await?;
        let tokens = list_tokens(&mut tx, &user).await?;
        let named = tokens.iter().find(|token| token.name == self.name.trim());
        let revoked = match named {
            Some(token) => account::revoke_token(&mut tx, &at_command_line(), &user, token.id).await?,
            None => None,
        };
        let Some(name) = revoked else {
            return Err(Failure::new(format!("user `{user}` has no token `{}`", self.name.trim()))
                .hint(format!("`orch users list-tokens -u {user}` lists all")));
        };
        tx.commit().await?;
        eprintln!("token `{name}` of user `{user}` is revoked");
        Ok(Exit::Done)
    }
}

/// Returns the name of the user as it was created. Names are not case-sensitive.
async fn canonical_name(db: &mut PgConnection, name: &str) -> Result<String, Failure> {
    let user = get_user(db, name).await?;
    let unknown = || Failure::new(format!("there is no user `{name}`")).hint("`orch users list` names all");
    Ok(user.ok_or_else(unknown)?.name)
}
