//! The server as its clients meet it: every status code and shape, on a real database, without a network but where the
//! network is what is tested.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod access;
mod account;
mod alerts;
mod approvals;
mod assets;
mod audit;
mod backfills;
mod browser;
mod bulk;
mod connections;
mod dag_runs;
mod dags;
mod extras;
mod facts;
mod fake_lake;
mod files;
mod fixture;
mod health;
mod instance_changes;
mod lake;
mod live;
mod log;
mod login;
mod logs;
mod markup;
mod openapi;
mod pages;
mod pools;
mod presets;
mod proxied;
mod quality;
mod routes;
mod run_changes;
mod secret_pages;
mod server;
mod session;
mod shapes;
mod task_instances;
mod tls;
mod trigger;
mod views;
mod waits;
mod why;
mod writes;
