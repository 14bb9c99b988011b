//! Extractors of this crate for JSON bodies, queries and ids in paths. They report every error in the format of
//! `Refusal`.

mod actor;
mod body;
mod form;
mod path;
pub(crate) mod path_numbers;
mod query;
mod query_params;

pub(crate) use actor::Actor;
pub(crate) use body::{JsonBody, Secret, Typed};
pub(crate) use form::Form;
pub(crate) use orch_wire::Fields;
pub(crate) use path::{
    DagPath, Dags, MappedPath, Names, RunPath, Runs, RunsPath, StaticPath, TaskPath, escape_id, no_such_dag,
    no_such_instance, no_such_run,
};
pub(crate) use query::Query;
pub(crate) use query_params::{Count, OptionalCount, ParamType, QueryParams, query_params};

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::convert::Infallible;

/// The client's address. The server sets it; without one, the client is this host.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or(Peer(IpAddr::V4(Ipv4Addr::LOCALHOST))))
    }
}
