//! `/dags/{dag_id}/runs`: the runs of a DAG, newest first.

use super::{Head, find};
use crate::extract::{DagPath, Query};
use crate::pages::runs::{RunList, STATES, list};
use crate::pages::{Shell, html};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

#[derive(Template)]
#[template(path = "pages/dag/runs.html")]
struct DagRunsPage {
    shell: Shell,
    head: Head,
    list: RunList,
}

pub(crate) async fn show(
    State(app): State<App>,
    shell: Shell,
    DagPath(dag_id): DagPath,
    query: Query,
) -> Result<Response, Refusal> {
    let found = {
        let mut db = app.pages().await?;
        find(&app, &mut db, &dag_id).await?
    };
    let list = list(&app, &shell, query, Some(&found.row.dag_id)).await?;
    let head = Head::new(&found, "runs", shell.now);
    html(StatusCode::OK, &DagRunsPage { shell, head, list })
}
