//! Rejections at start-up of DAGs written in Rust. Rejections of DAG data are tested in its own crate.

use orch::prelude::*;
use std::collections::HashMap;

#[task]
async fn days() -> TaskResult<Vec<String>> {
    Ok(vec!["mon".into()])
}

#[task]
async fn load(day: String) -> TaskResult<u64> {
    Ok(day.len() as u64)
}

#[task]
async fn strict(rows: Vec<u64>) -> TaskResult<u64> {
    Ok(rows.iter().sum())
}

#[task]
async fn keyed(rows: HashMap<Key, u64>) -> TaskResult<u64> {
    Ok(rows.values().sum())
}

#[derive(Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Key {
    day: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct One {
    a: u32,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Two {
    b: u32,
}

fn problems(dag: &Dag) -> String {
    let problems = dag.check().expect_err("this DAG is wrong");
    problems.iter().map(|p| p.to_string() + "\n").collect()
}

fn check(dag: &Dag, expected: &[&str]) {
    let text = problems(dag);
    for line in expected {
        assert!(text.contains(line), "missing: {line}\nin:\n{text}");
    }
    assert_eq!(text.matches("error: ").count(), expected.iter().filter(|l| l.starts_with("error: ")).count(), "{text}");
}

#[test]
fn start_up_names_everything_that_is_wrong_at_once() {
    let dag = dag("week").schedule("0 0 2 * * * 2026").start("yesterday").build(|d| {
        let days = d.add(days());
        let loaded = d.map(days, load);
        d.add(strict(loaded).trigger_rule(AllDone));
        d.add(load("mon"));
    });
    check(
        &dag,
        &[
            "error: dag `week`, task `strict`: it may run although `rows` has no value\n  at orch/tests/start_up.rs:",
            "hint: make the parameter `rows: Vec<Option<u64>>`",
            "error: dag `week`, task `load`: task id is used already at orch/tests/start_up.rs:",
            "hint: name this one with `.id(\"…\")`",
            "error: dag `week`: cron `0 0 2 * * * 2026` has 7 fields, not 5 or 6",
            "error: dag `week`: start `yesterday` is not a date\n  at orch/tests/start_up.rs:",
            "hint: write `2025-01-01`, `2025-01-01T06:30` or `2025-01-01T06:30:00+01:00`",
        ],
    );
}

#[test]
fn what_belongs_to_one_element_stays_in_its_group() {
    let dag = dag("week").build(|d| {
        let mut kept = None;
        let days = d.add(days());
        d.map_group("each", days, |g, day| {
            kept = Some((g.add(load(day)), day));
            g.map(["mon"], |day| load(day).id("again"));
        });
        let (rows, day) = kept.expect("the closure ran");
        d.add(strict([rows]));
        d.add(load(day).after(day).id("late"));
    });
    check(
        &dag,
        &[
            "error: dag `week`, task `late`: it waits for the element of a map as if it were a task",
            "error: dag `week`, task `each.again`: it is mapped inside the mapped group `each`",
            "error: dag `week`, task `strict`: it takes the output of one element of `each.load`",
            "hint: give it back from the closure of group `each`: outside it is a `Mapped`",
            "error: dag `week`, task `late`: it uses the element of group `each` outside that group",
        ],
    );
}

#[test]
fn the_element_of_one_map_is_not_that_of_another() {
    let dag = dag("week").build(|d| {
        let mut kept = None;
        d.map(["mon"], |day| {
            kept = Some(day);
            load(day)
        });
        let monday = kept.expect("the closure ran");
        d.map(["a"], |_| load(monday).id("other"));
        d.map(d.add(days()), |day| {
            d.add(load(day).id("single"));
            load(day).id("each")
        });
    });
    check(
        &dag,
        &[
            "error: dag `week`, task `other`: it uses the element of another task's map",
            "error: dag `week`, task `single`: it uses the element of another task's map",
            "hint: keep the element inside its `d.map` closure; for several tasks an element use `d.map_group`",
        ],
    );
}

#[test]
fn a_mapped_group_gives_outputs_of_its_own_tasks() {
    let dag = dag("week").build(|d| {
        let one = d.add(load("mon").id("one"));
        let outside = d.map_group("g", ["a"], |_, _| one);
        d.add(strict(outside));
        let element = d.map_group("h", [7u64], |_, element| element);
        d.add(strict(element).id("of_element"));
    });
    check(
        &dag,
        &[
            "error: dag `week`, task `strict`: it takes the list of all outputs of `one`, which is not mapped",
            "error: dag `week`, task `of_element`: it waits for the element of a map as if it were a task",
        ],
    );
}

#[test]
fn values_that_are_no_json_are_named() {
    let dag = dag("week").build(|d| {
        let day = Key { day: "mon".into() };
        d.add(keyed(HashMap::from([(day, 1)])));
    });
    check(
        &dag,
        &[
            "error: dag `week`, task `keyed`: an input is not JSON: key must be a string",
            "hint: map keys must be strings",
        ],
    );
}

#[test]
fn params_have_one_type() {
    let dag = dag("week").build(|d| {
        d.params::<One>();
        d.params::<Two>();
    });
    check(&dag, &["error: dag `week`: params are declared twice with different types"]);
    let list = orch::dag("week").build(|d| {
        d.params::<Vec<String>>();
    });
    check(&list, &["error: dag `week`: its params are no object with names"]);
}

#[test]
fn a_bundle_tells_the_problems_of_all_its_dags_once() {
    let wrong = orch::bundle(
        "main",
        [
            dag("a").schedule("daily").build(|_| {}),
            dag("b").start("soon").build(|_| {}),
            dag("a").build(|_| {}),
            dag("c").alias("b").build(|_| {}),
        ],
    );
    let text: String = wrong.expect_err("it is wrong").iter().map(|p| p.to_string() + "\n").collect();
    let expected = [
        "dag `a`: `daily` is neither a cron expression nor a preset",
        "dag `b`: start `soon` is not a date",
        "dag `a`: dag id `a` is the id of the dag `a` at orch/tests/start_up.rs:",
        "dag `c`: alias `b` is the id of the dag `b` at orch/tests/start_up.rs:",
    ];
    for line in expected {
        assert_eq!(text.matches(line).count(), 1, "not once: {line}\nin:\n{text}");
    }
    assert_eq!(text.matches("error: ").count(), 4, "{text}");
    assert_eq!(dag("b").start("soon").build(|_| {}).into_bundle_dag().expect_err("it is wrong").len(), 1);
}
