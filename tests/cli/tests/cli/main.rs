//! The command line as people and scripts meet it: exit code, standard output, standard error.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod bad_input;
mod binary;
mod browser;
mod children;
mod config;
mod guides;
mod live;
mod official_client;
mod offline;
mod remote;
mod server;
mod standalone;
mod users;
mod world;
