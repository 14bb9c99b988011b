//! Database access to orch's metadata; the only crate with SQL for it. Postgres is the source of truth, and each
//! function performs one operation.
//!
//! Functions take a connection, and the caller controls transactions unless a function documents otherwise. The SQL of
//! about a dozen hot statements is assembled at run time (`step`). Most other statements are checked against the schema
//! at compile time (`.sqlx/`).
#![warn(clippy::cast_possible_truncation)]

pub mod admission;
pub mod alert;
pub mod approval;
pub mod archive;
pub mod asset;
pub mod audit;
pub mod backfill;
pub mod backup;
pub mod bounded;
pub mod clean;
pub mod clear;
pub mod cluster;
pub mod completion;
pub mod connect;
pub mod connection;
pub mod dag;
pub mod dashboard;
pub mod database_url;
pub mod deadline;
pub mod doctor;
pub mod due;
pub mod duty;
pub mod error;
pub mod guard;
pub mod hint;
pub(crate) mod home;
pub mod hot;
pub mod identity;
pub mod import_error;
pub mod instance;
pub mod kept;
pub mod lake_view;
pub mod leaf;
pub mod line;
pub mod list;
pub mod live;
pub mod locks;
pub mod log;
pub mod mark;
pub mod monitor;
pub mod narrow;
pub mod note;
pub mod output;
pub mod overview;
pub mod parked;
pub mod part;
pub mod partition;
pub mod preset;
pub mod process;
pub mod progress;
pub mod query_history;
pub mod refold;
pub mod registry;
pub mod reset;
pub mod rollover;
pub mod run;
pub mod run_lock;
pub mod seal;
pub mod session;
pub mod setting;
pub mod step;
pub mod stream;
pub mod task_role;
pub mod timing;
pub mod token;
pub mod topic;
pub mod transaction;
pub mod user;
pub mod version;
pub mod watch;
pub mod why;
pub mod worker;

/// Boxes the future of an `async fn`. Without it, each crate that awaits the function would compile the whole function
/// again, including sqlx's code for its queries.
pub(crate) use async_recursion::async_recursion as boxed;
pub use completion::{Commit, CompletionStep};
pub use error::{Policy, StoreError, StoreResult};

/// Migrations of the database schema. `orch db migrate` and `orch standalone` apply them.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");
