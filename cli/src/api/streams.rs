//! Requests about streams: their progress, and operations such as pause and reset.

use super::kept::ApiObject;
use super::{Api, ApiReply, ListQuery, encoded, refused};
use orch_binary::failure::Failure;
use serde_json::Value;

const PATH: &str = "api/orch/v1/streams";

fn path_of_one(name: &str) -> String {
    format!("{PATH}/{}", encoded(name))
}

impl Api {
    /// Lists streams, ordered by name.
    pub(crate) async fn list_streams(&self, asked: &ListQuery) -> Result<Vec<ApiObject>, Failure> {
        self.pages_from(PATH, "streams", asked, |entry| entry.as_object().cloned()).await
    }

    /// Returns a stream with its partitions. `None` if it does not exist.
    pub(crate) async fn get_stream(&self, name: &str) -> Result<Option<ApiObject>, Failure> {
        // No stream has an empty name, and its path would be the path of the list.
        if name.is_empty() {
            return Ok(None);
        }
        self.one(&path_of_one(name), |found| found.as_object().cloned()).await
    }

    /// Sends an operation: `pause`, `resume`, `restart`, `shares/0/restart`, or `reset` with its body. Returns `None`
    /// if the stream does not exist.
    pub(crate) async fn steer_stream(
        &self,
        name: &str,
        verb: &str,
        body: Option<&Value>,
    ) -> Result<Option<ApiObject>, Failure> {
        if name.is_empty() {
            return Ok(None);
        }
        match self.ask("POST", &format!("{}/{verb}", path_of_one(name)), body).await? {
            ApiReply::Found(found) => found.as_object().cloned().map(Some).ok_or_else(|| self.strange()),
            ApiReply::Refused(404, _) => Ok(None),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Deletes a stream. Returns false if it does not exist.
    pub(crate) async fn delete_stream(&self, name: &str) -> Result<bool, Failure> {
        if name.is_empty() {
            return Ok(false);
        }
        match self.ask("DELETE", &path_of_one(name), None).await? {
            ApiReply::Found(_) => Ok(true),
            ApiReply::Refused(404, _) => Ok(false),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }
}
