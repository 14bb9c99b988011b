//! Compares decisions with Airflow 3.3.2, as recorded in `tests/oracle/` (see its README).

use crate::recorded::{
    Cases, Over, Played, RecordedCase, file, is_mapped, is_otherwise_on_purpose, maps_over_elements_that_gave_nothing,
    play, random, table,
};
use orch_core::plan::Plan;
use orch_core::rule::{Counts, Decision, decide, decide_setups};
use orch_document::file::parse;
use orch_spec::state::TaskState;
use orch_spec::{DagSpec, GroupSpec, MapSpec, Source, TaskSpec, TriggerRule};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

// ------------------------------------------------------------------------------------------- single decisions

#[derive(Deserialize)]
struct Rules {
    work: BTreeMap<TriggerRule, BTreeMap<String, String>>,
    setup_among_upstreams: BTreeMap<TriggerRule, BTreeMap<String, String>>,
    setups_behind: BTreeMap<TriggerRule, BTreeMap<String, String>>,
    elements: BTreeMap<TriggerRule, BTreeMap<String, [String; 3]>>,
}

fn add(counts: &mut Counts, letters: &str, setup: bool) {
    for letter in letters.chars() {
        let state = match letter {
            's' => TaskState::Success,
            'f' => TaskState::Failed,
            'k' => TaskState::Skipped,
            'u' => TaskState::UpstreamFailed,
            'r' => TaskState::Removed,
            _ => TaskState::None,
        };
        counts.add(state, 1, setup);
    }
}

fn word(decision: Decision) -> String {
    match decision {
        Decision::Wait => "wait".into(),
        Decision::Run => "run".into(),
        Decision::End(state) => state.to_string(),
    }
}

/// Fails with all differences in one message, so that a changed rule shows its whole effect.
fn same(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{} differences in {what}:\n{}", wrong.len(), wrong[..wrong.len().min(30)].join("\n"));
}

#[test]
fn every_rule_decides_as_airflow_for_every_mix_of_upstreams() {
    let rules: Rules = table("trigger_rules.json");
    let mut wrong = Vec::new();
    for (rule, cases) in &rules.work {
        for (states, expected) in cases {
            let mut counts = Counts::default();
            add(&mut counts, states, false);
            let ours = word(decide(*rule, &counts, -1));
            if ours != *expected {
                wrong.push(format!("{rule:?} {states}: ours {ours}, airflow's {expected}"));
            }
        }
    }
    for (rule, cases) in &rules.setup_among_upstreams {
        for (states, expected) in cases {
            let (setup, work) = states.split_once('|').expect("setup | work");
            let mut counts = Counts::default();
            add(&mut counts, setup, true);
            add(&mut counts, work, false);
            let ours = word(decide(*rule, &counts, -1));
            if ours != *expected {
                wrong.push(format!("{rule:?} setup {states}: ours {ours}, airflow's {expected}"));
            }
        }
    }
    for (rule, cases) in &rules.elements {
        for (states, expected) in cases {
            let mut counts = Counts::default();
            add(&mut counts, states, false);
            for (index, expected) in (0..).zip(expected) {
                let ours = word(decide(*rule, &counts, index));
                if ours != *expected {
                    wrong.push(format!("{rule:?} element {index} of {states}: ours {ours}, airflow's {expected}"));
                }
            }
        }
    }
    same("trigger rules", &wrong);
}

#[test]
fn setups_that_a_task_needs_without_naming_them_decide_first() {
    let rules: Rules = table("trigger_rules.json");
    let mut wrong = Vec::new();
    for (rule, cases) in rules.setups_behind.iter().filter(|(rule, _)| **rule != TriggerRule::Always) {
        for (states, expected) in cases {
            let (behind, between) = states.split_once('|').expect("setups | between");
            let (mut setups, mut up) = (Counts::default(), Counts::default());
            add(&mut setups, behind, true);
            add(&mut up, between, false);
            let own = decide(*rule, &up, -1);
            let ours = word(match decide_setups(&setups, -1) {
                Decision::End(state) => Decision::End(state),
                Decision::Run => own,
                Decision::Wait if own == Decision::Run => Decision::Wait,
                Decision::Wait => own,
            });
            if ours != *expected {
                wrong.push(format!("{rule:?} {states}: ours {ours}, airflow's {expected}"));
            }
        }
    }
    same("setups behind", &wrong);
}

// ------------------------------------------------------------------------------------------- whole runs

pub(crate) fn plan_of(case: &RecordedCase) -> Arc<Plan> {
    Arc::new(Plan::new(Arc::new(spec(case))).expect("Airflow took it, so do we"))
}

fn spec(case: &RecordedCase) -> DagSpec {
    let map = |over: &Over| {
        MapSpec::Each(match over {
            Over::Literal(n) => Source::Value(json!(vec![0; *n])),
            Over::Over(id) if is_mapped(case, id) => Source::Collected(id.clone()),
            Over::Over(id) => Source::Output(id.clone()),
        })
    };
    let mut dag: DagSpec = serde_json::from_value(json!({ "dag_id": case.id, "tasks": [] })).expect("a spec");
    for g in &case.groups {
        let mut group: GroupSpec = serde_json::from_value(json!({ "group_id": g.id })).expect("a group");
        group.map = g.map.as_ref().map(map);
        dag.groups.push(group);
    }
    for t in &case.tasks {
        let mut task: TaskSpec = serde_json::from_value(json!({
            "task_id": t.id,
            "kind": t.kind.as_deref().unwrap_or("rust"),
            "after": t.upstream,
            "group_id": t.group,
            "role": t.role.as_deref().unwrap_or("work"),
            "trigger_rule": t.rule,
            "on_failure_fail_run": t.on_failure_fail_run,
        }))
        .expect("a task");
        task.map = t.map.as_ref().map(map);
        dag.tasks.push(task);
    }
    dag
}

fn compare(file: &str, allowed_to_differ: usize) {
    let cases: Cases = table(file);
    let (mut wrong, mut differing, mut compared) = (Vec::new(), 0, 0);
    for case in &cases.cases {
        let plan = plan_of(case);
        let (ours, too_late) = play(case, &plan, case.order.iter().copied());
        let theirs = &case.result;
        let alternative: Option<Played> =
            case.otherwise.clone().map(|v| serde_json::from_value(v).expect("as the README says"));
        let as_a_whole = case.quirks.contains_key("decided_as_a_whole") && ours.run == theirs.run;
        if maps_over_elements_that_gave_nothing(case)
            || too_late
            || case.quirks.contains_key("choice_ignored")
            || as_a_whole
        {
            differing += 1;
            continue;
        }
        compared += 1;
        // In Airflow an eager trigger rule was applied before the task that returns the list was decided. orch decides
        // tasks in topological order.
        if case.quirks.contains_key("expanded_without_list") && ours != *theirs && ours.run == theirs.run {
            differing += 1;
            continue;
        }
        if ours != *theirs && Some(&ours) != alternative.as_ref() {
            let states = theirs.states.iter().filter(|(name, state)| ours.states.get(*name) != Some(state));
            let first: Vec<String> = states
                .take(4)
                .map(|(name, state)| format!("{name} ours {:?} airflow's {state}", ours.states.get(name)))
                .collect();
            let more: Vec<_> = ours.states.keys().filter(|name| !theirs.states.contains_key(*name)).take(3).collect();
            wrong.push(format!(
                "{}: run {} / {}; {} only ours {more:?}; executed alike: {}",
                case.id,
                ours.run,
                theirs.run,
                first.join(", "),
                ours.executed == theirs.executed
            ));
        }
    }
    eprintln!("{file}: {compared} compared, {differing} differ on purpose, {} wrong", wrong.len());
    assert!(differing <= allowed_to_differ, "{differing} cases are left out, more than {allowed_to_differ}");
    same(file, &wrong);
}

#[test]
fn random_runs_end_as_in_airflow() {
    compare("runs.json", 200);
}

#[test]
fn branches_and_short_circuits_skip_as_in_airflow() {
    compare("skips.json", 90);
}

/// Parses the DAG file of a case.
fn read(case: &RecordedCase, text: &str) -> Arc<Plan> {
    let mut dags = parse("case.json", "/dags", text.as_bytes())
        .unwrap_or_else(|problems| panic!("{}: {problems:?}\n{text}", case.id));
    Arc::new(Plan::new(Arc::new(dags.remove(0))).unwrap_or_else(|problems| panic!("{}: {problems:?}", case.id)))
}

#[test]
fn the_same_runs_as_dag_files_end_as_in_airflow_and_alike_in_any_order() {
    let (mut compared, mut in_any_order, mut wrong) = (0, 0, Vec::new());
    for name in ["runs.json", "skips.json"] {
        let cases: Cases = table(name);
        for (seed, case) in (0..).zip(&cases.cases).filter(|(_, case)| !is_otherwise_on_purpose(case)) {
            let plan = read(case, &file(case).to_string());
            let (ours, too_late) = play(case, &plan, case.order.iter().copied());
            if too_late || case.otherwise.is_some() {
                continue;
            }
            compared += 1;
            if ours != case.result {
                wrong.push(format!("{}: {:?}\nairflow's {:?}", case.id, ours.states, case.result.states));
            }
            // If some upstreams fail and others are skipped, the first one to end decides, as in Airflow, so the states
            // can depend on the order. Every order must still end the run.
            let orders = (0..8).map(|n| play(case, &plan, random(seed * 8 + n + 1)).0);
            let ends: Vec<Played> = orders.collect();
            if ends.iter().any(|end| end.run == "running" || end.states.values().any(|state| state == "none")) {
                wrong.push(format!("{} does not end in every order", case.id));
            }
            in_any_order += usize::from(ends.iter().all(|end| end.states == ours.states));
        }
    }
    eprintln!("{compared} compared, {in_any_order} end alike in any order");
    assert!(compared > 1_300 && in_any_order > 1_000, "{compared} compared, {in_any_order} alike in any order");
    same("DAG files", &wrong);
}
