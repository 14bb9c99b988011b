//! Functions of tasks of DAG files. Each attempt renders the templates of its config with the run, its params, the
//! outputs of other tasks and variables, and then runs the built-in operator.

use super::operator::body_of;
use crate::{Ctx, TaskError, TaskResult, fatal};
use orch_document::file::is_of_file;
use orch_document::file::template::{self, Names};
use orch_sdk::secret::mask_sensitive;
use orch_sdk::task::TaskFn;
use orch_sdk::wait::is_truthy;
use orch_spec::TaskSpec;
use orch_workers::mask;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Replacement for every template when a config is checked. It is valid both as a string and as a date.
const ANY_TEXT: &str = "2025-01-01T00:00:00+00:00";
/// Maximum number of characters of a rendered config in the log.
const MOST_RENDERED: usize = 4_000;

/// Returns the function of a task from its spec alone, so any worker can run it. The task must be of a built-in kind;
/// its config may contain templates.
///
/// # Errors
/// Returns a message if the kind or the config is invalid.
pub fn body_of_task(task: &TaskSpec) -> Result<TaskFn, String> {
    if !is_of_file(task) {
        if !task.inputs.is_empty() {
            return Err(format!(
                "task `{}` takes outputs of other tasks: only the binary with its DAG can run it",
                task.task_id
            ));
        }
        let body = body_of(&task.kind, &task.config);
        return body.unwrap_or_else(|| Err(format!("the kind `{}` is a function of a binary", task.kind)));
    }
    let kind = FileTaskKind::of(task)?;
    let inputs: Arc<[String]> = task.inputs.iter().map(|input| input.name.clone()).collect();
    let (mut config, mut variables) = (task.config.clone(), Vec::new());
    let programs: Arc<[_]> = take_programs(&task.kind, &mut config).into();
    template::paths(&config, &mut variables);
    let has_templates = !variables.is_empty();
    variables.retain(|path| path.first().is_some_and(|first| first == "var"));
    let (config, variables): (Arc<Value>, Arc<[Vec<String>]>) = (config.into(), variables.into());
    Ok(TaskFn::untyped(move |ctx, values| {
        let (kind, inputs, config, variables) = (kind.clone(), inputs.clone(), config.clone(), variables.clone());
        let programs = programs.clone();
        Box::pin(async move {
            let names = names(&ctx, &inputs, values, &variables).await?;
            mask::learn(template::filtered_secrets(&config, &names));
            let template = config;
            let mut config = template::render(&template, &names).map_err(fatal)?;
            for (pointer, text) in programs.iter() {
                config.pointer_mut(pointer).into_iter().for_each(|taken| *taken = text.clone());
            }
            if has_templates {
                mask::learn(template::rendered_secrets(&template, &config, &names));
                ctx.info(rendered(&config));
            }
            Ok(Some(kind.run_task(config, ctx).await?))
        })
    }))
}

/// Takes the sources of programs and statements out of a config, each with its JSON pointer. They are not rendered:
/// `{{` in them belongs to Helm, docker, dbt or an f-string.
fn take_programs(kind: &str, config: &mut Value) -> Vec<(String, Value)> {
    let mut pointers = Vec::new();
    programs_of(kind, config, "", &mut pointers);
    let take = |pointer: String| Some((config.pointer_mut(&pointer)?.take(), pointer));
    pointers.into_iter().filter_map(take).map(|(text, pointer)| (pointer, text)).collect()
}

/// Adds the pointers of the programs below `at`. `kind` is the kind of a task or of a sensor's condition.
fn programs_of(kind: &str, config: &Value, at: &str, found: &mut Vec<String>) {
    let nested = |inner: &Value, at: &str, found: &mut Vec<String>| {
        programs_of(inner["kind"].as_str().unwrap_or_default(), &inner["config"], &format!("{at}/config"), found);
    };
    match kind {
        "shell" => found.push(format!("{at}/command")),
        "python" => found.push(format!("{at}/script")),
        "sql" => found.push(format!("{at}/statement")),
        "branch" | "short_circuit" => nested(&config["by"], &format!("{at}/by"), found),
        "wait" => nested(&config["until"], &format!("{at}/until"), found),
        "any" | "all" => {
            for (index, one) in config["of"].as_array().into_iter().flatten().enumerate() {
                nested(one, &format!("{at}/of/{index}"), found);
            }
        }
        _ => {}
    }
}

/// Returns the log line of a rendered config. The log masks known secrets; values below sensitive names are masked
/// here, because outputs of other tasks may contain secrets that the log cannot recognize.
fn rendered(config: &Value) -> String {
    let mut shown = config.clone();
    mask_sensitive(&mut shown, false);
    let text = format!("{shown:#}");
    let end = text.char_indices().nth(MOST_RENDERED).map_or(text.len(), |(at, _)| at);
    format!("rendered: {}{}", &text[..end], if end < text.len() { "…" } else { "" })
}

/// The use of a rendered config.
#[derive(Debug, Clone)]
enum FileTaskKind {
    /// Runs an operator. If the operator is a program, the task's output is its last line.
    Operator(String),
    Value,
    Branch,
    ShortCircuit,
}

impl FileTaskKind {
    fn of(task: &TaskSpec) -> Result<FileTaskKind, String> {
        match task.kind.as_str() {
            "value" => Ok(FileTaskKind::Value),
            "branch" | "short_circuit" => {
                if let Some(by) = task.config.get("by") {
                    tried(by["kind"].as_str().unwrap_or_default(), &by["config"])?;
                }
                Ok(if task.kind == "branch" { FileTaskKind::Branch } else { FileTaskKind::ShortCircuit })
            }
            kind => {
                tried(kind, &task.config)?;
                Ok(FileTaskKind::Operator(kind.into()))
            }
        }
    }

    async fn run_task(self, config: Value, ctx: Ctx) -> Result<Value, TaskError> {
        match self {
            FileTaskKind::Operator(kind) => operate(&kind, config, ctx).await,
            FileTaskKind::Value => Ok(config.get("value").cloned().unwrap_or_default()),
            FileTaskKind::Branch => {
                let value = decided(&config, ctx).await?;
                if config.get("cases").is_none() && config.get("otherwise").is_none() {
                    return Ok(value);
                }
                let case = value.as_str().map_or_else(|| value.to_string(), String::from);
                let followed = config.get("cases").and_then(|cases| cases.get(&case)).or(config.get("otherwise"));
                Ok(followed.cloned().unwrap_or_else(|| json!([])))
            }
            FileTaskKind::ShortCircuit => Ok(Value::Bool(is_truthy(&decided(&config, ctx).await?))),
        }
    }
}

/// Returns the value of a branch or a short circuit, from a template or a script.
async fn decided(config: &Value, ctx: Ctx) -> Result<Value, TaskError> {
    match config.get("by") {
        Some(by) => operate(by["kind"].as_str().unwrap_or_default(), by["config"].clone(), ctx).await,
        None => Ok(config.get("on").cloned().unwrap_or_default()),
    }
}

/// Rejects a config that the operator could not parse, regardless of the values of its templates.
fn tried(kind: &str, config: &Value) -> Result<(), String> {
    let body = body_of(kind, &with_any_text(config));
    body.unwrap_or_else(|| Err(format!("this binary has no kind of task `{kind}`"))).map(drop)
}

fn with_any_text(config: &Value) -> Value {
    match config {
        Value::String(text) if text.contains("{{") => json!(ANY_TEXT),
        Value::Array(items) => items.iter().map(with_any_text).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), with_any_text(value))).collect())
        }
        other => other.clone(),
    }
}

async fn operate(kind: &str, config: Value, ctx: Ctx) -> Result<Value, TaskError> {
    let config = as_text(config, false).map_err(fatal)?;
    let body = body_of(kind, &config).unwrap_or_else(|| Err(format!("this binary has no kind of task `{kind}`")));
    let body = body.map_err(fatal)?;
    let output = body.call(ctx, Vec::new()).await?.unwrap_or_default();
    Ok(match kind {
        "shell" | "python" | "container" | "spark" | "spark_sql" => last_line(&output),
        _ => output,
    })
}

/// Returns the last line of a program's output: parsed as JSON if it is valid JSON, else as a string, or null if it
/// is empty.
fn last_line(output: &Value) -> Value {
    match output["last_line"].as_str() {
        None | Some("") => Value::Null,
        Some(line) => serde_json::from_str(line).unwrap_or_else(|_| json!(line)),
    }
}

/// Fields that are strings, whatever the type of the output or template that they are set to. All values below them
/// are strings, too.
pub(super) const TEXTS: [&str; 11] =
    ["args", "command", "env", "from", "headers", "note", "path", "run_id", "subject", "to", "url"];
/// Fields whose values keep their types.
const VALUES: [&str; 5] = ["body", "conf", "equals", "mounts", "params"];

fn as_text(value: Value, is_text: bool) -> Result<Value, String> {
    Ok(match value {
        Value::Object(fields) => {
            let mut read = Map::new();
            for (key, value) in fields {
                let inner = is_text || TEXTS.contains(&key.as_str());
                let value = if VALUES.contains(&key.as_str()) && !is_text { value } else { as_text(value, inner)? };
                if inner && value.is_null() {
                    return Err(format!("`{key}` is null: say `| default(\"…\")`"));
                }
                read.insert(key, value);
            }
            Value::Object(read)
        }
        // Nested values in a list of strings are serialized as JSON.
        Value::Array(items) if is_text => {
            let word = |item: Value| match item {
                Value::Array(_) | Value::Object(_) => Ok(Value::String(item.to_string())),
                other => as_text(other, true),
            };
            let words = items.into_iter().map(word).collect::<Result<Vec<_>, String>>()?;
            if words.iter().any(Value::is_null) {
                return Err("one of `args` or `command` is null: say `| default(\"…\")`".into());
            }
            Value::Array(words)
        }
        Value::Array(items) => items.into_iter().map(|item| as_text(item, false)).collect::<Result<_, _>>()?,
        Value::Bool(_) | Value::Number(_) if is_text => Value::String(value.to_string()),
        other => other,
    })
}

async fn names(ctx: &Ctx, inputs: &[String], values: Vec<Value>, variables: &[Vec<String>]) -> TaskResult<Names> {
    let (run, this_try) = (ctx.run(), ctx.this_try());
    let date = |date: Option<chrono::DateTime<chrono::Utc>>| date.map(|date| date.to_rfc3339());
    let mut names = Names {
        run: json!({
            "dag_id": run.dag_id, "run_id": run.run_id, "run_type": run.run_type, "version": run.version,
            "logical_date": date(run.logical_date), "data_interval_start": date(run.data_interval_start),
            "data_interval_end": date(run.data_interval_end), "run_after": date(Some(run.run_after)),
            "partition_key": run.partition_key, "clear_number": run.clear_number,
        }),
        task: json!({
            "id": this_try.task_id, "try_number": this_try.try_number, "max_tries": this_try.max_tries,
            "attempt": this_try.attempt,
        }),
        params: ctx.params().clone(),
        conf: ctx.conf().clone(),
        map_index: ctx.map_index(),
        ..Names::default()
    };
    for (name, value) in inputs.iter().zip(values) {
        match name.strip_prefix("upstream.") {
            Some(task) => drop(names.upstream.insert(task.into(), value)),
            None => names.element = Some(value),
        }
    }
    for path in variables {
        let Some((name, ..)) = template::variable(path) else { continue };
        if let Some(value) = ctx.host().variable(name).await? {
            names.variables.insert(name.into(), Value::String(value));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_statements_are_not_rendered() {
        let braces = "docker ps --format '{{.Names}}' {{ params.x }}";
        for (kind, config, pointers) in [
            ("shell", json!({ "command": braces, "env": { "command": "{{ params.x }}" } }), &["/command"] as &[_]),
            ("python", json!({ "script": braces, "args": ["{{ params.x }}"] }), &["/script"]),
            ("python", json!({ "file": "a.py" }), &[]),
            ("sql", json!({ "statement": braces, "params": ["{{ params.x }}"] }), &["/statement"]),
            ("branch", json!({ "by": { "kind": "shell", "config": { "command": braces } } }), &["/by/config/command"]),
            (
                "wait",
                json!({ "until": { "kind": "any", "config": { "of": [
                    { "kind": "file", "config": { "path": "{{ params.x }}" } },
                    { "kind": "sql", "config": { "statement": braces } },
                ] } } }),
                &["/until/config/of/1/config/statement"],
            ),
            ("value", json!({ "value": { "command": "{{ params.x }}" } }), &[]),
            ("http", json!({ "url": "/x", "body": { "statement": "{{ params.x }}" } }), &[]),
        ] {
            let mut rest = config.clone();
            let taken = take_programs(kind, &mut rest);
            assert_eq!(taken.iter().map(|(pointer, _)| pointer.as_str()).collect::<Vec<_>>(), pointers, "{kind}");
            assert!(taken.iter().all(|(_, text)| text == braces), "{kind}");
            // The rest of the config can be rendered.
            let names = Names { params: json!({ "x": 1 }), ..Names::default() };
            template::render(&rest, &names).unwrap_or_else(|problem| panic!("{kind}: {problem}"));
        }
    }

    #[test]
    fn a_task_of_a_binary_that_takes_outputs_has_no_function_elsewhere() {
        let mut task = json!({ "task_id": "t", "kind": "sql", "config": { "connection": "db", "statement": "select $1", "params": [null] } });
        let function = |task: &Value| body_of_task(&serde_json::from_value(task.clone()).expect("a task"));
        assert!(function(&task).is_ok());
        task["inputs"] = json!([{ "name": "params/0", "source": { "output": "up" } }]);
        let error = function(&task).expect_err("its param would be null");
        assert!(error.contains("takes outputs of other tasks"), "{error}");
    }

    #[test]
    fn the_line_with_a_rendered_config_has_no_credentials() {
        let config = json!({ "url": "https://u:pw1@host/x", "headers": { "Authorization": "Bearer ab.c", "Accept": "text/csv" } });
        let line = rendered(&config);
        assert!(line.starts_with("rendered: {") && line.contains("text/csv"), "{line}");
        assert!(!line.contains("ab.c") && !line.contains("pw1"), "{line}");
    }
}
