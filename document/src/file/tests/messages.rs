//! Messages for typical mistakes of new users: the value, the reason and the next step.

use super::*;

const A: &str = "dag_id: a\ntasks:\n  t: {bash: 'true'}\n";

#[test]
fn an_expression_without_quotes_is_told_with_its_column() {
    for (line, place, text, key) in [
        ("schedule: * * * * *", "4:11", "* * * * *", "schedule"),
        ("schedule: */5 * * * *   # often", "4:11", "*/5 * * * *", "schedule"),
        ("schedule: @daily", "4:11", "@daily", "schedule"),
        ("schedule: {cron: */5 * * * *, timezone: UTC}", "4:18", "*/5 * * * *", "cron"),
    ] {
        let (first, rest) = (&text[..1], format!("{A}{line}\n"));
        let expected = format!(
            "{place}: `{text}` is not in quotes: a text of YAML cannot begin with `{first}` / put the cron expression in quotes: \
            `{key}: \"{text}\"`"
        );
        wrong(&rest, &[&expected]);
    }
    wrong(
        &format!("{A}description: @here\n"),
        &["4:14: `@here` is not in quotes", "put the text in quotes: `description: \"@here\"`"],
    );
}

#[test]
fn bad_indentation_is_told_with_its_line() {
    wrong(
        "dag_id: a\ntasks:\n  t:\n    bash: echo\n   retries: 2\n",
        &[
            "5:4: it is not YAML: ",
            "/ check the indentation: line 5 begins with 3 spaces, the line above it with 4; keys of one object",
        ],
    );
    wrong(
        "dag_id: a\ntasks:\n  t:\n    bash: echo\n      retries: 2\n",
        &["check the indentation: line 5 begins with 6 spaces"],
    );
    wrong(
        "dag_id: a\ntasks:\n  t:\n    bash: echo a: b\n",
        &["put a text that contains `: ` in quotes: `bash: \"…\"`"],
    );
    wrong("dag_id: a\ntasks:\n\tt: {bash: echo}\n", &["indent with spaces: YAML does not allow tabs there"]);
    wrong(
        "dag_id: a\ntasks:\n  t:\n  bash: echo\n",
        &["4:9: task `bash` cannot be a text / `bash` is a key of a task: indent it below the name of its task"],
    );
}

#[test]
fn cron_expressions_and_time_zones_are_told_at_their_lines() {
    wrong(&format!("{A}schedule: '61 * * * *'\n"), &["4:11: ", "61"]);
    wrong(
        &format!("{A}schedule:\n  cron: '0 25 * * *'\n  timezone: Europe/Berln\n"),
        &["5:9: ", "6:13: ", "Europe/Berlin"],
    );
    wrong(&format!("{A}schedule:\n  assets: [x://y]\n  or: '0 0 32 * *'\n"), &["6:7: "]);
}

#[test]
fn words_of_other_orchestrators_have_hints() {
    wrong(
        "dag_id: a\ntasks:\n  t: {bash: 'true', trigger_rule: all_finished}\n",
        &["3:35: `trigger_rule` cannot be `all_finished` / did you mean `all_done`?"],
    );
    wrong(
        "dag_id: a\ntasks:\n  t:\n    bigquery: {sql: select 1}\n    retries: 1\n",
        &["4:5: task `t`: there is no operator `bigquery` / the operators are `bash`, `python`, `sql`, "],
    );
    let problems = parsed("dag_id: a\ntasks:\n  t: {bigquery: {sql: select 1}}\n").expect_err("unknown");
    assert_eq!(problems.len(), 1, "{problems:?}");
    wrong(
        "dag_id: a\ntasks:\n  t: {operator: BashOperator}\n",
        &["the name of the operator is the key: `bash: echo hello`"],
    );
    wrong(
        "dag_id: a\ntasks:\n  t: {bash: x, frobnicate: 1}\n",
        &["unknown key `frobnicate` in task `t` / `orch dags schema` prints all keys"],
    );
}

#[test]
fn a_missing_key_is_named_with_a_line_that_has_it() {
    wrong("tasks: {}\n", &["1:1: `dag_id` is missing in a DAG / add a line such as `dag_id: nightly_sales`"]);
    wrong("dag_id: a\n", &["`tasks` is missing in a DAG / add a line such as `tasks: {hello: {bash: echo hello}}`"]);
    wrong(
        "dag_id: a\ntasks:\n  t: {sql: {connection: c}}\n",
        &["3:12: `statement` is missing in `sql` / add a line such as `statement: 'select 1'`"],
    );
}

#[test]
fn a_path_names_a_dag_file_by_its_last_part() {
    for path in ["x.yaml", "./x.yaml", "../x.yml", "/srv/.git/x.json", "a/b.YAML"] {
        assert!(is_dag_file(path), "{path}");
    }
    for path in [".x.yaml", "a/.x.yaml", "x.endpoint.yaml", "dags/dag-file.schema.json", "x.py", "x"] {
        assert!(!is_dag_file(path), "{path}");
    }
}

#[test]
fn a_misspelt_required_key_is_reported_once() {
    for file in ["dag_ids: a\ntasks: {}\n", "id: a\ntasks: {}\n"] {
        let problems = parsed(file).expect_err(file);
        assert_eq!(problems.len(), 1, "{}", words(&problems));
        assert!(words(&problems).contains("`dag_id`"), "{}", words(&problems));
    }
    assert_eq!(parsed("dag_id: a\nfrobnicate: 1\n").expect_err("two problems").len(), 2);
}

#[test]
fn a_branch_without_its_value_is_reported_once() {
    let with = |branch: &str| format!("dag_id: a\ntasks:\n  c: {{branch: {branch}}}\n  t: {{bash: x, after: c}}\n");
    let on = "`branch` has `cases` but no `on`, the value that chooses between the tasks / add for example `on: \"{{ params.region }}\"`";
    wrong(&with("{cases: {x: t}}"), &[on]);
    assert_eq!(parsed(&with("{cases: {x: t}}")).expect_err("one problem").len(), 1);
    wrong(&with("{}"), &["`branch` needs one of `on`, `bash`, `python` / add for example `on: "]);
    wrong(
        &with("{bash: echo t, otherwise: t}"),
        &[
            "`branch` has both `bash` and `otherwise` / remove `otherwise`: the last line that `bash` prints names the tasks",
        ],
    );
    wrong(
        "dag_id: a\ntasks:\n  t: {python: {args: [x]}}\n",
        &["`python` needs one of `script`, `file` / add for example `file: load.py`"],
    );
}

#[test]
fn a_map_in_a_map_is_reported_with_the_map_over_pairs() {
    wrong(
        "dag_id: a\ntasks:\n  g:\n    map: [x, y]\n    tasks:\n      h:\n        map: [1, 2]\n        tasks:\n          t: {bash: x}\n",
        &[
            "6:7: group `g.h` is mapped inside the mapped group `g` / remove `map` from `g.h`, and map `g` over every pair: \
            `map: {cross: [[\"x\",\"y\"], [1,2]]}`; `{{ element[0] }}` and `{{ element[1] }}` are the two values of a pair",
        ],
    );
    wrong(
        "dag_id: a\ntasks:\n  g:\n    map: [x, y]\n    tasks:\n      t: {bash: x, map: [1]}\n",
        &[
            "6:7: dag `a`, task `g.t`: it is mapped inside the mapped group `g` / remove this map, and map group `g` over every pair: \
            `map: {cross: [a, b]}`",
        ],
    );
}

#[test]
fn problems_of_the_whole_dag_are_reported_where_the_value_stands() {
    wrong("dag_id: a b\ntasks: {}\n", &["1:9: dag `a b`: dag id \"a b\" has the character ' '"]);
    wrong(
        "dag_id: a\nschedule: '@daily'\nparams: {x: {type: integer}}\ntasks: {}\n",
        &["3:13: dag `a`: the param `x` has no default"],
    );
    wrong(
        "dag_id: a\nend: 2025-01-01\nstart: 2026-01-01\ntasks: {}\n",
        &[
            "3:8: dag `a`: `start` 2026-01-01T00:00:00+00:00 is after `end` 2025-01-01T00:00:00+00:00 / swap the two dates",
        ],
    );
    wrong("dag_id: a\nmax_active_runs: 0\ntasks: {}\n", &["2:18: dag `a`: max_active_runs is 0"]);
    wrong(
        "dag_id: a\ntasks:\n  t: {bash: x, retries: 9999}\n",
        &["3:25: dag `a`, task `t`: retries is 9999, more than 1000"],
    );
}

#[test]
fn a_task_is_not_suggested_to_itself() {
    let with = |more: &str| format!("dag_id: a\ntasks:\n  load: {{bash: x, after: lod}}\n{more}");
    wrong(&with(""), &["there is no task `lod` / the DAG has no other task: add it under `tasks`, or remove the name"]);
    wrong(&with("  clean: {bash: y}\n"), &["there is no task `lod` / name another task of this DAG: `clean`"]);
}
