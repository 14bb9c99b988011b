//! `orch completion`: completion scripts for shells, and the candidates that these scripts request.

mod candidates;

use crate::cx::{Cx, block_on_value};
use candidates::{Candidate, Completions, DagIds};
use clap_complete::Shell;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::found::Standalone;
use orch_binary::output::print;
use std::time::Duration;

const BASH: &str = include_str!("completion/orch.bash");
const ZSH: &str = include_str!("completion/orch.zsh");
const FISH: &str = include_str!("completion/orch.fish");
/// Timeout for the ids of DAGs. A user who presses tab waits for them.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orch completion bash > ~/.local/share/bash-completion/completions/orch\n  \
    orch completion zsh > ~/.zfunc/_orch\n  \
    orch completion fish > ~/.config/fish/completions/orch.fish")]
pub(crate) struct Completion {
    shell: Shell,
    /// Words of a command line up to the cursor; prints the completions of the last word instead of a script
    #[arg(last = true, hide = true)]
    words: Vec<String>,
}

impl Completion {
    pub(crate) fn run(self, cx: &Cx) -> Outcome {
        if !self.words.is_empty() {
            return self.print_candidates(cx);
        }
        match self.shell {
            Shell::Bash => print(BASH),
            Shell::Zsh => print(ZSH),
            Shell::Fish => print(FISH),
            // These scripts contain all commands, but no ids of DAGs.
            other => {
                let mut script = Vec::new();
                clap_complete::generate(other, &mut cx.command_line(), "orch", &mut script);
                print(&String::from_utf8_lossy(&script))
            }
        }
    }

    /// Prints one candidate per line. If the server cannot be reached, prints nothing and succeeds.
    fn print_candidates(&self, cx: &Cx) -> Outcome {
        let mut command_line = cx.command_line();
        // Propagates global options to all subcommands.
        command_line.build();
        let candidates = match candidates::completions(&command_line, &self.words) {
            Completions::Words(words) => words,
            Completions::DagIds(wanted) => wanted.of(dags(cx, &wanted).unwrap_or_default()),
        };
        let lines: String = candidates.iter().map(|candidate| line(self.shell, candidate)).collect();
        if lines.is_empty() { Ok(Exit::Done) } else { print(&lines) }
    }
}

/// A candidate in the form that the script of the shell reads.
fn line(shell: Shell, Candidate { value, help }: &Candidate) -> String {
    match shell {
        Shell::Zsh if help.is_empty() => format!("{}\n", value.replace(':', "\\:")),
        Shell::Zsh => format!("{}:{help}\n", value.replace(':', "\\:")),
        Shell::Fish => format!("{value}\t{help}\n"),
        _ => format!("{value}\n"),
    }
}

/// Returns the ids and descriptions of DAGs.
fn dags(cx: &Cx, wanted: &DagIds<'_>) -> Result<Vec<Candidate>, Failure> {
    if wanted.is_local {
        let bundle = cx.local_bundle()?;
        return Ok(bundle.dags().map(|dag| Candidate::new(&dag.spec.dag_id, &dag.spec.description)).collect());
    }
    if !is_server_running(cx)? {
        return Ok(Vec::new());
    }
    block_on_value(async {
        let found = tokio::time::timeout(TIMEOUT, Box::pin(dags_of_server(cx, wanted.prefix))).await;
        found.unwrap_or_else(|_| Err(Failure::new("the server did not respond in time")))
    })
}

async fn dags_of_server(cx: &Cx, prefix: &str) -> Result<Vec<Candidate>, Failure> {
    let dags = cx.api().await?.dags_with_prefix(prefix, TIMEOUT).await?;
    Ok(dags.iter().map(|dag| Candidate::new(&dag.dag_id, &dag.description)).collect())
}

/// Returns true if a server is configured or the standalone of the data folder runs. Other commands start the database
/// of a stopped standalone, which takes longer than a user waits for completions.
fn is_server_running(cx: &Cx) -> Result<bool, Failure> {
    let config = cx.config()?;
    if config.api_url()?.is_some() || config.database_url.is_some() {
        return Ok(true);
    }
    let standalone = Standalone::read(&config.data_dir);
    Ok(standalone.is_some_and(|standalone| standalone.socket.is_none() || standalone.is_alive()))
}
