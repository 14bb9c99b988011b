//! The web server of orch: pages, the REST API (compatible with Airflow), and health checks.
//!
//! It never loads user code: a DAG is data here. All changes use `store`, so any number of web servers can run, and
//! stopping one does not affect runs. [`serve`] runs the process; [`router`] returns the same server without a network.
#![warn(clippy::cast_possible_truncation)]

mod admin;
mod api;
mod arrival;
mod assets;
mod auth;
mod base_path;
mod behind;
mod body;
mod bundle_state;
mod clock;
mod compress;
mod config;
mod dashboards;
mod download;
mod ends;
mod error;
mod extract;
pub mod graph;
mod guard;
mod health;
mod here;
mod known_names;
mod limit;
mod live;
mod metrics;
mod old_log;
mod openapi;
mod pages;
mod parts;
mod queries;
mod refusal;
mod routes;
mod server;
mod state;
mod tls;
mod trial;

pub use admin::{ADMIN, Admin, check_user_name, ensure_admin, hash_password};
pub use auth::{FreshToken, Password, Role};
pub use body::MAX_RESPONSE_BYTES;
pub use bundle_state::BundleState;
pub use clock::Clock;
pub use config::WebConfig;
pub use error::{WebError, WebResult};
pub use extract::Peer;
pub use health::{is_alive, is_worker_alive};
pub use here::InProcessApi;
pub use routes::{Access, Door, Rule, router, rules};
pub use server::serve;
pub use state::App;
pub use tls::Tls;
pub use trial::{TestError, try_connection};

/// The example DAG that new users should start with.
pub const FLAGSHIP: &str = "retail_medallion";
