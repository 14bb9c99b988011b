//! Actions of the SQL console: run a query, download its rows or cancel it.

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

/// Number of rows on a page if the form contains no valid limit.
const USUAL_ROWS: usize = 100;
const MOST_ROWS: usize = 1_000;

/// `POST /sql`: the console with the results, or with the error of the query.
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
        // The query is invalid or exceeds a limit: the console shows the typed text again, with the reason.
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
        // The id is taken: the user went back to a form that was already sent.
        Err(Refusal::Plain { status: StatusCode::CONFLICT, .. }) => begin(app, actor, again).await?,
        begun => begun?,
    };
    Ok(Results::with_chart(collect_answer(Box::new(running), began).await?, wish))
}

fn wish(form: &Form) -> SqlForm {
    let text = |name: &str| form.text(name).unwrap_or_default().to_string();
    SqlForm { sql: text("sql"), limit: text("limit"), chart: text("chart"), x: text("x"), y: text("y") }
}

/// Builds the request with the id of the form, which the form's cancel button refers to.
fn asked(form: &Form, sql: &str, limits: QueryLimits) -> QueryRequest {
    let id = form.text("query_id").and_then(|id| id.parse().ok()).unwrap_or_else(Uuid::new_v4);
    QueryRequest { id, sql: sql.into(), limits }
}

/// `POST /sql/download`: streams all rows as a file.
pub(crate) async fn download(State(app): State<App>, actor: Actor, form: Form) -> Result<Response, Refusal> {
    let file = if form.text("format") == Some("json") { File::Json } else { File::Csv };
    let limits = QueryLimits { rows: MOST_FILE_ROWS, bytes: usize::MAX, ..QueryLimits::default() };
    // The page is not reloaded, so the id of its form may be taken.
    let asked = QueryRequest { id: Uuid::new_v4(), ..asked(&form, form.text("sql").unwrap_or_default(), limits) };
    Ok(stream(begin(&app, &actor, asked).await?, file))
}

/// `POST /sql/{query_id}/cancel`: cancels the query and returns to the console with its text.
pub(crate) async fn cancel(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    actor: Actor,
    names: Names,
    form: Form,
) -> Result<Response, Refusal> {
    let id = names.get("query_id").parse().map_err(|_| Refusal::not_found("no query of yours runs under that id"))?;
    match wish_cancelled(&app, &caller, &actor, id).await {
        // 404 means that the query finished by itself, which is what the user wanted.
        Ok(()) | Err(Refusal::Plain { status: StatusCode::NOT_FOUND, .. }) => {}
        Err(refusal) => return Err(refusal),
    }
    Ok(see_other(&with_sql(form.text("sql").unwrap_or_default())))
}
