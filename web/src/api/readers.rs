//! `/api/orch/v1/topic-readers`: readers and their offsets, which show how far tasks have read a topic.

use super::streams::SeekReaderBody;
use crate::extract::{Actor, Names, Query, Typed, escape_id, query_params};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use orch_deeds::Refused;
use orch_deeds::reader::{forget, seek as sought};
use orch_store::topic::reader::{ReaderRow, list_readers};
use orch_wire::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

query_params! {
    pub(crate) struct ReadersParams {
        /// Of this topic
        topic_name: Option<String>,
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReaderPage {
    /// One for each reader and partition.
    readers: Vec<ReaderView>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ReaderView {
    name: String,
    connection: String,
    topic: String,
    partition: i32,
    /// Of the next record to read: tasks that have succeeded have read all before it.
    next_offset: i64,
    /// Of the next record that comes into the topic. Of a topic of Kafka as it was last seen.
    end_offset: i64,
    lag: i64,
    /// Where the next try begins, as a person said.
    seek_to: Option<Value>,
    /// What moved it last.
    dag_id: String,
    task_id: String,
    dag_run_id: String,
    moved_at: Timestamp,
}

impl From<ReaderRow> for ReaderView {
    fn from(row: ReaderRow) -> Self {
        ReaderView {
            lag: row.end_offset - row.next_offset,
            name: row.name,
            connection: row.connection,
            topic: row.topic,
            partition: row.partition,
            next_offset: row.next_offset,
            end_offset: row.end_offset,
            seek_to: row.seek_to,
            dag_id: row.dag_id,
            task_id: row.task_id,
            dag_run_id: row.run_id,
            moved_at: Timestamp(row.moved_at),
        }
    }
}

fn page(rows: Vec<ReaderRow>) -> Json<ReaderPage> {
    Json(ReaderPage { readers: rows.into_iter().map(ReaderView::from).collect() })
}

pub(crate) async fn list(State(app): State<App>, mut query: Query) -> Result<Json<ReaderPage>, Refusal> {
    let ReadersParams { topic_name } = query.whole()?;
    Ok(page(list_readers(&mut *app.pages().await?, topic_name.as_deref()).await?))
}

pub(crate) async fn seek(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    Typed(body): Typed<SeekReaderBody>,
) -> Result<Json<ReaderPage>, Refusal> {
    let (to, partition) = body.place();
    let name = names.get("reader_name");
    let done = app.in_transaction(async |tx| {
        sought(tx, &actor, name, to.clone(), partition).await.map_err(|why| refusal(name, why))
    });
    Ok(page(done.await?))
}

pub(crate) async fn delete(State(app): State<App>, actor: Actor, names: Names) -> Result<StatusCode, Refusal> {
    let name = names.get("reader_name");
    app.in_transaction(async |tx| forget(tx, &actor, name).await.map_err(|why| refusal(name, why))).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn refusal(name: &str, refused: Refused) -> Refusal {
    match refused {
        Refused::Rule(why) => Refusal::plain(StatusCode::CONFLICT, why),
        Refused::Forbidden(why) => Refusal::plain(StatusCode::FORBIDDEN, why),
        Refused::Secret(error) => error.into(),
        Refused::NotFound | Refused::Taken => {
            Refusal::not_found(format!("The TopicReader with name: `{}` was not found", escape_id(name)))
        }
    }
}
