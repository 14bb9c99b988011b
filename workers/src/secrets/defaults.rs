//! What the binary brings itself, when nobody else has a connection of that name.

use super::{Backend, Found};
use orch_core::task::{BoxFuture, Connection};
use std::collections::HashMap;

pub(super) struct Defaults(pub(super) HashMap<String, Connection>);

impl Backend for Defaults {
    fn name(&self) -> String {
        "the defaults of this binary".into()
    }

    fn connection(&self, id: &str) -> BoxFuture<Found<Connection>> {
        Box::pin(std::future::ready(Ok(self.0.get(id).cloned())))
    }

    fn variable(&self, _key: &str) -> BoxFuture<Found<String>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}
