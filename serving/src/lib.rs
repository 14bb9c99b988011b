//! Published queries: an HTTP path, its parameters, and the SQL that computes the response.
//!
//! `endpoint` is the declaration, `values` parses parameters, `format` encodes responses, `key` identifies callers,
//! `openapi` describes the endpoints, and `api` serves them over HTTP; `folder` reads endpoint files while the server
//! runs. Responses from the lake are cached until a table has a new snapshot (`orch_store::lake_view::Answers`);
//! `postgres` queries the database of a connection for each request.

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
