//! The list of a noun: a search by name, and a table with one row per record. Each noun defines its columns and texts.

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

/// Columns and texts of the list of a noun.
pub(crate) trait Lists: Pages {
    /// Sentence below the heading.
    const ABOUT: &'static str;
    const CAPTION: &'static str;
    /// Columns of the table; the first one contains the names.
    const HEADS: &'static [Head];
    /// Label of the column that identifies a record.
    const WORD: &'static str = "name";
    /// Text of the empty list, in Markdown.
    const WHEN_EMPTY: &'static str = "";
    /// Formats of an export. If empty, the page offers neither import nor export.
    const EXPORTS: &'static [FileFormat] = &[];
    /// Example of a file to import.
    const FILE_EXAMPLE: &'static str = "";
    /// Label of the link in the last column, which only operators see.
    const VERB: &'static str = "Delete";

    /// Returns the cells after the name, one per further column.
    fn cells(record: &Record, app: &App, shell: &Shell) -> Vec<Cell>;

    /// Returns the address that the name of a record links to.
    fn name_href(name: &str, can_operate: bool) -> Option<String> {
        can_operate.then(|| Self::href(name))
    }

    /// Returns the address that the link in the last column leads to.
    fn verb_href(name: &str) -> Option<String> {
        Self::check_delete(name).is_ok().then(|| Self::delete_href(name))
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    title: &'static str,
    class: &'static str,
    cell_class: &'static str,
    /// Unit shown after the number on narrow screens, where column headings are hidden.
    unit: &'static str,
}

impl Head {
    /// `class` applies to the heading and `cell_class` to the cells of the column.
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
    /// Text after the icon of the state `queued`.
    Queued(String),
    /// Text of secondary importance.
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

/// Content that only the lists of some nouns have.
#[derive(Default)]
pub(crate) struct Extras {
    /// Address of the page of each Kafka cluster, and its connection id.
    pub(crate) clusters: Vec<(String, String)>,
    /// Connections that the binary provides: name and type.
    pub(crate) brought: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "pages/kept/list.html")]
struct KeptListPage<K: Lists> {
    shell: Shell,
    /// Values that cannot be stored because the server has no encryption key.
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

/// Renders the list of the given records.
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
