//! `/sql`: a console for lake queries. It works without JavaScript: the form's response is the page with the results.

pub(crate) mod results;
pub(crate) mod run;

use super::lake::{Closed, closed};
use super::{Shell, encoded, html};
use crate::auth::Role;
use crate::extract::Query;
use crate::parts;
use crate::queries::{MOST_FILE_ROWS, MOST_TIME};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_store::lake_view::{LakeResult, QueryLimits};
use orch_store::list::Search;
use orch_store::query_history::{QUERIES, QueryRow, by};
use results::Results;
use uuid::Uuid;

#[derive(Template)]
#[template(path = "pages/sql.html")]
struct SqlPage {
    shell: Shell,
    /// Why queries cannot run, if they cannot.
    closed: Option<Closed>,
    may_run: bool,
    /// Id of the query that the form will send. The form's cancel button refers to it.
    query_id: Uuid,
    wish: SqlForm,
    results: Option<Results>,
    problem: Option<Closed>,
    tables: Vec<(String, String)>,
    history: Vec<PastQuery>,
    limits: String,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct SqlForm {
    pub(crate) sql: String,
    pub(crate) limit: String,
    pub(crate) chart: String,
    pub(crate) x: String,
    pub(crate) y: String,
}

struct PastQuery {
    id: Uuid,
    sql: String,
    href: String,
    state: parts::State,
    word: String,
    runs: bool,
    ago: parts::Ago,
    took: String,
    rows: String,
    problem: String,
}

/// Number of the user's past queries on the page; the API lists the rest.
const MOST_LINES: i64 = 30;
const LINE_CHARS: usize = 120;
/// Maximum number of tables listed next to the editor.
const MOST_TABLES: usize = 60;
/// Default number of rows on a page, and the available choices.
const USUAL_ROWS: &str = "100";
const ROW_CHOICES: [&str; 3] = ["100", "500", "1000"];

/// Shows the console. `?sql=` fills in the editor, and `?query=` loads a query from the user's history.
pub(crate) async fn show(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    let mut wish = SqlForm { sql: query.text("sql").unwrap_or_default().into(), ..SqlForm::default() };
    let of_history = query.text("query").filter(|id| !id.is_empty()).map(str::parse::<Uuid>).transpose();
    let of_history = of_history.map_err(|_| Refusal::bad_request("`query` is the id of a query of yours"))?;
    if let (Some(id), Some(user)) = (of_history, &shell.user)
        && let Some(row) = QUERIES.first(&mut *app.pages().await?, &of_user(&user.name).and(by::ID.is(id))).await?
    {
        wish.sql = row.sql;
    }
    page(&app, shell, wish, StatusCode::OK, None).await
}

/// Renders the console. `outcome` is the result of the query that the form sent.
async fn page(
    app: &App,
    shell: Shell,
    mut wish: SqlForm,
    status: StatusCode,
    outcome: Option<Result<Results, Closed>>,
) -> Result<Response, Refusal> {
    let (tables, is_closed) = match tables(app).await {
        Ok(tables) => (tables, None),
        Err(error) => (Vec::new(), Some(closed(error, shell.can(Role::Admin)))),
    };
    let user = shell.user.as_ref().map_or("", |user| &user.name);
    let rows = QUERIES.rows(&mut *app.pages().await?, &of_user(user).page(0, MOST_LINES)).await?;
    if !ROW_CHOICES.contains(&wish.limit.as_str()) {
        wish.limit = USUAL_ROWS.into();
    }
    let (results, problem) = match outcome {
        Some(Ok(results)) => (Some(results), None),
        Some(Err(problem)) => (None, Some(problem)),
        None => (None, None),
    };
    let page = SqlPage {
        may_run: shell.can(crate::api::lake::READS_DATA),
        query_id: Uuid::new_v4(),
        history: rows.into_iter().map(|row| line(row, &shell)).collect(),
        limits: limits(),
        closed: is_closed,
        shell,
        wish,
        results,
        problem,
        tables,
    };
    html(status, &page)
}

fn of_user(user: &str) -> Search {
    Search::default().and(by::USER.is(user))
}

/// Returns the names of tables with the addresses of their pages.
async fn tables(app: &App) -> LakeResult<Vec<(String, String)>> {
    let tables = app.config.lake.open().await?.tables().await?;
    let names = tables.iter().take(MOST_TABLES).map(|table| (table.id.to_string(), super::lake::href(&table.id)));
    Ok(names.collect())
}

fn limits() -> String {
    let usual = QueryLimits::default();
    format!(
        "A query may only read. It ends after {} s, or {} s by the API; a file has at most {}.",
        usual.time.as_secs(),
        MOST_TIME.as_secs(),
        parts::counted(parts::count(MOST_FILE_ROWS as u64), "row")
    )
}

fn line(row: QueryRow, shell: &Shell) -> PastQuery {
    let (state, word) = match row.state.as_str() {
        "success" => ("success", "success"),
        "running" => ("running", "running"),
        "cancelled" => ("skipped", "cancelled"),
        "lost" => ("failed", "lost with its server"),
        _ => ("failed", "failed"),
    };
    PastQuery {
        href: format!("/sql?query={}", row.id),
        sql: parts::short(&row.sql.split_whitespace().collect::<Vec<_>>().join(" "), LINE_CHARS).into_owned(),
        state: parts::bare(state),
        word: word.into(),
        runs: row.state == "running",
        ago: parts::ago(row.started_at, shell.now),
        took: row.ended_at.map_or_else(String::new, |at| parts::duration(at - row.started_at)),
        rows: row.rows.map_or_else(String::new, |rows| parts::counted(parts::count(rows.unsigned_abs()), "row")),
        problem: row.problem.map(|problem| parts::short(&problem, LINE_CHARS).into_owned()).unwrap_or_default(),
        id: row.id,
    }
}

/// Returns the address of the console with this query.
fn with_sql(sql: &str) -> String {
    format!("/sql?sql={}", encoded(sql))
}
