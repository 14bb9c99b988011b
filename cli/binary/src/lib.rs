//! The parts of every binary with DAGs: settings, the worker, tests of DAGs, and queries of tables.
//!
//! [`main`] is the complete `main` function of a bundle's binary. `orch-cli` adds the control plane to the same parts:
//! scheduler, web server and the commands that send requests to them.

/// Replaces the macro of the standard library in this crate, to escape control characters in terminals.
macro_rules! eprintln {
    () => { std::eprintln!() };
    ($($line:tt)+) => { $crate::output::print_message(format_args!($($line)+)) };
}

pub mod app;
pub mod beside;
mod bundle;
pub mod cmd;
pub mod conf;
pub mod config;
mod console;
pub mod database_failure;
pub mod failure;
pub mod files;
pub mod found;
mod logging;
mod memory;
mod metrics;
pub mod names;
pub mod output;
pub mod parts;
pub mod person;
mod query_process;
mod requests;
pub mod roles;
pub mod secrets;
mod server;
pub mod session;
mod style;
mod trial;
pub mod wait;

pub(crate) use async_recursion::async_recursion as boxed;
pub use bundle::BundleSource;
pub use orch_store::archive::{Archive, ArchiveDoor, ArchiveError, ArchiveResult, ArchiveSource};
pub use orch_store::lake_view::LakeSource;
pub use orch_store::stream::StreamSource;
pub use server::{BundleServer, Serving, socket};

use std::process::ExitCode;

/// Runs the command line of a bundle's binary.
pub fn main(bundle: BundleSource) -> ExitCode {
    app::run_binary::<cmd::Bundled>(bundle)
}
