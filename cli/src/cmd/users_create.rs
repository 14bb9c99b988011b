//! `orch users create`.

use super::users_change::{ChosenPassword, PasswordFlags, at_command_line};
use crate::cx::Cx;
use crate::web_role;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_deeds::user::create;
use orch_store::user::NewUser;
use orch_web::{Role, check_user_name, hash_password};
use sqlx::Connection as _;

/// Create a user who may log in
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch users create -u ada -r op\n  \
    orch users create -u ada -f Ada -l Lovelace -e ada@example.com -r Admin --use-random-password\n  \
    orch users create -u ada -r viewer < password.txt")]
pub(crate) struct CreateUser {
    /// What the user logs in with
    #[arg(short, long, value_name = "NAME")]
    username: String,
    /// viewer, user, op or admin
    #[arg(short, long)]
    role: Role,
    #[arg(short, long, default_value = "", hide_default_value = true, help = "First name, for people")]
    firstname: String,
    #[arg(short, long, default_value = "", hide_default_value = true, help = "Last name, for people")]
    lastname: String,
    #[arg(short, long, default_value = "", hide_default_value = true, help = "Address of mail, for people")]
    email: String,
    #[command(flatten)]
    password: PasswordFlags,
}

impl CreateUser {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        check_user_name(&self.username)
            .map_err(|words| Failure::new(format!("`{}` is no user name: {words}", self.username)))?;
        let mut session = cx.session().await?;
        let ChosenPassword { password, is_random } = self.password.choose(&self.username)?;
        let password_hash = hash_password(password.clone()).await.map_err(web_role::failure)?;
        let full_name = format!("{} {}", self.firstname.trim(), self.lastname.trim());
        let new = NewUser {
            name: &self.username,
            password_hash: &password_hash,
            role: self.role.as_str(),
            full_name: full_name.trim(),
            email: self.email.trim(),
        };
        let mut tx = session.db.begin().await?;
        if let Some(existing) = create(&mut tx, &at_command_line(), &new).await? {
            return Err(Failure::new(format!("there is a user `{existing}` already")).hint(
                "user names are unique regardless of case: change this user with `orch users set-role` or `orch users reset-password`",
            ));
        }
        tx.commit().await?;
        eprintln!("user `{}` may log in as {}", self.username, self.role);
        if is_random {
            super::users_change::tell(&password)?;
        }
        Ok(Exit::Done)
    }
}
