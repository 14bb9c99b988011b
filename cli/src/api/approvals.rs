//! Requests about approvals, which are questions of tasks to users.

use super::{Api, ApiReply, ListQuery, encoded, refused};
use chrono::{DateTime, Utc};
use orch_binary::failure::Failure;
use orch_spec::approval::ApprovalInput;
use orch_store::approval::by;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug)]
pub(crate) struct ApprovalRequest {
    pub(crate) asked_at: DateTime<Utc>,
    pub(crate) dag_id: String,
    pub(crate) run_id: String,
    pub(crate) task_id: String,
    pub(crate) map_index: i32,
    pub(crate) try_no: i16,
    pub(crate) subject: String,
    pub(crate) options: Vec<String>,
    pub(crate) asked: Vec<String>,
    pub(crate) chosen: Option<Vec<String>>,
    pub(crate) by: Option<String>,
}

pub(crate) struct ApprovalAnswer {
    pub(crate) dag_id: String,
    pub(crate) run_id: String,
    pub(crate) task_id: String,
    pub(crate) map_index: i32,
    pub(crate) given: ApprovalInput,
}

#[derive(Deserialize)]
struct ApprovalEntry {
    subject: String,
    options: Vec<String>,
    assigned_users: Vec<User>,
    created_at: DateTime<Utc>,
    responded_by_user: Option<User>,
    chosen_options: Option<Vec<String>>,
    task_instance: Instance,
}

#[derive(Deserialize)]
struct User {
    name: String,
}

#[derive(Deserialize)]
struct Instance {
    dag_id: String,
    dag_run_id: String,
    task_id: String,
    map_index: i32,
    try_number: i16,
}

fn asked(value: &Value) -> Option<ApprovalRequest> {
    let shown = ApprovalEntry::deserialize(value).ok()?;
    Some(ApprovalRequest {
        asked_at: shown.created_at,
        dag_id: shown.task_instance.dag_id,
        run_id: shown.task_instance.dag_run_id,
        task_id: shown.task_instance.task_id,
        map_index: shown.task_instance.map_index,
        try_no: shown.task_instance.try_number,
        subject: shown.subject,
        options: shown.options,
        asked: shown.assigned_users.into_iter().map(|user| user.name).collect(),
        by: shown.responded_by_user.map(|user| user.name),
        chosen: shown.chosen_options,
    })
}

impl Api {
    /// Lists approval requests, newest first.
    pub(crate) async fn approvals(&self, list: ListQuery) -> Result<Vec<ApprovalRequest>, Failure> {
        let list = list.then_by(by::ASKED_AT.descending());
        self.pages("dags/~/dagRuns/~/hitlDetails", "hitl_details", &list, asked).await
    }

    /// Answers an approval request and returns the options that were recorded as chosen.
    pub(crate) async fn answer_approval(&self, request: &ApprovalAnswer) -> Result<Vec<String>, Failure> {
        let path = format!(
            "dags/{}/dagRuns/{}/taskInstances/{}/{}/hitlDetails",
            encoded(&request.dag_id),
            encoded(&request.run_id),
            encoded(&request.task_id),
            request.map_index
        );
        let body =
            json!({ "chosen_options": request.given.chosen_options, "params_input": request.given.params_input });
        match self.change("PATCH", &path, Some(&body)).await? {
            ApiReply::Found(found) => Vec::<String>::deserialize(&found["chosen_options"]).map_err(|_| self.strange()),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }
}
