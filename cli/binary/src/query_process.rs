//! Runs queries of the lake in separate processes, so that a query cannot affect the server. Requests to clusters such
//! as Kafka use such processes too, because the client libraries are linked only into the bundle. A process for
//! clusters does not run queries.
//!
//! The server starts this binary, or the bundle beside it, as `answer-queries`. Such a process handles one request at a
//! time, within limits of memory and CPU time that the operating system enforces. A query that is cancelled or takes
//! too long is killed with its process, and the next request gets a new one. A process has no secrets except the
//! connections of the lake, which it requests from the server.

mod frame;
mod inside;
mod process;

pub(crate) use inside::answer_queries;
pub(crate) use process::ANSWER_QUERIES;

use crate::beside::Beside;
use crate::config::Config;
use frame::{FromProcess, Question, ToProcess};
use orch_sdk::task::BoxFuture;
use orch_store::cluster::ClusterDoor;
use orch_store::lake_view::{
    Chunk, DataFile, FindConnection, LakeDoor, LakeError, LakePage, LakeResult, LakeTable, LakeView, PartitionRow,
    Query, QueryRows, ResultColumn, ScanProgress, SnapshotRow, Sources, TableId, TableRow,
};
use process::{Process, Program, UnexpectedExit};
use serde::de::DeserializeOwned;
use std::future::{Future, ready};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// Number of concurrent requests that are not queries, such as lists of tables and files. They have their own limit so
/// that pages do not wait for queries.
const LISTS: usize = 2;
/// Maximum time that a request waits for a free slot before it is rejected with the advice to retry.
const PATIENCE: Duration = Duration::from_secs(2);
const LIST_TIME: Duration = Duration::from_secs(30);
/// A query ends itself at its time limit and reports that. After this extra time its process is killed.
const GRACE: Duration = Duration::from_millis(500);

/// Returns access to the lake of this binary or of its bundle. `find` looks up connections.
pub(crate) fn door(config: &Config, find: Arc<FindConnection>) -> LakeDoor {
    let Some(pool) = Pool::of(config, find) else { return LakeDoor::none() };
    let lake: Arc<dyn LakeView> = Arc::new(QueryProcesses(pool));
    LakeDoor::new(Arc::new(move || Box::pin(ready(Ok(lake.clone())))))
}

/// Returns access to clusters. Their processes are separate, because processes for queries must not get passwords of
/// clusters.
pub(crate) fn cluster_door(config: &Config, find: Arc<FindConnection>) -> ClusterDoor {
    let Some(pool) = Pool::of(config, find.clone()) else { return ClusterDoor::default() };
    ClusterDoor::new(find, Arc::new(move |at, question| Box::pin(pool.clone().list(ToProcess::Cluster(at, question)))))
}

struct QueryProcesses(Arc<Pool>);

struct Pool {
    program: Program,
    find: Arc<FindConnection>,
    /// Idle processes, which exit by themselves after a while.
    idle: Mutex<Vec<Process>>,
    queries: Arc<Semaphore>,
    lists: Arc<Semaphore>,
}

impl Pool {
    /// Creates the pool. `None` if neither this binary nor a bundle beside it has a lake.
    fn of(config: &Config, find: Arc<FindConnection>) -> Option<Arc<Pool>> {
        let program = match Beside::of(config) {
            _ if config.lake.is_there() => Program::Own,
            Some(beside) if beside.is_named || beside.path.exists() => Program::Bundle(beside.path),
            _ => return None,
        };
        Some(Arc::new(Pool {
            program,
            find,
            idle: Mutex::default(),
            queries: Arc::new(Semaphore::new(config.query_slots)),
            lists: Arc::new(Semaphore::new(LISTS)),
        }))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Process>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Process> {
        let mut idle = self.idle();
        while let Some(mut process) = idle.pop() {
            if process.is_alive() {
                return Some(process);
            }
        }
        None
    }

    /// Keeps a process for the next request, unless it uses much memory, still computes a query that reached a limit,
    /// or has sent only part of a frame.
    fn give_back_after(&self, process: Process, last: &FromProcess) {
        if !matches!(last, FromProcess::Failed(LakeError::TooDear(_))) && !process.is_large() {
            self.idle().push(process);
        }
    }

    /// Sends a request to an idle process, or to a new one, and returns the process and the first frame of its
    /// response.
    async fn ask(&self, question: &ToProcess) -> LakeResult<(Process, FromProcess)> {
        if let Some(mut process) = self.take() {
            match process.ask(question, &*self.find).await {
                Ok(first) => return Ok((process, first)),
                Err(gone) if gone.was_over() => {}
                Err(gone) => return Err(gone.error()),
            }
        }
        let mut process = Process::start(&self.program).map_err(|error| cannot_start(&self.program, &error))?;
        let first = process.ask(question, &*self.find).await.map_err(|gone| gone.error())?;
        Ok((process, first))
    }

    /// Sends a request that is not a query, and returns its response.
    async fn list<T: DeserializeOwned>(self: Arc<Self>, question: impl Into<ToProcess>) -> LakeResult<T> {
        let question = question.into();
        let _turn = turn(&self.lists).await?;
        let asked = timeout(LIST_TIME, self.ask(&question)).await;
        let (process, answer) = asked.unwrap_or_else(|_| Err(LakeError::too_long(LIST_TIME)))?;
        self.give_back_after(process, &answer);
        match answer {
            FromProcess::Answer(value) => {
                serde_json::from_value(value).map_err(|error| LakeError::Broken(error.to_string()))
            }
            FromProcess::Failed(error) => Err(error),
            _ => Err(unexpected()),
        }
    }

    async fn query(self: Arc<Self>, query: Query, stop: CancellationToken) -> LakeResult<Box<dyn QueryRows>> {
        let turn = turn(&self.queries).await?;
        let time = query.limits.time;
        let until = Instant::now() + time + GRACE;
        let question = Question::Query(query).into();
        let (process, first) = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(LakeError::Cancelled),
            () = sleep_until(until) => return Err(LakeError::too_long(time)),
            asked = self.ask(&question) => asked?,
        };
        match first {
            FromProcess::Columns(columns) => {
                let (process, pool, seen) = (Some(process), self, ScanProgress::default());
                Ok(Box::new(Rows { columns, is_cut: false, seen, process, pool, stop, time, until, _turn: turn }))
            }
            FromProcess::Failed(error) => {
                self.give_back_after(process, &FromProcess::Failed(error.clone()));
                Err(error)
            }
            _ => Err(unexpected()),
        }
    }
}

async fn turn(of: &Arc<Semaphore>) -> LakeResult<OwnedSemaphorePermit> {
    match timeout(PATIENCE, of.clone().acquire_owned()).await {
        Ok(Ok(turn)) => Ok(turn),
        _ => Err(LakeError::Busy(
            "the limit of queries at a time is reached\nhint: run it again in a moment, or cancel one".into(),
        )),
    }
}

fn unexpected() -> LakeError {
    LakeError::Broken("a query process answered something else".into())
}

fn cannot_start(program: &Program, error: &io::Error) -> LakeError {
    LakeError::Broken(match program {
        Program::Bundle(path) if error.kind() == io::ErrorKind::NotFound => format!(
            "tables and SQL are in the bundle `{}`, which is not there\nhint: build it with `make build`; nothing needs to be \
             started again",
            path.display()
        ),
        _ => format!("a query process cannot be started: {error}\nhint: try again in a moment"),
    })
}

/// The rows of a running query. Dropping them before the end kills the query.
struct Rows {
    columns: Vec<ResultColumn>,
    is_cut: bool,
    seen: ScanProgress,
    /// `None` when the query has ended.
    process: Option<Process>,
    pool: Arc<Pool>,
    stop: CancellationToken,
    time: Duration,
    until: Instant,
    /// Released after the process, because fields are dropped in order.
    _turn: OwnedSemaphorePermit,
}

impl Rows {
    async fn frame(&mut self) -> LakeResult<Option<FromProcess>> {
        let Some(process) = &mut self.process else { return Ok(None) };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(LakeError::Cancelled),
            () = sleep_until(self.until) => Err(LakeError::too_long(self.time)),
            frame = process.next(&*self.pool.find) => frame.map(Some).map_err(|gone: UnexpectedExit| gone.error()),
        }
    }

    async fn chunk(&mut self) -> LakeResult<Option<Chunk>> {
        let frame = self.frame().await;
        if let Ok(Some(FromProcess::Rows(chunk))) = frame {
            return Ok(Some(chunk));
        }
        // Any other frame, or an error, ends the query.
        let process = self.process.take();
        let Some(last) = frame? else { return Ok(None) };
        if let Some(process) = process {
            self.pool.give_back_after(process, &last);
        }
        match last {
            FromProcess::End { is_cut, seen } => {
                (self.is_cut, self.seen) = (is_cut, seen);
                Ok(None)
            }
            FromProcess::Failed(error) => Err(error),
            _ => Err(unexpected()),
        }
    }
}

impl QueryRows for Rows {
    fn columns(&self) -> &[ResultColumn] {
        &self.columns
    }

    fn next(&mut self) -> Pin<Box<dyn Future<Output = LakeResult<Option<Chunk>>> + Send + '_>> {
        Box::pin(self.chunk())
    }

    fn is_cut(&self) -> bool {
        self.is_cut
    }

    fn seen(&self) -> ScanProgress {
        self.seen
    }
}

impl LakeView for QueryProcesses {
    fn place(&self) -> BoxFuture<LakeResult<String>> {
        Box::pin(self.0.clone().list(Question::Place))
    }

    fn tables(&self) -> BoxFuture<LakeResult<Vec<TableRow>>> {
        Box::pin(self.0.clone().list(Question::Tables))
    }

    fn table(&self, id: TableId) -> BoxFuture<LakeResult<LakeTable>> {
        Box::pin(self.0.clone().list(Question::Table(id)))
    }

    fn snapshots(&self, id: TableId, page: LakePage) -> BoxFuture<LakeResult<Vec<SnapshotRow>>> {
        Box::pin(self.0.clone().list(Question::Snapshots(id, page)))
    }

    fn files(&self, id: TableId, snapshot: Option<i64>, page: LakePage) -> BoxFuture<LakeResult<Vec<DataFile>>> {
        Box::pin(self.0.clone().list(Question::Files(id, snapshot, page)))
    }

    fn partitions(&self, id: TableId, page: LakePage) -> BoxFuture<LakeResult<Vec<PartitionRow>>> {
        Box::pin(self.0.clone().list(Question::Partitions(id, page)))
    }

    fn sources(&self, queries: Vec<Query>) -> BoxFuture<LakeResult<Vec<LakeResult<Sources>>>> {
        Box::pin(self.0.clone().list(Question::Sources(queries)))
    }

    fn query(&self, query: Query, stop: CancellationToken) -> BoxFuture<LakeResult<Box<dyn QueryRows>>> {
        Box::pin(self.0.clone().query(query, stop))
    }
}
