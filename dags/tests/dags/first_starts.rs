//! First starts in a folder that does not exist yet: all scheduled DAGs, and a manual run immediately. Many tasks
//! create tables, schemas and databases concurrently, and this must not fail any attempt.

use crate::standalone::Standalone;
use serde_json::Value;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_mins(3);

/// Returns the number of rounds: 1, or the value of `ORCH_TEST_LONG` (20 if it is not a number).
#[expect(clippy::disallowed_methods, reason = "it says how long a test takes")]
fn rounds() -> usize {
    std::env::var("ORCH_TEST_LONG").ok().map_or(1, |rounds| rounds.parse().unwrap_or(20))
}

fn list(standalone: &Standalone, arguments: &[&str]) -> Vec<Value> {
    let said = standalone.run(&[arguments, &["-o", "json"]].concat());
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

/// Waits until each of these DAGs has a run and all runs have ended, and returns all runs.
fn ended(standalone: &Standalone, dags: &[&str]) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let runs = list(standalone, &["runs", "list"]);
        let all_began = dags.iter().all(|dag| runs.iter().any(|run| run["dag_id"] == *dag));
        if all_began && runs.iter().all(|run| run["state"] == "success" || run["state"] == "failed") {
            return runs;
        }
        assert!(began.elapsed() < PATIENCE, "{runs:?}");
    }
}

#[test]
fn the_first_runs_of_a_new_folder_succeed_at_their_first_try() {
    for round in 0..rounds() {
        let standalone = Standalone::start();
        let began = Instant::now();
        standalone.run(&["dags", "trigger", "retail_medallion", "--run-id", "first", "--wait"]).done();
        eprintln!("round {round}: retail took {:.1} s", began.elapsed().as_secs_f64());
        for run in ended(&standalone, &["retail_medallion", "nyc_taxi_iceberg_etl", "nyc_weather_etl"]) {
            let (dag, id) = (run["dag_id"].as_str().unwrap(), run["run_id"].as_str().unwrap());
            for task in list(&standalone, &["tasks", "states-for-dag-run", dag, id]) {
                let tries = task["try_number"].as_u64().unwrap();
                // Files with trips of the same days conflict and are loaded one after the other, by retries.
                let most = if dag == "nyc_taxi_iceberg_etl" { 9 } else { 1 };
                assert!(tries <= most && task["state"] != "failed", "round {round}: {task}");
            }
            assert_eq!(run["state"], "success", "round {round}: {run}");
        }
        standalone.run(&["doctor"]).done();
    }
}
