//! Executes a query, from its SQL text to its rows, and enforces its limits.

use crate::cells::{columns, rows};
use crate::error::of_query;
use crate::parse::{Parsed, parse};
use crate::scan::Looked;
use crate::session::{check_namespace, session};
use crate::sizes::row_bytes as row_bytes_of;
use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::parser::Statement;
use futures::StreamExt as _;
use orch_lake::Lake;
use orch_store::lake_view::{Chunk, LakeError, LakeResult, Query, QueryRows, ResultColumn, ScanProgress, cell_bytes};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Maximum number of result chunks that are buffered for the reader.
const AHEAD: usize = 2;

/// Target size in bytes of the part of a batch that is converted to JSON cells at a time.
const SLICE_BYTES: u64 = 1 << 20;

/// Messages from the task that executes a query to the reader of its result.
enum QueryOutput {
    Columns(Vec<ResultColumn>),
    Rows(Chunk),
    End { is_cut: bool },
}

pub(crate) struct Means {
    pub(crate) lake: Lake,
    pub(crate) memory: Arc<RuntimeEnv>,
    pub(crate) threads: usize,
    pub(crate) looked: Arc<Looked>,
}

/// Executes a query and sends its result. Ends if this future or the receiver is dropped, if `stop` is cancelled, or
/// at the deadline, even while the reader does not receive.
async fn carry(
    means: Means,
    query: Query,
    (until, stop): (Instant, CancellationToken),
    parts: mpsc::Sender<LakeResult<QueryOutput>>,
) {
    let told = async {
        if let Err(error) = work(&means, &query, &parts).await {
            // Sending fails if the reader was dropped. It then needs no error.
            drop(parts.send(Err(error)).await);
        }
    };
    // No error is sent on cancellation or at the deadline, because the reader detects both itself.
    tokio::select! {
        () = told => {}
        () = stop.cancelled() => {}
        () = sleep_until(until) => {}
    }
}

async fn work(means: &Means, query: &Query, parts: &mpsc::Sender<LakeResult<QueryOutput>>) -> LakeResult<()> {
    let mut stream = planned(means, query).await?;
    let gone = |_| LakeError::Cancelled;
    parts.send(Ok(QueryOutput::Columns(columns(&stream.schema())))).await.map_err(gone)?;
    let (mut left, mut bytes) = (query.limits.rows, query.limits.bytes);
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| of_query(&error))?;
        for slice in slices(&batch) {
            let Slice { rows: batch, bytes: size } = slice;
            // A single row that exceeds the size limit is not converted.
            let is_huge = batch.num_rows() == 1 && size / 2 > bytes;
            let mut chunk = if is_huge { Chunk::new() } else { rows(&batch).map_err(unreadable)? };
            let kept = fitting(&chunk, left, bytes);
            let is_cut = kept < batch.num_rows();
            chunk.truncate(kept);
            left -= kept;
            bytes = bytes.saturating_sub(size_of(&chunk));
            if !chunk.is_empty() {
                parts.send(Ok(QueryOutput::Rows(chunk))).await.map_err(gone)?;
            }
            if is_cut {
                return parts.send(Ok(QueryOutput::End { is_cut })).await.map_err(gone);
            }
        }
    }
    parts.send(Ok(QueryOutput::End { is_cut: false })).await.map_err(gone)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` is given")]
fn unreadable(error: ArrowError) -> LakeError {
    LakeError::Unavailable(error.to_string())
}

/// A range of rows of a batch, and its approximate size in bytes.
struct Slice {
    rows: RecordBatch,
    bytes: usize,
}

/// Splits a batch into slices of about `SLICE_BYTES`, because JSON cells need several times the memory of Arrow
/// columns.
fn slices(batch: &RecordBatch) -> Vec<Slice> {
    let mut sizes = vec![0_u64; batch.num_rows()];
    for column in batch.columns() {
        sizes.iter_mut().zip(row_bytes_of(column.as_ref())).for_each(|(row, bytes)| *row += bytes);
    }
    let (mut slices, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (row, size) in sizes.iter().enumerate() {
        bytes += size;
        let is_last = row + 1 == sizes.len();
        if is_last || bytes + sizes[row + 1] > SLICE_BYTES {
            let bytes_of = usize::try_from(bytes).unwrap_or(usize::MAX);
            slices.push(Slice { rows: batch.slice(from, row + 1 - from), bytes: bytes_of });
            (from, bytes) = (row + 1, 0);
        }
    }
    slices
}

fn size_of(chunk: &Chunk) -> usize {
    chunk.iter().map(|row| row_bytes(row)).sum()
}

fn row_bytes(row: &[serde_json::Value]) -> usize {
    row.iter().map(|cell| cell_bytes(cell) + 1).sum()
}

/// Returns the number of rows of a chunk that fit into the remaining row and byte limits.
fn fitting(chunk: &Chunk, rows: usize, mut bytes: usize) -> usize {
    let fit = chunk.iter().take(rows).take_while(|row| {
        let size = row_bytes(row);
        let fits = size <= bytes;
        bytes = bytes.saturating_sub(size);
        fits
    });
    fit.count()
}

async fn planned(means: &Means, query: &Query) -> LakeResult<SendableRecordBatchStream> {
    let Parsed { statement, namespace } = parse(&query.sql, &query.values)?;
    let statement = Statement::Statement(Box::new(statement));
    let state = session(&means.lake, means.memory.clone(), means.threads, &means.looked).await?;
    namespace.map_or(Ok(()), |namespace| check_namespace(&state, &namespace))?;
    let wrong = |error| of_query(&error);
    let plan = state.statement_to_plan(statement).await.map_err(wrong)?;
    // The plan is checked for writes too, in addition to the check of the parsed statement.
    let reads = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    reads.verify_plan(&plan).map_err(wrong)?;
    let plan = state.optimize(&plan).map_err(wrong)?;
    let plan = state.query_planner().create_physical_plan(&plan, &state).await.map_err(wrong)?;
    let plan = plan.transform_up(|node| Ok(pausing(node))).map_err(wrong)?;
    execute_stream(plan.data, state.task_ctx()).map_err(wrong)
}

/// Adds yield points to joins. A join can produce millions of rows from a single batch, and could otherwise not be
/// cancelled in between.
fn pausing(node: Arc<dyn ExecutionPlan>) -> Transformed<Arc<dyn ExecutionPlan>> {
    if node.name().ends_with("JoinExec") {
        Transformed::yes(Arc::new(CooperativeExec::new(node)))
    } else {
        Transformed::no(node)
    }
}

/// Reader of a query's result. It enforces cancellation and the deadline even while the computation does not yield.
pub(crate) struct Rows {
    columns: Vec<ResultColumn>,
    parts: mpsc::Receiver<LakeResult<QueryOutput>>,
    is_cut: bool,
    looked: Arc<Looked>,
    until: Instant,
    time: Duration,
    stop: CancellationToken,
    /// Executes the query. Dropping it aborts the query.
    work: JoinSet<()>,
}

impl Rows {
    /// Starts a query on the runtime `there` and waits until the result columns are known.
    pub(crate) async fn begin(means: Means, query: Query, stop: CancellationToken, there: &Handle) -> LakeResult<Rows> {
        let (sender, parts) = mpsc::channel(AHEAD);
        let (looked, time) = (means.looked.clone(), query.limits.time);
        let until = Instant::now() + time;
        let mut work = JoinSet::new();
        work.spawn_on(carry(means, query, (until, stop.clone()), sender), there);
        let mut rows = Rows { columns: vec![], parts, is_cut: false, looked, until, time, stop, work };
        match rows.part().await? {
            QueryOutput::Columns(columns) => rows.columns = columns,
            QueryOutput::Rows(_) | QueryOutput::End { .. } => return Err(LakeError::Cancelled),
        }
        Ok(rows)
    }

    async fn part(&mut self) -> LakeResult<QueryOutput> {
        let ended = tokio::select! {
            biased;
            () = self.stop.cancelled() => LakeError::Cancelled,
            () = sleep_until(self.until) => LakeError::too_long(self.time),
            part = self.parts.recv() => match part {
                Some(part) => return part,
                // The executing task has the same deadline and may close the channel first, so the reason is
                // determined here.
                None if self.stop.is_cancelled() => LakeError::Cancelled,
                None if Instant::now() >= self.until => LakeError::too_long(self.time),
                None => broken_off(),
            },
        };
        self.work.abort_all();
        Err(ended)
    }
}

/// Returns the error for a query that panicked or whose threads have ended.
fn broken_off() -> LakeError {
    LakeError::Unavailable("the query broke off\nhint: the log of the server says why".into())
}

impl QueryRows for Rows {
    fn columns(&self) -> &[ResultColumn] {
        &self.columns
    }

    fn next(&mut self) -> Pin<Box<dyn Future<Output = LakeResult<Option<Chunk>>> + Send + '_>> {
        Box::pin(async {
            match self.part().await? {
                QueryOutput::Rows(chunk) => Ok(Some(chunk)),
                QueryOutput::End { is_cut } => {
                    self.is_cut = is_cut;
                    Ok(None)
                }
                QueryOutput::Columns(_) => Err(broken_off()),
            }
        })
    }

    fn is_cut(&self) -> bool {
        self.is_cut
    }

    fn seen(&self) -> ScanProgress {
        self.looked.seen()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_are_kept_as_long_as_there_is_room() {
        let chunk = vec![vec![json!(1)], vec![json!("long")], vec![json!(3)]];
        for (rows, bytes, kept) in [(10, 1_000, 3), (2, 1_000, 2), (0, 1_000, 0), (10, 9, 1), (10, 8, 0), (10, 16, 2)] {
            assert_eq!(fitting(&chunk, rows, bytes), kept, "{rows} rows, {bytes} bytes");
        }
    }
}
