//! The server as its clients meet it: every status code and shape, on a real database, without a network but where the
//! network is what is tested.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod dag_runs;
mod dags;
mod extras;
mod facts;
mod fixture;
mod health;
mod instance_changes;
mod log;
mod login;
mod openapi;
mod routes;
mod run_changes;
mod server;
mod shapes;
mod task_instances;
mod trigger;
