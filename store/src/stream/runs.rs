//! Streams that start DAG runs. Counts the open runs of a DAG, creates runs for new records, and stores the offsets up
//! to which runs have been created.

use crate::{
    StoreError, StoreResult, boxed,
    hint::Hint,
    locks::DagLock,
    run::{CreateRun, NewRun, create_run_of},
    version::Versions,
};
use orch_spec::ids::RunId;
use orch_spec::state::{RunType, TriggeredBy};
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;

/// A DAG run to create for some records of a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordRun {
    /// Run id, derived from the records. If the same records are read again, the id prevents a second run.
    pub run_id: String,
    pub conf: Value,
    pub stream: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartedRun {
    /// The run was created. After the commit, the caller sends these hints (wake-up signals).
    Started(Vec<Hint>),
    /// A run for these records already exists.
    Known,
    /// The records do not match the params of the DAG. Contains the error message.
    BadConf(String),
    NoSuchDag,
}

/// Creates a run in the same transaction that advances the offsets of the stream. The DAG must be locked. If the DAG is
/// paused, the run is queued, like a manual run.
#[boxed]
pub async fn start_run(
    tx: &mut PgConnection,
    dag: &DagLock,
    versions: &mut Versions,
    wanted: RecordRun,
) -> StoreResult<StartedRun> {
    let run_id = RunId::new(&wanted.run_id).map_err(|error| StoreError::corrupt(error.to_string()))?;
    let new = NewRun {
        run_id: Some(run_id),
        conf: Some(wanted.conf),
        deed: Some(json!({ "by": { "stream": wanted.stream } })),
        ..NewRun::of(dag.dag_id(), RunType::OperatorTriggered, TriggeredBy::Operator)
    };
    Ok(match create_run_of(tx, dag, versions, &new).await? {
        CreateRun::Created(run) => StartedRun::Started(run.hints()),
        CreateRun::BadConf(bad) => StartedRun::BadConf(bad.to_string()),
        CreateRun::NoSuchDag => StartedRun::NoSuchDag,
        // The run has no idempotency key and no logical date, so its run id is the only possible conflict.
        CreateRun::RunIdTaken | CreateRun::Same(_) | CreateRun::OtherRequest | CreateRun::LogicalDateTaken => {
            StartedRun::Known
        }
    })
}

/// Offset in a partition. Runs exist for all records before this offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    pub partition: i32,
    pub next_offset: i64,
}

/// Returns the number of queued and running runs of a DAG, without backfill runs. Each of the two numbers is counted up
/// to `most`. Returns `None` if the DAG does not exist.
#[boxed]
pub async fn open_runs(db: &mut PgConnection, dag_id: &str, most: i32) -> StoreResult<Option<i64>> {
    let open =
        sqlx::query_scalar!(r#"select active_runs(dag_id, $2) as "open!" from dag where dag_id = $1"#, dag_id, most);
    Ok(open.fetch_optional(db).await?)
}

/// Returns, by partition, the offsets up to which runs have been created. Must run in the same transaction after the
/// offsets of the stream have advanced.
#[boxed]
pub async fn started_runs(tx: &mut PgConnection, stream: &str, topic_identity: &str) -> StoreResult<Vec<Started>> {
    Ok(sqlx::query_as!(
        Started,
        "select partition, next_offset from stream_started where stream = $1 and topic_identity = $2",
        stream,
        topic_identity
    )
    .fetch_all(tx)
    .await?)
}

/// Stores the offsets up to which runs have been created. Stored offsets never decrease, unless the stream now reads a
/// different topic.
#[boxed]
pub async fn set_started(
    tx: &mut PgConnection,
    stream: &str,
    topic_identity: &str,
    started: &[Started],
) -> StoreResult<()> {
    let partitions: Vec<i32> = started.iter().map(|one| one.partition).collect();
    let offsets: Vec<i64> = started.iter().map(|one| one.next_offset).collect();
    sqlx::query!(
        "insert into stream_started as s (stream, partition, topic_identity, next_offset)
        select $1, partition, $2, next_offset from unnest($3::integer[], $4::bigint[]) as g (partition, next_offset)
        on conflict (stream, partition) do update set topic_identity = excluded.topic_identity, next_offset =
          case when s.topic_identity = excluded.topic_identity then greatest(s.next_offset, excluded.next_offset)
          else excluded.next_offset end",
        stream,
        topic_identity,
        &partitions,
        &offsets
    )
    .execute(tx)
    .await?;
    Ok(())
}
