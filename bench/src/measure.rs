//! The driver: measures the rows in one temporary installation, in an order in which they do not disturb each other,
//! then prints a table and writes `results.json`.

mod api;
mod big_log;
mod floor;
mod followers;
mod http;
mod idle;
mod latency;
mod log;
mod pages;
pub mod pause;
pub mod process;
mod queued;
mod report;
mod seed;
pub mod server;
mod settings;
mod startup;
mod stats;
pub mod targets;
mod throughput;
mod ticks;
mod topic;

pub use idle::{IdleUsage, stand_still};
pub use stats::percentile;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use clap::Parser;

use crate::dags::Beside;
use server::{DataDir, Server};
use targets::Target;

/// Measures orch on this machine and compares the figures with what was promised.
#[derive(Debug, Parser)]
#[command(name = "measure")]
struct Options {
    /// Rows to measure, whole or by how they begin; all when none is named
    rows: Vec<String>,
    /// Where the figures are kept: rows measured now replace theirs, others stay
    #[arg(long, default_value = "bench/results.json", value_name = "FILE")]
    out: PathBuf,
    /// Shorter and less exact
    #[arg(long)]
    quick: bool,
    /// Where the temporary data folder is made; must be on the disk that is to be measured
    #[arg(long, value_name = "FOLDER")]
    data_root: Option<PathBuf>,
}

/// A measured value.
#[derive(Debug, Clone)]
pub struct Figure {
    pub name: &'static str,
    pub value: f64,
    /// Number of repetitions behind the value.
    pub n: usize,
    /// Additional data for readers of the result.
    pub detail: BTreeMap<&'static str, serde_json::Value>,
}

impl Figure {
    pub fn new(name: &'static str, value: f64, n: usize) -> Self {
        Figure { name, value, n, detail: BTreeMap::new() }
    }

    /// Builds a figure from the median of the sample.
    pub fn median(name: &'static str, sample: &[f64]) -> Self {
        Figure::new(name, stats::median(sample), sample.len())
    }

    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<serde_json::Value>) -> Self {
        self.detail.insert(key, value.into());
        self
    }
}

/// Rows that are measured together.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    pub rows: &'static [&'static str],
    pub measure: fn(&mut Bench) -> Result<Vec<Figure>>,
}

/// The rows that one binary measures.
#[derive(Debug, Clone, Copy)]
pub struct Suite {
    /// Name of the binary.
    pub name: &'static str,
    pub targets: &'static [Target],
    /// Groups in measuring order.
    pub groups: &'static [Group],
    /// Rows that others are compared with. They are always measured.
    pub floor: &'static [&'static str],
    /// Measures each group in a separate process with a new installation. A process does not release all of its memory, and an earlier
    /// group may have changed the installation, for example paused its DAGs.
    pub is_apart: bool,
    /// Entry point for every command except `measure`.
    pub orch: fn() -> ExitCode,
}

/// Groups in measuring order: rows that need an idle machine come first, and the map comes early because its process
/// must have done nothing else.
pub const ENGINE: [Group; 20] = [
    Group { rows: &["idle_rss_mb", "idle_cpu_percent", "idle_queries_per_min"], measure: idle::measure },
    Group { rows: &["start_to_healthy_ms"], measure: startup::measure },
    Group { rows: &FLOOR, measure: floor::measure },
    Group { rows: &["map100k_total_s", "map100k_rss_mb"], measure: throughput::map100k },
    Group { rows: &["light40_total_ms"], measure: latency::light40 },
    Group { rows: &["chain100_gap_p50_ms", "chain100_gap_p95_ms"], measure: latency::chain100 },
    Group { rows: &["fan1000_total_ms"], measure: latency::fan1000 },
    Group { rows: &["runs200x5_total_ms"], measure: latency::runs200x5 },
    Group { rows: &["trigger_to_start_p50_ms", "trigger_to_start_p95_ms"], measure: latency::trigger_to_start },
    Group { rows: &["gated_chain_gap_p50_ms"], measure: latency::gated_chain },
    Group { rows: &["asset_to_start_p50_ms"], measure: latency::asset_to_start },
    Group { rows: &["cli_trigger_ms"], measure: latency::cli_trigger },
    Group { rows: &["noop_tasks_per_s", "noop_chain_tasks_per_s"], measure: throughput::noop },
    Group { rows: &["metrics_cost_percent"], measure: throughput::metrics },
    Group { rows: &["queued_runs_per_s"], measure: queued::measure },
    Group { rows: &["topic_records_per_s", "topic_chain_gap_ratio"], measure: topic::measure },
    Group { rows: &["followers500_gap_p50_ms", "followers500_rss_mb"], measure: followers::measure },
    Group { rows: &["big_log_tail_p95_ms", "big_log_rss_mb"], measure: big_log::measure },
    Group { rows: &["page_p95_ms", "page_kb"], measure: pages::measure },
    Group { rows: &["schedules200_tick_p99_ms"], measure: ticks::measure },
];
/// Rows that every ratio is computed from.
pub const FLOOR: [&str; 2] = ["commit_p50_ms", "claim_batch_per_s"];

/// State shared by the rows.
#[derive(Debug)]
pub struct Bench {
    quick: bool,
    data: DataDir,
    server: Option<Server>,
    dumps: u32,
}

impl Bench {
    pub fn data(&self) -> &DataDir {
        &self.data
    }

    /// Returns `full`, or `quick` with `--quick`.
    pub fn times(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// Returns the installation and starts it if it is not running.
    pub fn running(&mut self) -> Result<&mut Server> {
        if self.server.is_none() {
            self.server = Some(Server::start(&self.data, Beside::default())?);
        }
        self.server.as_mut().ok_or_else(|| anyhow::anyhow!("the installation was just started"))
    }

    /// Restarts the installation, so that its process has done nothing yet.
    pub fn fresh(&mut self) -> Result<&mut Server> {
        self.stop()?;
        self.running()
    }

    pub fn stop(&mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), Server::stop)
    }
}

pub(crate) fn main(suite: &Suite) -> ExitCode {
    let options = Options::parse_from(std::env::args_os().skip(1));
    match run_suite(suite, &options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Returns true if all requested rows were measured and meet their targets.
fn run_suite(suite: &Suite, options: &Options) -> Result<bool> {
    let wanted = wanted(suite, &options.rows)?;
    pause::listen()?;
    let groups = suite.groups.iter().filter(|group| group.rows.iter().any(|row| wanted.contains(row)));
    if suite.is_apart && groups.clone().count() > 1 {
        return each_apart(groups, &wanted, options);
    }
    let data = DataDir::new(options.data_root.as_deref())?;
    let mut bench = Bench { quick: options.quick, data, server: None, dumps: 0 };
    let settings = settings::of_machine(&bench.data, options.quick);

    let mut figures = Vec::new();
    let mut failures = Vec::new();
    for group in groups {
        eprintln!("measuring {}", group.rows.join(", "));
        match (group.measure)(&mut bench) {
            Ok(measured) => figures.extend(measured),
            Err(error) if pause::interrupted() => return Err(error.context("nothing was written")),
            Err(error) => {
                // The server may have caused the failure, so the next row gets a new one.
                bench.server = None;
                eprintln!("  failed: {error:#}");
                failures.push(group.rows.join(", "));
            }
        }
    }
    let postgres = bench.running().ok().and_then(|server| settings::of_server(server).ok()).unwrap_or_default();
    bench.stop()?;
    figures.retain(|figure| wanted.contains(&figure.name));
    let settings = settings.into_iter().chain(postgres).collect();
    let kept = report::print(suite.targets, &figures)?;
    report::write(suite.targets, &options.out, &figures, &settings)?;
    if !failures.is_empty() {
        eprintln!("not measured: {}", failures.join(", "));
    }
    Ok(kept && failures.is_empty())
}

/// Measures each group in a separate process of this program. Each process prints its table and adds to the same file.
fn each_apart<'a>(groups: impl Iterator<Item = &'a Group>, wanted: &[&'static str], options: &Options) -> Result<bool> {
    let mut is_well = true;
    for group in groups {
        let mut measure = Command::new(std::env::current_exe()?);
        measure.arg("measure").args(group.rows.iter().filter(|row| wanted.contains(row)));
        measure.arg("--out").arg(&options.out).args(options.quick.then_some("--quick"));
        if let Some(root) = &options.data_root {
            measure.arg("--data-root").arg(root);
        }
        is_well &= measure.status()?.success();
        if pause::interrupted() {
            bail!("interrupted: the rows before are written");
        }
    }
    Ok(is_well)
}

fn wanted(suite: &Suite, asked: &[String]) -> Result<Vec<&'static str>> {
    if asked.is_empty() {
        return Ok(suite.targets.iter().map(|target| target.name).collect());
    }
    let mut wanted = suite.floor.to_vec();
    for word in asked {
        let found: Vec<_> =
            suite.targets.iter().map(|t: &Target| t.name).filter(|name| name.starts_with(word)).collect();
        if found.is_empty() {
            let all: Vec<_> = suite.targets.iter().map(|target| target.name).collect();
            bail!("there is no row `{word}`; there are {}", all.join(", "));
        }
        wanted.extend(found);
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_target_and_every_target_is_measured() {
        let mut measured: Vec<&str> = ENGINE.iter().flat_map(|group| group.rows).copied().collect();
        let mut promised: Vec<&str> = targets::ENGINE.iter().map(|target| target.name).collect();
        measured.sort_unstable();
        promised.sort_unstable();
        assert_eq!(measured, promised);
    }

    #[test]
    fn a_row_is_found_by_how_it_begins() {
        let rows = wanted(&crate::ENGINE, &["chain100".into()]).unwrap();
        assert_eq!(rows, ["commit_p50_ms", "claim_batch_per_s", "chain100_gap_p50_ms", "chain100_gap_p95_ms"]);
        assert!(
            wanted(&crate::ENGINE, &["chian".into()]).unwrap_err().to_string().starts_with("there is no row `chian`")
        );
    }
}
