//! Looks up the environment variables `ORCH_CONN_<ID>` (a URI or JSON) and `ORCH_VAR_<KEY>`, with names in capitals,
//! and then Airflow's equivalents.

use super::{Backend, BackendError, BackendResult};
use orch_sdk::secret::{is_sensitive, secrets_in};
use orch_sdk::task::{BoxFuture, Connection};
use std::collections::HashMap;

const CONNECTIONS: [&str; 2] = ["ORCH_CONN_", "AIRFLOW_CONN_"];
const VARIABLES: [&str; 2] = ["ORCH_VAR_", "AIRFLOW_VAR_"];

pub(super) struct Environment {
    variables: HashMap<String, String>,
}

impl Environment {
    pub(super) fn new(variables: HashMap<String, String>) -> Self {
        Environment { variables }
    }

    fn get(&self, prefixes: [&str; 2], name: &str) -> Option<&String> {
        let name = name.to_uppercase();
        prefixes.iter().find_map(|prefix| self.variables.get(&format!("{prefix}{name}")))
    }

    /// Returns the secrets in the environment. They are masked, because a task may print its environment.
    pub(super) fn secrets(&self) -> Vec<String> {
        let mut secrets = Vec::new();
        for (name, text) in &self.variables {
            if CONNECTIONS.iter().any(|prefix| name.starts_with(prefix)) {
                secrets.extend(Connection::parse(name, text).map(|read| read.secrets()).unwrap_or_default());
            } else if let Some(key) = VARIABLES.iter().find_map(|prefix| name.strip_prefix(prefix)) {
                secrets.extend(secrets_in(is_sensitive(key), text));
            }
        }
        secrets
    }
}

impl Backend for Environment {
    fn name(&self) -> String {
        "the environment".into()
    }

    fn connection(&self, id: &str) -> BoxFuture<BackendResult<Connection>> {
        let found = self.get(CONNECTIONS, id).map(|text| Connection::parse(id, text));
        Box::pin(std::future::ready(found.transpose().map_err(BackendError::for_good)))
    }

    fn variable(&self, key: &str) -> BoxFuture<BackendResult<String>> {
        Box::pin(std::future::ready(Ok(self.get(VARIABLES, key).cloned())))
    }
}
