//! Inputs of a task instance as its worker received them: values, params, its element, and the first part of other
//! tasks' outputs. Outputs that may be large are never read completely.

use crate::pages::encoded;
use crate::parts;
use crate::refusal::Refusal;
use orch_core::plan::{Plan, TaskIdx};
use orch_spec::params::with_defaults;
use orch_spec::{MapSpec, Source};
use orch_store::narrow;
use orch_store::output::{PART_ELEMENTS, Preview, Stored, mask_sealed, part, previews, stored};
use orch_store::run::RunDetails;
use serde_json::{Value, json};
use sqlx::PgConnection;

pub(super) struct Input {
    pub(super) name: String,
    pub(super) type_name: String,
    /// Origin of the value, as text, and the task to link to.
    pub(super) from: String,
    pub(super) task_id: Option<String>,
    pub(super) value: String,
}

impl Input {
    pub(super) fn encoded_task(&self) -> String {
        encoded(self.task_id.as_deref().unwrap_or_default())
    }
}

/// Maximum number of characters of a value.
const SHOWN: usize = 1_200;
/// Maximum number of elements shown of a list of element outputs.
const SHOWN_ELEMENTS: i64 = 3;
const MOST_INPUTS: usize = 40;

struct Reader<'a> {
    plan: &'a Plan,
    run: &'a RunDetails,
    task: TaskIdx,
    map_index: i32,
}

/// Returns the inputs in the order of the function's parameters.
pub(super) async fn inputs(
    db: &mut PgConnection,
    plan: &Plan,
    run: &RunDetails,
    (task, map_index): (TaskIdx, i32),
) -> Result<Vec<Input>, Refusal> {
    let reader = Reader { plan, run, task, map_index };
    let mut inputs = Vec::new();
    for input in plan.spec.tasks[usize::from(task)].inputs.iter().take(MOST_INPUTS) {
        let (from, task_id, value) = reader.read(db, &input.source).await?;
        inputs.push(Input { name: input.name.clone(), type_name: input.type_name.clone(), from, task_id, value });
    }
    Ok(inputs)
}

impl Reader<'_> {
    async fn read(&self, db: &mut PgConnection, source: &Source) -> Result<(String, Option<String>, String), Refusal> {
        Ok(match source {
            Source::Value(value) => ("written in the DAG".into(), None, parts::cut(format!("{value:#}"), SHOWN)),
            Source::Params => {
                let empty = json!({});
                let conf = self.run.conf.as_ref().unwrap_or(&empty);
                let params = self.plan.spec.params_schema.as_ref().map(|schema| with_defaults(schema, conf));
                ("the run’s params".into(), None, parts::cut(format!("{:#}", params.as_ref().unwrap_or(conf)), SHOWN))
            }
            Source::Output(id) => ("what it gave".into(), Some(id.clone()), self.output(db, id).await?),
            Source::Outputs(id) | Source::Collected(id) => {
                ("what each element gave".into(), Some(id.clone()), self.outputs(db, id).await?)
            }
            Source::Element { part, .. } => {
                let value = self.element(db, *part).await?;
                (format!("element {}", self.map_index), None, parts::cut(format!("{value:#}"), SHOWN))
            }
            Source::List(sources) => {
                let mut tasks = Vec::new();
                source.collect(&mut tasks);
                let from = if tasks.is_empty() {
                    "a list".into()
                } else {
                    format!("a list of what {} gave", tasks.join(", "))
                };
                (from, None, parts::counted(sources.len(), "value"))
            }
        })
    }

    /// Returns the output of a task. Inside one mapped group it is the output of the same element.
    async fn output(&self, db: &mut PgConnection, id: &str) -> Result<String, Refusal> {
        let Some(task) = self.plan.index_of(id) else { return Ok("null".into()) };
        let domain = |task: TaskIdx| self.plan.task(task).map.map(|map| map.domain);
        let index = if domain(task).is_some() && domain(task) == domain(self.task) { self.map_index } else { -1 };
        let found = previews(db, self.run.id, &[task], Some(index), (2, narrow::int(SHOWN))).await?;
        let found = found.iter().find(|one| one.map_index == index);
        Ok(found.map_or_else(|| "null: it gave nothing".into(), text_of))
    }

    async fn outputs(&self, db: &mut PgConnection, id: &str) -> Result<String, Refusal> {
        let Some(task) = self.plan.index_of(id) else { return Ok("[]".into()) };
        let found = previews(db, self.run.id, &[task], None, (SHOWN_ELEMENTS + 1, narrow::int(SHOWN / 4))).await?;
        let shown = found.iter().take(narrow::size(SHOWN_ELEMENTS));
        let mut lines: Vec<String> = shown.map(|one| format!("[{}] {}", one.map_index, text_of(one))).collect();
        if found.len() > lines.len() {
            lines.push("…".into());
        }
        Ok(if lines.is_empty() { "[]".into() } else { lines.join("\n") })
    }

    async fn element(&self, db: &mut PgConnection, of: Option<usize>) -> Result<Value, Refusal> {
        let spec = &self.plan.spec;
        let (Some(map), Ok(index)) =
            (spec.map_of(&spec.tasks[usize::from(self.task)]), usize::try_from(self.map_index))
        else {
            return Ok(Value::Null);
        };
        match (map, of) {
            (MapSpec::Each(source), _) => self.nth(db, source, index).await,
            (MapSpec::Zip(sources), Some(at)) if at < sources.len() => self.nth(db, &sources[at], index).await,
            // The combination depends on all lengths. The task's log has its values, so the page does not compute
            // them.
            _ => Ok(json!(format!("combination {index}"))),
        }
    }

    async fn nth(&self, db: &mut PgConnection, source: &Source, index: usize) -> Result<Value, Refusal> {
        let nth = |list: &Value, at: usize| list.get(at).cloned().unwrap_or(Value::Null);
        match source {
            Source::Value(list) => Ok(nth(list, index)),
            Source::Outputs(id) | Source::Collected(id) => {
                let Some(task) = self.plan.index_of(id) else { return Ok(Value::Null) };
                let index = i32::try_from(index).unwrap_or(i32::MAX);
                let found = previews(db, self.run.id, &[task], Some(index), (2, narrow::int(SHOWN))).await?;
                let found = found.iter().find(|one| one.map_index == index);
                Ok(found.map_or(Value::Null, |one| serde_json::from_str(&one.text).unwrap_or_else(|_| json!(one.text))))
            }
            Source::Output(id) => {
                let Some(task) = self.plan.index_of(id) else { return Ok(Value::Null) };
                let place = index % PART_ELEMENTS;
                match stored(db, self.run.id, task, -1).await? {
                    None => Ok(Value::Null),
                    Some(Stored::Value(list)) => Ok(mask_sealed(nth(&list, index))),
                    Some(Stored::Parts(_)) => {
                        let number = i32::try_from(index / PART_ELEMENTS).unwrap_or(i32::MAX);
                        let list = part(db, self.run.id, task, -1, number).await?;
                        Ok(list.get(place).cloned().map_or(Value::Null, mask_sealed))
                    }
                }
            }
            _ => Ok(Value::Null),
        }
    }
}

fn text_of(preview: &Preview) -> String {
    let text = match serde_json::from_str::<Value>(&preview.text) {
        Ok(value) => parts::cut(format!("{value:#}"), SHOWN),
        Err(_) => preview.text.clone(),
    };
    match preview {
        Preview { in_parts: true, .. } => format!("{text} a list too long to be shown"),
        Preview { left: 0, .. } => text,
        Preview { left, .. } => format!("{text}\n… {left} letters more"),
    }
}
