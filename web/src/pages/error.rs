//! The page of an error response: what was requested, what happened, and what to do next.

use super::{Shell, encoded, html};
use crate::parts;
use crate::refusal::{Cause, FailureReason, Refusal};
use crate::state::App;
use askama::Template;
use axum::http::StatusCode;
use axum::http::response::Parts;
use axum::response::Response;
use orch_store::dag::did_you_mean;

#[derive(Template)]
#[template(path = "pages/error.html")]
struct ErrorPage {
    shell: Shell,
    status: u16,
    title: String,
    words: String,
    /// Next step for the user; may be empty.
    hint: String,
    /// Similar names with their addresses.
    near: Vec<(String, String)>,
    /// Request id of the log entry with the details.
    request_id: Option<String>,
}

pub(crate) async fn page(app: &App, shell: Shell, parts: &Parts, words: &str) -> Result<Response, Refusal> {
    let status = parts.status;
    let request_id = parts.extensions.get::<Cause>().map(|cause| cause.request_id.clone());
    let dag_id = dag_of(&shell.path).filter(|_| status == StatusCode::NOT_FOUND && shell.user.is_some());
    let mut near = Vec::new();
    if let Some(dag_id) = &dag_id
        && let Ok(mut db) = app.pages().await
    {
        // Suggestions are optional: the page must be shown even if the query fails.
        let names = did_you_mean(&mut db, dag_id).await.unwrap_or_default();
        near.extend(names.into_iter().filter(|name| name != dag_id).map(|name| {
            let href = format!("/dags/{}", encoded(&name));
            (name, href)
        }));
    }
    let is_of_dag = words.starts_with("The Dag with ID") && dag_id.is_some();
    let named = dag_id.filter(|_| is_of_dag).map(|dag_id| format!("There is no DAG called {dag_id}."));
    let words = if is_of_dag { "It may be spelled differently, or no worker has brought it yet." } else { words };
    let title = match status {
        StatusCode::NOT_FOUND => "There is nothing here.",
        StatusCode::FORBIDDEN => "This is not for you.",
        StatusCode::METHOD_NOT_ALLOWED => "This cannot be done this way.",
        _ if parts.extensions.get::<FailureReason>().is_some() => "A connection failed.",
        StatusCode::SERVICE_UNAVAILABLE => "The database does not answer.",
        status if status.is_server_error() => "Something broke inside orch.",
        _ => "This could not be carried out.",
    };
    let (words, hint) = words.split_once("\nhint: ").unwrap_or((words, ""));
    let page = ErrorPage {
        shell,
        status: status.as_u16(),
        title: named.unwrap_or_else(|| title.into()),
        words: words.into(),
        hint: hint.into(),
        near,
        request_id,
    };
    html(status, &page)
}

/// Returns the DAG id in a path.
fn dag_of(path: &str) -> Option<String> {
    let path = path.split('?').next().unwrap_or_default();
    let name = path.strip_prefix("/dags/")?.split('/').next()?;
    let decoded = form_urlencoded::parse(name.replace('+', "%2B").as_bytes()).next().map(|(name, _)| name.into_owned());
    decoded.filter(|name| !name.is_empty() && name.len() <= 250 && !name.contains('\0'))
}
