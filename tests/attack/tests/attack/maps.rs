//! A map with more elements than a run may have instances.

use crate::installation::Installation;
use serde_json::{Value, json};
use sqlx::types::chrono::{DateTime, Utc};
use std::time::Duration;

/// Maximum time from the last output until the mapped task has failed.
const MAX_DELAY: Duration = Duration::from_secs(1);
const REASON: &str = "has 1,000,000,000 elements; the maximum is 1,000,000";

fn time(instance: &Value, field: &str) -> DateTime<Utc> {
    instance[field].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{field} of {instance}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_of_a_billion_fails_within_a_second_and_its_run_can_be_cancelled() {
    let installation = Installation::start().await;
    let admin = installation.log_in("admin").await;
    let list = || json!({ "value": (0..1_000).collect::<Vec<_>>() });
    let outputs = ["a", "b", "c"].map(|task| format!("{{{{ upstream.{task}.output }}}}"));
    let dag = json!({ "dag_id": "crossed", "tasks": {
        "a": list(), "b": list(), "c": list(),
        "each": { "map": { "cross": outputs }, "value": "{{ element[0] }}" },
        "waits": { "sensor": { "file": "/nonexistent/file", "timeout": "1h" } },
    } });
    installation.put("crossed.json", dag.to_string());
    installation.until_registered("crossed", &admin).await;
    let run = installation.trigger("crossed", &admin, &json!({})).await;
    let run_path = format!("/api/v2/dags/crossed/dagRuns/{}", run.replace('+', "%2B"));
    let instances = installation.eventually("the mapped task fails", async || {
        let all = installation.get(&format!("{run_path}/taskInstances"), &admin).await.json();
        let all: Vec<Value> = all["task_instances"].as_array().cloned().unwrap_or_default();
        if all.iter().any(|one| one["task_id"] == "each" && one["state"] == "failed") {
            Ok(all)
        } else {
            Err(json!(all).to_string())
        }
    });
    let instances = instances.await;
    let of = |task: &str| instances.iter().find(|one| one["task_id"] == task).unwrap();
    let last_output = ["a", "b", "c"].map(|task| time(of(task), "end_date")).into_iter().max().unwrap();
    let delay = time(of("each"), "end_date") - last_output;
    assert!(delay.to_std().unwrap_or_default() <= MAX_DELAY, "{delay}");
    let run = run.replace('+', "%2B");
    let page = installation.get(&format!("/dags/crossed/runs/{run}/tasks/each"), &admin).await;
    assert!(page.body.contains(REASON), "{page:?}");

    let run_before = installation.get(&run_path, &admin).await.json();
    assert_eq!(run_before["state"], "running", "{run_before}");
    let cancel = format!("/api/orch/v1/dags/crossed/runs/{run}/cancel");
    let cancelled = installation.send_json("POST", &cancel, &admin, &Value::Null).await;
    assert_eq!((cancelled.status, &cancelled.json()["state"]), (200, &json!("failed")), "{cancelled:?}");
}
