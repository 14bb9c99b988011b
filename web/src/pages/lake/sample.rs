//! `/lake/{namespace}/{table}/sample`: some rows of a table, for those who may read data.

use super::{Found, Head, find};
use crate::extract::{Actor, Names};
use crate::pages::sql::results::Results;
use crate::pages::{Shell, html};
use crate::parts;
use crate::queries::{Asked, begin};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_store::lake_view::{QueryLimits, collect_answer};
use std::time::{Duration, Instant};
use uuid::Uuid;

#[derive(Template)]
#[template(path = "pages/lake/sample.html")]
struct SamplePage {
    shell: Shell,
    head: Head,
    results: Results,
}

const ROWS: usize = 50;
const TIME: Duration = Duration::from_secs(10);

pub(crate) async fn show(
    State(app): State<App>,
    actor: Actor,
    shell: Shell,
    names: Names,
) -> Result<Response, Refusal> {
    let Found { table, head, .. } = find(&app, &names, "sample", &shell).await?;
    let sql = table.id.select(None, ROWS);
    let limits = QueryLimits { rows: ROWS, time: TIME, ..QueryLimits::default() };
    let began = Instant::now();
    let running = begin(&app, &actor, Asked { id: Uuid::new_v4(), sql, limits }).await?;
    let results = Results::of_table(collect_answer(Box::new(running), began).await?, &table);
    html(StatusCode::OK, &SamplePage { shell, head, results })
}
