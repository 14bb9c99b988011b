//! `/lake/{namespace}/{table}/sample`: sample rows of a table, for users who may read data.

use super::{Head, LoadedTable, ask, find};
use crate::extract::Names;
use crate::pages::sql::results::Results;
use crate::pages::{Shell, html};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

#[derive(Template)]
#[template(path = "pages/lake/sample.html")]
struct SamplePage {
    shell: Shell,
    head: Head,
    results: Results,
}

const ROWS: usize = 50;

pub(crate) async fn show(State(app): State<App>, shell: Shell, names: Names) -> Result<Response, Refusal> {
    let LoadedTable { lake, table, head } = find(&app, &names, "sample", &shell).await?;
    let sql = table.id.select(None, ROWS);
    let results = Results::of_table(ask(&app, &shell, &*lake, &sql, ROWS).await?, &table);
    html(StatusCode::OK, &SamplePage { shell, head, results })
}
