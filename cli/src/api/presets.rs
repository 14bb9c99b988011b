//! Requests about presets of DAGs.

use super::{Api, ApiReply, ListQuery, encoded, refused};
use orch_binary::failure::Failure;
use orch_store::preset::Preset;
use serde::Deserialize as _;
use serde_json::{Value, json};

fn preset(value: &Value) -> Option<Preset> {
    Preset::deserialize(value).ok()
}

impl Api {
    /// Lists presets, ordered by name.
    pub(crate) async fn presets(&self, dag_id: &str, asked: &ListQuery) -> Result<Vec<Preset>, Failure> {
        let path = format!("dags/{}/presets", encoded(dag_id));
        self.pages_extra(&path, "presets", asked, preset).await
    }

    pub(crate) async fn preset(&self, dag_id: &str, name: &str) -> Result<Option<Preset>, Failure> {
        match self.get_extra(&path(dag_id, name)).await? {
            ApiReply::Found(found) => preset(&found).map(Some).ok_or_else(|| self.strange()),
            ApiReply::Refused(404, _) => Ok(None),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    pub(crate) async fn keep_preset(&self, dag_id: &str, name: &str, conf: &Value) -> Result<(), Failure> {
        match self.change_extra("PUT", &path(dag_id, name), Some(&json!({ "conf": conf }))).await? {
            ApiReply::Found(_) => Ok(()),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Deletes a preset. Returns false if it does not exist.
    pub(crate) async fn delete_preset(&self, dag_id: &str, name: &str) -> Result<bool, Failure> {
        match self.change_extra("DELETE", &path(dag_id, name), None).await? {
            ApiReply::Found(_) => Ok(true),
            ApiReply::Refused(404, _) => Ok(false),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }
}

fn path(dag_id: &str, name: &str) -> String {
    format!("dags/{}/presets/{}", encoded(dag_id), encoded(name))
}
