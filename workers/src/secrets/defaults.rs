//! Default connections of the binary or its bundle, used if no other backend has the connection.

use super::{Backend, BackendError, BackendResult};
use orch_sdk::task::{BoxFuture, Connection, DefaultConnections, Installation};
use std::future::ready;

pub(super) struct Defaults {
    pub(super) connections: DefaultConnections,
    pub(super) here: Installation,
}

impl Backend for Defaults {
    fn name(&self) -> String {
        "the defaults of this binary".into()
    }

    fn connection(&self, id: &str) -> BoxFuture<BackendResult<Connection>> {
        let (connections, here, id) = (self.connections.clone(), self.here.clone(), id.to_owned());
        Box::pin(async move {
            let all = connections.of(&here).await.map_err(BackendError::for_now)?;
            Ok(all.into_iter().find(|one| one.id == id))
        })
    }

    fn variable(&self, _key: &str) -> BoxFuture<BackendResult<String>> {
        Box::pin(ready(Ok(None)))
    }
}
