//! Pages that named things have in common: the question before one is deleted, and the deletion.

use super::delete::DeletePage;
use super::{Shell, encoded, html, see_other};
use crate::api::kept::{delete_one, stored};
use crate::extract::{Actor, Form, Query};
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_deeds::{Connection, Kept, Pool, Variable};

/// Where the pages of a noun are, and what they say.
pub(crate) trait Pages: Kept {
    const LIST: &'static str;
    const TITLE: &'static str;
    /// The word for its name in addresses and forms.
    const KEY: &'static str;
    /// What follows when one is deleted.
    const AFTERWARDS: &'static str;

    /// Where one is changed.
    fn href(name: &str) -> String {
        format!("{}/edit?{}={}", Self::LIST, Self::KEY, encoded(name))
    }

    /// Where it is deleted.
    fn delete_href(name: &str) -> String {
        format!("{}/delete?{}={}", Self::LIST, Self::KEY, encoded(name))
    }
}

impl Pages for Pool {
    const LIST: &'static str = "/pools";
    const TITLE: &'static str = "Pools";
    const KEY: &'static str = "name";
    const AFTERWARDS: &'static str =
        "Tasks that are running in it go on. Other tasks that name it wait until there is a pool of that name again.";
}

impl Pages for Variable {
    const LIST: &'static str = "/variables";
    const TITLE: &'static str = "Variables";
    const KEY: &'static str = "key";
    const AFTERWARDS: &'static str = "Tasks that ask for it find none from then on, unless a file, a vault or the \
        environment has one of that key. Its value is gone for good.";
}

impl Pages for Connection {
    const LIST: &'static str = "/connections";
    const TITLE: &'static str = "Connections";
    const KEY: &'static str = "id";
    const AFTERWARDS: &'static str = "Tasks that ask for it fail from then on, unless a file, a vault or the environment \
        has one of that name. Its secrets are gone for good.";
}

/// `GET …/delete?key=…`: what will happen.
pub(crate) async fn ask_delete<K: Pages>(
    State(app): State<App>,
    shell: Shell,
    query: Query,
) -> Result<Response, Refusal> {
    let record = stored::<K>(&app, query.text(K::KEY).unwrap_or_default()).await?;
    let name = record.name().to_string();
    let page = DeletePage {
        shell,
        list: (K::LIST, K::TITLE),
        sentence: K::AFTERWARDS.into(),
        action: format!("{}/delete", K::LIST),
        field: Some((K::KEY, name.clone())),
        back: K::href(&name),
        name,
    };
    html(StatusCode::OK, &page)
}

pub(crate) async fn delete<K: Pages>(State(app): State<App>, actor: Actor, form: Form) -> Result<Response, Refusal> {
    delete_one::<K>(&app, &actor, form.text(K::KEY).unwrap_or_default()).await?;
    Ok(see_other(K::LIST))
}
