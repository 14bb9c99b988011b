//! Queries that are published: an address, the values it takes, and the SQL that answers.
//!
//! `endpoint` is what a person declares, `values` reads what a caller sent, `format` writes answers, `key` knows who may
//! ask, `openapi` describes it all, and `api` puts these together over HTTP; `folder` reads the files of people while it runs. Answers of the lake are kept until a table has a new snapshot
//! (`orch_store::lake_view::Answers`); `postgres` asks the database of a connection each time.

mod api;
mod endpoint;
mod folder;
mod format;
mod key;
mod openapi;
mod postgres;
mod values;

pub use api::{Means, router};
pub use endpoint::{Column, ColumnType, Endpoint, Param, ParamType, Shape};
