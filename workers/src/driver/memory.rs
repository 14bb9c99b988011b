//! Cache of the runs that a worker is working on: their ledger (the run state) at a revision, and the run properties
//! that task functions read.

use crate::job::RunView;
use crate::offer::Offer;
use orch_core::run::Run;
use orch_store::refold::Folded;
use orch_store::step::KnownRun;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// After an update conflict, another process is working on the run, too. Number of further outcomes that are recorded
/// before they are folded (applied to the run).
const CONTENDED_FOR: u8 = 16;

pub(super) struct Remembered {
    pub(super) rev: i32,
    pub(super) clear_number: i16,
    pub(super) ledger: Run,
    pub(super) offer: Arc<Offer>,
    pub(super) view: Arc<RunView>,
    contended: u8,
}

#[derive(Default)]
pub(super) struct Memory {
    runs: HashMap<Uuid, Remembered>,
}

impl Memory {
    pub(super) fn get(&self, run: &Uuid) -> Option<&Remembered> {
        self.runs.get(run)
    }

    /// Caches the run state that a claim returned, unless a newer revision is cached.
    pub(super) fn learn(&mut self, known: KnownRun, offer: &Arc<Offer>) -> Result<(), String> {
        known.ledger.check(known.format, &offer.version.plan)?;
        match self.runs.get_mut(&known.run) {
            Some(old) if old.rev >= known.rev => {}
            // Keep the cached properties only if the run was not cleared since. A cleared run may have another type or
            // conf.
            Some(old) if old.offer.version.id == known.version && old.clear_number == known.clear_number => {
                (old.rev, old.ledger) = (known.rev, known.ledger);
            }
            _ => {
                let view = Arc::new(RunView::new(known.run, offer, known.clear_number, &known.facts)?);
                let remembered = Remembered {
                    rev: known.rev,
                    clear_number: known.clear_number,
                    ledger: known.ledger,
                    offer: offer.clone(),
                    view,
                    contended: 0,
                };
                self.runs.insert(known.run, remembered);
            }
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    /// Evicts all other runs. They are read again when one of their attempts is claimed.
    pub(super) fn forget_all_but(&mut self, needed: &HashSet<Uuid>) {
        self.runs.retain(|run, _| needed.contains(run));
    }

    /// Applies a change of the run state that the database has accepted.
    pub(super) fn moved(&mut self, run: Uuid, to: Run) {
        if to.state.is_finished() {
            self.runs.remove(&run);
        } else if let Some(known) = self.runs.get_mut(&run) {
            known.rev += 1;
            known.ledger = to;
        }
    }

    pub(super) fn lost_race(&mut self, run: &Uuid) {
        if let Some(known) = self.runs.get_mut(run) {
            known.contended = CONTENDED_FOR;
        }
    }

    /// Returns true if an outcome of the run must be recorded before it is folded. Each call counts as one outcome.
    pub(super) fn record_first(&mut self, run: &Uuid) -> bool {
        match self.runs.get_mut(run) {
            None => true,
            Some(known) if known.contended > 0 => {
                known.contended -= 1;
                true
            }
            Some(_) => false,
        }
    }

    pub(super) fn folded(&mut self, run: Uuid, folded: &Folded) {
        if folded.ledger.state.is_finished() {
            self.runs.remove(&run);
            return;
        }
        let Some(known) = self.runs.get_mut(&run) else { return };
        if known.offer.version.id == folded.version.id {
            (known.rev, known.clear_number) = (folded.rev, folded.clear_number);
            known.ledger.clone_from(&folded.ledger);
        } else {
            self.runs.remove(&run); // the run was moved to another version
        }
    }
}
