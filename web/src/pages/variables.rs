//! `/variables`: texts that tasks ask for by key. Everybody sees which there are; operators see their values, and change
//! them; what a key or a name inside marks as secret is seen by nobody.

pub(crate) mod change;
pub(crate) mod edit;
mod transfer;

use super::kept::{Listed, Pages, listed};
use super::{Shell, html};
use crate::extract::Query;
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_deeds::Variable;
use orch_store::kept::Record;

#[derive(Template)]
#[template(path = "pages/variables.html")]
struct VariablesPage {
    shell: Shell,
    q: String,
    lines: Vec<Line>,
    has_key: bool,
    before: Option<String>,
    after: Option<String>,
}

struct Line {
    key: String,
    /// For those who may change it.
    href: String,
    delete_href: String,
    description: String,
    value: String,
    changed: parts::Ago,
}

/// Of a value, in the list.
const MOST_SHOWN: usize = 120;

pub(crate) async fn show(State(app): State<App>, shell: Shell, mut query: Query) -> Result<Response, Refusal> {
    let Listed { q, rows, before, after, .. } = listed::<Variable>(&app, &mut query).await?;
    let page = VariablesPage {
        lines: rows.into_iter().map(|row| line(&app, &shell, &row)).collect(),
        before,
        after,
        has_key: !app.config.keys.is_empty(),
        shell,
        q,
    };
    html(StatusCode::OK, &page)
}

fn line(app: &App, shell: &Shell, row: &Record) -> Line {
    let value = Variable::visible(row, &app.config.keys, shell.can_operate());
    Line {
        href: Variable::href(row.name()),
        delete_href: Variable::delete_href(row.name()),
        value: parts::short(&value, MOST_SHOWN).into_owned(),
        description: row.text("description").unwrap_or_default().into(),
        changed: parts::ago(row.updated_at(), shell.now),
        key: row.name().into(),
    }
}
