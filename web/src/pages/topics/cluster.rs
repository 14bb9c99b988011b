//! `/clusters/{connection_id}`: the topics of a Kafka cluster, and the page of each.

use super::topic::{CheckedRecordForm, OF_A_PAGE, PartitionLine, Search, TopicSummary, readers, render, wished};
use crate::api::clusters::{at, produce_at, size};
use crate::api::topics::PartitionRecords;
use crate::extract::{Actor, Form, Names, Query};
use crate::pages::{Shell, encoded, html, see_other};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_deeds::{Connection, Kept as _};
use orch_store::StoreResult;
use orch_store::cluster::{ClusterTopic, KAFKA, ReadAt, WhichRecords, name_at};
use orch_store::kept;
use orch_store::list;
use orch_store::stream::{StreamRow, find_streams};
use orch_store::topic::reader::ReaderRow;
use sqlx::PgConnection;
use std::collections::BTreeSet;

#[derive(Template)]
#[template(path = "pages/topics/cluster.html")]
struct ClusterPage {
    shell: Shell,
    id: String,
    href: String,
    q: String,
    lines: Vec<ListedTopic>,
    /// Number of topics in the cluster, even if a search shows fewer.
    total: usize,
}

struct ListedTopic {
    name: String,
    href: String,
    partitions: usize,
    offsets: i64,
}

/// Maximum number of topics on a page; others are found by name.
const MOST: usize = 500;

pub(super) fn href(id: &str) -> String {
    format!("/clusters/{}", encoded(id))
}

pub(in crate::pages) fn topic_href(id: &str, topic: &str) -> String {
    format!("{}/{}", href(id), encoded(topic))
}

/// Returns the address and id of the clusters that streams read or that stored connections point to. A connection from
/// the environment has a page too, but is not listed until a stream reads it.
pub(super) async fn known(db: &mut PgConnection) -> StoreResult<Vec<(String, String)>> {
    let streams = find_streams(db, &list::Search::default()).await?.rows;
    let mut ids: BTreeSet<String> = streams.iter().filter_map(|row| row.cluster()).map(String::from).collect();
    let conn_type = Connection::COLUMNS.iter().find(|column| column.name == "conn_type");
    let added = list::Search::default().and(conn_type.map(|column| column.is(KAFKA)));
    let added = kept::find(db, Connection::TABLE, &added).await?.rows;
    ids.extend(added.iter().map(|row| row.name().to_owned()));
    Ok(ids.into_iter().map(|id| (href(&id), id)).collect())
}

pub(crate) async fn show(
    State(app): State<App>,
    shell: Shell,
    names: Names,
    query: Query,
) -> Result<Response, Refusal> {
    let id = names.get("connection_id");
    let q = query.text("q").unwrap_or_default().trim().to_string();
    let topics = app.config.clusters.topics(at(&app, id).await?).await?;
    let total = topics.len();
    let line = |topic: ClusterTopic| {
        let (partitions, offsets) = size(&topic);
        ListedTopic { href: topic_href(id, &topic.name), name: topic.name, partitions, offsets }
    };
    let lines = topics.into_iter().filter(|topic| topic.name.contains(&q)).take(MOST).map(line).collect();
    html(StatusCode::OK, &ClusterPage { shell, id: id.into(), href: href(id), q, lines, total })
}

pub(crate) async fn records(
    State(app): State<App>,
    shell: Shell,
    names: Names,
    query: Query,
) -> Result<Response, Refusal> {
    page(&app, shell, &names, Search::of(query)?, CheckedRecordForm::default()).await
}

pub(crate) async fn produce(
    State(app): State<App>,
    actor: Actor,
    shell: Shell,
    names: Names,
    form: Form,
) -> Result<Response, Refusal> {
    let (id, name) = (names.get("connection_id"), names.get("topic_name"));
    let (wish, record) = wished(&form);
    let produced = match record {
        Ok(record) => produce_at(&app, &actor, at(&app, id).await?, name, vec![record]).await,
        Err(problem) => Err(Refusal::bad_request(problem)),
    };
    match produced {
        Ok(placed) => {
            let partition = placed.first().map_or(0, |placed| placed.partition);
            Ok(see_other(&format!("{}?partition={partition}", topic_href(id, name))))
        }
        Err(refusal @ Refusal::Plain { status: StatusCode::BAD_REQUEST, .. }) => {
            page(&app, shell, &names, Search::default(), (wish, Some(refusal.words()))).await
        }
        Err(refusal) => Err(refusal),
    }
}

async fn page(
    app: &App,
    shell: Shell,
    names: &Names,
    mut search: Search,
    wished: CheckedRecordForm,
) -> Result<Response, Refusal> {
    let (id, name) = (names.get("connection_id"), names.get("topic_name"));
    let at = at(app, id).await?;
    let which = search.which(shell.now)?;
    // The key determines the partition if its producer used the default partitioner.
    let partition = match which {
        WhichRecords::Key(_) => None,
        _ => Some(i32::try_from(search.partition).unwrap_or(i32::MAX)),
    };
    let from = ReadAt { partition, which, most: usize::try_from(OF_A_PAGE).unwrap_or_default() };
    let found = app.config.clusters.read(at.clone(), name, from).await?;
    search.partition = found.bounds.partition.into();
    let href = topic_href(id, name);
    let lines = found.partitions.iter().map(|bounds| PartitionLine {
        partition: bounds.partition,
        href: format!("{href}?partition={}", bounds.partition),
        is_shown: bounds.partition == found.bounds.partition,
        first_offset: bounds.first,
        next_offset: bounds.next,
        newest: None,
    });
    // Streams and tasks may refer to the topic by another name.
    let is_it = |topic: &str| name_at(&at, topic) == name_at(&at, name);
    let of_it = (
        |row: &StreamRow| row.cluster() == Some(id) && is_it(row.topic()),
        |row: &ReaderRow| row.connection == id && is_it(&row.topic),
    );
    let shown = TopicSummary {
        name: name.into(),
        cluster: Some((id.into(), self::href(id))),
        edit_href: None,
        facts: Vec::new(),
        partitions: lines.collect(),
        readers: readers(&mut *app.pages().await?, of_it, &shell).await?,
        can_produce: true,
        found: Some(PartitionRecords::from(found)),
        href,
    };
    render(shell, shown, search, wished)
}
