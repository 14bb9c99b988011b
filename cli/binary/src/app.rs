//! Entry point of a binary: parses the command line, runs the command with its context `Cx`, and handles the internal
//! subcommands with which orch starts its own child processes.

use crate::beside::{TELL_CONNECTIONS, tell_connections};
use crate::bundle::BundleSource;
use crate::config::{CommandLineSettings, Config, LoadedFrom, ServerFlags, hide_secrets};
use crate::failure::{Exit, Failure, Outcome};
use crate::files;
use crate::output::Style;
use crate::query_process::{ANSWER_QUERIES, answer_queries};
use crate::server::ServedAt;
use crate::session::Session;
use clap::error::ErrorKind;
use clap::{ArgMatches, FromArgMatches as _, Parser};
use orch_sdk::task::Bundle;
use orch_workers::BodyOf;
use std::cell::Cell;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Internal subcommand that runs a single attempt of a task in its own process.
const RUN_ATTEMPT: &str = "run-attempt";

/// Before or behind any command.
#[derive(Debug, clap::Args)]
pub struct GlobalFlags {
    #[command(flatten)]
    server: ServerFlags,

    /// File of settings, instead of `orch.toml` in the data folder [env: `ORCH_CONFIG`]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Server")]
    config: Option<PathBuf>,

    /// The same as `--log debug`
    #[arg(short, long, global = true, conflicts_with = "log")]
    verbose: bool,
}

impl GlobalFlags {
    fn given(self, bundle: &BundleSource) -> CommandLineSettings {
        let mut given = CommandLineSettings {
            file: self.config,
            connections: bundle.connections(),
            lake: bundle.lake(),
            archives: bundle.archives(),
            bundle_name: bundle.neighbour(),
            ..CommandLineSettings::default()
        };
        self.server.add_to(&mut given);
        if self.verbose {
            given.flags.push(("log", "debug".into()));
        }
        given
    }
}

pub trait CommandLine: Parser {
    fn parts(self) -> (GlobalFlags, impl FnOnce(Cx) -> Outcome);

    /// Returns a hint for arguments that are not a valid command.
    fn hint(_words: &[&str]) -> Option<&'static str> {
        None
    }
}

/// Runs the binary: an internal subcommand, or the command that the command line names.
pub fn run_binary<T: CommandLine>(bundle: BundleSource) -> ExitCode {
    let began = Instant::now();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(ended) = orch_workers::program::supervise_if_asked(&arguments) {
        return ended;
    }
    if arguments.get(1).is_some_and(|first| first == RUN_ATTEMPT) {
        let body_of = bundle.body_of();
        return orch_workers::run_attempt(|dag_id| bundle.build_all().ok()?.dag(dag_id).cloned(), body_of);
    }
    if arguments.get(1).is_some_and(|first| first == ANSWER_QUERIES) {
        return answer_queries(&bundle.lake(), &bundle.streams());
    }
    if arguments.get(1).is_some_and(|first| first == TELL_CONNECTIONS) {
        return tell_connections(&bundle.connections());
    }
    hide_secrets();
    let mut tree = bundle.with_commands(T::command());
    let matches = match tree.try_get_matches_from_mut(&arguments) {
        Ok(matches) => matches,
        Err(error) => {
            let ended = refused(&error);
            let words = arguments.iter().skip(1).map_while(|word| word.to_str().filter(|word| !word.starts_with('-')));
            let hint = T::hint(&words.collect::<Vec<_>>());
            if let (ErrorKind::InvalidSubcommand, Some(hint)) = (error.kind(), hint) {
                eprintln!("{} {hint}", Style::of_stderr().hint("hint:"));
            }
            return ended;
        }
    };
    let told = (words(&matches), began);
    if let Some((server, given)) = bundle.server_of(&matches) {
        let flags = GlobalFlags::from_arg_matches(given);
        return match flags.and_then(|flags| Ok((flags, ServedAt::from_arg_matches(given)?))) {
            Ok((flags, at)) => carried_out(bundle, flags, told, |cx| server.serve(&at, &cx)),
            Err(error) => refused(&error.format(&mut tree)),
        };
    }
    match T::from_arg_matches(&matches) {
        Ok(line) => {
            let (flags, command) = line.parts();
            carried_out(bundle, flags, told, command)
        }
        Err(error) => refused(&error.format(&mut tree)),
    }
}

fn carried_out(
    bundle: BundleSource,
    flags: GlobalFlags,
    (words, began): (String, Instant),
    command: impl FnOnce(Cx) -> Outcome,
) -> ExitCode {
    let (given, body_of) = (flags.given(&bundle), bundle.body_of());
    let outcome = command(Cx { given, bundle: Cell::new(Some(bundle)), body_of, words, began });
    if let Err(failure) = &outcome {
        failure.tell(Style::of_stderr());
    }
    Exit::code(&outcome)
}

/// Context that every command gets.
pub struct Cx {
    given: CommandLineSettings,
    bundle: Cell<Option<BundleSource>>,
    body_of: BodyOf,
    /// The names of the subcommands, such as `dags trigger`.
    words: String,
    /// Start time of the process, for reports of durations.
    pub began: Instant,
}

impl Cx {
    /// Returns the configuration. It may name an API instead of a database.
    pub fn config(&self) -> Result<Config, Failure> {
        load(&self.given)
    }

    /// Like `config`, with additional flags of the command.
    pub fn config_with(&self, add: impl FnOnce(&mut CommandLineSettings)) -> Result<Config, Failure> {
        let mut given = self.given.clone();
        add(&mut given);
        load(&given)
    }

    /// Returns the configuration of a command that needs direct access to the database. Fails if an API is named
    /// instead.
    pub fn config_of_database(&self) -> Result<Config, Failure> {
        self.config_of_database_with(|_| ())
    }

    /// Like `config_of_database`, with additional flags of the command.
    pub fn config_of_database_with(&self, add: impl FnOnce(&mut CommandLineSettings)) -> Result<Config, Failure> {
        let config = self.config_with(add)?;
        if config.api_url()?.is_none() {
            return Ok(config);
        }
        let from = config.sources.get("api_url").map_or_else(String::new, LoadedFrom::to_string);
        Err(Failure::new(format!("`orch {}` needs the database: it cannot be done over the API", self.words))
            .hint(format!("leave out what {from} says and name the database with `--database-url`")))
    }

    pub async fn session(&self) -> Result<Session, Failure> {
        Session::open(&self.config_of_database()?).await
    }

    /// Returns the function that builds the task functions of DAG files.
    pub fn body_of(&self) -> BodyOf {
        self.body_of
    }

    /// Returns the DAGs of this binary and those that the folder of DAG files contains now.
    pub fn local_bundle(&self) -> Result<Bundle, Failure> {
        let config = self.config()?;
        files::with_files(self.bundle().build(&config)?, &config, self.body_of)
    }

    /// Returns the DAGs of this binary. Panics if it is called twice.
    pub fn bundle(&self) -> BundleSource {
        self.bundle.take().expect("a command asks for the bundle once")
    }
}

fn load(given: &CommandLineSettings) -> Result<Config, Failure> {
    let config = Config::load(given)?;
    orch_core::plan::set_max_map_elements(config.max_map_elements.cast_signed());
    Ok(config)
}

fn words(matches: &ArgMatches) -> String {
    let mut words = Vec::new();
    let mut inner = matches.subcommand();
    while let Some((name, matches)) = inner {
        words.push(name);
        inner = matches.subcommand();
    }
    words.join(" ")
}

/// Prints a clap error and returns its exit code. `--help` and `--version` also arrive as errors, go to standard output
/// and exit with 0.
fn refused(error: &clap::Error) -> ExitCode {
    let is_printed = error.print().is_ok();
    if error.use_stderr() || !is_printed { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

/// Runs a command on a runtime with a single thread, which is enough for requests to a server.
pub fn block_on(question: impl Future<Output = Outcome>) -> Outcome {
    block_on_value(question)
}

/// Like `block_on`, but returns a value.
pub fn block_on_value<T>(question: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::io("cannot start"))?.block_on(question)
}
