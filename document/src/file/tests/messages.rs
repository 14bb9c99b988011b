//! Messages for mistakes of newcomers: the thing, the reason and the next step.

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
        &["has no key `frobnicate` / `orch dags schema` prints all keys"],
    );
}

#[test]
fn a_missing_key_is_named_with_a_line_that_has_it() {
    wrong("tasks: {}\n", &["1:1: a DAG has no `dag_id` / add a line such as `dag_id: nightly_sales`"]);
    wrong("dag_id: a\n", &["a DAG has no `tasks` / add a line such as `tasks: {hello: {bash: echo hello}}`"]);
    wrong(
        "dag_id: a\ntasks:\n  t: {sql: {connection: c}}\n",
        &["3:12: `sql` has no `statement` / add a line such as `statement: 'select 1'`"],
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
