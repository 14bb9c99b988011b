//! The `orch` commands and process roles: the control plane.
//!
//! [`main`] is the whole of a binary: the command line decides whether it is a server, a worker, a body in a process of
//! its own, or a question to a server. A command's file is `cmd/<noun>_<verb>.rs`; what several share lies beside it, and what
//! bundles have too is in `orch-binary`.

/// Replaces the macro of the standard library in this crate: terminals get control characters escaped.
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
