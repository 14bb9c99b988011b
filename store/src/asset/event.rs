//! Events (updates) of assets: lists of events, events that users and external programs add, and the runs that consumed
//! them.

use crate::list::{Join, List, MOST_LISTED, Search};
use crate::{StoreResult, boxed, run::word};
use chrono::{DateTime, Utc};
use orch_spec::asset::TriggeringEvent;
use orch_spec::state::RunState;
use serde_json::Value;
use sqlx::FromRow;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// Maximum number of triggering events that the tasks of a run receive.
const MOST_TRIGGERING: i64 = 10_000;

#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct EventRow {
    pub id: i64,
    /// Id of the asset. `None` if the URI is unknown, until the event is distributed.
    pub asset: Option<i32>,
    pub uri: String,
    pub name: Option<String>,
    pub group_name: Option<String>,
    pub alias: Option<String>,
    pub partition_key: Option<String>,
    pub rows: Option<i64>,
    pub extra: Option<Value>,
    pub source_dag_id: Option<String>,
    pub source_run_id: Option<String>,
    pub source_task_id: Option<String>,
    pub source_map_index: i32,
    pub at: DateTime<Utc>,
}

/// Columns that users can filter asset events by, and additional columns that pages use.
pub mod event_by {
    use crate::list::Column;
    use crate::list::Filter::{Is, Pattern, Prefix, Range};

    pub const ID: Column = Column::whole("id", "e.id");
    pub const ASSET: Column = Column::whole("asset_id", "e.asset").by(&[Is]).about("Of that asset");
    pub const AT: Column = Column::moment("timestamp", "e.at").by(&[Range]).sorted();
    pub const SOURCE_TASK_ID: Column =
        Column::text("source_task_id", "e.source_task_id").by(&[Is]).about("By that task").nullable().sorted();
    pub const SOURCE_MAP_INDEX: Column = Column::whole("source_map_index", "e.source_map_index")
        .by(&[Is])
        .about("By that element; -1: not mapped")
        .sorted();
    /// The run that added the event.
    pub const SOURCE_RUN: Column = Column::text("source_run", "e.source_run");
    pub const CONSUMED_BY: Column =
        Column::text("consumed_by", "e.id in (select c.event from dag_run_event c where c.run = any($))");

    pub(super) const ALL: &[Column] = &[
        SOURCE_TASK_ID,
        Column::text("source_dag_id", "e.source_dag_id").by(&[Is]).about("By a task of that DAG").nullable().sorted(),
        Column::text("source_run_id", "e.source_run_id").by(&[Is]).about("In that run").nullable().sorted(),
        SOURCE_MAP_INDEX,
        AT,
        Column::text("name", "a.name").by(&[Pattern, Prefix]).join("a"),
        ASSET,
    ];
}

/// Asset events, by default oldest first. Events with the same timestamp are ordered by id, in the same direction.
pub static EVENTS: List<EventRow> = List {
    select: "e.id, e.asset, e.uri, a.name, a.group_name, e.alias, e.partition_key, e.rows, e.extra, e.source_dag_id,
        e.source_run_id, e.source_task_id, e.source_map_index, e.at",
    from: "asset_event e",
    joins: &[Join { name: "a", sql: "left join asset a on a.id = e.asset", with: "", is_read: true }],
    columns: event_by::ALL,
    key: "e.id",
    order: &[event_by::AT.ascending()],
    read: |row| Ok(EventRow::from_row(row)?),
};

/// A new event that does not come from a run.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    pub asset: i32,
    pub partition_key: Option<String>,
    /// A JSON object.
    pub extra: Value,
}

/// Adds an event of an asset and returns the event's id. Returns `None` if the asset does not exist. The caller sends
/// `Hint::Asset` (a wake-up signal).
#[boxed]
pub async fn add_event(db: &mut PgConnection, new: &NewEvent) -> StoreResult<Option<i64>> {
    let id = sqlx::query_scalar!(
        "insert into asset_event (asset, uri, partition_key, extra)
        select a.id, a.uri, $2, $3::text::json from asset a where a.id = $1 returning id",
        new.asset,
        new.partition_key,
        new.extra.to_string()
    );
    Ok(id.fetch_optional(db).await?)
}

/// An update of an asset by an external program instead of a task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UriEvent<'a> {
    pub uri: &'a str,
    pub rows: Option<i64>,
    /// A JSON object.
    pub extra: &'a Value,
}

/// Adds an event. Returns false if no asset has this URI. The caller sends `Hint::Asset` (a wake-up signal).
#[boxed]
pub async fn add_event_of_uri(db: &mut PgConnection, new: &UriEvent<'_>) -> StoreResult<bool> {
    let insert = sqlx::query!(
        "insert into asset_event (asset, uri, rows, extra) select a.id, a.uri, $2, $3::text::json from asset a where a.uri = $1",
        new.uri,
        new.rows,
        new.extra.to_string()
    );
    Ok(insert.execute(db).await?.rows_affected() > 0)
}

/// A run that consumed an asset event.
#[derive(Debug, Clone, PartialEq)]
pub struct TriggeredRun {
    pub event: i64,
    pub dag_id: String,
    pub run_id: String,
    pub state: RunState,
    pub logical_date: Option<DateTime<Utc>>,
    pub interval_start: Option<DateTime<Utc>>,
    pub interval_end: Option<DateTime<Utc>>,
    pub run_after: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub partition_key: Option<String>,
    /// True for the event that fulfilled the condition of the run. It is the last event that the run consumed.
    pub triggering: bool,
}

/// Returns the runs that consumed these asset events.
#[boxed]
pub async fn runs_of_events(db: &mut PgConnection, events: &[i64]) -> StoreResult<Vec<TriggeredRun>> {
    let rows = sqlx::query!(
        r#"select c.event, r.dag_id, r.run_id, r.state::text as "state!", r.logical_date, r.interval_start, r.interval_end,
          r.run_after, r.started_at, r.ended_at, r.partition_key,
          not exists (select from dag_run_event l where l.run = c.run and l.event > c.event) as "triggering!"
        from dag_run_event c join dag_run r on r.id = c.run where c.event = any($1) order by c.event, r.dag_id, r.run_id"#,
        events
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    rows.map(|row| {
        Ok(TriggeredRun {
            event: row.event,
            dag_id: row.dag_id,
            run_id: row.run_id,
            state: word(&row.state)?,
            logical_date: row.logical_date,
            interval_start: row.interval_start,
            interval_end: row.interval_end,
            run_after: row.run_after,
            started_at: row.started_at,
            ended_at: row.ended_at,
            partition_key: row.partition_key,
            triggering: row.triggering,
        })
    })
    .collect()
}

/// Returns the asset events that triggered a run, oldest first, which is also the order in which tasks receive them.
#[boxed]
pub async fn triggering_events(db: &mut PgConnection, run: Uuid) -> StoreResult<Vec<TriggeringEvent>> {
    let consumed = Search::default().and(event_by::CONSUMED_BY.is(run));
    let mut events = Vec::new();
    let mut skip = 0;
    while skip < MOST_TRIGGERING {
        let page = EVENTS.rows(db, &consumed.clone().page(skip, MOST_LISTED)).await?;
        let last = (page.len() as i64) < MOST_LISTED;
        events.extend(page.into_iter().map(into_triggering_event));
        if last {
            break;
        }
        skip += MOST_LISTED;
    }
    Ok(events)
}

fn into_triggering_event(row: EventRow) -> TriggeringEvent {
    TriggeringEvent {
        name: row.name.unwrap_or_else(|| row.uri.clone()),
        uri: row.uri,
        extra: row.extra.unwrap_or_else(|| Value::Object(serde_json::Map::new())),
        timestamp: row.at,
        partition_key: row.partition_key,
        rows: row.rows.and_then(|rows| u64::try_from(rows).ok()),
        source_dag_id: row.source_dag_id,
        source_run_id: row.source_run_id,
        source_task_id: row.source_task_id,
        source_map_index: u32::try_from(row.source_map_index).ok(),
    }
}
