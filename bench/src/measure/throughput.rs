//! Throughput: tasks per second over at least ten seconds, the cost of a Prometheus scrape, and the time and memory of
//! one very wide map.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::process::{self, Processes};
use super::server::Server;
use super::{Bench, Figure, pause, stats};
use crate::bodies::Counted;
use crate::clock;

/// Keeps an installation busy for a time and returns the number of tasks.
type Load = fn(&Server, Duration) -> Result<u64>;

const WIDE: u32 = 100_000;
const MAP_ELEMENTS: u32 = 20_000;
/// Number of concurrent runs: enough to keep the workers busy when one ends.
const MAPS_AT_ONCE: usize = 3;
/// Number of clients, each with its own connection. Sequential requests would measure the requests instead.
const CHAIN_CLIENTS: usize = 4;
const CHAIN_TASKS: u64 = 10;
/// Maximum number of active chains per client, which bounds the backlog.
const CHAINS_AT_ONCE: usize = 500;
const PATIENCE: Duration = Duration::from_mins(2);
/// Scrape interval from the monitoring guide.
const SCRAPE_EVERY: Duration = Duration::from_secs(15);

pub(crate) fn map100k(bench: &mut Bench) -> Result<Vec<Figure>> {
    let repetitions = bench.times(3, 1);
    bench.fresh()?;
    sized(bench, 1_000)?;
    let (mut totals, mut peaks) = (Vec::new(), Vec::new());
    for _ in 0..repetitions {
        let pid = bench.running()?.pid();
        process::forget_peak(pid)?;
        totals.push(sized(bench, WIDE)?);
        peaks.push(Processes::of(pid)?.peak_mb()?);
    }
    // Memory that is needed only sometimes must still be available, so the maximum counts.
    let peak = peaks.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        Figure::new("map100k_total_s", stats::median(&totals), repetitions),
        Figure::new("map100k_rss_mb", peak, repetitions),
    ])
}

/// Runs one map of `elements` elements. Returns the seconds from the trigger to the end of the task after the map.
fn sized(bench: &mut Bench, elements: u32) -> Result<f64> {
    let server = bench.running()?;
    let (asked, run) = server.trigger_until_ended("map", &json!({ "elements": elements }), 200)?;
    let Bench { server, dumps, .. } = bench;
    let dump = server.as_ref().context("it just ran something")?.dump(dumps)?;
    ensure!(dump.counted.count == u64::from(elements), "{} elements ran, not {elements}", dump.counted.count);
    let join =
        dump.notes.iter().find(|note| note.run_id == run.run_id).context("the task after the map did not run")?;
    Ok(clock::seconds_between(asked, join.end))
}

pub(crate) fn noop(bench: &mut Bench) -> Result<Vec<Figure>> {
    let seconds = bench.times(10, 3);
    let mut figures = Vec::new();
    let rows: [(&str, Load); 2] = [("noop_tasks_per_s", maps), ("noop_chain_tasks_per_s", chains)];
    for (name, load) in rows {
        sustained(bench, load, Duration::from_secs(1))?;
        let counted = sustained(bench, load, Duration::from_secs(seconds as u64))?;
        let figure = Figure::new(name, per_second(&counted), 1);
        let took = clock::seconds_between(counted.first_start, counted.last_end);
        figures.push(figure.with("tasks", counted.count).with("seconds", took));
    }
    Ok(figures)
}

/// Measures the CPU time of a scrape in orch and in Postgres, as a share of the CPU time available until the next one.
/// Comparing throughput with and without scrapes is too noisy: two windows without any scrape differ by a fifth.
pub(crate) fn metrics(bench: &mut Bench) -> Result<Vec<Figure>> {
    let answers = bench.times(500, 100);
    // Creates the data that the metrics report.
    sustained(bench, maps, Duration::from_secs(5))?;
    let server = bench.running()?;
    server.api.metrics()?;
    let processes = Processes::of(server.pid())?;
    let spent = || {
        let (orch, postgres) = processes.cpu_seconds();
        orch + postgres
    };
    let before = spent();
    for _ in 0..answers {
        server.api.metrics()?;
    }
    let of_one = (spent() - before) / answers as f64;
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = of_one / (SCRAPE_EVERY.as_secs_f64() * cpus as f64);
    Ok(vec![Figure::new("metrics_cost_percent", share * 100.0, answers).with("ms_of_an_answer", of_one * 1e3)])
}

fn per_second(counted: &Counted) -> f64 {
    counted.count as f64 / clock::seconds_between(counted.first_start, counted.last_end)
}

/// Applies load for a time, waits for all remaining tasks and returns their count. Fails if any task did not run.
fn sustained(bench: &mut Bench, load: Load, time: Duration) -> Result<Counted> {
    bench.running()?;
    let Bench { server, dumps, .. } = bench;
    let server = server.as_ref().context("the installation was just started")?;
    let expected = load(server, time)?;
    let counted = server.dump(dumps)?.counted;
    ensure!(counted.count == expected, "{} tasks ran, not {expected}", counted.count);
    Ok(counted)
}

/// Keeps several maps running and starts another one whenever one ends.
fn maps(server: &Server, time: Duration) -> Result<u64> {
    let start = Instant::now();
    let conf = json!({ "elements": MAP_ELEMENTS });
    let mut open = VecDeque::new();
    let mut tasks = 0;
    while start.elapsed() < time || !open.is_empty() {
        while start.elapsed() < time && open.len() < MAPS_AT_ONCE {
            open.push_back(server.api.trigger("map", &conf)?);
            tasks += u64::from(MAP_ELEMENTS);
        }
        pause::pause(Duration::from_millis(10))?;
        let mut still = VecDeque::new();
        for run in open.drain(..) {
            if !server.api.is_over(&run)? {
                still.push_back(run);
            }
        }
        open = still;
        ensure!(start.elapsed() < time + PATIENCE, "maps did not end");
    }
    Ok(tasks)
}

/// Triggers short chains from several clients as fast as they are accepted.
fn chains(server: &Server, time: Duration) -> Result<u64> {
    let clients: Vec<_> = (0..CHAIN_CLIENTS).map(|_| server.api.another()).collect();
    let submitted = std::thread::scope(|scope| {
        let clients = clients.into_iter().map(|api| {
            scope.spawn(move || -> Result<u64> {
                let start = Instant::now();
                let conf = Value::Object(serde_json::Map::new());
                let mut open = VecDeque::new();
                let mut runs = 0;
                while start.elapsed() < time {
                    open.push_back(api.trigger("chain10", &conf)?);
                    runs += 1;
                    if open.len() >= CHAINS_AT_ONCE
                        && let Some(oldest) = open.pop_front()
                    {
                        api.wait(&oldest, Duration::ZERO, PATIENCE)?;
                    }
                }
                for run in open {
                    api.wait(&run, Duration::ZERO, PATIENCE)?;
                }
                Ok(runs)
            })
        });
        let clients: Vec<_> = clients.collect();
        let mut runs = 0;
        for client in clients {
            runs += client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        Result::<u64>::Ok(runs)
    })?;
    Ok(submitted * CHAIN_TASKS)
}
