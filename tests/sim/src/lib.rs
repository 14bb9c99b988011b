//! A simulation of workers and schedulers over a simulated database, in simulated time. All crashes, lost responses,
//! frozen processes and network failures follow from one seed, and invariants are checked after each commit.
//!
//! The worker loops are the real ones (`orch_workers::sim`). The statements of `orch-store` are reimplemented with
//! the same semantics (`database`), and the scheduler loop is as simple as its statements allow. A seed can be
//! replayed exactly: `cargo run -p orch-sim -- --seed 42 --trace`.

mod check;
mod database;
mod end;
mod faults;
mod gate;
mod node;
mod rng;
mod scheduler;
mod script;
mod shape;
mod stage;
mod store;
mod trace;
mod world;

pub use faults::Mutant;
pub use world::{Report, SimulationOptions, simulate};

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Simulates many seeds on all cores and returns the reports of those with a violation, by seed.
pub fn simulate_many(seeds: Range<u64>, mutant: Option<Mutant>) -> Vec<Report> {
    on_all_cores(seeds, mutant, &AtomicBool::new(false), |_| {})
}

/// Like `simulate_many`, but stops at the first violation.
pub fn simulate_until_wrong(seeds: Range<u64>, mutant: Option<Mutant>) -> Option<Report> {
    let stop = AtomicBool::new(false);
    on_all_cores(seeds, mutant, &stop, |_| stop.store(true, Ordering::Relaxed)).into_iter().next()
}

fn on_all_cores(
    seeds: Range<u64>,
    mutant: Option<Mutant>,
    stop: &AtomicBool,
    went_wrong: impl Fn(&Report) + Sync,
) -> Vec<Report> {
    let next = AtomicU64::new(seeds.start);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let one_core = || {
        let mut wrong = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || stop.load(Ordering::Relaxed) {
                return wrong;
            }
            let report = simulate(&SimulationOptions { seed, mutant, ..SimulationOptions::default() });
            if report.violation.is_some() {
                went_wrong(&report);
                wrong.push(report);
            }
        }
    };
    let mut wrong = std::thread::scope(|scope| {
        let cores: Vec<_> = (0..cores).map(|_| scope.spawn(one_core)).collect();
        cores
            .into_iter()
            .flat_map(|core| core.join().expect("a simulation reports, it does not panic"))
            .collect::<Vec<_>>()
    });
    wrong.sort_by_key(|report| report.seed);
    wrong
}
