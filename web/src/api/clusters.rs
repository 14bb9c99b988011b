//! `/api/orch/v1/connections/{connection_id}/topics/…`: the topics of a cluster such as Kafka, and reading and
//! producing records.

use super::topics::{
    PartitionRecords, PlacedPage, RecordPage, RecordsBody, RecordsQuery, TopicPartitionPage, created, refusal, wanted,
};
use crate::auth::Caller;
use crate::extract::{Actor, Names, Query, Secret};
use crate::refusal::Refusal;
use crate::state::App;
use crate::trial::{brokers_reachable, reachable};
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use orch_deeds::topic::note_append_at;
use orch_sdk::task::Connection;
use orch_store::cluster::{ClusterPlace, ClusterRecords, ClusterTopic, ReadAt};
use orch_store::kept;
use orch_store::topic::NewRecord;
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Poll interval. Clusters do not notify readers of new records.
const ASK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ClusterTopicPage {
    topics: Vec<ClusterTopicView>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ClusterTopicView {
    name: String,
    partitions: usize,
    /// From the first offset that is kept to the last. There may be fewer records: compaction removes some, and markers of transactions take offsets.
    offsets: i64,
}

/// Returns the connection to a cluster. If a user added the connection, the brokers that it names and those that the
/// cluster advertises must have addresses that a connection test may reach.
pub(crate) async fn at(app: &App, id: &str) -> Result<Connection, Refusal> {
    let connection = app.config.clusters.connection(id).await?;
    if kept::get(&mut *app.pages().await?, &kept::CONNECTION, id).await?.is_some() {
        let reach = &app.config.reach;
        reachable(&connection, reach).await.map_err(Refusal::ConnectionFailed)?;
        let advertised = app.config.clusters.brokers(connection.clone()).await?;
        brokers_reachable(advertised, reach).await.map_err(Refusal::ConnectionFailed)?;
    }
    Ok(connection)
}

/// Returns the number of partitions and the number of retained offsets.
pub(crate) fn size(topic: &ClusterTopic) -> (usize, i64) {
    (topic.partitions.len(), topic.partitions.iter().map(|bounds| bounds.next - bounds.first).sum())
}

pub(crate) async fn list(State(app): State<App>, names: Names) -> Result<Json<ClusterTopicPage>, Refusal> {
    let at = at(&app, names.get("connection_id")).await?;
    let view = |topic: ClusterTopic| {
        let (partitions, offsets) = size(&topic);
        ClusterTopicView { name: topic.name, partitions, offsets }
    };
    let topics = app.config.clusters.topics(at).await?.into_iter().map(view).collect();
    Ok(Json(ClusterTopicPage { topics }))
}

pub(crate) async fn partitions(State(app): State<App>, names: Names) -> Result<Json<TopicPartitionPage>, Refusal> {
    let at = at(&app, names.get("connection_id")).await?;
    Ok(Json(app.config.clusters.bounds(at, names.get("topic_name")).await?.into()))
}

pub(crate) async fn records(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    names: Names,
    mut query: Query,
) -> Result<Json<RecordPage>, Refusal> {
    let RecordsQuery { partition, which, most, until, counted: _counted } = wanted(&app, &caller, &mut query)?;
    let at = at(&app, names.get("connection_id")).await?;
    // The cluster's process reports a partition number above `i32::MAX` as missing.
    let partition = Some(i32::try_from(partition).unwrap_or(i32::MAX));
    let from = ReadAt { partition, which, most: usize::try_from(most).unwrap_or_default() };
    loop {
        let found = app.config.clusters.read(at.clone(), names.get("topic_name"), from.clone()).await?;
        if !found.records.is_empty() || from.most == 0 || Instant::now() + ASK_AGAIN > until {
            return Ok(Json(PartitionRecords::from(found).into()));
        }
        sleep(ASK_AGAIN).await;
    }
}

impl From<ClusterRecords> for PartitionRecords {
    fn from(found: ClusterRecords) -> PartitionRecords {
        PartitionRecords { records: found.records, bounds: found.bounds, next: found.next }
    }
}

pub(crate) async fn produce(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    Secret(body): Secret<RecordsBody>,
) -> Result<(StatusCode, Json<PlacedPage>), Refusal> {
    let at = at(&app, names.get("connection_id")).await?;
    let placed = produce_at(&app, &actor, at, names.get("topic_name"), body.records()).await?;
    Ok(created(placed.into_iter().map(|placed| (placed.partition, placed.offset, placed.at))))
}

/// Produces records to a cluster. The audit record is committed first, because the cluster does not take part in our
/// transactions.
pub(crate) async fn produce_at(
    app: &App,
    actor: &Actor,
    at: Connection,
    topic: &str,
    records: Vec<NewRecord>,
) -> Result<Vec<ClusterPlace>, Refusal> {
    let noted = app.in_transaction(async |tx| {
        note_append_at(tx, actor, (&at.id, topic), records.len()).await.map_err(|error| refusal(topic, error))
    });
    noted.await?;
    Ok(app.config.clusters.produce(at, topic, records).await?)
}
