//! Who sits at this terminal, for the audit log and for questions before something is lost.

use crate::failure::Failure;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

/// The name of the account.
pub(crate) fn name() -> String {
    let id = nix::unistd::geteuid();
    match nix::unistd::User::from_uid(id) {
        Ok(Some(user)) => user.name,
        _ => id.to_string(),
    }
}

/// `-y`, for commands that cannot be taken back.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct YesFlag {
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

impl YesFlag {
    /// Asks, unless it was said before. Who cannot be asked has not agreed.
    pub(crate) fn agree(self, question: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure::new(format!("{question} Nobody is here to ask")).hint("agree with `--yes`"));
        }
        eprint!("{question} [y/N] ");
        let mut answer = String::new();
        let read = std::io::stderr().flush().and_then(|()| std::io::stdin().lock().read_line(&mut answer));
        match read {
            Ok(_) if ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) => Ok(()),
            _ => Err(Failure::new("nothing was done")),
        }
    }
}
