//! `/variables/edit`: the form for a variable that is added or changed. A value that is secret is never in the page: an
//! empty field leaves the one that is stored.

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
use orch_deeds::Variable;
use orch_sdk::secret::MASK;

#[derive(Template)]
#[template(path = "pages/variables/edit.html")]
struct EditPage {
    shell: Shell,
    /// Of one that is there; empty: a new one.
    key: String,
    href: String,
    delete_href: String,
    wish: VariableForm,
    /// The value is not shown.
    is_kept: bool,
    has_key: bool,
    problem: Option<String>,
}

/// What the form holds.
#[derive(Debug, Clone, Default)]
pub(super) struct VariableForm {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) description: String,
    /// The value has to be JSON.
    pub(super) is_json: bool,
}

/// `?key=` one that is there, or a new one.
pub(crate) async fn show(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    let Some(key) = query.text("key").filter(|key| !key.is_empty()) else {
        return page(&app, shell, "", VariableForm::default(), None);
    };
    let row = stored::<Variable>(&app, key).await?;
    let value = Variable::visible(&row, &app.config.keys, true);
    let is_json =
        value.trim_start().starts_with(['{', '[']) && serde_json::from_str::<serde_json::Value>(&value).is_ok();
    let description = row.text("description").unwrap_or_default().into();
    let wish = VariableForm { key: row.name().into(), value, description, is_json };
    page(&app, shell, key, wish, None)
}

/// The form with what it holds; `key`: of one that is there.
pub(super) fn page(
    app: &App,
    shell: Shell,
    key: &str,
    wish: VariableForm,
    problem: Option<String>,
) -> Result<Response, Refusal> {
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let is_kept = !key.is_empty() && wish.value == MASK;
    let page = EditPage {
        href: if key.is_empty() { "/variables/edit".into() } else { Variable::href(key) },
        delete_href: Variable::delete_href(key),
        wish: VariableForm { value: if is_kept { String::new() } else { wish.value }, ..wish },
        key: key.into(),
        is_kept,
        has_key: !app.config.keys.is_empty(),
        shell,
        problem,
    };
    html(status, &page)
}
