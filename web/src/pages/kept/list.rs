//! The list of a noun: a search by name, and a table with a row for each record. A noun says its columns and its words.

use super::{Listed, Pages, listed};
use crate::extract::Query;
use crate::pages::filters::Filters;
use crate::pages::{Shell, html};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use askama::filters::HtmlSafe;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_document::kept::FileFormat;
use orch_store::kept::Record;
use std::fmt;
use std::marker::PhantomData;

/// What the list of a noun shows and says.
pub(crate) trait Lists: Pages {
    /// The sentence under the heading.
    const ABOUT: &'static str;
    /// The title of the table.
    const CAPTION: &'static str;
    /// The columns; the first has the names.
    const HEADS: &'static [Head];
    /// How people call what names a record.
    const WORD: &'static str = "name";
    /// What the empty list says, in Markdown.
    const WHEN_EMPTY: &'static str = "";
    /// The formats of an export. Without formats the page neither imports nor exports.
    const EXPORTS: &'static [FileFormat] = &[];
    /// What a file that is imported may look like.
    const FILE_EXAMPLE: &'static str = "";
    /// What the last column offers to operators.
    const VERB: &'static str = "Delete";

    /// The cells of a record behind its name, one for each further head.
    fn cells(record: &Record, app: &App, shell: &Shell) -> Vec<Cell>;

    /// Where the name of a record leads.
    fn name_href(name: &str, can_operate: bool) -> Option<String> {
        can_operate.then(|| Self::href(name))
    }

    /// Where the verb of a record leads.
    fn verb_href(name: &str) -> Option<String> {
        Self::check_delete(name).is_ok().then(|| Self::delete_href(name))
    }
}

/// A column of the list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    title: &'static str,
    class: &'static str,
    cell_class: &'static str,
    /// Follows the number on a phone, where heads are not shown.
    unit: &'static str,
}

impl Head {
    /// `class`: of the head; `cell_class`: of the cells below it.
    pub(crate) const fn new(title: &'static str, class: &'static str, cell_class: &'static str) -> Head {
        Head { title, class, cell_class, unit: "" }
    }

    pub(crate) const fn count(title: &'static str, unit: &'static str) -> Head {
        Head { unit, ..Head::new(title, "num", "num") }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Cell {
    Text(String),
    Count(i64),
    /// Text behind the icon of what is queued.
    Queued(String),
    /// Words that are less important.
    Meta(String),
    Ago(parts::Ago),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Text(text) => parts::Escaped(text).fmt(f),
            Cell::Count(count) => count.fmt(f),
            Cell::Queued(text) => write!(f, "{}{}", parts::bare("queued"), parts::Escaped(text)),
            Cell::Meta(words) => write!(f, r#"<span class="meta">{}</span>"#, parts::Escaped(words)),
            Cell::Ago(ago) => ago.fmt(f),
        }
    }
}

impl HtmlSafe for Cell {}

/// What only one noun shows beside its table.
#[derive(Default)]
pub(crate) struct Extras {
    /// The page of each Kafka cluster, and its connection.
    pub(crate) clusters: Vec<(String, String)>,
    /// The connections that the binary brings: name and type.
    pub(crate) brought: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "pages/kept/list.html")]
struct KeptListPage<K: Lists> {
    shell: Shell,
    /// The values that cannot be stored because the server has no key.
    locked: Option<&'static str>,
    extras: Extras,
    q: String,
    filters: Filters,
    lines: Vec<ListedRecord>,
    before: Option<String>,
    after: Option<String>,
    noun: PhantomData<K>,
}

struct ListedRecord {
    name: String,
    href: Option<String>,
    verb_href: Option<String>,
    description: String,
    cells: Vec<(Head, Cell)>,
}

pub(crate) async fn show<K: Lists>(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    let listed = listed::<K>(&app, query, shell.now).await?;
    page::<K>(&app, shell, listed, Extras::default())
}

/// The page of the records that were found.
pub(crate) fn page<K: Lists>(app: &App, shell: Shell, listed: Listed, extras: Extras) -> Result<Response, Refusal> {
    let Listed { q, filters, rows, before, after, .. } = listed;
    let is_locked = K::NOUN.has_secrets && app.config.keys.is_empty() && shell.can_operate();
    let page = KeptListPage::<K> {
        locked: is_locked.then_some(K::SEALED),
        extras,
        lines: rows.iter().map(|row| line::<K>(row, app, &shell)).collect(),
        q,
        filters,
        before,
        after,
        shell,
        noun: PhantomData,
    };
    html(StatusCode::OK, &page)
}

fn line<K: Lists>(row: &Record, app: &App, shell: &Shell) -> ListedRecord {
    ListedRecord {
        name: row.name().into(),
        href: K::name_href(row.name(), shell.can_operate()),
        verb_href: K::verb_href(row.name()),
        description: row.text("description").unwrap_or_default().into(),
        cells: K::HEADS.iter().skip(1).copied().zip(K::cells(row, app, shell)).collect(),
    }
}
