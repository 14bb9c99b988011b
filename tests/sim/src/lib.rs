//! A simulation of workers and schedulers over a database that is played, in simulated time: crashes, lost answers,
//! frozen processes, cut networks, all from one seed, and after each commit a look at what must hold.
//!
//! The workers' loops are the real ones (`orch_workers::sim`); the statements of `orch-store` are played with their
//! exact meaning (`database`), and what schedulers do is as simple as their statements allow. A run of a seed can be
//! repeated line by line: `cargo run -p orch-sim -- --seed 42 --trace`.

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

/// Simulates many seeds on all cores and gives what came of those that went wrong, by seed.
pub fn simulate_many(seeds: Range<u64>, mutant: Option<Mutant>) -> Vec<Report> {
    on_all_cores(seeds, mutant, &AtomicBool::new(false), |_| {})
}

/// The same until one goes wrong.
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
