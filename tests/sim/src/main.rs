//! Simulates seeds: `cargo run -p orch-sim -- --seed 42 --trace`, or many at once with `--count`.

use clap::Parser;
use orch_sim::{Mutant, Report, SimulationOptions, simulate, simulate_many};
use std::io::Write;
use std::process::ExitCode;

/// Workers and schedulers in simulated trouble
#[derive(Debug, Parser)]
struct Options {
    /// The first seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// So many seeds from there
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Print everything that happens
    #[arg(long)]
    trace: bool,
    /// Plant a mistake, by its name in `faults.rs`
    #[arg(long, value_parser = planted)]
    mutant: Option<Mutant>,
}

fn planted(name: &str) -> Result<Mutant, String> {
    let known = || Mutant::ALL.map(|mutant| format!("{mutant:?}"));
    let found = Mutant::ALL.into_iter().find(|mutant| format!("{mutant:?}") == name);
    found.ok_or_else(|| format!("there are {}", known().join(", ")))
}

fn main() -> ExitCode {
    let options = Options::parse();
    let wrong = if options.count == 1 {
        let report =
            simulate(&SimulationOptions { seed: options.seed, whole_trace: options.trace, mutant: options.mutant });
        print(&report);
        usize::from(report.violation.is_some())
    } else {
        let wrong = simulate_many(options.seed..options.seed + options.count, options.mutant);
        wrong.iter().for_each(print);
        wrong.len()
    };
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(report: &Report) {
    let mut out = std::io::stdout().lock();
    let Report { seed, hash, events, violation, took, .. } = report;
    let mut text = report.trace.join("\n");
    let verdict = violation.as_deref().unwrap_or("all is well");
    let line = format!("\nseed {seed}: {events} events in {took:?} of its time, hash {hash:016x}: {verdict}\n");
    text.push_str(&line);
    out.write_all(text.as_bytes()).ok(); // the reader may have closed the pipe
}
