//! `orch teams`: explains that orch has no teams, and what to use instead.

use orch_binary::failure::{Failure, Outcome};

/// Teams are not known here; say what does their work
#[derive(Debug, clap::Args)]
#[command(hide = true, after_help = "Examples:\n  orch teams list\n\norch has no teams: see docs/airflow-parity.md")]
pub(crate) struct Teams {
    /// What Airflow would be told
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

impl Teams {
    pub(crate) fn run(&self) -> Outcome {
        let what = self.arguments.first().map_or_else(String::new, |what| format!(" {what}"));
        Err(Failure::new(format!("`orch teams{what}` cannot be done: there are no teams")).hint(
            "an orch for each team, with a database, workers and keys of its own, keeps them apart; within one, roles \
             (`orch users`) say who may change what, and queues whose workers run it",
        ))
    }
}
