//! The `orch` commands and process roles: the control plane.
//!
//! [`main`] is the complete `main` function of a binary: the command line selects whether the process is a server, a
//! worker, a single attempt of a task, or a client of a server. A command is in `cmd/<noun>_<verb>.rs`; shared modules
//! are beside it, and modules that bundles also use are in `orch-binary`.

/// Replaces the macro of the standard library in this crate, to escape control characters in terminals.
macro_rules! eprintln {
    ($($line:tt)+) => { orch_binary::output::print_message(format_args!($($line)+)) };
}

mod airflow;
mod api;
mod app;
mod backup;
mod bundle_worker;
mod clock;
mod cmd;
mod cx;
mod days;
mod dev;
mod graph;
mod kept;
mod project;
mod staff;
mod standalone;
mod web_role;

pub use app::{command_line, main};
