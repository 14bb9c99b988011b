//! `/dags/{dag_id}/details`: the settings of a DAG, the schema of its params, and the button that deletes it.

use super::{Head, find};
use crate::api::dags::delete_of;
use crate::extract::{Actor, DagPath, Form};
use crate::pages::delete::DeletePage;
use crate::pages::{Shell, html, see_other};
use crate::parts::{self, Fact};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use orch_spec::{DagSpec, Deadline};

#[derive(Template)]
#[template(path = "pages/dag/details.html")]
struct DetailsPage {
    shell: Shell,
    head: Head,
    facts: Vec<(&'static str, Fact)>,
    schema: Option<String>,
}

pub(crate) async fn show(State(app): State<App>, shell: Shell, DagPath(dag_id): DagPath) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let found = find(&app, &mut db, &dag_id).await?;
    let (row, plan) = (&found.row, &found.version.plan);
    let spec = &plan.spec;
    let limit = |limit: Option<u32>| limit.map_or("no limit".into(), |limit| limit.to_string());
    let now = shell.now;
    let written_in = if row.file.is_empty() { String::new() } else { format!("{}:{}", row.file, spec.location.line) };
    let at = |at: Option<DateTime<Utc>>| Fact::from(at.map(|at| parts::exactly(at, now)));
    let mut facts: Vec<(&'static str, Fact)> = vec![
        ("Id", row.dag_id.clone().into()),
        ("Also called", row.aliases.join(", ").into()),
        ("Description", parts::markdown(&row.description).into()),
        ("Owners", row.owners.join(", ").into()),
        ("Version", format!("{} of bundle {}", row.version_number, row.bundle).into()),
        ("Written in", written_in.into()),
        ("Runs at a time", row.max_active_runs.to_string().into()),
        ("Tasks of a run at a time", limit(spec.max_active_tasks).into()),
        ("Run timeout", spec.run_timeout_ms.map_or("none".into(), |ms| parts::duration(millis(ms))).into()),
        ("Deadlines", deadlines(spec).join("; ").into()),
        ("Schedule", row.schedule_text.clone().into()),
        ("Catches up", if spec.catchup { "yes" } else { "no" }.into()),
        ("Begins", at(spec.start)),
        ("Ends", at(spec.end)),
        ("Registered", at(Some(row.registered_at))),
    ];
    facts.retain(|(_, value)| !value.is_empty());
    let page = DetailsPage {
        head: Head::new(&found, "details", now),
        facts,
        schema: spec.params_schema.as_ref().map(|schema| format!("{schema:#}")),
        shell,
    };
    html(StatusCode::OK, &page)
}

/// `GET /dags/{dag_id}/delete`
pub(crate) async fn ask_delete(
    State(app): State<App>,
    shell: Shell,
    DagPath(dag_id): DagPath,
) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let head = Head::new(&find(&app, &mut db, &dag_id).await?, "details", shell.now);
    let sentence = "All its runs go, with their logs, outputs and notes, and cannot be brought back. The audit log keeps what \
                    was done. A worker that still has the DAG brings it back, without runs, when it starts the next time."
        .to_string();
    let page = DeletePage {
        shell,
        list: ("/dags", "DAGs"),
        name: head.dag_id,
        sentence,
        action: format!("{}/delete", head.href),
        field: None,
        back: format!("{}/details", head.href),
    };
    html(StatusCode::OK, &page)
}

/// `POST /dags/{dag_id}/delete`
pub(crate) async fn delete(
    State(app): State<App>,
    actor: Actor,
    DagPath(dag_id): DagPath,
    _: Form,
) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let dag_id = find(&app, &mut db, &dag_id).await?.row.dag_id;
    delete_of(&mut db, &actor, &dag_id).await?;
    Ok(see_other("/dags"))
}

/// Returns one text per deadline, such as `1 h after it started, tells team_chat`.
pub(super) fn deadlines(spec: &DagSpec) -> Vec<String> {
    let one = |deadline: &Deadline| {
        let told: Vec<&str> = deadline.notify.iter().map(|notifier| notifier.connection.as_str()).collect();
        let tells = if told.is_empty() { String::new() } else { format!(", tells {}", told.join(", ")) };
        deadline.words() + &tells
    };
    spec.deadlines.iter().map(one).collect()
}

fn millis(ms: u64) -> chrono::TimeDelta {
    chrono::TimeDelta::milliseconds(i64::try_from(ms).unwrap_or(i64::MAX / 2))
}
