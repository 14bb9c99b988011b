//! What tasks ask people, at the database or over the API.

use super::Server;
use chrono::{DateTime, Utc};
use orch_binary::failure::Failure;
use orch_binary::person;
use orch_binary::session::did_in_and_hint;
use orch_core::approval::{Given, Person};
use orch_store::approval::{ApprovalFilter, ApprovalRow, Stand, answer_approval, list_approvals};
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use serde_json::json;
use sqlx::Connection as _;

/// A question, as both ways tell it.
#[derive(Debug)]
pub(crate) struct Asked {
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

impl From<ApprovalRow> for Asked {
    fn from(row: ApprovalRow) -> Asked {
        Asked {
            asked_at: row.asked_at,
            dag_id: row.dag_id,
            run_id: row.run_id,
            task_id: row.task_id,
            map_index: row.map_index,
            try_no: row.try_no,
            subject: row.question.subject,
            options: row.question.options,
            asked: row.question.assigned_users,
            chosen: row.given.map(|given| given.chosen_options),
            by: row.given_by,
        }
    }
}

/// An answer, and to what.
pub(crate) struct AnswerWish {
    pub(crate) dag_id: String,
    pub(crate) run_id: String,
    pub(crate) task_id: String,
    pub(crate) map_index: i32,
    pub(crate) given: Given,
}

impl Server {
    /// Newest first.
    pub(crate) async fn approvals(&mut self, filter: &ApprovalFilter, most: i64) -> Result<Vec<Asked>, Failure> {
        match self {
            Server::Database(session) => {
                let rows = list_approvals(&mut session.db, filter, (0, most)).await?;
                Ok(rows.into_iter().map(Asked::from).collect())
            }
            Server::Api(api) => api.approvals(filter, most),
        }
    }

    /// What counts of it.
    pub(crate) async fn answer(&mut self, wish: &AnswerWish) -> Result<Vec<String>, Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.answer_approval(wish),
        };
        let run = orch_binary::names::any_run(&mut session.db, &[wish.dag_id.clone(), wish.run_id.clone()]).await?;
        let filter = ApprovalFilter {
            dag_id: Some(run.dag_id.clone()),
            run_id: Some(run.run_id.clone()),
            task_id: Some(wish.task_id.clone()),
            map_index: Some(wish.map_index),
            ..ApprovalFilter::default()
        };
        let asks = list_approvals(&mut session.db, &filter, (0, 1)).await?.pop();
        let row = asks.ok_or_else(|| nothing_asked(&wish.task_id, &wish.run_id))?;
        let by = person::name();
        // Whoever reaches the database may do all that the server may.
        let person = Person { name: &by, may_start_runs: true };
        row.question.asks(person).map_err(|refused| Failure::new(refused.to_string()))?;
        let given = row.question.answered(wish.given.clone()).map_err(|refused| Failure::new(refused.to_string()))?;
        let too_late = || Failure::new(format!("task `{}` of run `{}` asks no more", wish.task_id, wish.run_id));
        if row.stand != Stand::Open {
            return Err(too_late());
        }
        let mut transaction = session.db.begin().await?;
        answer_approval(&mut transaction, row.attempt, &given, &by).await?.ok_or_else(too_late)?;
        let deed = Deed {
            event: "answer_approval",
            dag_id: Some(&row.dag_id),
            run_id: Some(&row.run_id),
            task_id: Some(&row.task_id),
            map_index: Some(row.map_index),
            extra: Some(json!({ "chosen_options": given.chosen_options, "try_number": row.try_no })),
            ..Deed::default()
        };
        did_in_and_hint(&mut transaction, &deed, &[Hint::Due]).await?;
        transaction.commit().await?;
        Ok(given.chosen_options)
    }
}

fn nothing_asked(task_id: &str, run_id: &str) -> Failure {
    let hint = "see what is asked with `orch approvals list`";
    Failure::new(format!("task `{task_id}` of run `{run_id}` asks nothing")).hint(hint)
}
