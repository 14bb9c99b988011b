//! The process's side: handles one request after the other until its stdin closes.

use super::frame::{FromProcess, Question, ToProcess};
use crate::memory::status_bytes;
#[cfg(target_os = "linux")]
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{RLIM_INFINITY, Resource, UsageWho, getrusage, setrlimit};
use nix::sys::signal::{Signal, raise};
use orch_sdk::task::{Connection, fatal};
use orch_store::cluster::ClusterQuestion;
use orch_store::lake_view::{FindConnection, LakeDoor, LakeError, LakeResult, LakeSource};
use orch_store::stream::StreamSource;
use serde::Serialize;
use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Maximum memory that one request may add to its process. Allocations beyond it fail.
pub(super) const MOST_BYTES: u64 = 256 << 20;
/// Idle time after which the process ends.
const IDLE: Duration = Duration::from_mins(1);
/// CPU time of a request that has no limit itself.
const LIST_TIME: Duration = Duration::from_mins(1);
/// Niceness of the process. Tasks, pages and the scheduler have priority; on a busy machine a query still gets a third
/// of a normal share.
const NICENESS: i32 = 5;

/// Runs a query process until its stdin closes or it was idle for a while.
pub(crate) fn answer_queries(lake: &LakeSource, streams: &StreamSource) -> ExitCode {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_dumpable(false).ok(); // its memory contains the connections of the lake
    yield_to_others();
    #[cfg(target_os = "linux")]
    leave_one_processor();
    abort_on_panic();
    let (sender, inbox) = mpsc::channel(1);
    drop(std::thread::Builder::new().name("orch-server-pipe".into()).spawn(move || listen(&sender)));
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(serve(lake, streams, inbox)),
        Err(_) => ExitCode::from(2),
    }
}

/// Reads frames of the server on a separate thread. Kills this process when the server has closed the pipe, even in the
/// middle of a query.
fn listen(sender: &mpsc::Sender<ToProcess>) {
    for line in std::io::stdin().lock().lines() {
        let Some(frame) = line.ok().and_then(|line| serde_json::from_str(&line).ok()) else { break };
        if sender.blocking_send(frame).is_err() {
            return; // this process is already ending
        }
    }
    raise(Signal::SIGKILL).ok();
}

type Inbox = mpsc::Receiver<ToProcess>;

async fn serve(lake: &LakeSource, streams: &StreamSource, inbox: Inbox) -> ExitCode {
    let inbox = Arc::new(Mutex::new(inbox));
    let door = lake.door(finding(inbox.clone()));
    loop {
        let next = timeout(IDLE, async { inbox.lock().await.recv().await }).await;
        let answered = match next {
            Ok(Some(ToProcess::Question(question))) => answer(&door, question).await,
            Ok(Some(ToProcess::Cluster(at, question))) => ask_cluster(streams, at, question).await,
            _ => return ExitCode::SUCCESS,
        };
        say(&answered.unwrap_or_else(FromProcess::Failed));
    }
}

/// Returns the function that requests connections from the server. No other frame can arrive while a request is
/// handled.
fn finding(inbox: Arc<Mutex<Inbox>>) -> Arc<FindConnection> {
    Arc::new(move |id| {
        let inbox = inbox.clone();
        say(&FromProcess::Connection(id.into()));
        Box::pin(async move {
            match inbox.lock().await.recv().await {
                Some(ToProcess::Connection(found)) => found.map_err(fatal),
                _ => Err(fatal("the server sent no connection")),
            }
        })
    })
}

/// Sends a request to a cluster. Memory is not limited: the request limits what it reads, and the client's threads, one
/// for each broker, would count as memory of the request.
async fn ask_cluster(streams: &StreamSource, at: Connection, question: ClusterQuestion) -> LakeResult<FromProcess> {
    limit_processor(LIST_TIME);
    let Some(ask) = streams.clusters() else {
        let text = "the bundle beside this server has no streams, and no client of clusters comes with it";
        return Err(LakeError::NotFound(text.into()));
    };
    ask(at, question).await.map(FromProcess::Answer)
}

async fn answer(door: &LakeDoor, question: Question) -> LakeResult<FromProcess> {
    let lake = door.open().await?;
    // Set after the lake is open, so that the stacks of its threads do not count as memory of the query.
    limit_memory();
    limit_processor(match &question {
        Question::Query(query) => query.limits.time,
        _ => LIST_TIME,
    });
    match question {
        Question::Place => answered(&lake.place().await?),
        Question::Tables => answered(&lake.tables().await?),
        Question::Table(id) => answered(&lake.table(id).await?),
        Question::Snapshots(id, page) => answered(&lake.snapshots(id, page).await?),
        Question::Files(id, snapshot, page) => answered(&lake.files(id, snapshot, page).await?),
        Question::Partitions(id, page) => answered(&lake.partitions(id, page).await?),
        Question::Sources(queries) => answered(&lake.sources(queries).await?),
        Question::Query(query) => {
            // The token is never cancelled: a query is cancelled by killing the process.
            let mut rows = lake.query(query, CancellationToken::new()).await?;
            say(&FromProcess::Columns(rows.columns().to_vec()));
            while let Some(chunk) = rows.next().await? {
                say(&FromProcess::Rows(chunk));
            }
            Ok(FromProcess::End { is_cut: rows.is_cut(), seen: rows.seen() })
        }
    }
}

fn answered(what: &impl Serialize) -> LakeResult<FromProcess> {
    let value = serde_json::to_value(what).map_err(|error| LakeError::Broken(error.to_string()))?;
    Ok(FromProcess::Answer(value))
}

/// Writes a frame. Blocks while the reader is slow; when the reader has ended, it closes the stdin of this process,
/// which ends it.
fn say(frame: &FromProcess) {
    let Ok(mut line) = serde_json::to_vec(frame) else { return };
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    drop(out.write_all(&line).and_then(|()| out.flush()));
}

fn limit_memory() {
    if let Some(now) = status_bytes("self", "VmData:") {
        setrlimit(Resource::RLIMIT_DATA, now + MOST_BYTES, RLIM_INFINITY).ok(); // best effort: the server has a timeout
    }
}

fn limit_processor(time: Duration) {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return };
    let used = usage.user_time().tv_sec() + usage.system_time().tv_sec();
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let most = used.unsigned_abs().saturating_add(time.as_secs().saturating_add(5).saturating_mul(cores));
    setrlimit(Resource::RLIMIT_CPU, most, RLIM_INFINITY).ok(); // best effort: the server has a timeout
}

/// Aborts on a panic of a library, so that the server finds its message at the end of stderr.
fn abort_on_panic() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        std::process::abort();
    }));
}

#[expect(unsafe_code, reason = "a call of the system without a safe form")]
fn yield_to_others() {
    // SAFETY: `nice` takes a number and changes only the CPU scheduling of this process.
    unsafe { nix::libc::nice(NICENESS) };
}

/// Leaves one CPU free for other processes. While every CPU is busy, a thread that wakes up waits for the next timer
/// tick, independent of the niceness of the other threads: a commit takes 4 ms instead of 0.14 ms, and each step of a
/// run waits for a commit.
#[cfg(target_os = "linux")]
fn leave_one_processor() {
    let this = nix::unistd::Pid::from_raw(0);
    if let Ok(allowed) = sched_getaffinity(this)
        && let Some(rest) = all_but_the_first(&allowed)
    {
        sched_setaffinity(this, &rest).ok(); // best effort: it only makes other processes faster
    }
}

/// Returns all allowed CPUs except the first one. `None` if there is only one.
#[cfg(target_os = "linux")]
fn all_but_the_first(allowed: &CpuSet) -> Option<CpuSet> {
    let mut rest = CpuSet::new();
    let others = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu) == Ok(true)).skip(1);
    let many = others.filter(|cpu| rest.set(*cpu).is_ok()).count();
    (many > 0).then_some(rest)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn set(cpus: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        cpus.iter().for_each(|cpu| set.set(*cpu).expect("a processor's number"));
        set
    }

    #[test]
    fn one_processor_is_left_where_there_are_several() {
        assert!(all_but_the_first(&set(&[3])).is_none());
        assert!(all_but_the_first(&set(&[])).is_none());
        assert_eq!(all_but_the_first(&set(&[0, 1])), Some(set(&[1])));
        assert_eq!(all_but_the_first(&set(&[2, 5, 63])), Some(set(&[5, 63])));
    }
}
