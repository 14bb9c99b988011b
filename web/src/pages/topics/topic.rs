//! `/topics/{topic_name}/records`: the partitions and records of a topic, and a form that appends a record. Topics of
//! Kafka clusters use the same page (`cluster`).

use super::href;
use crate::api::kept::stored;
use crate::api::topics::{PartitionRecords, READS_RECORDS, find, named, produce_all, readable};
use crate::extract::{Actor, Form, Names, Query};
use crate::pages::audit::moment;
use crate::pages::kept::Pages;
use crate::pages::{Shell, html, see_other, streams};
use crate::parts::{self, ZonedNow};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_deeds::Topic;
use orch_store::StoreResult;
use orch_store::cluster::{Bounds, WhichRecords};
use orch_store::list;
use orch_store::stream::{StreamRow, find_streams};
use orch_store::topic::reader::{ReaderRow, list_readers};
use orch_store::topic::{NewRecord, PartitionRow, RecordRow, list_partitions, partition_of};
use serde_json::Value;
use sqlx::PgConnection;

#[derive(Template)]
#[template(path = "pages/topics/topic.html")]
struct TopicPage {
    shell: Shell,
    shown: TopicSummary,
    search: Search,
    /// `None` if the user may not read records.
    records: Option<Vec<RecordLine>>,
    newer: Option<String>,
    older: Option<String>,
    problem: Option<String>,
    wish: RecordForm,
}

/// Summary of a topic of orch or of a cluster.
pub(super) struct TopicSummary {
    pub(super) name: String,
    pub(super) href: String,
    /// Name of the cluster that has the topic, and the address of its page.
    pub(super) cluster: Option<(String, String)>,
    pub(super) edit_href: Option<String>,
    pub(super) facts: Vec<String>,
    pub(super) partitions: Vec<PartitionLine>,
    /// Streams, and readers of tasks.
    pub(super) readers: Vec<ReaderLine>,
    pub(super) can_produce: bool,
    pub(super) found: Option<PartitionRecords>,
}

pub(super) struct PartitionLine {
    pub(super) partition: i32,
    pub(super) href: String,
    pub(super) is_shown: bool,
    pub(super) first_offset: i64,
    pub(super) next_offset: i64,
    pub(super) newest: Option<parts::Ago>,
}

pub(super) struct ReaderLine {
    name: String,
    href: Option<String>,
    lag: i64,
    moved: Option<parts::Ago>,
}

/// Records to search for.
#[derive(Default)]
pub(super) struct Search {
    pub(super) partition: i64,
    pub(super) key: String,
    offset: Option<i64>,
    /// Time as it was typed.
    at: String,
}

impl Search {
    pub(super) fn of(mut query: Query) -> Result<Search, Refusal> {
        let partition = query.count("partition", 0);
        query.finish()?;
        let text = |name: &str| query.text(name).unwrap_or_default().trim().to_string();
        Ok(Search { partition, key: text("key"), offset: text("offset").parse().ok(), at: text("at") })
    }

    pub(super) fn which(&self, now: ZonedNow) -> Result<WhichRecords, Refusal> {
        Ok(match (self.offset, moment(&self.at, now)?) {
            _ if !self.key.is_empty() => WhichRecords::Key(self.key.clone()),
            (Some(offset), _) => WhichRecords::From(offset),
            (None, Some(at)) => WhichRecords::At(at.first),
            (None, None) => WhichRecords::Newest,
        })
    }
}

struct RecordLine {
    offset: i64,
    at: parts::Stamp,
    key: String,
    /// Beginning of the value.
    brief: String,
    /// Whole value, with JSON indented; `None` if it equals `brief`.
    whole: Option<String>,
    headers: Vec<(String, String)>,
    is_tombstone: bool,
}

#[derive(Default)]
pub(super) struct RecordForm {
    key: String,
    value: String,
}

/// Values of the form, and the error if they are invalid.
pub(super) type CheckedRecordForm = (RecordForm, Option<String>);

pub(super) const OF_A_PAGE: i64 = 50;
/// Maximum number of characters of a value in the list.
const MOST_BRIEF: usize = 140;
/// Maximum number of characters of an expanded value; the API returns the whole value.
const MOST_WHOLE: usize = 20_000;

pub(crate) async fn show(
    State(app): State<App>,
    shell: Shell,
    names: Names,
    query: Query,
) -> Result<Response, Refusal> {
    page(&app, shell, names.get("topic_name"), Search::of(query)?, CheckedRecordForm::default()).await
}

pub(crate) async fn produce(
    State(app): State<App>,
    actor: Actor,
    shell: Shell,
    names: Names,
    form: Form,
) -> Result<Response, Refusal> {
    let name = names.get("topic_name");
    let (wish, record) = wished(&form);
    let refused = async |problem: String| page(&app, shell, name, Search::default(), (wish, Some(problem))).await;
    let record = match record {
        Ok(record) => record,
        Err(problem) => return refused(problem).await,
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

/// Returns the values of the form, and the record or the error.
pub(super) fn wished(form: &Form) -> (RecordForm, Result<NewRecord, String>) {
    let key = form.text("key").unwrap_or_default().to_string();
    // Browsers send line breaks as CRLF.
    let value = form.text("value").unwrap_or_default().replace("\r\n", "\n");
    let json = value.trim_start().starts_with(['{', '[']).then(|| serde_json::from_str::<Value>(&value));
    let record = match json {
        Some(Err(error)) => Err(format!("The value is not valid JSON: see line {}.", error.line())),
        None if value.is_empty() && key.is_empty() => {
            Err("A record needs a value; without one it is a tombstone, and needs a key.".into())
        }
        _ => Ok(NewRecord {
            key: (!key.is_empty()).then(|| key.clone().into_bytes()),
            value: (!value.is_empty()).then(|| value.clone().into_bytes()),
            ..NewRecord::default()
        }),
    };
    (RecordForm { key, value }, record)
}

async fn page(
    app: &App,
    shell: Shell,
    name: &str,
    mut search: Search,
    wished: CheckedRecordForm,
) -> Result<Response, Refusal> {
    let row = stored::<Topic>(app, name).await?;
    let mut db = app.pages().await?;
    let topic = named(&mut db, name).await?;
    let partitions = list_partitions(&mut db, &topic).await?;
    // The key determines the partition if its producer used the default partitioner.
    if !search.key.is_empty() {
        search.partition = partition_of(search.key.as_bytes(), topic.partitions).into();
    }
    let shown = partitions.iter().find(|row| i64::from(row.partition) == search.partition);
    let which = match (search.which(shell.now)?, shown) {
        // Records may have been deleted since the page was loaded.
        (WhichRecords::From(offset), Some(row)) => WhichRecords::From(offset.max(row.first_offset)),
        (which, _) => which,
    };
    let found = if shell.can(READS_RECORDS) {
        Some(find(&mut db, &topic, search.partition, &which, OF_A_PAGE).await?)
    } else {
        None
    };
    let line = |row: &PartitionRow| PartitionLine {
        partition: row.partition.into(),
        href: format!("{}?partition={}", href(name), row.partition),
        is_shown: i64::from(row.partition) == search.partition,
        first_offset: row.first_offset,
        next_offset: row.next_offset,
        newest: row.last_at.map(|at| parts::ago(at, shell.now)),
    };
    let description = row.text("description").filter(|text| !text.is_empty()).map(String::from);
    let kept = match super::kept(row.whole("retention_hours")) {
        kept if kept == "for ever" => "records are kept for ever".into(),
        kept => format!("records are kept for {kept}"),
    };
    let of_it = |row: &StreamRow| row.topic() == name && row.reads_log();
    let shown = TopicSummary {
        name: name.into(),
        href: href(name),
        cluster: None,
        edit_href: shell.can_operate().then(|| Topic::href(name)),
        facts: description.into_iter().chain([kept]).collect(),
        partitions: partitions.iter().map(line).collect(),
        readers: readers(&mut db, (of_it, |row| row.topic == name), &shell).await?,
        can_produce: shell.can_run(),
        found,
    };
    render(shell, shown, search, wished)
}

pub(super) fn render(
    shell: Shell,
    mut shown: TopicSummary,
    search: Search,
    (wish, problem): CheckedRecordForm,
) -> Result<Response, Refusal> {
    let found = shown.found.take();
    let partition = search.partition;
    let (older, newer) = found.as_ref().filter(|_| search.key.is_empty()).map_or((None, None), |found| {
        let Bounds { first, next, .. } = found.bounds;
        let at = |offset: i64| format!("{}?partition={partition}&offset={}", shown.href, offset.max(first));
        let begin = found.records.first().map_or(found.next, |record| record.offset);
        ((begin > first).then(|| at(begin - OF_A_PAGE)), (found.next < next).then(|| at(found.next)))
    });
    let records = found
        .map(|PartitionRecords { records, .. }| records.into_iter().rev().map(|row| record(row, &shell)).collect());
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    html(status, &TopicPage { shell, shown, search, records, newer, older, problem, wish })
}

/// Lists streams first, then readers of tasks. The two functions return true for those that read the topic.
pub(super) async fn readers(
    db: &mut PgConnection,
    (is_stream, is_reader): (impl Fn(&StreamRow) -> bool, impl Fn(&ReaderRow) -> bool),
    shell: &Shell,
) -> StoreResult<Vec<ReaderLine>> {
    let streams = find_streams(db, &list::Search::default()).await?.rows;
    let streams = streams.into_iter().filter(|row| row.version.is_some() && is_stream(row));
    let streams = streams.map(|row| ReaderLine {
        href: Some(streams::href(&row.name)),
        lag: row.lag,
        moved: row.last_commit_at.map(|at| parts::ago(at, shell.now)),
        name: row.name,
    });
    let mut lines: Vec<ReaderLine> = streams.collect();
    for row in list_readers(db, None).await?.into_iter().filter(is_reader) {
        let lag = row.end_offset - row.next_offset;
        // A reader has one row per partition; rows are sorted by reader.
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
