//! User actions, such as ending a run or clearing tasks. Each action makes the change, applies its consequences and
//! writes the audit record, all in the caller's transaction.
//!
//! The API and the web pages call these functions; CLI commands call the API. Each module names the hints (wake-up
//! signals) that the caller must send after the commit.

pub mod account;
mod actor;
pub mod alert;
pub mod approval;
pub mod asset;
pub mod backfill;
pub mod dag;
pub mod instance;
pub mod kept;
pub mod output;
pub mod preset;
pub mod query;
pub mod reader;
pub mod run;
pub mod setting;
pub mod stream;
pub mod topic;
pub mod user;

pub use actor::Actor;
pub(crate) use async_recursion::async_recursion as boxed;
pub use kept::{Connection, Kept, NOUNS, Pool, Refused, Topic, Variable};
pub use orch_wire::Noun;
