//! Rows that are checked on their way to what writes them, for lots that are more than memory should hold.

use super::{Contract, Facts, Report};
use crate::batches::Batches;
use futures::TryStreamExt as _;
use orch_sdk::task::fatal;
use std::sync::{Arc, Mutex, PoisonError};

/// What will have been found in rows that are on their way.
#[derive(Debug, Clone, Default)]
pub struct PendingReport(Arc<Mutex<Option<Report>>>);

impl PendingReport {
    /// `None` where the rows broke off. The rows that passed are not in it: they were taken.
    pub fn take(&self) -> Option<Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Contract {
    /// Lets through the rows that pass. Where the lot breaks the contract, an error comes after the last of them, so that
    /// nothing is written of it; the report is there all the same.
    pub fn check_on_the_way(self, facts: Facts, mut rows: Batches) -> (Batches, PendingReport) {
        let pending = PendingReport::default();
        let place = pending.clone();
        let passing = Batches::read_ahead(rows.schema(), move |taker| async move {
            let mut checker = self.begin(&facts)?;
            let mut quarantined = Vec::new();
            while let Some(batch) = rows.try_next().await? {
                let checked = checker.look(&batch)?;
                quarantined.extend(checked.quarantined);
                if !taker.take(checked.passed).await {
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
