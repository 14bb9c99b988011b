//! Tests of the problems of DAGs that are written as in a declarative file.

use super::problems;
use crate::DagSpec;
use serde_json::{Map, Value, json};

/// Returns a DAG of these tasks. Each value has the differences from `{ "task_id": …, "kind": "rust" }`.
fn dag(tasks: &[(&str, Value)], more: Value) -> DagSpec {
    let task = |(id, fields): &(&str, Value)| {
        let mut task = json!({ "task_id": id, "kind": "rust" });
        merge(&mut task, fields.clone());
        task
    };
    let mut dag = json!({ "dag_id": "d", "tasks": tasks.iter().map(task).collect::<Vec<_>>() });
    merge(&mut dag, more);
    serde_json::from_value(dag).expect("a spec")
}

fn merge(into: &mut Value, fields: Value) {
    let fields: Map<String, Value> = serde_json::from_value(fields).expect("an object");
    into.as_object_mut().expect("an object").extend(fields);
}

fn problem_lines(spec: &DagSpec) -> Vec<String> {
    let text = |p: &super::Problem| format!("{}: {} / {}", p.task_id.as_deref().unwrap_or("-"), p.message, p.hint);
    problems(spec).iter().map(text).collect()
}

/// Checks that the task has exactly this problem.
fn check_task(fields: Value, expected: &str) {
    assert_eq!(problem_lines(&dag(&[("up", json!({})), ("t", fields)], json!({}))), [expected]);
}

fn check_dag(more: Value, expected: &str) {
    assert_eq!(problem_lines(&dag(&[], more)), [expected]);
}

#[expect(clippy::needless_pass_by_value, reason = "`json!(…)` reads better without a borrow")]
fn input(source: Value) -> Value {
    json!([{ "name": "x", "type": "Rows", "source": source }])
}

#[test]
fn a_dag_without_faults_has_no_problem() {
    let spec = dag(
        &[
            ("list", json!({})),
            ("g.a", json!({ "group_id": "g", "inputs": input(json!({ "element": { "group": "g", "part": null } })) })),
            ("g.b", json!({ "group_id": "g", "inputs": input(json!({ "output": "g.a" })), "after": ["g.a"] })),
            ("sum", json!({ "inputs": input(json!({ "outputs": "g.b" })) })),
            (
                "m",
                json!({ "map": { "each": { "outputs": "g.b" } }, "inputs": input(json!({ "element": { "group": null, "part": null } })) }),
            ),
        ],
        json!({ "groups": [{ "group_id": "g", "map": { "each": { "output": "list" } } }],
                "schedule": { "cron": { "expression": "0 2 * * *", "timezone": "Europe/Berlin" } } }),
    );
    assert_eq!(problem_lines(&spec), [""; 0]);
}

#[test]
fn ids_are_letters_and_used_once() {
    let rename = "rename it: letters, digits, `_`, `.` and `-`, at most 250";
    check_dag(json!({ "dag_id": "" }), &format!("-: dag id is empty / {rename}"));
    check_dag(
        json!({ "aliases": ["a/b"] }),
        &format!("-: alias \"a/b\" has the character '/': use letters, digits and `_.-` / {rename}"),
    );
    check_dag(json!({ "aliases": ["d"] }), "-: alias `d` names the dag a second time / leave it out");
    let spec = dag(
        &[("a", json!({})), ("a", json!({})), ("b c", json!({})), ("g", json!({ "group_id": "h" }))],
        json!({ "groups": [{ "group_id": "g" }, { "group_id": "g" }] }),
    );
    assert_eq!(
        problem_lines(&spec),
        [
            "-: group `g` exists already / give it another name",
            "a: task id is used already / name this one with `.id(\"…\")`",
            &format!("b c: task id \"b c\" has the character ' ': use letters, digits and `_.-` / {rename}"),
            "g: it has the name of a group / name one of the two differently",
            "g: it is in group `h`, which does not exist / did you mean `g`?",
        ]
    );
    let nul = "has a NUL character / remove it: Postgres stores no NUL";
    check_dag(json!({ "description": "a\0b" }), &format!("-: `description` {nul}"));
    check_dag(
        json!({ "callbacks": { "on_failure": [{ "connection": "c", "message": "\0" }] } }),
        &format!("-: `callbacks` {nul}"),
    );
    check_dag(json!({ "params_schema": { "properties": { "\0": {} } } }), &format!("-: `params_schema` {nul}"));
    let deep = (0..110).fold(json!(1), |inner, _| json!([inner]));
    check_task(
        json!({ "inputs": input(json!({ "value": deep })) }),
        "t: `inputs` is nested more than 100 deep / put it into a file or a table and name that",
    );
    check_task(json!({ "doc": "a\0b" }), "t: `doc` has a NUL character / remove it: Postgres stores no NUL");
    check_task(json!({ "kind": "" }), "t: it has no kind / say who runs it, for example `kind: shell`");
}

#[test]
fn schedules_and_dates_are_readable() {
    let cron = |expression: &str, timezone: &str| json!({ "schedule": { "cron": { "expression": expression, "timezone": timezone } } });
    check_dag(
        cron("0 25 * * *", "UTC"),
        "-: cron `0 25 * * *`: hour `25` is not valid / the hour must be from 0 to 23",
    );
    for (wrong, hint) in [
        ("europe/berlin", "did you mean `Europe/Berlin`?"),
        ("Berlin", "did you mean `Europe/Berlin`?"),
        ("Europe/Brelin", "did you mean `Europe/Berlin`?"),
        ("Mars/Olympus", "use a name of the IANA list, for example `Europe/Berlin`"),
    ] {
        check_dag(cron("@daily", wrong), &format!("-: timezone `{wrong}` is not known / {hint}"));
    }
    check_dag(
        json!({ "schedule": { "every_ms": 0 } }),
        "-: it runs every 0 ms / use `continuous()` for one run after the other",
    );
    check_dag(
        json!({ "schedule": { "assets": [] } }),
        "-: it waits for assets but names none / name them: `on_assets([asset(\"…\")])`",
    );
    check_dag(
        json!({ "schedule": { "assets_or_time": { "assets": [{ "uri": "a" }], "time": "manual" } } }),
        "-: what it has beside assets is no time / write `asset_or_time(assets, cron(\"…\"))`",
    );
    check_dag(
        json!({ "schedule": "continuous", "max_active_runs": 2 }),
        "-: a continuous dag has one run after the other / remove `.max_active_runs(…)`",
    );
    check_dag(
        json!({ "start": "2025-02-01T00:00:00Z", "end": "2025-01-01T00:00:00Z" }),
        "-: `start` 2025-02-01T00:00:00+00:00 is after `end` 2025-01-01T00:00:00+00:00 / swap the two dates",
    );
}

#[test]
fn assets_have_names_of_their_own() {
    let hint = "write 1 to 1500 bytes that can be seen, for example `lake://gold/sales`";
    check_task(json!({ "outlets": [" "] }), &format!("-: an asset, or its group, cannot be called \" \" / {hint}"));
    check_task(
        json!({ "inlets": [{ "alias": "" }] }),
        &format!("-: an alias of assets cannot be called \"\" / {hint}"),
    );
    check_task(
        json!({ "outlets": [{ "uri": "a", "name": "n" }, { "uri": "b", "name": "n" }] }),
        "-: `a` and `b` are both called `n` / give one of the two assets another name",
    );
    check_task(
        json!({ "outlets": [{ "uri": "a", "fresh_within_ms": 0 }] }),
        "-: asset `a` cannot be fresh within that time / give a time between 1 ms and ten years, or leave it out",
    );
    check_dag(
        json!({ "schedule": { "assets": { "any": [{ "alias": "x" }, []] } } }),
        "-: it waits for assets but names none / name them: `on_assets([asset(\"…\")])`",
    );
}

#[test]
fn numbers_stay_in_their_ranges() {
    check_dag(
        json!({ "max_active_runs": 0 }),
        "-: max_active_runs is 0: nothing would ever run / pause the dag instead, or give at least 1",
    );
    check_dag(
        json!({ "run_timeout_ms": 0 }),
        "-: run_timeout is 0 / give a time between 1 ms and ten years, or leave it out",
    );
    check_task(
        json!({ "retries": 1001 }),
        "t: retries is 1001, more than 1000 / write a smaller number; to wait for something, use a sensor",
    );
    check_task(
        json!({ "retry_backoff": -1.0 }),
        "t: retry_backoff is -1 / give a factor such as 2.0, or 0 for no growth",
    );
    check_task(
        json!({ "retry_delay_ms": u64::MAX }),
        "t: retry_delay is more than ten years / give a time of at most ten years, or leave it out",
    );
    check_task(json!({ "timeout_ms": 0 }), "t: timeout is 0 / give a time of at most ten years, or leave it out");
    let limit = |fields: Value| {
        let mut limit = json!({ "name": "crm", "most": 3 });
        merge(&mut limit, fields);
        json!({ "limits": [limit] })
    };
    check_task(
        limit(json!({ "most": 0 })),
        "t: limit `crm` lets nothing in: the task would never run / give at least 1",
    );
    check_task(
        limit(json!({ "name": "a b" })),
        "t: limit `a b` has a name that cannot be used / letters, digits, `_`, `.` and `-`, at most 250",
    );
    check_task(
        limit(json!({ "key": "order..region" })),
        "t: limit `crm` has an empty key / name a field of the params, such as `customer` or `order.region`",
    );
    check_task(
        limit(json!({ "per_ms": 0 })),
        "t: the time of limit `crm` is 0 / give a time between 1 ms and ten years",
    );
    check_task(
        limit(json!({ "per_ms": 1_000, "most": 1_000_000 })),
        "t: limit `crm` lets 1000000 in, more than 100000 / choose a shorter time with a smaller number",
    );
    check_task(
        json!({ "limits": [{ "name": "crm", "most": 3 }, { "name": "crm", "most": 4 }] }),
        "t: limit `crm` is named twice / name it once: it would wait for itself",
    );
    check_task(
        json!({ "max_active_over_runs": 0 }),
        "t: max_active_over_runs is 0: it would never run / give at least 1",
    );
    check_task(json!({ "pool_slots": 0 }), "t: pool_slots is 0: it would never run / give at least 1");
    check_task(
        json!({ "priority": -100_001 }),
        "t: priority is -100001, outside -100000 to 100000 / the order is what counts: choose smaller numbers",
    );
    check_task(
        json!({ "on_lost": { "retry": 2000 } }),
        "t: on_lost tries 2000 times again, more than 1000 / a few times are enough",
    );
    check_task(json!({ "pool": "" }), "t: pool is an empty name / leave it out for the default");
    check_task(
        json!({ "kind": "sensor", "poll_every_ms": 10, "timeout_ms": 5 }),
        "t: it looks every 10 ms but ends after 5 ms: it would look once / give a longer timeout, or look more often",
    );
    let many: Vec<String> = (0..10_001).map(|n| format!("t{n}")).collect();
    let many: Vec<(&str, Value)> = many.iter().map(|id| (id.as_str(), json!({ "after": ["nobody"] }))).collect();
    let hint = "map one task over a list (`d.map`), which has no such limit, or split the dag";
    assert_eq!(
        problem_lines(&dag(&many, json!({}))),
        [format!("-: it has 10001 tasks and 0 groups, more than 10000 / {hint}")]
    );
}

#[test]
fn every_upstream_exists_and_none_is_its_own() {
    check_task(json!({ "after": ["upp"] }), "t: it waits for `upp`, which does not exist / did you mean `up`?");
    check_task(
        json!({ "inputs": input(json!({ "output": "extract" })) }),
        "t: it waits for `extract`, which does not exist / add that task, or remove the edge",
    );
    check_task(
        json!({ "after": ["t"] }),
        "t: it is in a cycle of dependencies: `t` → `t` / remove one of these dependencies, for example that of `t` on `t`",
    );
    let edge = |up: &str| json!({ "after": [up] });
    let two = dag(
        &[("a", edge("c")), ("b", edge("a")), ("c", edge("b")), ("d", edge("e")), ("e", edge("d")), ("f", edge("a"))],
        json!({}),
    );
    assert_eq!(
        problem_lines(&two),
        [
            "a: it is in a cycle of dependencies: `a` → `b` → `c` → `a` / remove one of these dependencies, for example that of `a` on `c`",
            "d: it is in a cycle of dependencies: `d` → `e` → `d` / remove one of these dependencies, for example that of `d` on `e`",
        ]
    );
    let own_list = dag(
        &[("g.a", json!({ "group_id": "g" }))],
        json!({ "groups": [{ "group_id": "g", "map": { "each": { "outputs": "g.a" } } }] }),
    );
    assert_eq!(
        problem_lines(&own_list),
        [
            "g.a: it is in a cycle of dependencies: `g.a` → `g.a` / remove one of these dependencies, for example that of `g.a` on `g.a`"
        ]
    );
    let order = dag(&[("a", edge("b")), ("b", json!({}))], json!({}));
    assert_eq!(problem_lines(&order), ["a: it stands before `b`, which it waits for / list upstreams first"]);
}

#[test]
fn a_chain_of_the_largest_size_is_checked_without_recursion() {
    let ids: Vec<String> = (0..10_000).map(|n| format!("t{n}")).collect();
    let mut chain: Vec<(&str, Value)> = ids.iter().map(|id| (id.as_str(), json!({}))).collect();
    for (place, id) in ids.iter().enumerate().take(9_999) {
        chain[place + 1].1 = json!({ "after": [id] });
    }
    assert_eq!(problem_lines(&dag(&chain, json!({}))), [""; 0]);
    chain[0].1 = json!({ "after": ["t9999"] });
    assert_eq!(problem_lines(&dag(&chain, json!({}))).len(), 1);
}

#[test]
fn elements_stay_in_their_map() {
    let element = |group: Value, part: Value| input(json!({ "element": { "group": group, "part": part } }));
    check_task(
        json!({ "inputs": element(Value::Null, Value::Null) }),
        "t: it uses the element of another task's map / keep the element inside its `d.map` closure",
    );
    check_task(
        json!({ "inputs": element(json!("g"), Value::Null) }),
        "t: it uses the element of group `g` outside that group / keep the element inside the closure of its `map_group`",
    );
    check_task(
        json!({ "map": { "each": { "value": [1] } }, "inputs": element(Value::Null, json!(0)) }),
        "t: it takes part 0 of an element that has 0 / parts count from 0, and only `zip` and `cross` have them",
    );
    check_task(
        json!({ "map": { "cross": [{ "value": [1] }, { "value": [2] }] }, "inputs": element(Value::Null, json!(2)) }),
        "t: it takes part 2 of an element that has 2 / parts count from 0, and only `zip` and `cross` have them",
    );
}

#[test]
fn maps_are_over_lists_and_not_in_maps() {
    check_task(json!({ "map": { "each": { "value": 5 } } }), "t: it maps over 5, which is not a list / give a list");
    check_task(json!({ "map": { "zip": [] } }), "t: it maps over nothing / give a list");
    check_task(
        json!({ "map": { "zip": [{ "value": [1, 2] }, { "value": [1] }] } }),
        "t: it zips lists of 2 and 1 elements / give lists of the same length, or use `cross(a, b)`",
    );
    check_task(
        json!({ "map": { "each": { "outputs": "up" } } }),
        "t: it takes the list of all outputs of `up`, which is not mapped / take its output",
    );
    let over = json!({ "each": { "value": [1] } });
    let nested = dag(
        &[("g.h.t", json!({ "group_id": "g.h", "map": over }))],
        json!({ "groups": [{ "group_id": "g", "map": over }, { "group_id": "g.h", "map": over }] }),
    );
    assert_eq!(
        problem_lines(&nested),
        [
            "-: group `g.h` is mapped inside the mapped group `g` / remove this map, and map group `g` over every pair: `cross(a, b)`",
            "g.h.t: it is mapped inside the mapped group `g` / remove this map, and map group `g` over every pair: `cross(a, b)`",
        ]
    );
}

#[test]
fn one_output_or_all_of_them_as_the_upstream_gives() {
    let over = json!({ "each": { "value": [1] } });
    let spec = dag(
        &[
            ("m", json!({ "map": over })),
            ("g.a", json!({ "group_id": "g" })),
            ("g.b", json!({ "group_id": "g", "inputs": input(json!({ "outputs": "g.a" })) })),
            ("one", json!({ "inputs": input(json!({ "output": "m" })) })),
            ("two", json!({ "inputs": input(json!({ "list": [{ "output": "g.a" }] })) })),
        ],
        json!({ "groups": [{ "group_id": "g", "map": over }] }),
    );
    assert_eq!(
        problem_lines(&spec),
        [
            "g.b: it takes all outputs of `g.a` inside the same mapped group `g` / take the output of the same element, or join outside the group",
            "one: it takes one output of `m`, which is mapped and gives a list / take the list, or map over it",
            "two: it takes the output of one element of `g.a` / give it back from the closure of group `g`: outside it is a `Mapped`",
        ]
    );
}

#[test]
fn a_lenient_rule_needs_optional_inputs() {
    let lenient = |source: Value, type_name: &str| json!({ "trigger_rule": "all_done", "inputs": [{ "name": "x", "type": type_name, "source": source }] });
    check_task(
        lenient(json!({ "output": "up" }), "Rows"),
        "t: it may run although `x` has no value / make the parameter `x: Option<Rows>`",
    );
    check_task(
        lenient(json!({ "list": [{ "output": "up" }] }), "Vec<Rows>"),
        "t: it may run although `x` has no value / make the parameter `x: Vec<Option<Rows>>`",
    );
    check_task(
        lenient(json!({ "output": "up" }), ""),
        "t: it may run although `x` has no value / mark the input `x` as optional, or use the trigger rule all_success",
    );
    for fine in [json!({ "value": 1 }), json!("params"), json!({ "list": [{ "value": 1 }] })] {
        assert_eq!(problem_lines(&dag(&[("t", lenient(fine, "Rows"))], json!({}))), [""; 0]);
    }
    let optional = json!([{ "name": "x", "type": "Option<Rows>", "optional": true, "source": { "output": "up" } }]);
    assert_eq!(
        problem_lines(&dag(
            &[("up", json!({})), ("t", json!({ "trigger_rule": "all_done", "inputs": optional }))],
            json!({})
        )),
        [""; 0]
    );

    let over = json!({ "each": { "value": [1] } });
    let element = json!({ "element": { "group": null, "part": null } });
    let mut mapped = lenient(element, "Rows");
    merge(&mut mapped, json!({ "map": { "each": { "outputs": "m" } } }));
    let collected = |type_name: &str| json!({ "trigger_rule": "all_done", "inputs": [{ "name": "x", "type": type_name, "optional": true, "source": { "collected": "m" } }] });
    let upstream = json!({ "map": over });
    let tasks = [("m", upstream.clone()), ("t", mapped), ("u", collected("Option<Vec<Rows>>"))];
    assert_eq!(
        problem_lines(&dag(&tasks, json!({}))),
        [
            "t: it may run although `x` has no value / make the parameter `x: Option<Rows>`",
            "u: it may run although `x` has no value / give the `Mapped` itself and make the parameter `x: Vec<Option<Rows>>`",
        ]
    );
    for (type_name, element) in [
        ("Option<Vec<Vec<Rows>>>", "Vec<Rows>"),
        ("Option<Vec<HashMap<String, Vec<u8>>>>", "HashMap<String, Vec<u8>>"),
        ("Option<Vec<Option<Rows>>>", "Rows"),
    ] {
        let problem = format!(
            "u: it may run although `x` has no value / give the `Mapped` itself and make the parameter `x: Vec<Option<{element}>>`"
        );
        let tasks = [("m", upstream.clone()), ("u", collected(type_name))];
        assert_eq!(problem_lines(&dag(&tasks, json!({}))), [problem]);
    }
}

#[test]
fn params_are_an_object() {
    check_dag(
        json!({ "params_schema": { "type": "string" } }),
        "-: its params are no object with names / use a struct: each field is one param",
    );
}

#[test]
fn runs_are_limited_by_params_there_are() {
    let schema = json!({ "type": "object", "properties": { "customer": {} } });
    let by = |key: &str, most: u32| json!({ "params_schema": schema, "concurrency": [{ "key": key, "most": most }] });
    assert_eq!(problem_lines(&dag(&[], by("customer.id", 1))), [""; 0]);
    check_dag(by("customer", 0), "-: at most 0 runs for each `customer`: nothing would ever run / give at least 1");
    check_dag(
        by("costumer", 1),
        "-: it limits its runs by `costumer`, which is not one of its params / name a param; dots lead into objects",
    );
}

#[test]
fn conditions_can_hold() {
    check_task(
        json!({ "when": [{ "source": "params", "equals": [1] }] }),
        "t: its condition asks neither the output of one task nor an element / let a task look at the value and give the answer",
    );
    check_task(
        json!({ "when": [{ "source": { "output": "up" }, "equals": [] }] }),
        "t: it can never run: its condition lists no value / list the values it runs for",
    );
}

#[test]
fn setups_and_teardowns_keep_their_places() {
    let setup = ("s", json!({ "role": "setup" }));
    let spec = dag(
        &[
            setup,
            ("work", json!({ "after": ["s"], "trigger_rule": "none_failed" })),
            ("loud", json!({ "on_failure_fail_run": true })),
            ("down", json!({ "role": "teardown", "inputs": input(json!({ "output": "s" })), "after": ["work"] })),
            ("late", json!({ "role": "teardown", "trigger_rule": "always" })),
            ("takes", json!({ "role": "teardown", "inputs": input(json!({ "output": "work" })) })),
        ],
        json!({}),
    );
    assert_eq!(
        problem_lines(&spec),
        [
            "work: it follows the setup `s` but may run although that failed / put a task with the rule all_success between the two",
            "loud: on_failure_fail_run is set, but it is no teardown / remove it: the failure of a leaf fails the run anyway",
            "late: a teardown has a trigger rule of its own, all_done_setup_success / remove `.trigger_rule(…)`",
            "takes: it may run although `x` has no value / make the parameter `x: Option<Rows>`",
        ]
    );
}

/// Returns the problems of a branch `t` that leads to `x` directly downstream. `more` has the differences in its
/// config.
fn of_choice(more: Value) -> Vec<String> {
    let mut config = json!({ "subject": "Which?", "options": ["a", "x"], "follow": { "a": "x" } });
    merge(&mut config, more);
    let after = json!({ "after": ["t"] });
    let choice = ("t", json!({ "kind": "input", "config": config }));
    problem_lines(&dag(&[("other", json!({})), choice, ("x", after), ("deeper", json!({ "after": ["x"] }))], json!({})))
}

#[test]
fn a_choice_leads_to_tasks_right_after_it() {
    assert_eq!(of_choice(json!({})), [""; 0]);
    assert_eq!(
        of_choice(json!({ "follow": { "b": "x", "a": "x" } })),
        ["t: it follows `x` for `b`, which is no option / did you mean `a`?"]
    );
    assert_eq!(
        of_choice(json!({ "follow": { "a": "deper" } })),
        ["t: for `a` it follows `deper`, which does not exist / did you mean `deeper`?"]
    );
    assert_eq!(
        of_choice(json!({ "follow": { "a": "something" } })),
        ["t: for `a` it follows `something`, which does not exist / add that task right after `t`"]
    );
    assert_eq!(
        of_choice(json!({ "options": ["a", "leave"] })),
        ["t: for `leave` it follows `leave`, which does not exist / say with `.follow(…)` which task follows `leave`"]
    );
    for far in ["other", "deeper"] {
        assert_eq!(
            of_choice(json!({ "follow": { "a": far } })),
            [format!("t: for `a` it follows `{far}`, which is not right after it / let `{far}` wait for `t`")]
        );
    }
    // Without `follow` the task is not a branch.
    assert_eq!(of_choice(json!({ "options": ["a", "b"], "follow": null })), [""; 0]);
}

#[test]
fn a_choice_in_a_group_may_leave_out_the_prefix_of_its_group() {
    let config = json!({ "subject": "Which?", "options": ["a", "b"], "follow": { "a": "x", "b": "g.x" } });
    let choice = ("g.t", json!({ "kind": "input", "config": config, "group_id": "g" }));
    let groups = json!({ "groups": [{ "group_id": "g" }] });
    assert_eq!(problem_lines(&dag(&[choice, ("g.x", json!({ "after": ["g.t"], "group_id": "g" }))], groups)), [""; 0]);
}

#[test]
fn a_question_that_cannot_be_asked_is_refused_before_anybody_is() {
    let of =
        |kind: &str, config: Value| problem_lines(&dag(&[("t", json!({ "kind": kind, "config": config }))], json!({})));
    assert_eq!(of("approval", json!({ "subject": "Go?", "defaults": ["Reject"] })), [""; 0]);
    assert_eq!(
        of("approval", json!({ "subject": "Go?", "defaults": ["No"] })),
        ["t: it cannot ask this: its defaults: `No` is no option: choose of Approve, Reject / change the question"]
    );
    assert_eq!(
        of("input", json!({ "subject": " " })),
        ["t: it cannot ask this: the subject is empty: say what is to be decided / change the question"]
    );
    assert_eq!(of("rust", json!({ "subject": " " })), [""; 0], "a task of another kind asks what it likes");
}
