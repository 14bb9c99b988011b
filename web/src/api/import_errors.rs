//! `GET /api/v2/importErrors`: DAG files that workers could not load; and `/api/orch/v1/importErrors`, which lists each
//! problem separately.

use super::list::asked;
use crate::extract::path_numbers::IMPORT_ERROR_ID;
use crate::extract::{Names, Query};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_spec::check::FileProblem;
use orch_store::import_error::{IMPORT_ERRORS, ImportErrorRow, by};
use orch_store::list::{ListPage, Search};
use orch_wire::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// A file with DAGs that cannot be taken.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ImportErrorView {
    import_error_id: i64,
    timestamp: Timestamp,
    filename: String,
    bundle_name: Option<String>,
    /// All that is wrong with it, each with line, column and hint.
    stack_trace: String,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct ImportErrorPage {
    import_errors: Vec<ImportErrorView>,
    total_entries: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BrokenFilePage {
    import_errors: Vec<BrokenFileView>,
    total_entries: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct BrokenFileView {
    import_error_id: i32,
    timestamp: Timestamp,
    filename: String,
    bundle_name: String,
    problems: Vec<ProblemView>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ProblemView {
    file: String,
    /// From 1; 0 where the file as a whole is meant.
    line: u32,
    /// From 1.
    column: u32,
    message: String,
    hint: String,
}

impl From<ImportErrorRow> for BrokenFileView {
    fn from(row: ImportErrorRow) -> Self {
        let problem =
            |FileProblem { file, line, column, message, hint }| ProblemView { file, line, column, message, hint };
        BrokenFileView {
            import_error_id: row.id,
            timestamp: Timestamp(row.at),
            filename: row.file,
            bundle_name: row.bundle,
            problems: row.problems.into_iter().map(problem).collect(),
        }
    }
}

impl ImportErrorView {
    fn new(row: ImportErrorRow) -> ImportErrorView {
        ImportErrorView {
            import_error_id: row.id.into(),
            timestamp: Timestamp(row.at),
            stack_trace: row.text(),
            filename: row.file,
            bundle_name: Some(row.bundle),
        }
    }
}

pub(crate) async fn list(State(app): State<App>, mut query: Query) -> Result<Json<ImportErrorPage>, Refusal> {
    let ListPage { rows, total: total_entries } = found(&app, &mut query).await?;
    Ok(Json(ImportErrorPage { import_errors: rows.into_iter().map(ImportErrorView::new).collect(), total_entries }))
}

/// Lists the problems of each file, for which Airflow's schema has no fields.
pub(crate) async fn list_problems(State(app): State<App>, mut query: Query) -> Result<Json<BrokenFilePage>, Refusal> {
    let ListPage { rows, total: total_entries } = found(&app, &mut query).await?;
    Ok(Json(BrokenFilePage { import_errors: rows.into_iter().map(BrokenFileView::from).collect(), total_entries }))
}

async fn found(app: &App, query: &mut Query) -> Result<ListPage<ImportErrorRow>, Refusal> {
    let search = asked(query, IMPORT_ERRORS.columns)?;
    Ok(IMPORT_ERRORS.find(&mut *app.pages().await?, &search).await?)
}

pub(crate) async fn get(State(app): State<App>, names: Names) -> Result<Json<ImportErrorView>, Refusal> {
    let id = names.number(IMPORT_ERROR_ID)?;
    let found = IMPORT_ERRORS.first(&mut *app.pages().await?, &Search::default().and(by::ID.is(id))).await?;
    let missing = || Refusal::not_found(format!("The ImportError with import_error_id: `{id}` was not found"));
    found.map(|row| Json(ImportErrorView::new(row))).ok_or_else(missing)
}
