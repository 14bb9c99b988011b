//! Latencies of chains, a fan and many small runs, from the trigger to the first instruction of a task function.
//!
//! A total is measured from before the request is written until the last task function has ended, a gap from the last
//! instruction of a task function to the first of the next one. Each row has one warm-up run.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Bench, Figure, pause, stats};
use crate::bodies::{Dump, Note};
use crate::clock;
use crate::dags::POOL;

const RUNS: usize = 200;
const TASKS_OF_A_RUN: usize = 5;
const POOL_SLOTS: u32 = 16;
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn light40(bench: &mut Bench) -> Result<Vec<Figure>> {
    let repetitions = bench.times(15, 5);
    let totals = totals(bench, "light40", 40, repetitions, 60)?;
    Ok(vec![Figure::new("light40_total_ms", stats::median(&totals), repetitions)])
}

pub(crate) fn fan1000(bench: &mut Bench) -> Result<Vec<Figure>> {
    let repetitions = bench.times(15, 5);
    let totals = totals(bench, "fan1000", 1_002, repetitions, 100)?;
    Ok(vec![Figure::new("fan1000_total_ms", stats::median(&totals), repetitions)])
}

pub(crate) fn chain100(bench: &mut Bench) -> Result<Vec<Figure>> {
    let repetitions = bench.times(15, 5);
    let (mut p50, mut p95) = (Vec::new(), Vec::new());
    for number in 0..=repetitions {
        let (_, notes) = run_undisturbed(bench, "chain100", 100, 100)?;
        if number > 0 {
            let gaps = gaps(&notes);
            p50.push(stats::median(&gaps));
            p95.push(stats::percentile(&gaps, 0.95));
        }
    }
    let figure = |name, sample: &[f64]| Figure::new(name, stats::median(sample), repetitions);
    Ok(vec![figure("chain100_gap_p50_ms", &p50), figure("chain100_gap_p95_ms", &p95)])
}

/// Returns the median gap of each run of a DAG that is a chain of 100 tasks.
pub(crate) fn chain_gaps(bench: &mut Bench, dag_id: &'static str, repetitions: usize) -> Result<Vec<f64>> {
    let mut p50 = Vec::new();
    for number in 0..=repetitions {
        let (_, notes) = run_undisturbed(bench, dag_id, 100, 100)?;
        if number > 0 {
            p50.push(stats::median(&gaps(&notes)));
        }
    }
    Ok(p50)
}

/// Measures the chain beside a chain whose tasks take a slot of a pool: each of them is parked and then admitted.
pub(crate) fn gated_chain(bench: &mut Bench) -> Result<Vec<Figure>> {
    let repetitions = bench.times(15, 5);
    bench.running()?.api.make_pool(POOL, POOL_SLOTS)?;
    let plain = stats::median(&chain_gaps(bench, "chain100", repetitions)?);
    let gated = stats::median(&chain_gaps(bench, "gated100", repetitions)?);
    Ok(vec![Figure::new("gated_chain_gap_p50_ms", gated, repetitions).with("without_pool_ms", plain)])
}

/// Measures the time from the end of a task function that updates an asset to the first instruction of the triggered
/// run.
pub(crate) fn asset_to_start(bench: &mut Bench) -> Result<Vec<Figure>> {
    let repetitions = bench.times(50, 15);
    let server = bench.running()?;
    for number in 1..=repetitions as u64 + 1 {
        server.trigger_until_ended("update", &json!({}), 10)?;
        pause::until("waiting for the run that follows", Duration::from_millis(20), PATIENCE, || {
            Ok((server.api.ended_well("follow")? >= number).then_some(()))
        })?;
    }
    let notes = dump(bench)?.notes;
    let of = |task: &str| notes.iter().filter(|note| note.task_id == task).collect::<Vec<_>>();
    let (updated, followed) = (of("update"), of("follow"));
    ensure!(updated.len() == followed.len(), "{} updates, {} runs followed", updated.len(), followed.len());
    // In the first run, the scheduler has not yet loaded the version of the DAG.
    let pairs = updated.iter().zip(&followed).skip(1);
    let took: Vec<f64> = pairs.map(|(update, follow)| clock::millis_between(update.end, follow.start)).collect();
    let figure = Figure::new("asset_to_start_p50_ms", stats::median(&took), repetitions);
    Ok(vec![figure.with("p95", stats::percentile(&took, 0.95))])
}

pub(crate) fn runs200x5(bench: &mut Bench) -> Result<Vec<Figure>> {
    let repetitions = bench.times(7, 3);
    let (mut totals, mut submitting) = (Vec::new(), Vec::new());
    for number in 0..=repetitions {
        let server = bench.running()?;
        let start = clock::now();
        let mut runs = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            runs.push(server.api.trigger("run5", &json!({}))?);
        }
        let submitted = clock::now();
        for run in &runs {
            server.api.wait(run, Duration::ZERO, PATIENCE)?;
        }
        let dump = dump(bench)?;
        let notes: Vec<&Note> = dump.notes.iter().filter(|note| note.start >= start).collect();
        ensure!(notes.len() == RUNS * TASKS_OF_A_RUN, "{} bodies ran", notes.len());
        let end = notes.iter().map(|note| note.end).max().context("no body ran")?;
        if number > 0 {
            totals.push(clock::millis_between(start, end));
            submitting.push(clock::millis_between(start, submitted));
        }
    }
    let figure = Figure::new("runs200x5_total_ms", stats::median(&totals), repetitions);
    Ok(vec![figure.with("submitting_ms", stats::median(&submitting))])
}

pub(crate) fn trigger_to_start(bench: &mut Bench) -> Result<Vec<Figure>> {
    let repetitions = bench.times(100, 25);
    let mut asked = BTreeMap::new();
    let mut calls = Vec::new();
    for number in 0..repetitions + 5 {
        let server = bench.running()?;
        let before = clock::now();
        let run = server.api.trigger("one", &json!({}))?;
        if number >= 5 {
            calls.push(clock::millis_between(before, clock::now()));
            asked.insert(run.run_id.clone(), before);
        }
        server.api.wait(&run, Duration::from_millis(15), PATIENCE)?;
    }
    let dump = dump(bench)?;
    let started = dump.notes.iter().filter_map(|note| {
        let before = asked.get(&note.run_id)?;
        Some(clock::millis_between(*before, note.start))
    });
    let started: Vec<f64> = started.collect();
    ensure!(started.len() == repetitions, "{} bodies ran", started.len());
    let p50 = Figure::new("trigger_to_start_p50_ms", stats::median(&started), repetitions);
    let p95 = Figure::new("trigger_to_start_p95_ms", stats::percentile(&started, 0.95), repetitions);
    Ok(vec![p50.with("request_ms", stats::median(&calls)), p95])
}

pub(crate) fn cli_trigger(bench: &mut Bench) -> Result<Vec<Figure>> {
    let repetitions = bench.times(20, 8);
    bench.running()?;
    let mut took = Vec::new();
    for number in 0..=repetitions {
        let mut command = bench.data.command(&["dags", "trigger", "one"])?;
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let start = clock::now();
        let output = command.spawn()?.wait_with_output()?;
        let end = clock::now();
        ensure!(output.status.success(), "`dags trigger`: {}", String::from_utf8_lossy(&output.stderr).trim());
        if number > 0 {
            took.push(clock::millis_between(start, end));
        }
        pause::pause(Duration::from_millis(20))?;
    }
    dump(bench)?;
    let figure = Figure::new("cli_trigger_ms", stats::median(&took), repetitions);
    Ok(vec![figure.with("p95", stats::percentile(&took, 0.95))])
}

fn totals(
    bench: &mut Bench,
    dag_id: &'static str,
    tasks: usize,
    repetitions: usize,
    quiet_ms: u64,
) -> Result<Vec<f64>> {
    let mut totals = Vec::new();
    for number in 0..=repetitions {
        let (asked, notes) = run_undisturbed(bench, dag_id, tasks, quiet_ms)?;
        let end = notes.iter().map(|note| note.end).max().context("no body ran")?;
        if number > 0 {
            totals.push(clock::millis_between(asked, end));
        }
    }
    Ok(totals)
}

/// Runs a DAG alone on the machine. Returns the time of the request and the notes in the order of their starts.
fn run_undisturbed(bench: &mut Bench, dag_id: &'static str, tasks: usize, quiet_ms: u64) -> Result<(u64, Vec<Note>)> {
    let (asked, run) = bench.running()?.trigger_until_ended(dag_id, &json!({}), quiet_ms)?;
    let mut notes = dump(bench)?.notes;
    notes.retain(|note| note.run_id == run.run_id);
    ensure!(notes.len() == tasks, "{} bodies of `{dag_id}` ran, not {tasks}", notes.len());
    notes.sort_unstable_by_key(|note| note.start);
    Ok((asked, notes))
}

fn dump(bench: &mut Bench) -> Result<Dump> {
    bench.running()?;
    let Bench { server, dumps, .. } = bench;
    server.as_ref().context("the installation was just started")?.dump(dumps)
}

fn gaps(notes: &[Note]) -> Vec<f64> {
    notes.windows(2).map(|pair| clock::millis_between(pair[0].end, pair[1].start)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_between_two_bodies() {
        let note = |start, end| Note { run_id: "r".into(), task_id: "t".into(), start, end };
        let gaps = gaps(&[note(0, 1_000_000), note(1_250_000, 2_000_000), note(2_500_000, 2_500_001)]);
        assert_eq!(gaps, [0.25, 0.5]);
    }
}
