//! `GET /api/v2/importErrors`: DAG files that cannot be taken, as the workers found them; and `/api/orch/v1/importErrors`, with each
//! problem by itself.

use super::narrow::fits;
use super::pages::{Page, name_pattern, orders};
use crate::extract::{Names, Query};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_spec::check::FileProblem;
use orch_store::import_error::{ImportErrorFilter, ImportErrorRow, list_import_errors};
use orch_store::narrow;
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
    total_entries: usize,
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

#[derive(Debug, Clone, Copy)]
enum Order {
    Id,
    Time,
    File,
    Bundle,
    Text,
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
    let page = Page::of(&mut query);
    query.finish()?;
    let orders = orders(&query, |name| match name {
        "id" | "import_error_id" => Some(Order::Id),
        "timestamp" => Some(Order::Time),
        "filename" => Some(Order::File),
        "bundle_name" => Some(Order::Bundle),
        "stacktrace" => Some(Order::Text),
        _ => None,
    })?;
    let mut db = app.pages().await?;
    // There are few: what is broken is mended.
    let filter =
        ImportErrorFilter { bundle: query.text("bundle_name").map(String::from), ..ImportErrorFilter::default() };
    let mut found = list_import_errors(&mut db, &filter).await?;
    let (file, files) = (query.text("filename"), name_pattern(&query, "filename"));
    found.retain(|row| file.is_none_or(|file| file == row.file) && fits(&files, &row.file));
    let usual = [(Order::Id, false)];
    let orders = if orders.is_empty() { &usual[..] } else { &orders };
    for (order, descends) in orders.iter().rev() {
        found.sort_by(|one, other| {
            let way = match order {
                Order::Id => one.id.cmp(&other.id),
                Order::Time => one.at.cmp(&other.at),
                Order::File => one.file.cmp(&other.file),
                Order::Bundle => one.bundle.cmp(&other.bundle),
                Order::Text => one.text().cmp(&other.text()),
            };
            if *descends { way.reverse() } else { way }
        });
    }
    let total_entries = found.len() as i64;
    let shown = found.into_iter().skip(narrow::size(page.offset)).take(narrow::size(page.limit));
    Ok(Json(ImportErrorPage { import_errors: shown.map(ImportErrorView::new).collect(), total_entries }))
}

/// What Airflow's schema has no fields for, by file.
pub(crate) async fn list_problems(State(app): State<App>, mut query: Query) -> Result<Json<BrokenFilePage>, Refusal> {
    let page = Page::of(&mut query);
    query.finish()?;
    let found = list_import_errors(&mut *app.pages().await?, &ImportErrorFilter::default()).await?;
    let total_entries = found.len();
    let shown = found.into_iter().skip(narrow::size(page.offset)).take(narrow::size(page.limit));
    Ok(Json(BrokenFilePage { import_errors: shown.map(BrokenFileView::from).collect(), total_entries }))
}

pub(crate) async fn get(State(app): State<App>, names: Names) -> Result<Json<ImportErrorView>, Refusal> {
    let id: i64 = names.number("import_error_id")?;
    let mut db = app.pages().await?;
    let found = match i32::try_from(id) {
        Ok(id) => list_import_errors(&mut db, &ImportErrorFilter { id: Some(id), ..ImportErrorFilter::default() })
            .await?
            .pop(),
        Err(_) => None,
    };
    let missing = || Refusal::not_found(format!("The ImportError with import_error_id: `{id}` was not found"));
    found.map(|row| Json(ImportErrorView::new(row))).ok_or_else(missing)
}
