//! A chain of another DAG, which measures how long the scheduler and the worker need between two tasks.

use crate::client::Login;
use crate::installation::Installation;
use serde_json::{Value, json};
use sqlx::types::chrono::{DateTime, Utc};
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) const DAG: &str = "chain";
const TASKS: usize = 20;

pub(crate) async fn register(installation: &Installation, login: &Login) {
    let tasks = (0..TASKS).map(|n| {
        let task = if n == 0 { json!({ "value": 0 }) } else { json!({ "value": n, "after": format!("t{}", n - 1) }) };
        (format!("t{n}"), task)
    });
    let tasks: serde_json::Map<String, Value> = tasks.collect();
    installation.put("chain.json", json!({ "dag_id": DAG, "tasks": tasks }).to_string());
    installation.until_registered(DAG, login).await;
}

/// Runs the chain repeatedly until `stop`. Returns the times from the end of a task to the end of the next one in
/// milliseconds, in ascending order. The tasks do nothing, and a task may start in the transaction that ends its
/// predecessor.
pub(crate) async fn gaps(installation: &Installation, login: &Login, stop: &AtomicBool) -> Vec<f64> {
    let mut gaps = Vec::new();
    while !stop.load(Ordering::SeqCst) || gaps.is_empty() {
        let run = installation.trigger(DAG, login, &json!({})).await.replace('+', "%2B");
        let path = format!("/api/v2/dags/{DAG}/dagRuns/{run}");
        let ended = installation.eventually("a run of the chain ends", async || {
            let run = installation.get(&path, login).await.json();
            let state = run["state"].as_str().unwrap_or_default().to_owned();
            if ["success", "failed"].contains(&state.as_str()) { Ok(state) } else { Err(run.to_string()) }
        });
        assert_eq!(ended.await, "success", "{run}");
        let list = installation.get(&format!("{path}/taskInstances?limit={TASKS}"), login).await.json();
        let list = list["task_instances"].as_array().cloned().unwrap_or_default();
        let time = |task: usize, field: &str| -> DateTime<Utc> {
            let name = format!("t{task}");
            let found = list.iter().find(|one| one["task_id"] == json!(name));
            found
                .and_then(|one| one[field].as_str()?.parse().ok())
                .unwrap_or_else(|| panic!("{field} of {name}: {list:?}"))
        };
        gaps.extend((1..TASKS).map(|task| {
            let gap = time(task, "end_date") - time(task - 1, "end_date");
            gap.num_microseconds().unwrap_or(i64::MAX) as f64 / 1e3
        }));
    }
    gaps.sort_by(f64::total_cmp);
    gaps
}
