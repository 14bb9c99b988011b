//! What the console sends: a query to run, to be kept as a file, or to be ended.

use super::results::Results;
use super::{SqlForm, page, with_sql};
use crate::api::sql::wish_cancelled;
use crate::auth::Caller;
use crate::download::{Form as File, stream};
use crate::extract::{Actor, Form, Names};
use crate::pages::lake::Closed;
use crate::pages::{Shell, see_other};
use crate::queries::{MOST_FILE_ROWS, QueryRequest, begin};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use orch_store::lake_view::{QueryLimits, collect_answer};
use std::time::Instant;
use uuid::Uuid;

/// Rows on a page, without a wish that can be read.
const USUAL_ROWS: usize = 100;
const MOST_ROWS: usize = 1_000;

/// `POST /sql`: the console with the results, or with what is wrong with the query.
pub(crate) async fn show_results(
    State(app): State<App>,
    actor: Actor,
    shell: Shell,
    form: Form,
) -> Result<Response, Refusal> {
    let wish = wish(&form);
    let rows = wish.limit.parse().unwrap_or(USUAL_ROWS).min(MOST_ROWS);
    let limits = QueryLimits { rows, ..QueryLimits::default() };
    let is_admin = actor.is_admin;
    match results(&app, &actor, asked(&form, &wish.sql, limits), &wish).await {
        Ok(results) => page(&app, shell, wish, StatusCode::OK, Some(Ok(results))).await,
        // It is the query that is wrong or too dear: what was typed stays, with the reason.
        Err(refusal) if refusal.is_told() => {
            let words = refusal.words_for(is_admin);
            let (problem, hint) = words.split_once("\nhint: ").unwrap_or((&words, ""));
            let problem = Closed { problem: problem.into(), hint: hint.into() };
            let status = refusal.into_response().status();
            page(&app, shell, wish, status, Some(Err(problem))).await
        }
        Err(refusal) => Err(refusal),
    }
}

async fn results(app: &App, actor: &Actor, asked: QueryRequest, wish: &SqlForm) -> Result<Results, Refusal> {
    let began = Instant::now();
    let again = QueryRequest { id: Uuid::new_v4(), ..asked.clone() };
    let running = match begin(app, actor, asked).await {
        // The form was sent before: the browser went back to it.
        Err(Refusal::Plain { status: StatusCode::CONFLICT, .. }) => begin(app, actor, again).await?,
        begun => begun?,
    };
    Ok(Results::with_chart(collect_answer(Box::new(running), began).await?, wish))
}

fn wish(form: &Form) -> SqlForm {
    let text = |name: &str| form.text(name).unwrap_or_default().to_string();
    SqlForm { sql: text("sql"), limit: text("limit"), chart: text("chart"), x: text("x"), y: text("y") }
}

/// With the id of the form, so that its cancel button knows it.
fn asked(form: &Form, sql: &str, limits: QueryLimits) -> QueryRequest {
    let id = form.text("query_id").and_then(|id| id.parse().ok()).unwrap_or_else(Uuid::new_v4);
    QueryRequest { id, sql: sql.into(), limits }
}

/// `POST /sql/download`: all rows as a file.
pub(crate) async fn download(State(app): State<App>, actor: Actor, form: Form) -> Result<Response, Refusal> {
    let file = if form.text("format") == Some("json") { File::Json } else { File::Csv };
    let limits = QueryLimits { rows: MOST_FILE_ROWS, bytes: usize::MAX, ..QueryLimits::default() };
    // The page stays as it is, so its id may have been used.
    let asked = QueryRequest { id: Uuid::new_v4(), ..asked(&form, form.text("sql").unwrap_or_default(), limits) };
    Ok(stream(begin(&app, &actor, asked).await?, file))
}

/// `POST /sql/{query_id}/cancel`: back to the console, with its text.
pub(crate) async fn cancel(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    actor: Actor,
    names: Names,
    form: Form,
) -> Result<Response, Refusal> {
    let id = names.get("query_id").parse().map_err(|_| Refusal::not_found("no query of yours runs under that id"))?;
    match wish_cancelled(&app, &caller, &actor, id).await {
        // Not there: it ended by itself, and that is what was wanted.
        Ok(()) | Err(Refusal::Plain { status: StatusCode::NOT_FOUND, .. }) => {}
        Err(refusal) => return Err(refusal),
    }
    Ok(see_other(&with_sql(form.text("sql").unwrap_or_default())))
}
