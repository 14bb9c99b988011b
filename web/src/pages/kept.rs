//! Shared pages of named records (nouns): list, edit form, confirmation of a deletion, and deletion.

pub(crate) mod edit;
pub(crate) mod list;
pub(crate) mod transfer;

use super::delete::DeletePage;
use super::filters::Filters;
use super::turned::Turned;
use super::{Shell, encoded, html, see_other};
use crate::api::kept::{delete_one, stored};
use crate::extract::{Actor, Form, Query};
use crate::parts::ZonedNow;
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_core::gates::DEFAULT_POOL;
use orch_deeds::{Connection, Kept, Pool, Topic, Variable};
use orch_sdk::secret::{MASK, masked_variable};
use orch_store::StoreResult;
use orch_store::kept::{self, Record};
use orch_store::list::{Column, ListPage, Search};
use serde_json::{Map, Value};

/// Addresses and texts of the pages of a noun.
pub(crate) trait Pages: Kept {
    const LIST: &'static str;
    const TITLE: &'static str;
    /// Parameter in addresses and forms that contains the record's name.
    const KEY: &'static str;
    /// Consequences of a deletion.
    const AFTERWARDS: &'static str;
    /// Name of the encrypted part of a record, for messages.
    const SEALED: &'static str = "";

    /// Returns the label and the help of a field; `None` if the form does not have it. `name`: empty for a new record.
    fn ask(_field: &str, _name: &str) -> Option<(&'static str, &'static str)> {
        None
    }

    /// Returns the initial values of the form for a new record.
    fn fresh() -> Map<String, Value> {
        Map::new()
    }

    /// Returns a secret value as it is shown to the user who has just typed it.
    fn masked(_name: &str, _typed: &str) -> String {
        MASK.into()
    }

    /// Returns the address of the edit form.
    fn href(name: &str) -> String {
        format!("{}/edit?{}={}", Self::LIST, Self::KEY, encoded(name))
    }

    /// Returns the address of the confirmation before a deletion.
    fn delete_href(name: &str) -> String {
        format!("{}/delete?{}={}", Self::LIST, Self::KEY, encoded(name))
    }
}

impl Pages for Pool {
    const LIST: &'static str = "/pools";
    const TITLE: &'static str = "Pools";
    const KEY: &'static str = "name";
    const AFTERWARDS: &'static str = "Tasks that are running in it continue. Other tasks that name it wait until there is a pool of that name again.";

    fn ask(field: &str, name: &str) -> Option<(&'static str, &'static str)> {
        match field {
            "name" if name == DEFAULT_POOL => Some((
                "Name",
                "All tasks that name no pool are in it. Once it has a size they wait for its slots, too; tasks that are \
                 running by then are not counted.",
            )),
            "name" => Some(("Name", "")),
            "slots" => Some((
                "Slots",
                "−1 means no limit. When a pool is made smaller, tasks that are running in it continue.",
            )),
            "include_deferred" => Some(("Deferred tasks keep their slots", "")),
            "description" if name != DEFAULT_POOL => Some(("Description", "")),
            _ => None,
        }
    }
}

impl Pages for Topic {
    const LIST: &'static str = "/topics";
    const TITLE: &'static str = "Topics";
    const KEY: &'static str = "name";
    const AFTERWARDS: &'static str = "All its records are gone for good. Tasks that produce to it fail from then on.";

    fn ask(field: &str, name: &str) -> Option<(&'static str, &'static str)> {
        match field {
            "name" => Some(("Name", "")),
            "partitions" if name.is_empty() => {
                Some(("Partitions", "Records with the same key stay in order within a partition."))
            }
            "partitions" => Some((
                "Partitions",
                "There may be more, never fewer. With more of them a key may go to another partition than before.",
            )),
            "retention_hours" => Some(("Hours that a record is kept", "−1 means for ever.")),
            "description" => Some(("Description", "")),
            _ => None,
        }
    }

    fn fresh() -> Map<String, Value> {
        Map::from_iter([("partitions".to_string(), 1.into()), ("retention_hours".to_string(), 168.into())])
    }
}

impl Pages for Variable {
    const LIST: &'static str = "/variables";
    const TITLE: &'static str = "Variables";
    const KEY: &'static str = "key";
    const AFTERWARDS: &'static str = "Tasks that ask for it find none from then on, unless a file, a vault or the \
        environment has one of that key. Its value is gone for good.";
    const SEALED: &'static str = "a value";

    fn ask(field: &str, name: &str) -> Option<(&'static str, &'static str)> {
        match field {
            "key" if name.is_empty() => {
                Some(("Key", "With a word such as password, token or secret in it, the value is never shown."))
            }
            "key" => Some(("Key", "")),
            "value" => Some(("Value", "")),
            "description" => Some(("Description", "")),
            _ => None,
        }
    }

    fn masked(key: &str, typed: &str) -> String {
        masked_variable(key, typed)
    }
}

impl Pages for Connection {
    const LIST: &'static str = "/connections";
    const TITLE: &'static str = "Connections";
    const KEY: &'static str = "id";
    const AFTERWARDS: &'static str = "Tasks that ask for it fail from then on, unless a file, a vault or the environment \
        has one of that name. Its secrets are gone for good.";
    const SEALED: &'static str = "a password and an extra";

    /// The labels of the other fields depend on the connection type.
    fn ask(field: &str, name: &str) -> Option<(&'static str, &'static str)> {
        match field {
            "connection_id" if name.is_empty() => {
                Some(("Name", "Tasks ask for it by this name. Letters, digits and _.-"))
            }
            "connection_id" => Some(("Name", "")),
            "conn_type" => Some(("Type", "")),
            "description" => Some(("Description", "")),
            _ => None,
        }
    }
}

/// A page of a list: the rows that match the search text `q` and the filters.
pub(crate) struct Listed<R = Record> {
    pub(crate) q: String,
    pub(crate) filters: Filters,
    pub(crate) rows: Vec<R>,
    /// Number of rows on all pages.
    pub(crate) total: i64,
    /// Addresses of the previous and next page.
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
}

const OF_A_PAGE: i64 = 100;

/// Lists the records of a noun whose names contain the search text.
pub(crate) async fn listed<K: Pages>(app: &App, query: Query, now: ZonedNow) -> Result<Listed, Refusal> {
    let find = async |search: Search| kept::find(&mut *app.pages().await?, K::TABLE, &search).await;
    listed_by((query, now), (K::LIST, K::COLUMNS), K::COLUMNS[0], find).await
}

/// Lists rows whose column `words` contains the search text.
pub(crate) async fn listed_by<R>(
    (mut query, now): (Query, ZonedNow),
    (list, columns): (&str, &'static [Column]),
    words: Column,
    find: impl AsyncFnOnce(Search) -> StoreResult<ListPage<R>>,
) -> Result<Listed<R>, Refusal> {
    let turned = Turned::to(&mut query, OF_A_PAGE);
    let q = query.text("q").unwrap_or_default().trim().to_string();
    let (search, filters) = Filters::read(query, columns, &[], now)?;
    let search = search.and((!q.is_empty()).then(|| words.contains([&q])));
    let ListPage { mut rows, total } = find(search.page(turned.skip(), turned.most())).await?;
    let (before, after) = turned.cut(&mut rows, |page| format!("{list}?page={page}{}", filters.rest(&[])));
    Ok(Listed { q, filters, rows, total, before, after })
}

/// `GET …/delete?key=…`: asks for confirmation.
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
