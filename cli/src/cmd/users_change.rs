//! `orch users set-role`, `reset-password`, `disable`, `enable` and `delete`. Passwords are typed, piped or generated.
//! They appear neither on a command line, which others can read, nor in the audit log.

use crate::cx::Cx;
use crate::web_role;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output;
use orch_binary::person::{self, YesFlag};
use orch_deeds::Actor;
use orch_deeds::user::{self, UserDeed};
use orch_spec::state::TriggeredBy;
use orch_store::user::UserChange;
use orch_web::{Password, Role, hash_password};
use sqlx::Connection as _;

#[derive(Debug, clap::Args)]
pub(crate) struct Name {
    /// Whom it is about
    #[arg(short, long = "username", value_name = "NAME")]
    username: String,
}

/// Where a new password comes from: the terminal, standard input, or chance.
#[derive(Debug, clap::Args)]
pub(crate) struct PasswordFlags {
    /// Make a password up and print it
    #[arg(long)]
    use_random_password: bool,
    /// Airflow's way, which everybody on the machine can read
    #[arg(short, long, hide = true, value_name = "PASSWORD")]
    password: Option<String>,
}

pub(crate) struct ChosenPassword {
    pub(crate) password: Password,
    pub(crate) is_random: bool,
}

impl PasswordFlags {
    pub(crate) fn choose(&self, user: &str) -> Result<ChosenPassword, Failure> {
        if self.password.is_some() {
            return Err(Failure::new("a password on the command line can be read by everybody on this machine")
                .hint("leave it out to type it, pipe it in, or take `--use-random-password`"));
        }
        if self.use_random_password {
            return Ok(ChosenPassword { password: Password::random(), is_random: true });
        }
        let password = Password::new(person::secret(&format!("New password of {user}"))?);
        let checked = password.check(user).map_err(Failure::new);
        checked.map_err(|failure| failure.hint("choose another password, or take `--use-random-password`"))?;
        Ok(ChosenPassword { password, is_random: false })
    }
}

/// Prints a generated password as the only text on standard output.
pub(super) fn tell(password: &Password) -> Outcome {
    output::print(&format!("{}\n", password.reveal()))
}

/// Give a user another role
#[derive(Debug, clap::Args)]
#[command(visible_alias = "add-role", after_help = "Examples:\n  orch users set-role -u ada -r op")]
pub(crate) struct SetRole {
    #[command(flatten)]
    name: Name,
    /// viewer, user, op or admin
    #[arg(short, long)]
    role: Role,
}

/// Give a user another password; all logins and API tokens end
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch users reset-password -u ada\n  \
    orch users reset-password -u ada --use-random-password\n  orch users reset-password -u ada < password.txt")]
pub(crate) struct ResetPassword {
    #[command(flatten)]
    name: Name,
    #[command(flatten)]
    password: PasswordFlags,
}

/// Log a user out everywhere and refuse logins by that name
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch users disable -u ada")]
pub(crate) struct DisableUser {
    #[command(flatten)]
    name: Name,
}

/// Let a disabled user in again
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch users enable -u ada")]
pub(crate) struct EnableUser {
    #[command(flatten)]
    name: Name,
}

/// Delete a user with all logins and API tokens
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch users delete -u ada --yes")]
pub(crate) struct DeleteUser {
    #[command(flatten)]
    name: Name,
    #[command(flatten)]
    yes: YesFlag,
}

impl SetRole {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let (name, role) = (&self.name.username, self.role.as_str());
        carry_out(cx, name, UserDeed::SetRole(role)).await?;
        eprintln!("user `{name}` is {role}");
        Ok(Exit::Done)
    }
}

impl ResetPassword {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let name = &self.name.username;
        let ChosenPassword { password, is_random } = self.password.choose(name)?;
        let hash = hash_password(password.clone()).await.map_err(web_role::failure)?;
        carry_out(cx, name, UserDeed::ResetPassword { password_hash: &hash }).await?;
        eprintln!("user `{name}` has a new password; logins and API tokens of before have ended");
        if is_random { tell(&password) } else { Ok(Exit::Done) }
    }
}

impl DisableUser {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let name = &self.name.username;
        carry_out(cx, name, UserDeed::Disable).await?;
        eprintln!("user `{name}` is disabled; logins and API tokens have ended");
        Ok(Exit::Done)
    }
}

impl EnableUser {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let name = &self.name.username;
        carry_out(cx, name, UserDeed::Enable).await?;
        eprintln!("user `{name}` may log in");
        Ok(Exit::Done)
    }
}

impl DeleteUser {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let name = &self.name.username;
        self.yes.agree(&format!("This deletes user `{name}` with all logins and API tokens."))?;
        carry_out(cx, name, UserDeed::Delete).await?;
        eprintln!("user `{name}` is deleted");
        Ok(Exit::Done)
    }
}

async fn carry_out(cx: &Cx, name: &str, deed: UserDeed<'_>) -> Result<(), Failure> {
    let mut session = cx.session().await?;
    let mut tx = session.db.begin().await?;
    match user::change(&mut tx, &at_command_line(), name, &deed).await? {
        UserChange::Done => Ok(tx.commit().await?),
        UserChange::Unchanged => Ok(()),
        UserChange::NoSuchUser => {
            Err(Failure::new(format!("there is no user `{name}`")).hint("`orch users list` names all"))
        }
        UserChange::LastAdmin => Err(Failure::new(format!("`{name}` is the last admin who can log in"))
            .hint("make another user an admin first: `orch users set-role -u NAME -r admin`")),
    }
}

/// Returns the user at the terminal, who has all permissions.
pub(super) fn at_command_line() -> Actor {
    Actor { name: person::name().into(), from: None, may_start_runs: true, is_admin: true, through: TriggeredBy::Cli }
}
