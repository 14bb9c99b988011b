//! The verdict: compares the database with the outside ledger and with the pure model.

mod history;
mod recovery;
mod rows;
mod run;

use crate::ledger::{Word, by_instance};
use crate::world::World;
use rows::Rows;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

#[derive(Debug, Default)]
pub struct Verdict {
    pub violations: Vec<String>,
    pub runs: usize,
    /// Instances with an accepted outcome.
    pub ended: usize,
    /// Task functions that started.
    pub starts: usize,
    /// Leases under which a task function started and did not end.
    pub lost: usize,
    /// Task functions that ended after their lease was taken over.
    pub stale_ends: usize,
    /// For each kill of a worker with running task functions, the time until the last of them ran again.
    pub recoveries: Vec<Duration>,
    /// Time from the repair of the last fault until all runs were finished.
    pub settled: Duration,
    /// Number of snapshots taken while faults were injected.
    pub looks: usize,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { runs, ended, starts, lost, stale_ends, settled, looks, .. } = self;
        let slowest = self.recoveries.iter().max().copied().unwrap_or_default();
        let kills = self.recoveries.len();
        write!(f, "{runs} runs, {ended} outcomes of {starts} starts, {lost} leases lost, {stale_ends} stale ends, ")?;
        write!(f, "{kills} kills that hit, slowest recovery {slowest:.1?}, settled in {settled:.1?}, {looks} looks")
    }
}

/// Checks everything that must hold when all runs are finished.
pub async fn all(world: &World, settled: Duration) -> Verdict {
    let mut verdict = Verdict { settled, ..Verdict::default() };
    let entries = world.ledger();
    let by_instance = by_instance(&entries);
    let rows = Rows::read(world.pool()).await;
    verdict.runs = rows.runs.len();
    verdict.starts = entries.iter().filter(|e| e.word == Word::Start).count();
    for run in &rows.runs {
        run::check(run, &rows, &by_instance, world.zombies, &mut verdict);
    }
    let known: BTreeSet<_> = rows.runs.iter().map(|run| run.id).collect();
    for triggered in &world.triggered {
        if !known.contains(&triggered.id) {
            verdict.violations.push(format!("the run {} of `{}` is lost", triggered.id, triggered.dag_id));
        }
    }
    if let Some(entry) = entries.iter().find(|entry| !known.contains(&entry.run)) {
        verdict.violations.push(format!("something ran for a run that does not exist: {entry:?}"));
    }
    recovery::check(world, &by_instance, &mut verdict);
    verdict.violations.extend(rows::left_behind(world.pool()).await);
    verdict.violations.extend(history::differences(world.pool()).await);
    verdict
}
