//! The user at this terminal: the name for the audit log, secrets, and confirmations before data is lost.

use crate::failure::Failure;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::io::{BufRead as _, IsTerminal as _, Write as _};

/// Returns the name of the user's account, or the user id if the account has no name.
pub fn name() -> String {
    let id = nix::unistd::geteuid();
    match nix::unistd::User::from_uid(id) {
        Ok(Some(user)) => user.name,
        _ => id.to_string(),
    }
}

/// Reads a secret: at a terminal it is typed twice without echo, otherwise it is the first line of standard input.
pub fn secret(what: &str) -> Result<String, Failure> {
    let read = || -> std::io::Result<String> {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    };
    let failed = || Failure::io("cannot read from the terminal");
    if !std::io::stdin().is_terminal() {
        return read().map_err(failed());
    }
    let ask = |words: &str| -> Result<String, Failure> {
        eprint!("{words}: ");
        std::io::stderr().flush().map_err(failed())?;
        let hidden = Hidden::begin().map_err(|errno| Failure::new(format!("cannot hide what is typed: {errno}")))?;
        let line = read().map_err(failed());
        drop(hidden);
        eprintln!();
        line
    };
    let first = ask(what)?;
    if ask("Once more")? == first { Ok(first) } else { Err(Failure::new("these are two different ones")) }
}

/// Like `secret`, but reads all of standard input, because keys and JSON have several lines.
pub fn long_secret(what: &str) -> Result<String, Failure> {
    if std::io::stdin().is_terminal() {
        return secret(what);
    }
    let text = std::io::read_to_string(std::io::stdin().lock()).map_err(Failure::io("cannot read standard input"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// Disables the echo of the terminal until it is dropped.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn begin() -> nix::Result<Hidden> {
        let before = tcgetattr(std::io::stdin())?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(std::io::stdin(), SetArg::TCSAFLUSH, &silent)?;
        Ok(Hidden { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Err(errno) = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.before) {
            tracing::warn!(%errno, "the terminal could not be put back: `stty echo` does");
        }
    }
}

/// `-y`, for commands that cannot be taken back.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct YesFlag {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// `-y` of commands that delete without asking, so that scripts can pass it to every `delete`.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct AcceptedYesFlag {
    /// Accepted for scripts; this command does not ask
    #[arg(short, long)]
    yes: bool,
}

impl YesFlag {
    /// Asks for confirmation unless `--yes` was given. Fails without a terminal.
    pub fn agree(self, question: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure::new(format!("{question} There is no terminal to ask at")).hint("agree with `--yes`"));
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
