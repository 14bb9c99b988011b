//! `orch users create-token`.

use super::users_change::at_command_line;
use crate::clock::now;
use crate::cx::Cx;
use chrono::TimeDelta;
use orch_binary::failure::{Failure, Outcome};
use orch_binary::output;
use orch_deeds::account;
use orch_store::token::{AddToken, MOST_TOKENS, NewToken, TokenScope};
use orch_store::user::get_user;
use orch_web::FreshToken;
use sqlx::Connection as _;

/// Maximum length of a token's name, as on the account page.
const MAX_NAME_CHARS: usize = 100;

/// Create an API token for a user and print it; it is shown only once
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch users create-token -u ada --name ci\n  \
    orch users create-token -u ada --name dashboards --days 365 --only-queries\n  \
    export ORCH_API_TOKEN=$(orch users create-token -u ada --name laptop)")]
pub(crate) struct CreateToken {
    /// Owner of the token, whose role it has
    #[arg(short, long, value_name = "NAME")]
    username: String,
    /// Purpose of the token, as the page of the account lists it
    #[arg(short, long, value_name = "TEXT")]
    name: String,
    /// Days until the token expires, or 0 for a token that is valid until it is revoked
    #[arg(short, long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(..=36_500))]
    days: u32,
    /// Restrict the token to published queries
    #[arg(long)]
    only_queries: bool,
}

impl CreateToken {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let name = self.name.trim();
        if name.is_empty() || name.chars().count() > MAX_NAME_CHARS {
            return Err(Failure::new(format!("the name of a token has 1 to {MAX_NAME_CHARS} characters"))
                .hint("name its purpose: `--name ci`"));
        }
        let mut session = cx.session().await?;
        let mut tx = session.db.begin().await?;
        let user = match get_user(&mut tx, &self.username).await? {
            Some(user) if !user.is_disabled => user.name,
            Some(user) => {
                return Err(Failure::new(format!("user `{}` is disabled", user.name))
                    .hint(format!("enable the user first: `orch users enable -u {}`", user.name)));
            }
            None => {
                return Err(
                    Failure::new(format!("there is no user `{}`", self.username)).hint("`orch users list` names all")
                );
            }
        };
        let (now, fresh) = (now(), FreshToken::random());
        let new = NewToken {
            token_hash: &fresh.hash,
            user: &user,
            name,
            scope: if self.only_queries { TokenScope::Serving } else { TokenScope::All },
            now,
            expires_at: (self.days > 0).then(|| now + TimeDelta::days(self.days.into())),
        };
        match account::create_token(&mut tx, &at_command_line(), &new).await? {
            AddToken::Added => {}
            AddToken::Taken => {
                return Err(Failure::new(format!("user `{user}` has a token `{name}` already")).hint(format!(
                    "choose another `--name`, or revoke that token: `orch users revoke-token -u {user} --name {name}`"
                )));
            }
            AddToken::TooMany => {
                return Err(Failure::new(format!("user `{user}` has {MOST_TOKENS} tokens, which is the maximum"))
                    .hint(format!("revoke unused ones: `orch users list-tokens -u {user}` lists them")));
            }
        }
        tx.commit().await?;
        let until = new.expires_at.map_or_else(|| "revoked".into(), |at| at.format("%Y-%m-%d").to_string());
        eprintln!("token `{name}` of user `{user}` is valid until {until}; it is printed only now");
        output::print(&format!("{}\n", fresh.text))
    }
}
