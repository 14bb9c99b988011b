//! The `orch` commands and process roles. The one room that reads the environment and prints.
//!
//! [`main`] is the whole of a binary: the command line decides whether it is a server, a worker, a body in a process of
//! its own, or a question to a server. A command's file is `cmd/<noun>_<verb>.rs`; what several share lies beside it.

mod api;
mod app;
mod backup;
mod beside;
mod bundle;
mod clock;
mod cmd;
mod conf;
mod config;
mod console;
mod dev;
mod failure;
mod files;
mod found;
mod graph;
mod kept;
mod logging;
mod memory;
mod names;
mod output;
mod parts;
mod person;
mod project;
mod query_process;
mod roles;
mod secrets;
mod server;
mod session;
mod staff;
mod standalone;
mod trial;
mod wait;

pub use app::main;
pub use bundle::BundleSource;
pub use orch_store::archive::{Archive, ArchiveDoor, ArchiveError, ArchiveResult, ArchiveSource};
pub use orch_store::lake_view::LakeSource;
