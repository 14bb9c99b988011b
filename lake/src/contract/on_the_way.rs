//! Checks rows while they are streamed to a writer, for data sets that do not fit into memory.

use super::{Contract, ContractError, Facts, Report};
use crate::batches::{Batches, bytes_of};
use crate::frame::sql::query_rows;
use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use futures::TryStreamExt as _;
use orch_sdk::task::{TaskResult, fatal};
use polars::prelude::DataFrame;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;

/// Maximum size in bytes of the quarantined rows that a task holds in memory. If it is exceeded, the whole input is
/// considered wrong and nothing is published.
const MAX_QUARANTINED_BYTES: u64 = 64 << 20;
/// Number of batches over which the summary query (tally) is run at a time.
const TALLIED_AT_ONCE: usize = 8;

/// The outcome of a check: the report, and the result rows of the summary query (tally).
#[derive(Debug)]
pub struct CheckedLot {
    pub report: Report,
    pub tally: DataFrame,
}

/// Handle to the outcome of a check that runs while the rows are written.
#[derive(Debug, Clone, Default)]
pub struct PendingReport(Arc<Mutex<Option<CheckedLot>>>);

impl PendingReport {
    /// Returns the outcome of the check, or `None` if the stream ended early. The report contains no passing rows,
    /// because the writer has consumed them.
    pub fn take(&self) -> Option<CheckedLot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Contract {
    /// Checks a stream of batches and passes on the rows that satisfy the contract. If rows violate the contract, the
    /// returned stream ends with an error, so that the writer publishes nothing; the report is available in any case.
    /// The writer receives neither the first batch that violates the contract nor later ones, because it could fail
    /// before all rows are checked.
    ///
    /// `tally` is a `SELECT` from `rows`, such as partial sums, that is run on groups of a few batches of passing
    /// rows. Its results are concatenated.
    pub fn check_on_the_way(
        self,
        facts: Facts,
        rows: Batches,
        tally: Option<&'static str>,
    ) -> (Batches, PendingReport) {
        let pending = PendingReport::default();
        let outcome = pending.clone();
        let passing = Batches::read_ahead(rows.schema(), move |taker| async move {
            let (handle, mut rows) = (Handle::current(), rows);
            // All batches are checked on a blocking thread, because a check can take longer than an async task may
            // block.
            let checking = tokio::task::spawn_blocking(move || {
                let next = || handle.block_on(rows.try_next());
                self.check_all(&facts, tally, next, |batch| handle.block_on(taker.take(batch)))
            });
            let Some(checked) = checking.await.map_err(anyhow::Error::from)?? else { return Ok(()) };
            let verdict = checked.report.ok();
            *outcome.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(checked);
            verdict.map_err(|broken| fatal(broken.to_string()))
        });
        (passing, pending)
    }

    /// Checks all batches. Returns `None` if the writer has stopped.
    fn check_all(
        self,
        facts: &Facts,
        tally: Option<&str>,
        mut next: impl FnMut() -> TaskResult<Option<RecordBatch>>,
        take: impl Fn(RecordBatch) -> bool,
    ) -> TaskResult<Option<CheckedLot>> {
        let mut checker = self.begin(facts)?;
        let (mut quarantined, mut quarantined_bytes) = (Vec::new(), 0);
        let (mut unread, mut tallied) = (Vec::new(), DataFrame::empty());
        let mut add = |batches: &mut Vec<RecordBatch>| -> TaskResult<()> {
            if let Some(statement) = tally.filter(|_| !batches.is_empty()) {
                let named = batches.drain(..).map(|batch| columns_of(&batch, statement));
                tallied.vstack_mut(&query_rows(&named.collect::<Result<Vec<_>, _>>()?, statement)?)?;
            }
            Ok(())
        };
        while let Some(batch) = next()? {
            let checked = checker.check_batch(&batch)?;
            if let Some(bad) = checked.quarantined {
                quarantined_bytes += bytes_of(&bad);
                quarantined.push(bad);
            }
            if quarantined_bytes > MAX_QUARANTINED_BYTES {
                let uri = self.uri.clone();
                let rows = quarantined.iter().map(RecordBatch::num_rows).sum::<usize>();
                let findings = checker.end();
                let worst = findings.iter().max_by_key(|one| one.bad);
                let worst = worst.map(|one| format!("{}: {}", one.name, one.sample)).unwrap_or_default();
                return Err(fatal(ContractError::TooManyQuarantined { uri, rows, worst }.to_string()));
            }
            if checker.is_refused() {
                continue;
            }
            if tally.is_some() {
                unread.push(checked.passed.clone());
            }
            if unread.len() == TALLIED_AT_ONCE {
                add(&mut unread)?;
            }
            if !take(checked.passed) {
                return Ok(None);
            }
        }
        add(&mut unread)?;
        let (rows, removed, findings) = (checker.rows(), checker.removed(), checker.end());
        let report = Report { uri: self.uri.clone(), passed: Vec::new(), quarantined, rows, removed, findings };
        Ok(Some(CheckedLot { report, tally: tallied }))
    }
}

/// Returns the columns that a statement can read: those whose names occur in its text, or all columns if it contains
/// `SELECT *`.
fn columns_of(batch: &RecordBatch, statement: &str) -> Result<RecordBatch, ArrowError> {
    let words: HashSet<&str> = statement.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let is_read = |name: &str| statement.contains("SELECT *") || words.contains(name);
    let read = (0..batch.num_columns()).filter(|at| is_read(batch.schema_ref().field(*at).name()));
    batch.project(&read.collect::<Vec<_>>())
}
