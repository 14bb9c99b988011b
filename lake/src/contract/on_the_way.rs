//! Rows that are checked on their way to what writes them, for lots that are more than memory should hold.

use super::{Contract, Facts, Report};
use crate::batches::Batches;
use futures::TryStreamExt as _;
use orch_sdk::task::fatal;
use std::sync::{Arc, Mutex, PoisonError};

/// The report of rows that are checked while they are written.
#[derive(Debug, Clone, Default)]
pub struct PendingReport(Arc<Mutex<Option<Report>>>);

impl PendingReport {
    /// `None` if the rows broke off. It has no rows that passed: the writer took them.
    pub fn take(&self) -> Option<Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Contract {
    /// Checks rows one batch after the other and hands on those that pass. If the lot breaks the contract, its error comes last, so
    /// that the writer publishes nothing; the report is available in either case. The writer does not get the batch that breaks it, nor
    /// later ones: it might stop with an error of its own before all of them are checked.
    pub fn check_on_the_way(self, facts: Facts, mut rows: Batches) -> (Batches, PendingReport) {
        let pending = PendingReport::default();
        let place = pending.clone();
        let passing = Batches::read_ahead(rows.schema(), move |taker| async move {
            let mut checker = self.begin(&facts)?;
            let mut quarantined = Vec::new();
            while let Some(batch) = rows.try_next().await? {
                let checked = checker.check_batch(&batch)?;
                quarantined.extend(checked.quarantined);
                if !checker.is_refused() && !taker.take(checked.passed).await {
                    return Ok(());
                }
            }
            let report = Report { uri: self.uri.clone(), passed: Vec::new(), quarantined, findings: checker.end() };
            let verdict = report.ok();
            *place.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
            verdict.map_err(|broken| fatal(broken.to_string()))
        });
        (passing, pending)
    }
}
