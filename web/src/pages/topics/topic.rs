//! `/topics/{topic_name}/records`: the partitions of a topic, its records, and a form that appends one.

use super::href;
use crate::api::kept::stored;
use crate::api::topics::{Found, READS_RECORDS, Which, find, named, produce_all, readable};
use crate::extract::{Actor, Form, Names, Query};
use crate::pages::kept::Pages;
use crate::pages::{Shell, html, see_other, streams};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_deeds::Topic;
use orch_store::StoreResult;
use orch_store::list;
use orch_store::stream::find_streams;
use orch_store::topic::reader::list_readers;
use orch_store::topic::{NewRecord, RecordRow, list_partitions, partition_of};
use serde_json::Value;
use sqlx::PgConnection;

#[derive(Template)]
#[template(path = "pages/topics/topic.html")]
struct TopicPage {
    shell: Shell,
    name: String,
    href: String,
    edit_href: String,
    description: String,
    kept: String,
    partitions: Vec<PartitionLine>,
    /// Streams, and readers of tasks.
    readers: Vec<ReaderLine>,
    /// What is looked for.
    search: Search,
    /// Nothing: this person may not read records.
    records: Option<Vec<RecordLine>>,
    newer: Option<String>,
    older: Option<String>,
    problem: Option<String>,
    wish: Wish,
}

struct PartitionLine {
    partition: i16,
    href: String,
    is_shown: bool,
    first_offset: i64,
    next_offset: i64,
    newest: Option<parts::Ago>,
}

struct ReaderLine {
    name: String,
    href: Option<String>,
    lag: i64,
    moved: Option<parts::Ago>,
}

#[derive(Default)]
struct Search {
    partition: i64,
    key: String,
    offset: String,
}

struct RecordLine {
    offset: i64,
    at: parts::Stamp,
    key: String,
    /// The beginning.
    brief: String,
    /// All of it, where that is more: JSON is indented.
    whole: Option<String>,
    headers: Vec<(String, String)>,
    is_tombstone: bool,
}

/// What the form for a record holds.
#[derive(Default)]
struct Wish {
    key: String,
    value: String,
}

const OF_A_PAGE: i64 = 50;
/// Of a value, in the list.
const MOST_BRIEF: usize = 140;
/// Of a value that is opened; the API gives all of it.
const MOST_WHOLE: usize = 20_000;

pub(crate) async fn show(
    State(app): State<App>,
    shell: Shell,
    names: Names,
    mut query: Query,
) -> Result<Response, Refusal> {
    let partition = query.count("partition", 0);
    let offset = query.text("offset").filter(|text| !text.trim().is_empty()).and_then(|text| text.trim().parse().ok());
    query.finish()?;
    let key = query.text("key").unwrap_or_default().to_string();
    let search = Search { partition, key, offset: offset.map_or_else(String::new, |offset: i64| offset.to_string()) };
    page(&app, shell, names.get("topic_name"), (search, offset), (Wish::default(), None)).await
}

/// Appends the record of the form.
pub(crate) async fn produce(
    State(app): State<App>,
    actor: Actor,
    shell: Shell,
    names: Names,
    form: Form,
) -> Result<Response, Refusal> {
    let name = names.get("topic_name");
    let key = form.text("key").unwrap_or_default().to_string();
    // Browsers send line ends as forms have them.
    let value = form.text("value").unwrap_or_default().replace("\r\n", "\n");
    let refused = async |problem: String| {
        let wish = Wish { key: key.clone(), value: value.clone() };
        page(&app, shell.clone(), name, (Search::default(), None), (wish, Some(problem))).await
    };
    if value.trim_start().starts_with(['{', '[']) {
        if let Err(error) = serde_json::from_str::<Value>(&value) {
            return refused(format!("The value is not valid JSON: see line {}.", error.line())).await;
        }
    } else if value.is_empty() && key.is_empty() {
        return refused("A record needs a value; without one it is a tombstone, and needs a key.".into()).await;
    }
    let record = NewRecord {
        key: (!key.is_empty()).then(|| key.clone().into_bytes()),
        value: (!value.is_empty()).then(|| value.clone().into_bytes()),
        ..NewRecord::default()
    };
    match produce_all(&app, &actor, name, &[record]).await {
        Ok(placed) => {
            let partition = placed.first().map_or(0, |placed| placed.partition);
            Ok(see_other(&format!("{}?partition={partition}", href(name))))
        }
        Err(refusal @ Refusal::Plain { status: StatusCode::BAD_REQUEST, .. }) => refused(refusal.words()).await,
        Err(refusal) => Err(refusal),
    }
}

async fn page(
    app: &App,
    shell: Shell,
    name: &str,
    (search, offset): (Search, Option<i64>),
    (wish, problem): (Wish, Option<String>),
) -> Result<Response, Refusal> {
    let row = stored::<Topic>(app, name).await?;
    let mut db = app.pages().await?;
    let topic = named(&mut db, name).await?;
    let partitions = list_partitions(&mut db, &topic).await?;
    // A key says which partition it is in, if its producer left that to it.
    let partition = if search.key.is_empty() {
        search.partition
    } else {
        partition_of(search.key.as_bytes(), topic.partitions).into()
    };
    let first = partitions.iter().find(|row| i64::from(row.partition) == partition).map_or(0, |row| row.first_offset);
    let which = match offset {
        _ if !search.key.is_empty() => Which::Key(search.key.clone()),
        Some(offset) => Which::From(offset.max(first)),
        None => Which::Newest,
    };
    let found =
        if shell.can(READS_RECORDS) { Some(find(&mut db, &topic, partition, &which, OF_A_PAGE).await?) } else { None };
    let at = |offset: i64| format!("{}?partition={partition}&offset={}", href(name), offset.max(first));
    let (older, newer) = found.as_ref().filter(|_| search.key.is_empty()).map_or((None, None), |found| {
        let begin = found.records.first().map_or(found.next, |record| record.offset);
        let older = (begin > first).then(|| at(begin - OF_A_PAGE));
        (older, (found.next < found.partition.next_offset).then(|| at(found.next)))
    });
    let line = |row: &orch_store::topic::PartitionRow| PartitionLine {
        partition: row.partition,
        href: format!("{}?partition={}", href(name), row.partition),
        is_shown: i64::from(row.partition) == partition,
        first_offset: row.first_offset,
        next_offset: row.next_offset,
        newest: row.last_at.map(|at| parts::ago(at, shell.now)),
    };
    let readers = readers(&mut db, name, &shell).await?;
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let page = TopicPage {
        name: name.into(),
        href: href(name),
        edit_href: Topic::href(name),
        description: row.text("description").unwrap_or_default().into(),
        kept: super::kept(row.whole("retention_hours")),
        partitions: partitions.iter().map(line).collect(),
        readers,
        records: found.map(|Found { records, .. }| records.into_iter().rev().map(|row| record(row, &shell)).collect()),
        search: Search { partition, ..search },
        newer,
        older,
        problem,
        wish,
        shell,
    };
    html(status, &page)
}

/// Streams first.
async fn readers(db: &mut PgConnection, topic: &str, shell: &Shell) -> StoreResult<Vec<ReaderLine>> {
    let streams = find_streams(db, &list::Search::default()).await?.rows;
    let streams = streams.into_iter().filter(|row| row.version.is_some() && row.topic() == topic && row.reads_log());
    let streams = streams.map(|row| ReaderLine {
        href: Some(streams::href(&row.name)),
        lag: row.lag,
        moved: row.last_commit_at.map(|at| parts::ago(at, shell.now)),
        name: row.name,
    });
    let mut lines: Vec<ReaderLine> = streams.collect();
    for row in list_readers(db, Some(topic)).await? {
        let lag = row.end_offset - row.next_offset;
        // A row for each partition, by name.
        match lines.last_mut().filter(|line| line.href.is_none() && line.name == row.name) {
            Some(line) => line.lag += lag,
            None => {
                let moved = Some(parts::ago(row.moved_at, shell.now));
                lines.push(ReaderLine { name: row.name, href: None, lag, moved });
            }
        }
    }
    Ok(lines)
}

fn record(row: RecordRow, shell: &Shell) -> RecordLine {
    let text = |bytes: Option<Vec<u8>>| match readable(bytes) {
        (Some(text), _) => text,
        (None, Some(base64)) => format!("base64: {base64}"),
        (None, None) => String::new(),
    };
    let is_tombstone = row.value.is_none();
    let value = text(row.value);
    let indented = serde_json::from_str::<Value>(&value).ok().filter(|value| value.is_object() || value.is_array());
    let whole = indented.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_else(|| value.clone());
    let brief = parts::short(&value, MOST_BRIEF).into_owned();
    let headers = match row.headers {
        Some(Value::Object(headers)) => headers,
        _ => serde_json::Map::new(),
    };
    let plain = |value: Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    RecordLine {
        offset: row.offset,
        at: parts::clock(row.at, shell.now),
        key: text(row.key),
        whole: (whole != brief).then(|| parts::cut(whole, MOST_WHOLE)),
        brief,
        headers: headers.into_iter().map(|(name, value)| (name, plain(value))).collect(),
        is_tombstone,
    }
}
