//! Hints for templates in programs. Programs are not rendered, so values must be passed separately.

use crate::file::template::airflow::{in_orch, is_connection};

/// Returns a hint that shows how to pass the value of a template to a program. `what` is the key whose value is the
/// program `text`.
pub(super) fn how_to_pass(what: &str, text: &str, expression: &str) -> String {
    if is_connection(expression) {
        return how_to_connect(what, expression);
    }
    let Some(value) = in_orch(expression) else {
        return "templates have no such value: compute it in the program, or in a task before this one".into();
    };
    let (name, template) = (variable_name(expression, &value), quoted(&value));
    if let Some(command) = with_variable(text, &name).filter(|_| what == "`bash`") {
        return format!("write `bash: {{command: {command}, env: {{{name}: {template}}}}}`");
    }
    let read = match what {
        "`statement`" => "write `$1` in the statement, without quotes around it".to_string(),
        "`script`" | "`python`" => format!("read `os.environ[\"{name}\"]` in the script"),
        _ => format!("write `\"${name}\"` in the command"),
    };
    format!("{}, and {read}", how_to_bring(what, &name, &template))
}

/// Returns a hint that shows how a program can test a value, in place of a Jinja statement.
pub(super) fn how_to_decide(what: &str, statement: &str) -> String {
    let words = statement.trim_matches(['{', '}', '%', '-', '+', ' ']);
    let condition = words.split_once(' ').map_or("", |(_, condition)| condition.trim_start());
    let expression = condition.trim_start_matches("not ").split(' ').next().unwrap_or_default();
    let value = in_orch(expression).filter(|_| !is_connection(expression));
    let example = if value.is_some() { "" } else { "for example " };
    let value = value.unwrap_or_else(|| "params.full".into());
    let (name, template) = (variable_name(&value, &value), quoted(&value));
    let test = match what {
        "`statement`" => "test `$1` in the statement, such as by `case when $1`".to_string(),
        "`script`" | "`python`" => format!("test it in the script, such as by `os.environ[\"{name}\"] == \"true\"`"),
        _ => format!("test it in the command, such as by `[ \"${name}\" = true ]`"),
    };
    format!("{example}{}, and {test}", how_to_bring(what, &name, &template))
}

/// Returns the step that passes the value of a template to a program, in the object that contains the key `what` or
/// replaces its value.
fn how_to_bring(what: &str, name: &str, template: &str) -> String {
    match what {
        "`statement`" => format!("add `params: [{template}]` next to `statement`"),
        "`command`" | "`script`" => format!("add `env: {{{name}: {template}}}` next to {what}"),
        "`python`" => format!("write `python: {{script: …, env: {{{name}: {template}}}}}`"),
        _ => format!("write `bash: {{command: …, env: {{{name}: {template}}}}}`"),
    }
}

/// Returns a hint that shows how to use a connection, which templates cannot read. `what` is the key whose value
/// contains the template.
pub(in crate::file) fn how_to_connect(what: &str, expression: &str) -> String {
    let mut parts = expression.split(['.', '[', ']', '\'', '"', ' ', '|']).filter(|part| !part.is_empty());
    let id = parts.nth(1).unwrap_or("warehouse");
    let variable = format!("{}_password", id.replace('-', "_"));
    let env = format!("env: {{PGPASSWORD: \"{{{{ var.{variable} }}}}\"}}");
    let place = match what {
        "`bash`" => format!("write `bash: {{command: …, {env}}}`, without the template in the command"),
        "`python`" => format!("write `python: {{script: …, {env}}}`, without the template in the script"),
        "`command`" | "`script`" => format!("add `{env}` next to {what}"),
        _ => format!("pass it to a program by `{env}`"),
    };
    format!(
        "templates cannot read connections: use a `sql` or `http` task with `connection: {id}`; or store the password with \
         `orch variables set {variable} -`, and {place} (psql reads PGPASSWORD; other programs need other names)"
    )
}

/// Returns a template in the quotes that YAML requires for it.
fn quoted(value: &str) -> String {
    let quote = if value.contains('"') { '\'' } else { '"' };
    format!("{quote}{{{{ {value} }}}}{quote}")
}

/// Returns a name for the environment variable that contains the value of an expression: the last name of its path.
fn variable_name(expression: &str, value: &str) -> String {
    let path = if expression.contains('(') { value } else { expression }.split('|').next().unwrap_or_default();
    let mut names = path.split(['.', '[', ']', '\'', '"', ' ']).filter(|name| !name.is_empty() && *name != "output");
    let name = names.next_back().filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic())).unwrap_or("value");
    name.replace('-', "_").to_uppercase()
}

/// Returns a short command with an environment variable in place of its template, quoted for YAML. `None` if the quotes
/// of the command would matter.
fn with_variable(command: &str, name: &str) -> Option<String> {
    const MAX_CHARS: usize = 60;
    if command.contains(['\'', '"', '\n']) || command.matches("{{").count() != 1 || command.chars().count() > MAX_CHARS
    {
        return None;
    }
    let (before, rest) = command.split_once("{{")?;
    let (_, after) = rest.split_once("}}")?;
    let is_word = before.ends_with(' ') && (after.is_empty() || after.starts_with(' '));
    is_word.then(|| format!("'{before}\"${name}\"{after}'"))
}
