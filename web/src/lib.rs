//! What people and programs reach orch by over HTTP: pages, the REST API in Airflow's shape, and health.
//!
//! Never loads user code: a DAG is data here. Every change goes through `store`, so any number of these servers may run,
//! and stopping one leaves every run as it is. [`serve`] is the process, [`router`] the same without a network.

mod admin;
mod api;
mod assets;
mod auth;
mod clock;
mod compress;
mod config;
mod ends;
mod error;
mod extract;
pub mod graph;
mod guard;
mod health;
mod live;
mod openapi;
mod pages;
mod parts;
mod problem;
mod refusal;
mod routes;
mod server;
mod state;
mod timestamp;

pub use admin::{ADMIN, Admin, check_user_name, ensure_admin, hash_password};
pub use auth::{Password, Role};
pub use clock::Clock;
pub use config::WebConfig;
pub use error::{WebError, WebResult};
pub use extract::Peer;
pub use routes::{Access, Door, Rule, router, rules};
pub use server::serve;
pub use state::App;
