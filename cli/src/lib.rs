//! The `orch` commands and process roles. The one room that reads the environment and prints.

mod config;
mod failure;
mod output;
