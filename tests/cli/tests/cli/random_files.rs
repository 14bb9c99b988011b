//! Random DAGs as DAG files, run with the real binary, with tasks that take a short time and programs with scripted
//! exit codes: they must end in the states that Airflow's own code produced.

use crate::recorded::{Cases, RecordedCase, file, is_otherwise_on_purpose, play, random, table};
use crate::world::World;
use orch_core::plan::Plan;
use orch_document::file::parse;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

/// Divisor: only a part of the recorded cases is run; with `ORCH_TEST_LONG` ten times more.
const ONE_OF: usize = 40;
/// Number of completion orders that are tried in the model.
const ORDERS: u64 = 60;

/// Returns a case and its DAG file, if it ends in the same states for every order of completions.
fn steady(case: RecordedCase, seed: u64) -> Option<(RecordedCase, String)> {
    if is_otherwise_on_purpose(&case) || case.otherwise.is_some() {
        return None;
    }
    let text = file(&case).to_string();
    let dag = parse("case.json", "/dags", text.as_bytes()).expect("it is a DAG file").remove(0);
    let plan = Arc::new(Plan::new(Arc::new(dag)).expect("it is a DAG"));
    let recorded = play(&case, &plan, case.order.iter().copied());
    let mut orders = (0..ORDERS).map(|n| play(&case, &plan, random(seed * ORDERS + n + 1))).chain([recorded]);
    orders.all(|(end, too_late)| !too_late && end.states == case.result.states).then_some((case, text))
}

/// Returns the state of each instance of a run, by names such as `task[-1]`.
fn states(world: &World, case: &RecordedCase) -> BTreeMap<String, String> {
    let told = world.run(&["tasks", "states-for-dag-run", &case.id, "random", "-o", "json"]).done();
    let rows: Vec<Value> = serde_json::from_str(&told).expect("it is JSON");
    let name = |row: &Value| {
        let index = row["map_index"].as_i64().or_else(|| row["map_index"].as_str()?.parse().ok()).unwrap_or(-1);
        format!("{}[{index}]", row["task_id"].as_str().unwrap_or_default())
    };
    rows.iter().map(|row| (name(row), row["state"].as_str().unwrap_or_default().to_owned())).collect()
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "how long a test takes is said by the environment")]
async fn random_dag_files_end_as_in_airflow() {
    let one_of = if std::env::var_os("ORCH_TEST_LONG").is_some() { ONE_OF / 10 } else { ONE_OF };
    let mut world = World::new().await;
    let folder = world.path().join("dag-files");
    fs::create_dir(&folder).unwrap();
    let mut cases = Vec::new();
    for name in ["runs.json", "skips.json"] {
        let recorded: Cases = table(name);
        let chosen = (0..).zip(recorded.cases).step_by(one_of);
        cases.extend(chosen.filter_map(|(seed, case)| steady(case, seed)));
    }
    assert!(cases.len() > 25, "{} cases end alike in any order", cases.len());
    for (case, text) in &cases {
        fs::write(folder.join(format!("{}.json", case.id)), text).unwrap();
    }
    world.set("ORCH_DAGS_FOLDER", folder.to_str().unwrap());
    world.start(&["worker", "--lease", "2s", "--paused-at-creation=false"]);
    world.start(&["scheduler"]);
    let last = cases.last().expect("there are some").0.id.clone();
    world.wait_for(&["dags", "export", &last], |ended| ended.code == 0);
    assert_eq!(world.run(&["dags", "list-import-errors"]).code, 0);
    for (case, _) in &cases {
        world.run(&["dags", "trigger", &case.id, "--run-id", "random"]).done();
    }
    let mut wrong = Vec::new();
    for (case, _) in &cases {
        let ended = world.run(&["runs", "wait", &case.id, "random", "--timeout", "2m"]);
        let run = if ended.code == 0 { "success" } else { "failed" };
        let found = states(&world, case);
        if found != case.result.states || run != case.result.run {
            wrong.push(format!("{}: {run} {found:?}\nairflow's {} {:?}", case.id, case.result.run, case.result.states));
        }
    }
    assert!(wrong.is_empty(), "{} of {} runs end otherwise:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    // Verifies each decision of each run from the stored history.
    world.run(&["doctor", "--verify-history"]).done();
}
