//! What people do, whole: the change, what follows from it, and who did it, in one transaction of the caller. The API and the pages
//! carry out a person's wish by these; commands ask the API. Each says which hints the caller gives once it is committed.

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
