//! The verdict: what the database says, held against the outside ledger and the pure model.

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
    /// Instances that ended with an accepted outcome of their own.
    pub ended: usize,
    /// Bodies that began.
    pub starts: usize,
    /// Leases that began a body and did not end it.
    pub lost: usize,
    /// Ends of bodies that were not theirs to end any more.
    pub stale_ends: usize,
    /// From each kill of a worker that hit running bodies to the moment the last of them ran again.
    pub recoveries: Vec<Duration>,
    /// From the last heal until every run was over.
    pub settled: Duration,
    /// How often it was looked while things broke.
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

/// All that must hold when everything is over.
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
