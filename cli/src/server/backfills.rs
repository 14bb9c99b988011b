//! Backfills, at the database or over the API.

use super::Server;
use chrono::{DateTime, Utc};
use orch_binary::conf;
use orch_binary::failure::Failure;
use orch_binary::names;
use orch_store::audit::Deed;
use orch_store::backfill::{
    BackfillDate, BackfillFilter, BackfillRow, CancelBackfill, CreateBackfill, NewBackfill, cancel_backfill,
    create_backfill, get_backfill, list_backfills, list_dates, pause_backfill, plan_backfill,
};
use orch_store::hint::Hint;
use orch_store::version::Versions;
use serde_json::json;

/// Dates of a backfill that are read at once.
const MOST_DATES: i64 = 10_000;

/// What would be done for a date.
#[derive(Debug, Clone)]
pub(crate) struct PlannedDate {
    pub(crate) logical_date: DateTime<Utc>,
    pub(crate) interval: (DateTime<Utc>, DateTime<Utc>),
    pub(crate) action: String,
    /// Why nothing would be done.
    pub(crate) reason: Option<String>,
}

impl Server {
    /// What would be done for each date, and the tasks that would run; none: all.
    pub(crate) async fn plan_backfill(
        &mut self,
        new: &NewBackfill,
    ) -> Result<(Vec<PlannedDate>, Option<Vec<String>>), Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.plan_backfill(new),
        };
        let planned = plan_backfill(&mut session.db, &mut Versions::default(), new).await?;
        let planned = done(&new.dag_id, planned)?;
        let dates = planned.dates.into_iter().map(|(date, action)| {
            let (action, reason) = action.words();
            PlannedDate {
                logical_date: date.logical_date,
                interval: (date.interval.start, date.interval.end),
                action: action.into(),
                reason: reason.map(String::from),
            }
        });
        Ok((dates.collect(), planned.tasks))
    }

    pub(crate) async fn create_backfill(&mut self, new: &NewBackfill) -> Result<BackfillRow, Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.create_backfill(new),
        };
        let id = done(&new.dag_id, create_backfill(&mut session.db, &mut Versions::default(), new).await?)?;
        let deed = Deed {
            event: "create_backfill",
            dag_id: Some(&new.dag_id),
            extra: Some(json!({ "backfill": id, "reprocess": new.wish.reprocess })),
            ..Deed::default()
        };
        session.did(&deed, &[Hint::Due]).await?;
        get_backfill(&mut session.db, id).await?.ok_or_else(|| gone(id))
    }

    /// The newest first.
    pub(crate) async fn backfills(&mut self, filter: &BackfillFilter, most: u16) -> Result<Vec<BackfillRow>, Failure> {
        match self {
            Server::Database(session) => Ok(list_backfills(&mut session.db, filter, i64::from(most), 0).await?),
            Server::Api(api) => api.backfills(filter, most),
        }
    }

    pub(crate) async fn backfill(&mut self, id: i32) -> Result<BackfillRow, Failure> {
        let found = match self {
            Server::Database(session) => get_backfill(&mut session.db, id).await?,
            Server::Api(api) => api.backfill(id)?,
        };
        found.ok_or_else(|| {
            Failure::new(format!("there is no backfill {id}")).hint("list all with `orch backfill list`")
        })
    }

    /// In the order in which they are run.
    pub(crate) async fn backfill_dates(&mut self, id: i32) -> Result<Vec<BackfillDate>, Failure> {
        match self {
            Server::Database(session) => Ok(list_dates(&mut session.db, id, 0, MOST_DATES).await?),
            Server::Api(api) => api.backfill_dates(id, MOST_DATES as usize),
        }
    }

    pub(crate) async fn pause_backfill(&mut self, row: &BackfillRow, paused: bool) -> Result<(), Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.pause_backfill(row.id, paused),
        };
        if !pause_backfill(&mut session.db, row.id, paused).await? {
            return Err(over(row.id));
        }
        let event = if paused { "pause_backfill" } else { "unpause_backfill" };
        let extra = Some(json!({ "backfill": row.id }));
        session.did(&Deed { event, dag_id: Some(&row.dag_id), extra, ..Deed::default() }, &[Hint::Due]).await
    }

    pub(crate) async fn cancel_backfill(&mut self, row: &BackfillRow, stop_running: bool) -> Result<(), Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.cancel_backfill(row.id, stop_running),
        };
        match cancel_backfill(&mut session.db, &mut Versions::default(), row.id, stop_running).await? {
            CancelBackfill::Cancelled { dropped, ended } => {
                let extra = Some(json!({ "backfill": row.id, "dates": dropped, "runs": ended }));
                let deed = Deed { event: "cancel_backfill", dag_id: Some(&row.dag_id), extra, ..Deed::default() };
                session.did(&deed, &[Hint::Stop, Hint::Run]).await
            }
            CancelBackfill::Over => Err(over(row.id)),
            CancelBackfill::NoSuchBackfill => Err(gone(row.id)),
        }
    }

    /// Nobody schedules and nobody works.
    pub(crate) fn is_alone(&self) -> bool {
        matches!(self, Server::Database(session) if session.is_alone())
    }
}

pub(crate) fn gone(id: i32) -> Failure {
    Failure::new(format!("backfill {id} was deleted just now"))
}

pub(crate) fn over(id: i32) -> Failure {
    Failure::new(format!("backfill {id} is over already")).hint(format!("`orch backfill show {id}` shows how it ended"))
}

/// What came of a wish, or why nothing did.
fn done<T>(dag_id: &str, outcome: CreateBackfill<T>) -> Result<T, Failure> {
    match outcome {
        CreateBackfill::Done(done) => Ok(done),
        CreateBackfill::NoSuchDag => Err(names::no_such_dag(dag_id, None)),
        CreateBackfill::Cannot(why) => Err(Failure::told(&why)),
        CreateBackfill::BadConf(bad) => Err(conf::refused(&bad, dag_id)),
        CreateBackfill::BadRegex(why) => Err(Failure::new(format!("the regular expression cannot be read: {why}"))),
        CreateBackfill::NoTask => Err(Failure::new(format!("no task of dag `{dag_id}` matches"))
            .hint(format!("`orch tasks list {dag_id}` shows them"))),
        CreateBackfill::NoDate => Err(Failure::new(format!("dag `{dag_id}` has no run for these dates"))
            .hint(format!("`orch dags details {dag_id}` shows its schedule"))),
    }
}
