//! Airflow's templates: detects them, and translates their values to expressions of DAG files.
//!
//! The text of a program is not rendered, and other tools use `{{` too: Helm, `docker --format`, dbt, f-strings. So
//! braces in a program only count as a template if they name a variable of Airflow or orch.

use super::{ROOTS, Template};

/// Variables of Airflow's templates that are not roots of orch's paths.
const VARIABLES: [&str; 44] = [
    "conn",
    "dag",
    "dag_run",
    "data_interval_end",
    "data_interval_start",
    "ds",
    "ds_nodash",
    "exception",
    "execution_date",
    "expanded_ti_count",
    "inlet_events",
    "inlets",
    "logical_date",
    "macros",
    "map_index_template",
    "next_ds",
    "next_ds_nodash",
    "next_execution_date",
    "outlet_events",
    "outlets",
    "partition_key",
    "prev_data_interval_end_success",
    "prev_data_interval_start_success",
    "prev_ds",
    "prev_ds_nodash",
    "prev_end_date_success",
    "prev_execution_date",
    "prev_start_date_success",
    "run_id",
    "task_instance",
    "task_instance_key_str",
    "task_reschedule_count",
    "templates_dict",
    "test_mode",
    "ti",
    "tomorrow_ds",
    "tomorrow_ds_nodash",
    "triggering_asset_events",
    "try_number",
    "ts",
    "ts_nodash",
    "ts_nodash_with_tz",
    "yesterday_ds",
    "yesterday_ds_nodash",
];

/// First words of Jinja statements.
const STATEMENTS: [&str; 25] = [
    "block",
    "call",
    "do",
    "elif",
    "else",
    "endblock",
    "endcall",
    "endfilter",
    "endfor",
    "endif",
    "endmacro",
    "endraw",
    "endset",
    "endwith",
    "extends",
    "filter",
    "for",
    "from",
    "if",
    "import",
    "include",
    "macro",
    "raw",
    "set",
    "with",
];

/// A template in the text of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::file) enum Jinja<'t> {
    /// The text between `{{` and `}}`.
    Expression(&'t str),
    /// The complete `{% … %}`.
    Statement(&'t str),
}

/// Returns the first template of Airflow or orch in the text of a program.
pub(in crate::file) fn template_in_program(text: &str) -> Option<Jinja<'_>> {
    let mut rest = text;
    while let Some(open) = rest.find("{{").into_iter().chain(rest.find("{%")).min() {
        let (is_statement, inside) = (rest[open..].starts_with("{%"), &rest[open + 2..]);
        let end = if is_statement { "%}" } else { "}}" };
        if let Some(length) = inside.find(end) {
            let between = &inside[..length];
            if is_statement && is_jinja_statement(between) {
                return Some(Jinja::Statement(&rest[open..open + length + 4]));
            }
            if !is_statement && names_a_variable(between) {
                return Some(Jinja::Expression(without_dashes(between)));
            }
        }
        rest = inside;
    }
    None
}

/// Removes the dashes of `{{- x -}}`, which strip the surrounding white space.
fn without_dashes(between: &str) -> &str {
    between.trim_start_matches(['-', '+']).trim_end_matches('-').trim()
}

fn word_at_start(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len()))
}

/// Returns whether the text between `{%` and `%}` is a statement: it begins with white space or one of Jinja's words.
/// `"{%s}" % x` in a script is not a statement.
fn is_jinja_statement(between: &str) -> bool {
    let inside = between.trim_start_matches(['-', '+']);
    let (word, _) = word_at_start(inside.trim_start());
    let is_apart = inside.starts_with([' ', '\t']) && !between.contains('\n');
    !word.is_empty() && (is_apart || STATEMENTS.contains(&word))
}

/// Returns whether an expression names a variable of Airflow or orch. A variable that is called is not one: dbt has
/// `{{ var("x") }}`.
fn names_a_variable(between: &str) -> bool {
    let (word, behind) = word_at_start(without_dashes(between).trim_start_matches(['(', ' ']));
    let is_known = VARIABLES.contains(&word) || ROOTS.contains(&word);
    let behind = behind.trim_start();
    let continues = |c: char| c == '.' || c == '[' || c == '|' || c == ')' || "+-*/~,".contains(c) || c.is_alphabetic();
    is_known && (behind.is_empty() || behind.starts_with(continues))
}

/// Returns whether an expression reads a field of a connection.
pub(in crate::file) fn is_connection(expression: &str) -> bool {
    word_at_start(expression.trim()).0 == "conn"
}

/// Returns the orch expression for an Airflow expression. Valid orch expressions are returned unchanged. `None` if orch
/// has no such value.
pub(in crate::file) fn in_orch(expression: &str) -> Option<String> {
    let is_readable = |text: &str| {
        let template = Template::parse(&format!("{{{{ {text} }}}}"));
        template.is_ok_and(|template| template.names_something())
    };
    if is_readable(expression) {
        return Some(expression.trim().into());
    }
    let (value, filters) =
        expression.split_once('|').map_or((expression, ""), |(value, filters)| (value, filters.trim()));
    let value = value_in_orch(value.trim())?;
    let filtered = format!("{value} | {filters}");
    if !filters.is_empty() && is_readable(&filtered) {
        return Some(filtered);
    }
    is_readable(&value).then_some(value)
}

fn value_in_orch(value: &str) -> Option<String> {
    let unquoted = |text: &str| text.trim().trim_matches(['"', '\'']).to_string();
    if let Some((date, form)) = value.strip_suffix(')').and_then(|call| call.split_once(".strftime(")) {
        return Some(format!("{} | format(\"{}\")", in_orch(date)?, unquoted(form)));
    }
    if let Some(arguments) = value.strip_suffix(')').and_then(|call| call.strip_prefix("macros.ds_add(")) {
        let (date, days) = arguments.split_once(',')?;
        let date = in_orch(date).map(|date| date.replace(" | ds", ""))?;
        return Some(format!("{date} | add_days({}) | ds", days.trim()));
    }
    if let Some(arguments) = value.strip_suffix(')').and_then(|call| call.split_once(".xcom_pull(")) {
        let task = arguments.1.split(',').next().unwrap_or_default().trim().trim_start_matches("task_ids=");
        return Some(format!("upstream.{}.output", unquoted(task.trim_start_matches('[').trim_end_matches(']'))));
    }
    if let Some(field) = value.strip_prefix("dag_run.conf") {
        let field = field.trim_start_matches(".get(").trim_start_matches(['.', '[']);
        let field = field.split([',', ')', ']', ' ']).next().unwrap_or_default();
        return Some(format!("conf.{}", unquoted(field)));
    }
    let (object, field) = value.split_once('.').unwrap_or((value, ""));
    let found = match (object, field) {
        ("ds", "") => "run.logical_date | ds",
        ("ds_nodash", "") => "run.logical_date | ds_nodash",
        ("ts", "") | ("logical_date" | "execution_date", "isoformat()") => "run.logical_date | ts",
        ("ts_nodash", "") => "run.logical_date | format(\"%Y%m%dT%H%M%S\")",
        ("ts_nodash_with_tz", "") => "run.logical_date | format(\"%Y%m%dT%H%M%S%z\")",
        ("yesterday_ds" | "prev_ds", "") => "run.logical_date | add_days(-1) | ds",
        ("tomorrow_ds" | "next_ds", "") => "run.logical_date | add_days(1) | ds",
        ("yesterday_ds_nodash" | "prev_ds_nodash", "") => "run.logical_date | add_days(-1) | ds_nodash",
        ("tomorrow_ds_nodash" | "next_ds_nodash", "") => "run.logical_date | add_days(1) | ds_nodash",
        ("logical_date" | "execution_date", "") | ("dag_run", "logical_date" | "execution_date") => "run.logical_date",
        ("data_interval_start", "") | ("dag_run", "data_interval_start") => "run.data_interval_start",
        ("data_interval_end", "") | ("dag_run", "data_interval_end") => "run.data_interval_end",
        ("partition_key", "") | ("dag_run", "partition_key") => "run.partition_key",
        ("run_id", "") | ("dag_run" | "ti" | "task_instance", "run_id") => "run.run_id",
        ("dag" | "dag_run" | "ti" | "task_instance", "dag_id") => "run.dag_id",
        ("dag_run", "run_type") => "run.run_type",
        ("task" | "ti" | "task_instance", "task_id") => "task.id",
        ("try_number", "") | ("ti" | "task_instance", "try_number") => "task.try_number",
        ("ti" | "task_instance", "map_index") => "map_index",
        _ => return None,
    };
    Some(found.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_of_airflow_and_orch_are_found_in_programs() {
        for text in [
            "echo {{ ds }}",
            "echo {{ds}} {{.Names}}",
            "echo {{- ds -}}",
            "{{ var.value.x }}",
            "{{ var.json.x['y'] }}",
            "{{ conn.x.password }}",
            "{{ dag_run.conf['x'] if dag_run else '' }}",
            "{{ macros.ds_add(ds, -1) }}",
            "{{ (logical_date - macros.timedelta(days=1)).strftime('%Y') }}",
            "{{ ti.xcom_pull(task_ids='x') }}",
            "{{ params.table }}",
            "{{ upstream.a.output }}",
            "{{ element }}",
            "{{ element[0] }}",
            "{{ map_index }}",
            "{{ run.logical_date | ds }}",
            "{{ task.id }}",
            "{{ conf.x }}",
        ] {
            let found = template_in_program(text);
            assert!(matches!(found, Some(Jinja::Expression(inside)) if !inside.contains("}}")), "{text}: {found:?}");
        }
        for text in ["{% if x %}a{% endif %}", "{%- for x in y %}", "{%set x = 1%}", "docker {{.Names}} {% raw %}"] {
            assert!(matches!(template_in_program(text), Some(Jinja::Statement(_))), "{text}");
        }
    }

    #[test]
    fn braces_of_other_tools_are_left_alone() {
        for text in [
            "docker ps --format '{{.Names}}'",
            "docker ps --format '{{json .}} {{ .ID }} {{range .Ports}}{{.}}{{end}}'",
            "helm template . --set a='{{ .Values.params.x }}'",
            "{{ ref('orders') }} {{ source('a', 'b') }} {{ config(materialized='table') }} {{ var('ds') }} {{ this }}",
            "print(f'{{\"run\": {run}}}')",
            "print(f'{{{ds}}}', f'{{params: {x}}}', {'a': {'b': 1}})",
            "print('{%s}' % x, '{%d%}' % y, '{{ds')",
            "curl -w '%{http_code}' ${x%%.*} {{",
            "select '{{}}', '{{ }}', '{{ dsx }}'",
        ] {
            assert_eq!(template_in_program(text), None, "{text}");
        }
    }

    #[test]
    fn values_of_airflow_have_expressions_in_orch() {
        for (airflow, orch) in [
            ("ds", "run.logical_date | ds"),
            ("logical_date | ds", "run.logical_date | ds"),
            ("var.value.x", "var.value.x"),
            ("params.x", "params.x"),
            ("dag_run.conf['x']", "conf.x"),
            ("dag_run.conf.get('x', 1)", "conf.x"),
            ("ti.xcom_pull(task_ids='a')", "upstream.a.output"),
            ("task_instance.xcom_pull('a', key='b')", "upstream.a.output"),
            ("logical_date.strftime('%Y')", "run.logical_date | format(\"%Y\")"),
            ("run.logical_date.strftime(\"%Y-%m\")", "run.logical_date | format(\"%Y-%m\")"),
            ("macros.ds_add(ds, -7)", "run.logical_date | add_days(-7) | ds"),
            ("data_interval_end", "run.data_interval_end"),
        ] {
            assert_eq!(in_orch(airflow).as_deref(), Some(orch), "{airflow}");
        }
        for none in ["macros.random()", "conn.x.password", "dag", "ti.hostname", "ref('x')"] {
            assert_eq!(in_orch(none), None, "{none}");
        }
    }
}
