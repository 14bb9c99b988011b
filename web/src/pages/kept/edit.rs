//! `/pools/edit`: the form for a pool that is added or changed.

use crate::api::kept::stored;
use crate::extract::Query;
use crate::pages::kept::Pages;
use crate::pages::{Shell, html};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_core::gates::DEFAULT_POOL;
use orch_deeds::Pool;

#[derive(Template)]
#[template(path = "pages/pools/edit.html")]
struct EditPage {
    shell: Shell,
    /// Of one that is there; empty: a new one.
    name: String,
    href: String,
    delete_href: Option<String>,
    is_default: bool,
    wish: Wish,
    problem: Option<String>,
}

/// What the form holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Wish {
    pub(super) name: String,
    pub(super) slots: String,
    pub(super) description: String,
    pub(super) include_deferred: bool,
}

/// `?name=` one that is there, or a new one.
pub(crate) async fn show(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    let Some(name) = query.text("name").filter(|name| !name.is_empty()) else {
        return page(shell, "", Wish::default(), None);
    };
    let row = stored::<Pool>(&app, name).await?;
    let wish = Wish {
        name: row.name().into(),
        slots: row.whole("slots").to_string(),
        description: row.text("description").unwrap_or_default().into(),
        include_deferred: row.flag("include_deferred"),
    };
    page(shell, name, wish, None)
}

/// The form with what it holds; `name`: of one that is there.
pub(super) fn page(shell: Shell, name: &str, wish: Wish, problem: Option<String>) -> Result<Response, Refusal> {
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let is_new = name.is_empty();
    let page = EditPage {
        href: if is_new { "/pools/edit".into() } else { Pool::href(name) },
        delete_href: (!is_new && name != DEFAULT_POOL).then(|| Pool::delete_href(name)),
        is_default: name == DEFAULT_POOL,
        name: name.into(),
        shell,
        wish,
        problem,
    };
    html(status, &page)
}
