//! A DAG version as answers about runs and instances carry it.

use super::ids::dag_version_uuid;
use crate::timestamp::Timestamp;
use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

#[derive(Debug, Clone, Serialize)]
pub(super) struct DagVersionView {
    id: Uuid,
    version_number: i32,
    dag_id: String,
    bundle_name: Option<String>,
    bundle_version: Option<String>,
    created_at: Timestamp,
    dag_display_name: String,
    bundle_url: Option<String>,
}

impl DagVersionView {
    pub(super) fn new(id: i32, number: i32, dag_id: &str, bundle: &str, created_at: DateTime<Utc>) -> DagVersionView {
        DagVersionView {
            id: dag_version_uuid(id),
            version_number: number,
            dag_id: dag_id.into(),
            bundle_name: Some(bundle.into()),
            bundle_version: None,
            created_at: Timestamp(created_at),
            dag_display_name: dag_id.into(),
            bundle_url: None,
        }
    }
}
