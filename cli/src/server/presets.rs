//! Presets of DAGs, at the database or over the API.

use super::Server;
use orch_binary::failure::Failure;
use orch_binary::session::Session;
use orch_binary::{names, person};
use orch_store::audit::Deed;
use orch_store::preset::{KeepPreset, MOST_PRESETS, Preset, delete_preset, keep_preset, list_presets};
use serde_json::{Value, json};

impl Server {
    /// By name.
    pub(crate) async fn presets(&mut self, dag_id: &str) -> Result<Vec<Preset>, Failure> {
        match self {
            Server::Database(session) => Ok(list_presets(&mut session.db, dag_id).await?),
            Server::Api(api) => api.presets(dag_id),
        }
    }

    /// In place of what has that name.
    pub(crate) async fn keep_preset(&mut self, dag_id: &str, name: &str, conf: &Value) -> Result<(), Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.keep_preset(dag_id, name, conf),
        };
        match keep_preset(&mut session.db, (dag_id, name), conf, &person::name()).await? {
            KeepPreset::Kept => did(session, "keep_preset", dag_id, name).await,
            KeepPreset::NoSuchDag => Err(names::no_such_dag(dag_id, None)),
            KeepPreset::TooMany => {
                Err(Failure::new(format!("a dag has at most {MOST_PRESETS} presets")).hint("delete one first"))
            }
        }
    }

    /// Whether there was one.
    pub(crate) async fn delete_preset(&mut self, dag_id: &str, name: &str) -> Result<bool, Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.delete_preset(dag_id, name),
        };
        let deleted = delete_preset(&mut session.db, dag_id, name).await?;
        if deleted {
            did(session, "delete_preset", dag_id, name).await?;
        }
        Ok(deleted)
    }
}

async fn did(session: &mut Session, event: &str, dag_id: &str, name: &str) -> Result<(), Failure> {
    let extra = Some(json!({ "preset": name }));
    session.did(&Deed { event, dag_id: Some(dag_id), extra, ..Deed::default() }, &[]).await
}
