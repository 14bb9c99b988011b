//! `/lake/{namespace}/{table}/files`: the files of the newest snapshot with their column statistics.

use super::{Head, LoadedTable, READS_DATA, find, turned};
use crate::api::lake::without_values;
use crate::extract::{Names, Query};
use crate::pages::{Shell, html};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_store::lake_view::{ColumnRange, DataFile};

#[derive(Template)]
#[template(path = "pages/lake/files.html")]
struct FilesPage {
    shell: Shell,
    head: Head,
    lines: Vec<ListedFile>,
    before: Option<String>,
    after: Option<String>,
}

struct ListedFile {
    name: String,
    path: String,
    kind: &'static str,
    partition: String,
    rows: String,
    bytes: String,
    columns: Vec<Range>,
}

struct Range {
    name: String,
    nulls: String,
    range: String,
}

const OF_A_PAGE: i64 = 100;
/// Maximum number of characters of a value in the list.
const MOST_CHARS: usize = 40;

pub(crate) async fn show(
    State(app): State<App>,
    shell: Shell,
    names: Names,
    mut query: Query,
) -> Result<Response, Refusal> {
    let (turned, place) = turned(&mut query, OF_A_PAGE)?;
    let LoadedTable { lake, table, head } = find(&app, &names, "files", &shell).await?;
    let mut rows = lake.files(table.id.clone(), None, place).await?;
    let (before, after) = turned.cut(&mut rows, |page| format!("{}/files?page={page}", head.href));
    let rows = if shell.can(READS_DATA) { rows } else { without_values(rows) };
    let page = FilesPage { lines: rows.into_iter().map(line).collect(), shell, head, before, after };
    html(StatusCode::OK, &page)
}

fn line(file: DataFile) -> ListedFile {
    ListedFile {
        name: file.path.rsplit('/').next().unwrap_or_default().into(),
        kind: file.kind.words(),
        rows: parts::count(file.rows),
        bytes: parts::bytes(file.bytes),
        columns: file.columns.into_iter().map(range).collect(),
        partition: file.partition,
        path: file.path,
    }
}

fn range(column: ColumnRange) -> Range {
    let value = |text: &str| parts::short(text, MOST_CHARS).into_owned();
    let range = match (&column.least, &column.greatest) {
        (Some(least), Some(greatest)) if least == greatest => value(least),
        (Some(least), Some(greatest)) => format!("{} … {}", value(least), value(greatest)),
        (Some(least), None) => format!("{} …", value(least)),
        (None, Some(greatest)) => format!("… {}", value(greatest)),
        (None, None) => String::new(),
    };
    Range { nulls: column.nulls.map_or_else(String::new, parts::count), range, name: column.name }
}
