//! The lake in processes of its own: what a query does to its process it does to nothing else. Clusters are asked by such processes too,
//! because their clients come with the bundle; those answer no queries.
//!
//! This binary, or the bundle beside it, is started as `answer-queries`. Such a process answers one question at a time, within limits of memory and
//! processor time that the system enforces. A query that is cancelled, or takes too long, is ended with its process; the
//! next question gets another one. A process has no secrets but the connections of the lake, which it asks the server for.

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

/// Lists of tables, files and so on at a time: pages wait for no query.
const LISTS: usize = 2;
/// A question waits so long for its turn before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(2);
/// For questions that are no queries.
const LIST_TIME: Duration = Duration::from_secs(30);
/// A query ends itself at its time, and says so. One that does not is ended with its process so much later.
const GRACE: Duration = Duration::from_millis(500);

/// The way to the lake of this binary or of its bundle, by connections that are found so.
pub(crate) fn door(config: &Config, find: Arc<FindConnection>) -> LakeDoor {
    let Some(pool) = Pool::of(config, find) else { return LakeDoor::none() };
    let lake: Arc<dyn LakeView> = Arc::new(QueryProcesses(pool));
    LakeDoor::new(Arc::new(move || Box::pin(ready(Ok(lake.clone())))))
}

/// The way to clusters, by processes of their own: those that answer queries have no passwords of clusters.
pub(crate) fn cluster_door(config: &Config, find: Arc<FindConnection>) -> ClusterDoor {
    let Some(pool) = Pool::of(config, find.clone()) else { return ClusterDoor::default() };
    ClusterDoor::new(find, Arc::new(move |at, question| Box::pin(pool.clone().list(ToProcess::Cluster(at, question)))))
}

struct QueryProcesses(Arc<Pool>);

struct Pool {
    program: Program,
    find: Arc<FindConnection>,
    /// Those that wait for a question. They end by themselves after a while.
    idle: Mutex<Vec<Process>>,
    queries: Arc<Semaphore>,
    lists: Arc<Semaphore>,
}

impl Pool {
    /// `None`: neither this binary nor one beside it has a lake.
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

    /// Keeps a process for the next question, unless it holds much, still computes a query that reached a limit, or said
    /// only part of a frame.
    fn give_back_after(&self, process: Process, last: &FromProcess) {
        if !matches!(last, FromProcess::Failed(LakeError::TooDear(_))) && !process.is_large() {
            self.idle().push(process);
        }
    }

    /// Asks a process, an idle one if there is one.
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

    /// A question that is no query.
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

/// The rows of a query that runs. Dropped before they have ended, they end it.
struct Rows {
    columns: Vec<ResultColumn>,
    is_cut: bool,
    seen: ScanProgress,
    /// None when the query has ended.
    process: Option<Process>,
    pool: Arc<Pool>,
    stop: CancellationToken,
    time: Duration,
    until: Instant,
    /// Given up after the process has ended.
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
        // Whatever else it is ends the query.
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
