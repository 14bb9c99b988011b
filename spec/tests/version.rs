//! The version of a DAG is a hash of its JSON, including the order of the fields: moving a row of an option table would
//! change the version of every DAG. The expected version was computed before the tables existed.

use orch_spec::DagSpec;
use serde_json::json;

#[test]
fn a_dag_that_says_every_option_keeps_its_version() {
    let options = json!({
        "task_id": "t", "kind": "rust", "retries": 1, "retry_delay_ms": 2, "retry_backoff": 3.5, "max_retry_delay_ms": 4, "timeout_ms": 5,
        "pool": "p", "pool_slots": 6, "queue": "q", "priority": 7, "weight_rule": "absolute", "trigger_rule": "all_done", "max_active": 8,
        "max_active_over_runs": 9, "limits": [{ "name": "l", "most": 1 }], "poll_every_ms": 10, "depends_on_past": true,
        "wait_for_downstream": true, "isolation": "process", "memory_mb": 11, "on_lost": "fail", "on_failure_fail_run": true,
    });
    let dag = json!({
        "dag_id": "d", "description": "x", "aliases": ["a"], "owners": ["o"], "tags": ["t"], "schedule": "once",
        "timetable": "data_interval", "start": "2025-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z", "catchup": true,
        "run_timeout_ms": 1, "max_active_runs": 2, "overlap": "skip", "concurrency": [{ "key": "k", "most": 3 }],
        "max_active_tasks": 4, "max_consecutive_failed_runs": 5, "paused_at_creation": true,
        "params_schema": { "properties": { "k": {} } }, "tasks": [options],
    });
    let spec: DagSpec = serde_json::from_value(dag).expect("a DAG");
    assert_eq!(spec.version(), "b3697aa9b9f5d40f773c88de7e61eeea");
}
