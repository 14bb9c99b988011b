//! The command line as a tree, and the way from it to the one command that runs.

use crate::api::Api;
use crate::beside::{TELL_CONNECTIONS, tell_connections};
use crate::bundle::BundleSource;
use crate::cmd::Command;
use crate::config::{Config, Given, LoadedFrom, ServerFlags, hide_secrets};
use crate::failure::{Exit, Failure, Outcome};
use crate::files;
use crate::output::Style;
use crate::query_process::{ANSWER_QUERIES, answer_queries};
use crate::server::Server;
use crate::session::Session;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use orch_core::task::Bundle;
use orch_workers::BodyOf;
use std::cell::Cell;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Workflows on Postgres: DAGs that the compiler checks, milliseconds between tasks.
#[derive(Debug, clap::Parser)]
#[command(
    name = "orch",
    bin_name = "orch",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110,
    after_help = "Examples:\n  orch standalone                             a whole orch with its own database\n  \
        orch dags list                              what can run\n  \
        orch dags trigger example_chain --wait      run it and see how it ends"
)]
pub(crate) struct App {
    #[command(flatten)]
    server: ServerFlags,

    /// File of settings, instead of `orch.toml` in the data folder [env: `ORCH_CONFIG`]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Server")]
    config: Option<PathBuf>,

    /// The same as `--log debug`
    #[arg(short, long, global = true, conflicts_with = "log")]
    verbose: bool,

    #[command(subcommand)]
    command: Command,
}

/// How a worker starts this binary for one body in a process of its own.
const RUN_ATTEMPT: &str = "run-attempt";

/// What every command may ask for.
pub(crate) struct Cx {
    given: Given,
    bundle: Cell<Option<BundleSource>>,
    body_of: BodyOf,
    /// The words of the command: `dags trigger`.
    words: String,
    /// When the process began, for reports of how long things took.
    pub(crate) began: Instant,
}

impl Cx {
    /// The configuration as a question to a server needs it.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        Config::load(&self.given)
    }

    /// The configuration with flags of a command's own.
    pub(crate) fn config_with(&self, add: impl FnOnce(&mut Given)) -> Result<Config, Failure> {
        let mut given = self.given.clone();
        add(&mut given);
        Config::load(&given)
    }

    /// The configuration of a command that works on the database itself.
    pub(crate) fn config_of_database(&self) -> Result<Config, Failure> {
        let config = self.config()?;
        if config.api_url()?.is_none() {
            return Ok(config);
        }
        let from = config.sources.get("api_url").map_or_else(String::new, LoadedFrom::to_string);
        Err(Failure::new(format!("`orch {}` needs the database: it cannot be done over the API", self.words))
            .hint(format!("leave out what {from} says and name the database with `--database-url`")))
    }

    /// A connection to the database.
    pub(crate) async fn session(&self) -> Result<Session, Failure> {
        Session::open(&self.config_of_database()?).await
    }

    /// The server: over its API if one was named, else over its database.
    pub(crate) async fn server(&self) -> Result<Server, Failure> {
        match self.api()? {
            Some(api) => Ok(Server::Api(api)),
            None => Ok(Server::Database(Session::open(&self.config()?).await?)),
        }
    }

    /// The API, if that is what was named.
    pub(crate) fn api(&self) -> Result<Option<Api>, Failure> {
        let config = self.config()?;
        config.api_url()?.map(|url| Api::new(url, config.api_token.as_ref())).transpose()
    }

    /// Makes the bodies of tasks of DAG files.
    pub(crate) fn body_of(&self) -> BodyOf {
        self.body_of
    }

    /// The DAGs of this binary and of the folder of DAG files, as both are here and now.
    pub(crate) fn local_bundle(&self) -> Result<Bundle, Failure> {
        files::with_files(self.bundle().build()?, &self.config()?, self.body_of)
    }

    /// The DAGs of this binary. There is one use for them in a process.
    pub(crate) fn bundle(&self) -> BundleSource {
        self.bundle.take().expect("a command asks for the bundle once")
    }
}

/// Does what the command line says. The only function a binary needs.
pub fn main(bundle: BundleSource) -> ExitCode {
    let began = Instant::now();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(ended) = orch_workers::program::supervise_if_asked(&arguments) {
        return ended;
    }
    if arguments.get(1).is_some_and(|first| first == RUN_ATTEMPT) {
        let body_of = bundle.body_of();
        return orch_workers::run_attempt(|dag_id| bundle.build().ok()?.dag(dag_id).cloned(), body_of);
    }
    if arguments.get(1).is_some_and(|first| first == ANSWER_QUERIES) {
        return answer_queries(&bundle.lake());
    }
    if arguments.get(1).is_some_and(|first| first == TELL_CONNECTIONS) {
        return tell_connections(&bundle.connections());
    }
    hide_secrets();
    let mut tree = App::command();
    let parsed = tree.try_get_matches_from_mut(&arguments).and_then(|matches| {
        let app = App::from_arg_matches(&matches).map_err(|error| error.format(&mut tree))?;
        Ok((app, words(&matches)))
    });
    let (app, words) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return refused(&error),
    };
    let mut given = Given {
        file: app.config,
        connections: bundle.connections(),
        lake: bundle.lake(),
        archives: bundle.archives(),
        bundle_name: bundle.neighbour(),
        ..Given::default()
    };
    app.server.add_to(&mut given);
    if app.verbose {
        given.flags.push(("log", "debug".into()));
    }
    let body_of = bundle.body_of();
    let cx = Cx { given, bundle: Cell::new(Some(bundle)), body_of, words, began };
    let outcome = app.command.run(&cx);
    if let Err(failure) = &outcome {
        failure.tell(Style::of_stderr());
    }
    Exit::code(&outcome)
}

/// The names of the subcommands.
fn words(matches: &ArgMatches) -> String {
    let mut words = Vec::new();
    let mut inner = matches.subcommand();
    while let Some((name, matches)) = inner {
        words.push(name);
        inner = matches.subcommand();
    }
    words.join(" ")
}

/// `--help` and `--version` go to standard output and are no failure.
fn refused(error: &clap::Error) -> ExitCode {
    let is_printed = error.print().is_ok();
    if error.use_stderr() || !is_printed { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

/// Runs a question to a server: one thread is enough.
pub(crate) fn block_on(question: impl Future<Output = Outcome>) -> Outcome {
    block_on_value(question)
}

/// The same for a question of which the command needs the answer.
pub(crate) fn block_on_value<T>(question: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::io("cannot start"))?.block_on(question)
}
