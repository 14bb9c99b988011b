//! Running SQL queries of users over the lake. Each runs in a task, whose rows the request reads. It ends when the
//! request is dropped, or when a user cancels it on any server. Only this module records how it ended.
//!
//! Queries that pages send to render themselves are not recorded: they are neither in the history nor in the audit log.

use crate::extract::Actor;
use crate::refusal::{CONNECTION_FAILED, Refusal};
use crate::state::App;
use axum::http::StatusCode;
use orch_deeds::query;
use orch_store::lake_view::{
    Chunk, LakeError, LakeResult, LakeView, MOST_SQL_BYTES, Query, QueryAnswer, QueryLimits, QueryRows, ResultColumn,
    ScanProgress, collect_answer,
};
use orch_store::query_history::{QueryEnd, end_query, is_query_cancelled};
use sqlx::PgConnection;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

/// Maximum limits that users may request. The defaults are in `QueryLimits`.
pub(crate) const MOST_ROWS: usize = 10_000;
pub(crate) const MOST_TIME: Duration = Duration::from_mins(5);
/// Maximum number of rows in a file, which is streamed and never completely in memory.
pub(crate) const MOST_FILE_ROWS: usize = 5_000_000;
/// Maximum number of buffered chunks.
const AHEAD: usize = 2;
/// Interval at which a running query checks whether it was cancelled.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Grace period after the timeout of a query. Then it is recorded as ended in any case.
const GRACE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(crate) struct Queries(Mutex<JoinSet<()>>);

impl Queries {
    fn spawn(&self, job: impl Future<Output = ()> + Send + 'static) {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while jobs.try_join_next().is_some() {}
        jobs.spawn(job);
    }

    /// Waits until all queries have recorded how they ended. They must already have been cancelled.
    pub(crate) async fn end(&self) {
        let mut jobs = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        while jobs.join_next().await.is_some() {}
    }
}

#[derive(Debug, Clone)]
pub(crate) struct QueryRequest {
    /// Chosen by the client, so that the query can be cancelled before it returns.
    pub(crate) id: Uuid,
    pub(crate) sql: String,
    pub(crate) limits: QueryLimits,
}

/// The rows of a running query. Dropping this before the last row cancels the query.
pub(crate) struct RunningQuery {
    columns: Vec<ResultColumn>,
    parts: mpsc::Receiver<LakeResult<ResultPart>>,
    is_cut: bool,
    seen: ScanProgress,
    _stop: DropGuard,
}

enum ResultPart {
    Rows(Chunk),
    End { is_cut: bool, seen: ScanProgress },
}

/// Starts a query. It is recorded in the user's history and in the audit log before it runs.
pub(crate) async fn begin(app: &App, actor: &Actor, asked: QueryRequest) -> Result<RunningQuery, Refusal> {
    let sql = asked.sql.trim();
    if sql.is_empty() || sql.len() > MOST_SQL_BYTES || sql.contains('\0') {
        let text = if sql.is_empty() { "there is no SQL to run".into() } else { too_long() };
        return Err(Refusal::bad_request(text));
    }
    let lake = app.config.lake.open().await?;
    let stop = app.stopping.child_token();
    let (head, columns) = oneshot::channel();
    let (sender, parts) = mpsc::channel(AHEAD);
    let query = Query::new(sql, asked.limits);
    let (noted, is_noted) = oneshot::channel();
    let (job_app, actor, job_stop) = (app.clone(), actor.clone(), stop.clone());
    let is_admin = actor.is_admin;
    // If the client disconnects, this function is dropped but the job continues, so a query that was recorded as
    // running is also recorded as ended.
    app.queries.spawn(async move {
        let result = note(&job_app, &actor, &asked).await;
        let is_running = result.is_ok();
        drop(noted.send(result));
        if is_running {
            carry(job_app, (asked.id, is_admin), (lake, query), job_stop, (head, sender)).await;
        }
    });
    let stop = stop.drop_guard();
    let broken = |_| Refusal::Broken("a query broke off".into());
    is_noted.await.map_err(broken)??;
    let columns = columns.await.map_err(broken)??;
    Ok(RunningQuery { columns, parts, is_cut: false, seen: ScanProgress::default(), _stop: stop })
}

/// Returns the rows of a query that a page sends to render itself. The query is cancelled when the future is dropped.
/// It is not recorded, because its user did not write it.
pub(crate) async fn ask_for_page(
    app: &App,
    lake: &dyn LakeView,
    sql: &str,
    limits: QueryLimits,
) -> LakeResult<QueryAnswer> {
    let (began, stop) = (Instant::now(), app.stopping.child_token());
    let _ends = stop.clone().drop_guard();
    let rows = lake.query(Query::new(sql, limits), stop).await?;
    collect_answer(rows, began).await
}

fn too_long() -> String {
    format!("SQL has at most {} kB, and no NUL character", MOST_SQL_BYTES / 1024)
}

async fn note(app: &App, actor: &Actor, asked: &QueryRequest) -> Result<(), Refusal> {
    let most = asked.limits.time + GRACE;
    let begun = async |tx: &mut PgConnection| Ok(query::begin(tx, actor, asked.id, &asked.sql, most).await?);
    let taken = || Refusal::plain(StatusCode::CONFLICT, "there is a query of that id: give another one, or none");
    app.in_transaction(begun).await?.then_some(()).ok_or_else(taken)
}

type Head = oneshot::Sender<LakeResult<Vec<ResultColumn>>>;

async fn carry(
    app: App,
    (id, is_admin): (Uuid, bool),
    (lake, query): (Arc<dyn LakeView>, Query),
    stop: CancellationToken,
    (head, parts): (Head, mpsc::Sender<LakeResult<ResultPart>>),
) {
    let mut head = Some(head);
    let ended = tokio::select! {
        ended = read(lake, query, &stop, &mut head, &parts) => ended,
        () = cancelled(&app, id) => Err(LakeError::Cancelled),
        () = stop.cancelled() => Err(LakeError::Cancelled),
    };
    let ended = ended.map_err(|error| for_user(error, is_admin));
    // Also cancels the futures that were dropped above.
    stop.cancel();
    let end = match &ended {
        Ok((_, rows)) => QueryEnd::Success { rows: *rows },
        Err(LakeError::Cancelled) => QueryEnd::Cancelled,
        Err(error) => QueryEnd::Failed { problem: error.to_string() },
    };
    let written = async { end_query(&mut *app.pages().await?, id, &end).await };
    if let Err(error) = written.await {
        tracing::warn!(%error, query.id = %id, "how a query ended could not be written down");
    }
    // If the client has disconnected, sending fails, which does not matter.
    match (head, ended.map(|(part, _)| part)) {
        (Some(head), Err(error)) => drop(head.send(Err(error))),
        (_, last) => drop(parts.send(last).await),
    }
}

/// Reads all rows and sends them on. Returns the last part and the number of rows.
async fn read(
    lake: Arc<dyn LakeView>,
    query: Query,
    stop: &CancellationToken,
    head: &mut Option<Head>,
    parts: &mpsc::Sender<LakeResult<ResultPart>>,
) -> LakeResult<(ResultPart, u64)> {
    let mut rows = lake.query(query, stop.clone()).await?;
    let told = head.take().is_some_and(|head| head.send(Ok(rows.columns().to_vec())).is_ok());
    let mut count = 0;
    while let Some(chunk) = rows.next().await? {
        count += chunk.len() as u64;
        if !told || parts.send(Ok(ResultPart::Rows(chunk))).await.is_err() {
            return Err(LakeError::Cancelled);
        }
    }
    Ok((ResultPart::End { is_cut: rows.is_cut(), seen: rows.seen() }, count))
}

/// Returns when a user has cancelled the query. Retries if the database is unavailable.
async fn cancelled(app: &App, id: Uuid) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let looked = async { is_query_cancelled(&mut *app.hot().await?, id).await };
        match looked.await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "whether a query is cancelled could not be read"),
        }
    }
}

impl QueryRows for RunningQuery {
    fn columns(&self) -> &[ResultColumn] {
        &self.columns
    }

    fn next(&mut self) -> Pin<Box<dyn Future<Output = LakeResult<Option<Chunk>>> + Send + '_>> {
        Box::pin(async {
            match self.parts.recv().await {
                Some(Ok(ResultPart::Rows(chunk))) => Ok(Some(chunk)),
                Some(Ok(ResultPart::End { is_cut, seen })) => {
                    (self.is_cut, self.seen) = (is_cut, seen);
                    Ok(None)
                }
                Some(Err(error)) => Err(error),
                None => Err(LakeError::Broken("the query broke off".into())),
            }
        })
    }

    fn is_cut(&self) -> bool {
        self.is_cut
    }

    fn seen(&self) -> ScanProgress {
        self.seen
    }
}

/// Returns the error for a user. Only admins see the reason of a failed connection; it is also logged.
pub(crate) fn for_user(error: LakeError, is_admin: bool) -> LakeError {
    match error {
        LakeError::Unavailable(reason) => {
            tracing::warn!(error = %reason.escape_debug(), "a connection failed");
            LakeError::Unavailable(if is_admin { reason } else { CONNECTION_FAILED.into() })
        }
        other => other,
    }
}

impl From<LakeError> for Refusal {
    fn from(error: LakeError) -> Refusal {
        let text = error.to_string();
        let status = match error {
            LakeError::NotFound(_) => StatusCode::NOT_FOUND,
            LakeError::Refused(_) => StatusCode::BAD_REQUEST,
            LakeError::Cancelled => StatusCode::CONFLICT,
            LakeError::TooDear(_) => StatusCode::PAYLOAD_TOO_LARGE,
            LakeError::Busy(_) => return Refusal::Later { status: StatusCode::TOO_MANY_REQUESTS, text },
            LakeError::Broken(_) => return Refusal::Later { status: StatusCode::SERVICE_UNAVAILABLE, text },
            LakeError::Unavailable(_) => return Refusal::ConnectionFailed(text),
        };
        Refusal::plain(status, text)
    }
}
