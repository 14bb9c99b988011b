//! Ids for Airflow clients, which expect UUIDs or tokens where orch has numbers and names. They are derived, so the
//! same object always has the same id.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use uuid::{Uuid, uuid};

/// Namespace of the version UUIDs. It must never change.
const DAG_VERSIONS: Uuid = uuid!("6f726368-0000-5000-8000-000000000001");

pub(super) fn dag_version_uuid(version: i32) -> Uuid {
    Uuid::new_v5(&DAG_VERSIONS, &version.to_be_bytes())
}

pub(super) fn file_token(bundle: &str, file: &str) -> String {
    BASE64.encode(format!("{bundle}\0{file}"))
}
