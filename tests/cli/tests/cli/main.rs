//! The command line as users and scripts see it: exit code, standard output, standard error.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod airflowctl;
mod answers;
mod approvals;
mod assets;
mod audited;
mod backfills;
mod backup;
mod bad_input;
mod beside;
mod binary;
mod bodies;
mod both_ways;
mod browser;
mod canary;
mod children;
mod clean;
mod completion;
mod config;
mod dag_files;
mod examples;
mod first_day;
mod guide;

mod lists;
mod live;
mod metrics;
mod much;
mod new_project;
mod official_client;
mod offline;
mod plain_http;
mod pools;
mod random_files;
#[path = "../../../../core/tests/rules/support/recorded.rs"]
mod recorded;
mod reference;
mod remote;
mod secrets;
mod server;
mod sessions;
mod signals;
mod standalone;
mod streams;
mod topics;
mod upgrade;
mod users;
mod versions;
mod waits;
mod world;
mod wrong_inputs;
